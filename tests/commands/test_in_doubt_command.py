"""`status --in-doubt`, `resend` and `fail`, on a system whose dispatch is played by the test."""

import time
from itertools import count
from typing import Any

import broker
import pytest
from driving import Cli, wait_for

from pipeline import ids
from pipeline.records import Submitted, decode_batches, encode
from pipeline.stages.doubt import ATTEMPTS_A_RESEND
from pipeline.streaming.topics import TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

_numbers = count(1)


@pytest.fixture(scope="module")
def account(running: Cli) -> str:
    running("account", "create", "doubter", "--credit", "1000")
    return "doubter"


@pytest.fixture
def doubtful(running: Cli, account: str) -> list[dict[str, Any]]:
    """Three messages in doubt, and no others."""
    left = running.json("status", "--in-doubt")
    if left:
        running("fail", *(message["id"] for message in left), "--yes")
    send = ["send", "--account", account, "--text", "Hi", "--bulk"]
    sent = running.json(*send, *(word for _ in range(3) for word in ("--to", f"+39333{next(_numbers):07d}")))
    batch = bytes.fromhex(sent[0]["id"])[: ids.BATCH_BYTES]
    answer(running, batch, dict.fromkeys(range(3), Detailed.IN_DOUBT))
    known = wait_for(lambda: len(found := running.json("status", "--in-doubt", "--account", account)) == 3 and found)
    return sorted(known, key=lambda message: message["index"])


def answer(cli: Cli, batch: bytes, states: dict[int, Detailed], carrier: str = "sim") -> None:
    """What dispatch would tell track."""
    error = Error(errors.IN_DOUBT, "the line broke", permanent=False)
    told = Submitted(
        batch, "doubter", carrier, time.time_ns() // 1_000_000, list(states), bytes(states.values()),
        [f"{carrier}{index}" if state == Detailed.SUBMITTED else "" for index, state in states.items()],
        {index: error for index, state in states.items() if state == Detailed.IN_DOUBT},
    )  # fmt: skip
    place = ids.partition_of(batch, cli.settings.kafka.partitions)
    broker.produce(
        cli.settings, TopicNames(cli.settings.kafka.topic_prefix).outcomes(), [(None, encode([told]), place)]
    )


def resent(cli: Cli, batch: bytes) -> list[tuple[int, list[int]]]:
    """Attempt and indexes of what went back to routing."""
    topic = TopicNames(cli.settings.kafka.topic_prefix).priced()
    found = [batch for record in broker.read(cli.settings, topic) for batch in decode_batches(record.value)]
    return [(one.attempt, one.index) for one in found if one.id == batch and one.attempt]


def test_fail_ends_it_and_gives_the_money_back(running: Cli, account: str, doubtful: list[dict[str, Any]]) -> None:
    (before,) = running.json("account", "show", account)
    (told,) = running.json("fail", doubtful[0]["id"].upper())
    assert (told["id"], told["recipient"], told["action"]) == (doubtful[0]["id"], doubtful[0]["recipient"], "fail")
    assert (told["result"], told["detailedState"]) == ("done", "FAILED")
    assert told["error"]["code"] == errors.FAILED_BY_OPERATOR
    price = float(doubtful[0]["totalPrice"])

    def released() -> bool:
        (now,) = running.json("account", "show", account)
        assert now["balance"] == before["balance"]
        return abs(float(before["reserved"]) - float(now["reserved"]) - price) < 1e-9

    wait_for(released)
    wait_for(lambda: len(running.json("status", "--in-doubt", "--account", account)) == 2)
    again = running("fail", doubtful[0]["id"], code=1)
    assert "not in doubt: FAILED" in again.stdout


def test_resend_sends_it_and_waits_for_the_answer(running: Cli, doubtful: list[dict[str, Any]]) -> None:
    one, other, _ = doubtful
    batch = bytes.fromhex(one["id"])[: ids.BATCH_BYTES]
    (told,) = running.json("resend", one["id"], "--wait", "1")
    assert (told["result"], told["detailedState"]) == ("pending", "IN_DOUBT")
    wait_for(lambda: resent(running, batch) == [(ATTEMPTS_A_RESEND, [0])])
    running.json("resend", one["id"], "--wait", "1")  # on its way: not once more
    running.json("resend", other["id"], "--wait", "1")
    wait_for(lambda: resent(running, batch) == [(ATTEMPTS_A_RESEND, [0]), (ATTEMPTS_A_RESEND, [1])])
    answer(running, batch, {0: Detailed.SUBMITTED, 1: Detailed.SUBMITTED})
    wait_for(lambda: [view["detailedState"] for view in running.json("status", one["id"])] == ["SUBMITTED"])
    result = running("resend", one["id"], code=1)
    assert f"{one['id']}  {one['recipient']:<16}  not in doubt: SUBMITTED" in result.stdout


def test_all_that_are_in_doubt_after_a_question(running: Cli, account: str, doubtful: list[dict[str, Any]]) -> None:
    every = ["fail", "--in-doubt", "--account", account]
    refused = running(*every, stdin="n\n", code=1)
    assert "Give up 3 messages in doubt (3 at sim)?" in refused.stderr
    assert "FAILED" not in refused.stdout
    assert running.json(*every, "--carrier", "another") == []
    assert running.json(*every, "--older-than", "3600") == []
    assert "no such message" in running(*every, "--carrier", "another").stdout
    found = running(*every, "--older-than", "0", "--carrier", "sim", stdin="y\n")
    assert found.stdout.count("  FAILED\n") == 3


def test_one_of_several_that_is_none(running: Cli, doubtful: list[dict[str, Any]]) -> None:
    wanted = [doubtful[0]["id"], "0" * 24]
    told = running.json("fail", *wanted, code=1)
    assert [(one["id"], one["result"]) for one in told] == [(wanted[0], "done"), (wanted[1], "unknown")]


def test_arguments(running: Cli, still: Cli) -> None:
    for command in ("resend", "fail"):
        for arguments in (
            [],
            ["0" * 24, "--in-doubt"],
            ["0" * 24, "--carrier", "sim"],
            ["0" * 24, "--older-than", "1"],
            ["nobody"],
        ):
            running.refused(command, *arguments, code=2)
        assert "read model" in still.refused(command, "0" * 24)
