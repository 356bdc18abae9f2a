"""`/opt-outs` over real HTTP and a real broker. Each test has numbers of its own, the accounts are shared."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import broker
import pytest
from serving import TOKENS, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord
from pipeline.gateway import publisher, reading
from pipeline.gateway.account import opt_outs
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.optouts import OptOut, key
from pipeline.tokens import hash_token
from schemas import errors


def records(gateway, recipient):
    """What the topic has of a number: account and source, or None for a tombstone, in order."""
    found = broker.read(gateway.settings, gateway.names.opt_outs)
    values = [(r.key, r.value and json.loads(r.value)) for r in found if r.key.endswith(recipient.encode())]
    return [(key.decode().split("/")[0], value and value["source"]) for key, value in values]


def problem(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return body["message"]


def test_a_number_opts_out_once_and_in_again(gateway):
    number = "+393330000001"
    with gateway.as_("acme") as acme:
        problem(acme.get(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
        for status in (201, 200, 200):
            answer = acme.put(f"/opt-outs/{number}")
            assert (answer.status_code, answer.json()) == (status, {"data": {"recipient": number}})
        assert acme.get(f"/opt-outs/{number}").json() == {"data": {"recipient": number}}
        assert records(gateway, number) == [("acme", "api")]
        answer = acme.delete(f"/opt-outs/{number}")
        assert (answer.status_code, answer.content) == (204, b"")
        problem(acme.delete(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
        problem(acme.get(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
        assert records(gateway, number) == [("acme", "api"), ("acme", None)]
        assert acme.put(f"/opt-outs/{number}").status_code == 201


def test_a_number_in_the_path_may_be_escaped_or_without_its_plus(gateway):
    with gateway.as_("acme") as acme:
        for place, status in (("+393330000002", 201), ("%2B393330000002", 200), ("393330000002", 200)):
            assert acme.put(f"/opt-outs/{place}").status_code == status
            assert acme.get(f"/opt-outs/{place}").json() == {"data": {"recipient": "+393330000002"}}


@pytest.mark.parametrize(
    ("number", "word"), [("abc", "letters"), ("+39%20333", "digits"), ("0039333", "0"), ("1", "short"), ("%ff", "")]
)
def test_what_is_no_number_is_refused_with_its_fault(gateway, number, word):
    with gateway.as_("acme") as acme:
        for method in ("GET", "PUT", "DELETE"):
            answer = acme.request(method, f"/opt-outs/{number}")
            assert word in problem(answer, 422, errors.INVALID_RECIPIENT)


def test_without_a_token_there_is_nothing(gateway):
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/+391"), ("PUT", "/+391"), ("DELETE", "/+391")):
        problem(gateway.http.request(method, f"/opt-outs{path}"), 401, errors.UNAUTHENTICATED)


def test_pages_follow_each_other_in_order(gateway):
    numbers = [f"+3934{n:07d}" for n in range(250)]
    with gateway.as_("globex") as globex:
        assert globex.get("/opt-outs").json() == {"data": [], "nextCursor": None}
        answer = globex.post("/opt-outs", json={"recipients": [*reversed(numbers), numbers[7]]})
        assert (answer.status_code, answer.json()) == (201, {"data": {"added": 250, "known": 0}})

        first = globex.get("/opt-outs").json()
        assert [one["recipient"] for one in first["data"]] == numbers[:100]
        second = globex.get("/opt-outs", params={"cursor": first["nextCursor"], "limit": 149}).json()
        assert [one["recipient"] for one in second["data"]] == numbers[100:249]
        globex.delete(f"/opt-outs/{numbers[248]}")  # the cursor itself goes
        last = globex.get(f"/opt-outs?cursor={second['nextCursor']}").json()
        assert last == {"data": [{"recipient": numbers[249]}], "nextCursor": None}
        assert globex.get("/opt-outs?limit=249").json()["nextCursor"] is None

        again = globex.post("/opt-outs", json={"recipients": numbers}).json()
        assert again == {"data": {"added": 1, "known": 249}}
        assert len(records(gateway, numbers[0])) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=abc", "cursor=%2B393330000001"])
def test_a_page_that_cannot_be_is_refused(gateway, query):
    name = query.partition("=")[0]
    with gateway.as_("acme") as acme:
        assert name in problem(acme.get(f"/opt-outs?{query}"), 422, errors.MALFORMED_REQUEST)


def test_accounts_neither_see_nor_change_each_others(gateway):
    number = "+393330000003"
    with gateway.as_("acme") as acme, gateway.as_("globex") as globex, gateway.as_("blocked") as blocked:
        assert acme.put(f"/opt-outs/{number}").status_code == 201
        for other in (globex, blocked):
            problem(other.get(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
            problem(other.delete(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
            assert {"recipient": number} not in other.get("/opt-outs?limit=1000").json()["data"]
        assert globex.put(f"/opt-outs/{number}").status_code == 201
        assert globex.delete(f"/opt-outs/{number}").status_code == 204
        assert acme.get(f"/opt-outs/{number}").status_code == 200
        # Who may not send may still be asked not to.
        assert blocked.put(f"/opt-outs/{number}").status_code == 201


def test_an_opt_out_from_everybody_is_no_accounts(gateway):
    number = "+393330000004"
    everybody = OptOut("*", number, "2026-11-22T10:00:00.000Z", "command")
    broker.produce(gateway.settings, gateway.names.opt_outs, [(everybody.key, everybody.value, 0)])
    with gateway.as_("acme") as acme:
        problem(acme.get(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
        problem(acme.delete(f"/opt-outs/{number}"), 404, errors.NOT_FOUND)
        assert {"recipient": number} not in acme.get("/opt-outs?limit=1000").json()["data"]
    assert records(gateway, number) == [("*", "command")]


def test_what_others_wrote_is_seen_at_once(gateway):
    with gateway.as_("acme") as acme:
        for n in range(5):
            number = f"+39333000010{n}"
            broker.produce(gateway.settings, gateway.names.opt_outs, [(key("acme", number), b"{}", 0)])
            assert acme.get(f"/opt-outs/{number}").status_code == 200
            broker.produce(gateway.settings, gateway.names.opt_outs, [(key("acme", number), None, 0)])
            assert acme.put(f"/opt-outs/{number}").status_code == 201


def test_one_bad_number_refuses_all_and_each_is_told(gateway):
    given = ["+393330000005", "393330000006", 7, None, "+39x", *["+"] * 20, "+393330000007"]
    with gateway.as_("acme") as acme:
        message = problem(acme.post("/opt-outs", json={"recipients": given}), 422, errors.INVALID_RECIPIENT)
        assert message.startswith("recipients: 24 of 26 ")
        assert "recipients.1: no + at the start; write it as +393330000006" in message
        assert "recipients.2: not a string" in message and "recipients.4: letters" in message
        for place, number in enumerate(given):
            named = f"recipients.{place}:" in message or f"recipients.{place}," in message + ","
            assert named is (number not in ("+393330000005", "+393330000007"))
        problem(acme.get("/opt-outs/+393330000005"), 404, errors.NOT_FOUND)
    assert records(gateway, "+393330000005") == []


@pytest.mark.parametrize(
    ("body", "status", "code", "word"),
    [
        (b"", 400, errors.MALFORMED_REQUEST, "JSON"),
        (b"{", 400, errors.MALFORMED_REQUEST, "JSON"),
        (b'{"recipients": ["\xff"]}', 400, errors.MALFORMED_REQUEST, "UTF-8"),
        (b'{"recipients": ' + b"[" * 200_000, 400, errors.MALFORMED_REQUEST, "JSON"),
        (b"[]", 422, errors.MALFORMED_REQUEST, "object"),
        (b"{}", 422, errors.MALFORMED_REQUEST, "recipients"),
        (b'{"recipients": "+393330000005"}', 422, errors.MALFORMED_REQUEST, "list"),
        (b'{"recipients": [], "account": "globex"}', 422, errors.MALFORMED_REQUEST, "account"),
        (b'{"recipients": [' + b'"+391",' * 10_000 + b'"+391"]}', 422, errors.TOO_MANY_RECIPIENTS, "10000"),
        (b'{"recipients": [' + b" " * opt_outs.MAX_BODY_BYTES + b"]}", 413, errors.TOO_LARGE, "split"),
    ],
)
def test_a_body_of_another_shape_is_refused(gateway, body, status, code, word):
    with gateway.as_("acme") as acme:
        assert word in problem(acme.post("/opt-outs", content=body), status, code)


def test_as_many_as_a_request_may_have(gateway):
    numbers = [f"+3935{n:07d}" for n in range(10_000)]
    with gateway.as_("blocked") as account:
        answer = account.post("/opt-outs", json={"recipients": numbers})
        assert answer.json() == {"data": {"added": 10_000, "known": 0}}
        assert account.get(f"/opt-outs/{numbers[-1]}").status_code == 200
        assert account.post("/opt-outs", json={"recipients": []}).json() == {"data": {"added": 0, "known": 0}}


def test_requests_at_the_same_time_end_alike(gateway):
    with gateway.as_("acme") as acme, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: acme.put("/opt-outs/+393330000008"), range(16)))
        assert {answer.status_code for answer in answers} <= {200, 201}
        assert acme.get("/opt-outs/+393330000008").status_code == 200


async def _seen(_):
    """As if everything were read."""


def test_without_kafka_nothing_is_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(reading, "_REFRESH_SECONDS", 0.5)
    monkeypatch.setattr(opt_outs, "_REFRESH_SECONDS", 0.5)
    kafka = EmbeddedKafka(tmp_path / "kafka", heap_mb=256)
    settings = configured(kafka.start(), tmp_path)
    try:
        broker.create_topics(settings)
        put_accounts(settings, AccountRecord("acme", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["acme"])]))
        with serving(settings) as gateway, gateway.as_("acme") as acme:
            eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
            assert acme.put("/opt-outs/+391").status_code == 201

            os.kill(kafka.pid, signal.SIGKILL)
            eventually(lambda: not kafka.alive())
            for method, path in (("GET", ""), ("GET", "/+391"), ("PUT", "/+392"), ("DELETE", "/+391")):
                answer = acme.request(method, f"/opt-outs{path}")
                problem(answer, 503, errors.UNAVAILABLE)
                assert answer.headers["retry-after"]
            problem(acme.post("/opt-outs", json={"recipients": ["+393"]}), 503, errors.UNAVAILABLE)
            with monkeypatch.context() as late:  # it goes away between the look and the change
                late.setattr(opt_outs, "_refresh", _seen)
                for method, path, body in (("PUT", "/+394", None), ("POST", "", {"recipients": ["+395"]})):
                    problem(acme.request(method, f"/opt-outs{path}", json=body), 503, errors.UNAVAILABLE)
                problem(acme.delete("/opt-outs/+391"), 503, errors.UNAVAILABLE)
    finally:
        kafka.stop()


def test_a_gateway_that_has_not_read_the_opt_outs_says_so(tmp_path):
    with serving(configured("127.0.0.1:1", tmp_path)) as gateway:
        eventually(lambda: gateway.http.get("/health/ready").json()["missing"] == ["kafka", "accounts", "optOuts"])
        problem(gateway.as_("acme").get("/opt-outs"), 503, errors.UNAVAILABLE)
