"""Uploads: what is sent of files and of recipients as they come, and when it is sent again."""

import email
import email.policy
import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import calling
from flaky import Asked, Flaky, Reply

from pipeline.client import ApiError

TOKEN = "smsp_" + "t" * 43
TAKEN = Reply(202, {"data": {"id": "spring", "recipients": 3, "badLines": [{"line": 2, "reason": "no number"}]}})
AWAY = Reply(503, {"code": 3052, "message": "away"}, {"Retry-After": "0"})
CSV = b"number,name\n+393331234567,Ada\n+393331234568,Bob\n"


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, flaky: Flaky) -> Iterator[Any]:
    flaky.replies[:] = [TAKEN]
    with calling(request.param, flaky.url, TOKEN) as found:
        yield found


def lines(asked: Asked) -> list[Any]:
    assert asked.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in asked.body.splitlines()]


def parts(asked: Asked) -> tuple[Any, Any]:
    """The request as JSON, and the part of recipients."""
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + asked.body, policy=email.policy.HTTP)
    request, recipients = form.iter_parts()
    assert not form.defects
    names = [part.get_param("name", header="content-disposition") for part in (request, recipients)]
    assert names == ["request", "recipients"]
    return json.loads(request.get_payload(decode=True)), recipients


def test_recipients_are_sent_as_they_come(flaky: Flaky, client: Any) -> None:
    given = ({"number": f"+39333{n:07d}", "fields": {"n": n}} for n in range(2500))
    found = client.upload_batch(given, "Hi {{n}}", name="Spring", sender="ACME", request_id="spring", on_error="refuse")
    assert (found.id, found.bad_lines[0].line, found.final) == ("spring", 2, False)
    (asked,) = flaky.asked
    assert (asked.path, asked.headers["transfer-encoding"]) == ("/batches", "chunked")
    request, *recipients = lines(asked)
    assert request == {
        "requestId": "spring", "sender": "ACME", "message": "Hi {{n}}", "name": "Spring", "onError": "refuse"
    }  # fmt: skip
    assert len(recipients) == 2500
    assert recipients[2] == {"number": "+393330000002", "fields": {"n": 2}}


@pytest.mark.parametrize("kind", [list, tuple, set, dict.fromkeys])
def test_what_can_be_read_again_is_sent_again(flaky: Flaky, client: Any, kind: Any) -> None:
    flaky.replies[:] = [AWAY, TAKEN]
    client.upload_batch(kind(["+393331234567"]), "Hi")
    first, second = map(lines, flaky.asked)
    assert first == second
    assert first[1:] == ["+393331234567"]


def test_what_is_gone_is_not_sent_again(flaky: Flaky, client: Any) -> None:
    flaky.replies[:] = [AWAY, TAKEN]
    with pytest.raises(ApiError) as raised:
        client.upload_batch(iter(["+393331234567"]), "Hi", request_id="mine")
    assert (raised.value.status, raised.value.request_id) == (503, "mine")
    assert len(flaky.asked) == 1


def test_a_file_by_its_path(flaky: Flaky, client: Any, tmp_path: Path) -> None:
    path = tmp_path / 'Kund"en\n.csv'
    path.write_bytes(CSV)
    flaky.replies[:] = [AWAY, TAKEN]
    client.upload_batch(path, "Hi {{name}}")
    request, recipients = parts(flaky.asked[1])
    assert request["message"] == "Hi {{name}}"
    assert recipients.get_payload(decode=True) == CSV
    assert recipients.get_filename() == "Kund_en_.csv"
    assert flaky.asked[0].body == flaky.asked[1].body


def test_an_open_file_from_where_it_stands(flaky: Flaky, client: Any) -> None:
    file = io.BytesIO(b"skipped" + gzip.compress(CSV))
    file.seek(len(b"skipped"))
    flaky.replies[:] = [AWAY, TAKEN]
    client.upload_batch(file, "Hi", format="csv")
    for asked in flaky.asked:
        _, recipients = parts(asked)
        assert recipients.get_content_type() == "text/csv"
        assert gzip.decompress(recipients.get_payload(decode=True)) == CSV


def test_bad_lines_of_a_refusal(flaky: Flaky, client: Any) -> None:
    bad = [{"line": 2, "reason": "no number"}]
    flaky.replies[:] = [Reply(422, {"code": 3085, "message": "bad lines", "badLineCount": 1, "badLines": bad})]
    with pytest.raises(ApiError) as raised:
        client.upload_batch(["x"], "Hi")
    assert raised.value.details["badLines"] == bad


def test_wait_for_a_batch(flaky: Flaky, client: Any) -> None:
    def at(final: int) -> Reply:
        progress = {"known": 3, "final": final, "share": final / 3}
        return Reply(200, {"data": {"id": "spring/7", "recipients": 3, "progress": progress}})

    flaky.replies[:] = [at(0), at(2), at(3)]
    assert client.wait_batch("spring/7", timeout=20).final
    assert flaky.asked[0].path == "/batches/spring%2F7"


def test_a_path_may_be_a_str(flaky: Flaky, client: Any, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(CSV)
    client.upload_batch(str(path), "Hi")
    _, recipients = parts(flaky.asked[0])
    assert (recipients.get_filename(), recipients.get_payload(decode=True)) == ("people.csv", CSV)


def test_a_temporary_file_is_a_file(flaky: Flaky, client: Any) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(CSV)
        file.seek(0)
        client.upload_batch(file, "Hi")
    assert parts(flaky.asked[0])[1].get_payload(decode=True) == CSV


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_without_a_file_sends_nothing(flaky: Flaky, client: Any, tmp_path: Path, kind: Any) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_batch(kind(tmp_path / "missing.csv"), "Hi")
    assert flaky.asked == []


def test_a_file_opened_as_text_sends_nothing(flaky: Flaky, client: Any) -> None:
    with pytest.raises(TypeError, match="open it in binary mode"):
        client.upload_batch(io.StringIO(CSV.decode()), "Hi")
    assert flaky.asked == []


@pytest.mark.parametrize(
    ("wrong", "words"), [({"dryrun": True}, "'dry_run'"), ({"request": "7"}, "'request'"), ({"format": "xls"}, "csv")]
)
def test_what_an_upload_does_not_know_sends_nothing(flaky: Flaky, client: Any, wrong: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        client.upload_batch(["+393331234567"], "Hi", **wrong)
    assert flaky.asked == []


def test_a_number_that_is_no_text_uploads_nothing(flaky: Flaky, client: Any) -> None:
    with pytest.raises(TypeError, match="not as int"):
        client.upload_batch([393331234567], "Hi")
    assert flaky.asked == []
