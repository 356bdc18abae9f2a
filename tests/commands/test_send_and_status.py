import json
from pathlib import Path

import broker
import pytest
from driving import Cli, wait_for

from pipeline import ids
from pipeline.streaming.topics import PRIORITY, TopicNames
from schemas import errors
from schemas.intake import MAX_RECIPIENTS, Request

ONE, OTHER = "+393331234567", "+393331234568"


@pytest.fixture(scope="module")
def account(running: Cli) -> str:
    running("account", "create", "sender", "--credit", "1000")
    return "sender"


def intake(cli: Cli, lane: str = "") -> list[Request]:
    records = broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).intake(lane))
    return [Request.model_validate(json.loads(record.value)) for record in records]


def test_request_as_the_contract_has_it(still: Cli) -> None:
    options = ["--dry-run", "--fail-on-multiple", "--transliterate", "--validity", "60"]
    (sent,) = still.json("send", "--account", "acme", "--to", ONE, "--text", "Hi", "--sender", "ACME", *options)
    (request,) = intake(still, PRIORITY)
    assert (request.account, request.sender, request.message, request.recipients) == ("acme", "ACME", "Hi", [ONE])
    chosen = request.options
    assert (chosen.dry_run, chosen.fail_on_multiple_messages, chosen.transliterate) == (True, True, True)
    assert chosen.validity_seconds == 60
    assert (sent["requestId"], sent["index"], sent["recipient"]) == (request.request_id, 0, ONE)


def test_message_id_follows_from_the_record(still: Cli) -> None:
    (sent,) = still.json("send", "--account", "acme", "--to", ONE, "--text", "Hi", "--request-id", "r1")
    (record,) = broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).intake(PRIORITY))
    batch = ids.batch_id(ids.request_hash("acme", "r1"), 0, record.timestamp)
    assert sent["id"] == ids.message_id(batch, 0)


def test_lanes(still: Cli) -> None:
    to_one = ["send", "--account", "acme", "--text", "Hi", "--to", ONE]
    still(*to_one, "--request-id", "alone")
    still(*to_one, "--request-id", "told", "--bulk")
    still(*to_one, "--to", OTHER, "--request-id", "two")
    still(*to_one, "--to", OTHER, "--request-id", "urgent", "--priority")
    assert sorted(request.request_id or "" for request in intake(still, PRIORITY)) == ["alone", "urgent"]
    assert sorted(request.request_id or "" for request in intake(still)) == ["told", "two"]


