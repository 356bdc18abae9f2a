"""Uploads of recipients over HTTP: whole or not at all."""

import gzip
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import broker
import pytest
from serving import TOKENS, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord, hash_token
from pipeline.config import Uploads
from pipeline.gateway.batches.spool import DIRECTORY
from schemas import errors

REQUEST = {"sender": "ACME", "message": "Ciao {{name|friend}}"}
MOST_BYTES = 400_000


@pytest.fixture(scope="module")
def gateway(kafka, tmp_path_factory):
    """Small limits: 10 recipients a record, 2,000 an upload."""
    settings = configured(kafka, tmp_path_factory.mktemp("gateway"))
    uploads = Uploads(recipients=2_000, bytes=MOST_BYTES, concurrent=4, request_recipients=10, seconds=5)
    settings = settings.model_copy(update={"uploads": uploads})
    broker.create_topics(settings)
    put_accounts(
        settings,
        *(AccountRecord(name, "2026-11-22T10:00:00.000Z", [hash_token(TOKENS[name])]) for name in ("acme", "globex")),
        AccountRecord("blocked", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["blocked"])], blocklisted=True),
    )
    with serving(settings) as running:
        eventually(lambda: running.http.get("/health/ready").status_code == 200)
        yield running


def numbers(count, first=0):
    return [f"+39333{number:07d}" for number in range(first, first + count)]


def parts(recipients, filename="people.csv", /, **request):
    return {
        "request": (None, json.dumps(REQUEST | request), "application/json"),
        "recipients": (filename, recipients),
    }


def post(gateway, recipients, filename="people.csv", /, by="acme", headers=None, **request):
    with gateway.as_(by) as http:
        return http.post("/batches", files=parts(recipients, filename, **request), headers=headers)


def taken(answer):
    assert answer.status_code == 202, answer.text
    return answer.json()["data"]


def problem(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    return body


def intake(gateway, batch, due=None):
    """The requests of a batch on the intake, in their order, and their places; wait until `due` are there."""

    def look():
        read = broker.read(gateway.settings, gateway.names.intake())
        found[:] = [(json.loads(r.value), r) for r in read if json.loads(r.value)["requestId"].startswith(f"{batch}/")]
        return due is None or len(found) >= due

    found = []
    eventually(look)
    return sorted(found, key=lambda one: int(one[0]["requestId"].rpartition("/")[2]))


def records(gateway, batch):
    found = [json.loads(record.value) for record in broker.read(gateway.settings, gateway.names.batches)]
    return [one for one in found if one["id"] == batch]


def test_a_csv_is_cut_into_requests_beside_a_record_of_the_batch(gateway):
    rows = [f"{number};Ada {place};Roma" for place, number in enumerate(numbers(25))]
    body = (
        "\ufeffPhone;name;city\r\n"
        + "\r\n".join([*rows[:12], "", "+39;zu;viele;Spalten", *rows[12:], rows[3]])
        + "\r\n"
    )
    more = {"options": {"dryRun": True, "validitySeconds": 60}, "custom": {"campaign": 7}}
    data = taken(post(gateway, body, requestId="spring", name="Spring sale", **more))
    assert (data["id"], data["requestId"], data["name"], data["dryRun"]) == ("spring", "spring", "Spring sale", True)
    assert (data["recipients"], data["repeats"], data["badLineCount"]) == (25, 1, 1)
    assert data["badLines"] == [{"line": 15, "reason": "4 columns, the header has 3"}]
    found = intake(gateway, "spring", 3)
    assert [value["requestId"] for value, _ in found] == ["spring/1", "spring/2", "spring/3"]
    for value, _ in found:
        assert value | {"requestId": "", "recipients": []} == {
            **REQUEST, "requestId": "", "account": "acme", "recipients": [], **more,
        }  # fmt: skip
    sent = [one for value, _ in found for one in value["recipients"]]
    assert sent == [{"number": n, "fields": {"name": f"Ada {place}"}} for place, n in enumerate(numbers(25))]
    assert len({record.partition for _, record in found}) > 1
    (record,) = records(gateway, "spring")
    assert (record["recipients"], record["requests"], record["createdAt"]) == (25, 3, data["createdAt"])


def test_lists_of_every_kind(gateway):
    ndjson = b'{"number": "+391", "fields": {"name": "Ada"}}\n\n"+392"\n{"number": "+393", "x": 1}\n'
    kinds = {
        "numbers.txt": b"+391\n+392\n",
        "people.ndjson": ndjson,
        "people.csv.gz": gzip.compress(b"number\n+391\n+392\n"),
        "unnamed": ndjson,
    }
    for filename, body in kinds.items():
        data = taken(post(gateway, body, filename))
        assert data["recipients"] == 2 and len(data["id"]) == 32
        assert data["badLines"] == [{"line": 4, "reason": "Object contains unknown field x"}][: body == ndjson]


@pytest.mark.parametrize("packed", [False, True])
def test_ndjson_may_bring_the_request_on_its_first_line(gateway, packed):
    body = json.dumps(REQUEST | {"requestId": f"lines-{packed}"}).encode() + b'\n"+391"\n{"number": "+392"}\n"x'
    headers = {"Content-Type": "application/x-ndjson"} | ({"Content-Encoding": "gzip"} if packed else {})
    content = gzip.compress(body) if packed else body
    data = taken(gateway.as_("acme").post("/batches", content=iter([content[:60], content[60:]]), headers=headers))
    assert (data["recipients"], data["badLines"]) == (2, [{"line": 3, "reason": "not JSON"}])
    assert [value["recipients"] for value, _ in intake(gateway, data["id"], 1)] == [["+391", "+392"]]


def test_the_same_upload_again_is_answered_and_other_content_refused(gateway):
    body = "number,name\n" + "\n".join(f"{number},Ada" for number in numbers(30))
    first = taken(post(gateway, body, headers={"Idempotency-Key": '"again"'}))
    assert first["id"] == "again"
    for same in (body, body.replace(",", ";").replace("\n", "\r\n"), gzip.compress(body.encode())):
        assert taken(post(gateway, same, requestId="again")) == first
    for other in ({"message": "Salve {{name}}"}, {"name": "x"}, {"sender": "OTHER"}):
        problem(post(gateway, body, requestId="again", **other), 422, errors.REQUEST_ID_REUSED)
    problem(post(gateway, body + "\n+391,Bob", requestId="again"), 422, errors.REQUEST_ID_REUSED)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: post(gateway, body, requestId="at once"), range(2)))
    assert taken(answers[0]) == taken(answers[1])
    for batch in ("again", "at once"):
        assert len(intake(gateway, batch, 3)) == 3 and len(records(gateway, batch)) == 1
    assert taken(post(gateway, body, by="globex", requestId="again"))["createdAt"] >= first["createdAt"]
    assert {value["account"] for value, _ in intake(gateway, "again", 6)} == {"acme", "globex"}