def test_many_recipients_are_cut_into_records(still: Cli, tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    numbers = [f"+39333{n:07d}" for n in range(MAX_RECIPIENTS + 1)]
    file.write_text("\n".join(numbers))
    to_file = ["--to", numbers[0], "--to-file", str(file)]
    result = still("send", "--account", "acme", "--text", "Hi", "--request-id", "big", *to_file, "--json")
    sent = [json.loads(line) for line in result.stdout.splitlines()]
    assert "1 repeated" in result.stderr
    assert [message["recipient"] for message in sent] == numbers
    assert len({message["id"] for message in sent}) == len(numbers)
    assert {request.request_id: len(request.recipients) for request in intake(still)} == {
        "big": MAX_RECIPIENTS,
        "big-2": 1,
    }


def test_wait_tells_every_fate(running: Cli, account: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"number,name\n{ONE},Ada\n{OTHER},Bob\n+3906,Eve\n")
    send = ["send", "--account", account, "--to-file", str(file), "--text", "Ciao {{name}}", "--dry-run", "--wait"]
    fates = running.json(*send)
    assert [(fate["recipient"], fate["detailedState"], fate["final"]) for fate in fates] == [
        (ONE, "ACCEPTED", True),
        (OTHER, "ACCEPTED", True),
        ("+3906", "REJECTED", True),
    ]
    assert fates[2]["error"]["code"] == errors.INVALID_RECIPIENT
    table = running(*send).stdout
    assert table.splitlines()[-1] == "2 ACCEPTED, 1 REJECTED"
    assert f"{errors.INVALID_RECIPIENT} " in table


def test_ids_are_those_of_the_status_records_in_every_slice(running: Cli, account: str, tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    file.write_text("\n".join(f"+39333{n:07d}" for n in range(1200)))
    send = ["send", "--account", account, "--to-file", str(file), "--text", "Hi", "--dry-run", "--request-id", "slices"]
    sent = running.json(*send)
    running(*send, "--wait")  # a repeat: it shares the fates of the first
    known = wait_for(
        lambda: len(found := running.json("status", "--request", "slices", "--account", account)) == 1200 and found
    )
    assert {(view["index"], view["id"]) for view in known} == {(message["index"], message["id"]) for message in sent}


def test_request_id_used_for_other_content_is_told_as_refused(running: Cli, account: str) -> None:
    send = ["send", "--account", account, "--to", ONE, "--dry-run", "--request-id", "reused", "--wait"]
    (first,) = running.json(*send, "--text", "Hi")
    (again,) = running.json(*send, "--text", "Hi")
    (other,) = running.json(*send, "--text", "Something else")
    assert first == again
    assert other["error"]["code"] == errors.REQUEST_ID_REUSED


def test_not_final_in_time(running: Cli, account: str) -> None:
    send = ["send", "--account", account, "--to", ONE, "--text", "Hi", "--wait", "--timeout", "3", "--json"]
    result = running(*send, code=1)
    fate = json.loads(result.stdout)
    assert (fate["detailedState"], fate["final"]) == ("ACCEPTED", False)
    assert f"--request {fate['requestId']}" in result.stderr


def test_refused_before_anything_is_produced(still: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    send = ["send", "--account", "acme"]
    for arguments in (
        ["--text", "Hi"],
        ["--text", "Hi", "--to-file", str(tmp_path / "missing")],
        ["--text", "Hi", "--to-file", str(tmp_path / "empty")],
        ["--text", "Hi", "--to-file", str(binary)],
        ["--text", "", "--to", ONE],
        ["--text", "Hi", "--to", ONE, "--validity", "0"],
        ["--text", "\udcff", "--to", ONE],
    ):
        still.refused(*send, *arguments, code=2)
    assert intake(still) == intake(still, PRIORITY) == []


def test_status_by_id(running: Cli, account: str) -> None:
    (sent,) = running.json("send", "--account", account, "--to", ONE, "--text", "x {{name}}")
    followed = running.json("status", sent["id"], "--follow")[-1]
    (view,) = running.json("status", sent["id"].upper())
    assert view == followed
    assert (view["id"], view["requestId"], view["final"]) == (sent["id"], sent["requestId"], True)
    assert (view["detailedState"], view["error"]["code"]) == ("REJECTED", errors.MISSING_FIELD)
    table = running("status", sent["id"], "--account", account).stdout
    assert sent["id"] in table
    assert "1 REJECTED" in table


def test_status_of_what_is_not_known(running: Cli, account: str) -> None:
    (fate,) = running.json("send", "--account", account, "--to", ONE, "--text", "Hi", "--dry-run", "--wait")
    wait_for(lambda: running.json("status", "--request", fate["requestId"], "--account", account))
    result = running("status", fate["id"], "0" * 24, code=1)
    assert fate["id"] in result.stdout
    assert f"message {'0' * 24}" in result.stderr
    running.refused("status", fate["id"], "--account", "another")
    running.refused("status", "--request", "never", "--account", account)


def test_status_asks_for_one_thing(running: Cli) -> None:
    for arguments in ([], ["--request", "r"], ["0" * 24, "--in-doubt"]):
        running.refused("status", *arguments, code=2)
    assert running.json("status", "--in-doubt", "--account", "nobody") == []


def test_status_without_a_read_model(still: Cli) -> None:
    assert "read model" in still.refused("status", "0" * 24)