@pytest.mark.parametrize(
    ("recipients", "request_", "status", "code", "said"),
    [
        ("+391", {"recipients": ["+392"]}, 422, errors.MALFORMED_REQUEST, "recipients: "),
        ("+391", {"account": "globex"}, 422, errors.MALFORMED_REQUEST, "account: "),
        ("+391", {"message": ""}, 422, errors.EMPTY_MESSAGE, "message"),
        ("+391", {"text": "Hi"}, 422, errors.MALFORMED_REQUEST, "text: unknown field"),
        ("+391", {"onError": "stop"}, 422, errors.MALFORMED_REQUEST, "onError: "),
        ("+391", {"requestId": "x" * 101}, 422, errors.MALFORMED_REQUEST, "requestId: "),
        ("+391", {"sender": "12345"}, 422, errors.NUMERIC_SENDER, ""),
        ("+391", {"message": "x" * 5000}, 422, errors.TOO_MANY_PARTS, ""),
        ("+391", {"message": "Ciao {{name}}"}, 202, 0, ""),
        ("number\n+391", {"message": "Ciao {{name}}"}, 422, errors.MALFORMED_REQUEST, "no column 'name'"),
        ("name\nAda", {}, 422, errors.MALFORMED_REQUEST, "names no column number"),
        ("", {}, 422, errors.NO_RECIPIENTS, "no line gives a recipient"),
        ("number,name\n,Ada\n", {}, 422, errors.NO_RECIPIENTS, "no line gives a recipient"),
        ("number\n+391\n1,2", {"onError": "refuse"}, 422, errors.BAD_LINES, "1 bad lines"),
        ("\n".join(numbers(2001)), {}, 422, errors.TOO_MANY_RECIPIENTS, "at most 2000"),
        ("+391\n" * 90_000, {}, 413, errors.TOO_LARGE, f"{MOST_BYTES} bytes"),
        (gzip.compress(b"+391\n" * 2_000_000), {}, 413, errors.TOO_LARGE, "when unpacked"),
        (gzip.compress(b"+391\n" * 100)[:-20], {}, 400, errors.UPLOAD_UNREADABLE, "gzip"),
        (b"\x1f\x8bxxxxxxxxxxxxxx", {}, 400, errors.UPLOAD_UNREADABLE, "gzip"),
    ],
)  # fmt: skip
def test_wrong_uploads_are_refused_by_name_and_nothing_is_taken(gateway, recipients, request_, status, code, said):
    id_ = os.urandom(8).hex()
    answer = post(gateway, recipients, **{"requestId": id_} | request_)
    if status == 202:  # a list without a header has no columns: each message tells what it lacks
        assert taken(answer)
        return
    assert said in problem(answer, status, code)["message"]
    assert not intake(gateway, id_) and not records(gateway, id_)


def test_bad_lines_are_told_with_a_refusal_too(gateway):
    answer = post(gateway, "number\n" + "1,2\n" * 150 + "+391", onError="refuse")
    body = problem(answer, 422, errors.BAD_LINES)
    assert body["badLineCount"] == 150 and [one["line"] for one in body["badLines"]] == list(range(2, 102))


REQUEST_PART = b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + json.dumps(REQUEST).encode() + b"\r\n"
RECIPIENTS_PART = b'--b\r\nContent-Disposition: form-data; name="recipients"\r\n\r\n+391\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data; boundary=b", RECIPIENTS_PART + REQUEST_PART + b"--b--", 400),
        ("multipart/form-data; boundary=b", REQUEST_PART + b"--b--", 400),
        ("multipart/form-data; boundary=b", REQUEST_PART + RECIPIENTS_PART, 400),
        ("multipart/form-data; boundary=b", REQUEST_PART + RECIPIENTS_PART + RECIPIENTS_PART + b"--b--", 400),
        ("multipart/form-data; boundary=b", REQUEST_PART.replace(b'{"', b"{") + RECIPIENTS_PART + b"--b--", 400),
        ("multipart/form-data; boundary=b", REQUEST_PART.replace(b"ACME", b"A" * 300_000) + RECIPIENTS_PART, 413),
        ("multipart/form-data", REQUEST_PART, 400),
        ("application/x-ndjson", b'{"message": "Hi"}', 400),
        ("application/x-ndjson", b'[]\n"+391"', 422),
        ("application/x-ndjson", b" " * 300_000, 413),
        ("application/json", b"{}", 415),
        ("text/csv", b"+391", 415),
    ],
)
def test_bodies_of_the_wrong_shape(gateway, content_type, body, status):
    answer = gateway.as_("acme").post("/batches", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_who_may_not(gateway):
    assert gateway.http.post("/batches", files=parts("+391")).status_code == 401
    problem(post(gateway, "+391", by="blocked"), 403, errors.BLOCKLISTED)
    headers = {"Idempotency-Key": "one"}
    problem(post(gateway, "+391", requestId="other", headers=headers), 422, errors.MALFORMED_REQUEST)
    answer = gateway.as_("acme").post("/batches", content=b"x", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415


def raw(gateway, length, body, by="acme"):
    """A connection that sent this much of an upload."""
    connection = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
    head = (
        f"POST /batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS[by]}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_an_upload_that_does_not_come_to_its_end_is_not_waited_for(gateway):
    with raw(gateway, 10_000, REQUEST_PART) as connection:
        connection.settimeout(20)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def counted(gateway, result):
    name = f'sms_gateway_uploads_total{{result="{result}"}} '
    lines = gateway.http.get("/metrics").text.splitlines()
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)


def test_an_upload_that_is_cut_leaves_nothing_and_only_so_many_are_under_way(gateway):
    request = REQUEST_PART.replace(b'"sender"', b'"requestId": "cut", "sender"')
    body = request + RECIPIENTS_PART.replace(b"+391", "\n".join(numbers(1500)).encode())
    before = counted(gateway, "cut")
    connections = [raw(gateway, len(body) + 1000, body) for _ in range(2)]
    eventually(lambda: post(gateway, "+391").status_code == 503)
    assert "2 uploads of this account" in post(gateway, "+391").text
    assert taken(post(gateway, "+391", by="globex"))  # half of them are an account's at most
    connections += [raw(gateway, len(body) + 1000, body, by="globex") for _ in range(2)]
    eventually(lambda: "as many uploads as may be" in post(gateway, "+391").text)
    assert post(gateway, "+391").headers["retry-after"]
    for connection in connections:
        connection.close()
    eventually(lambda: counted(gateway, "cut") == before + 4)
    assert taken(post(gateway, "+391"))
    assert not intake(gateway, "cut") and not records(gateway, "cut")
    assert list(Path(gateway.settings.storage.directory, DIRECTORY).iterdir()) == []
