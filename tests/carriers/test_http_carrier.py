"""Every answer and every failure of an HTTP carrier, and the outcome it must become."""

import asyncio
import gzip
import logging
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from pipeline.carriers import http
from pipeline.carriers.base import Accepted, Answered, NotSent, Refused, Rejected, SlowDown, Unanswered, Unknown
from pipeline.carriers.http import HttpCarrier
from pipeline.config import ConfigError
from pipeline.config import HttpCarrier as Config
from schemas.errors import CARRIER_REJECTED, CARRIER_UNAVAILABLE, IN_DOUBT

TOKEN = "opaque-word-1742"
FIRST, SECOND = f"{0:024x}", f"{1:024x}"


def carrier(url: str, **settings: Any) -> HttpCarrier:
    return HttpCarrier("telco", Config.model_validate({"url": url, "token": TOKEN, "timeout": 2.0} | settings))


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def results(*items: dict[str, Any]) -> bytes:
    return response("200 OK", msgspec.json.encode({"results": items}))


def accepted(reference: str, name: str) -> dict[str, Any]:
    return {"reference": reference, "id": name, "status": "accepted"}


def rejected(reference: str, **error: Any) -> dict[str, Any]:
    return {"reference": reference, "status": "rejected", "error": error}


@pytest.fixture
def outcome_of(serve_raw, read_request, batch):
    """The outcome of two messages submitted to a server that answers these bytes and closes."""

    async def submit(answer: bytes, settings: dict[str, Any]) -> Any:
        async def handle(reader, writer):
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

        async with serve_raw(handle) as url:
            client = carrier(url, **settings)
            try:
                return await client.submit(batch(2), "key")
            finally:
                await client.close()

    return lambda answer, **settings: asyncio.run(submit(answer, settings))


ANSWERED = [
    ([accepted(FIRST, "a"), accepted(SECOND, "b")], [("Accepted", "a"), ("Accepted", "b")]),
    ([accepted(SECOND, "b"), accepted(FIRST, "a")], [("Accepted", "a"), ("Accepted", "b")]),  # ours is the order
    ([accepted(SECOND, "b")], [("Unanswered",), ("Accepted", "b")]),
    ([accepted(FIRST, "a"), accepted("f" * 24, "x")], [("Accepted", "a"), ("Unanswered",)]),
    ([accepted(FIRST, "a"), {"reference": SECOND, "status": "queued?"}], [("Accepted", "a"), ("Unanswered",)]),
    ([{"reference": FIRST, "status": "accepted"}], [("Accepted", ""), ("Unanswered",)]),
    ([], [("Unanswered",), ("Unanswered",)]),
    (
        [rejected(FIRST, code="11", message="bad address", permanent=True), accepted(SECOND, "b")],
        [("Rejected", "11 bad address", True), ("Accepted", "b")],
    ),
    ([rejected(FIRST, code="20", message="queue full", permanent=False)], [("Rejected", "20", False), ("Unanswered",)]),
    ([{"reference": FIRST, "status": "rejected"}], [("Rejected", "", True), ("Unanswered",)]),
]


@pytest.mark.parametrize(("items", "expected"), ANSWERED)
def test_results_stand_in_the_order_of_the_messages(outcome_of, items, expected):
    outcome = outcome_of(results(*items))
    assert isinstance(outcome, Answered) and len(outcome.results) == len(expected)
    for result, (kind, *details) in zip(outcome.results, expected, strict=True):
        match result:
            case Accepted(id):
                assert (kind, details) == ("Accepted", [id])
            case Rejected(error):
                assert kind == "Rejected" and error.code == CARRIER_REJECTED
                assert details[0] in error.message and error.permanent is details[1]
            case Unanswered():
                assert kind == "Unanswered"


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True)


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        (response("429 Too Many Requests", b"", "Retry-After: 7"), 7, 7),
        (response("503 Service Unavailable", b"", "Retry-After: 2"), 2, 2),
        (response("429 Too Many Requests"), 1, 1),
        (response("503 Service Unavailable", b"", "Retry-After: soon"), 1, 1),
        (response("429 Too Many Requests", b"", "Retry-After: -4"), 1, 1),
        (response("429 Too Many Requests", b"", "Retry-After: 0"), 0.1, 0.1),
        (response("429 Too Many Requests", b"", "Retry-After: 99999999999"), 3600, 3600),
        (response("503 Service Unavailable", b"", f"Retry-After: {in_an_hour()}"), 900, 1800),
        (response("503 Service Unavailable", b"", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"), 0.1, 0.1),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 50\r\nRetry-After: 3\r\n\r\ncut", 3, 3),
    ],
)
def test_throttling_says_how_long(outcome_of, answer, least, most):
    outcome = outcome_of(answer)
    assert isinstance(outcome, SlowDown)
    assert least <= outcome.seconds <= most


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "413 Too Large", "422 No"])
def test_other_4xx_refuse_the_batch_for_good(outcome_of, status):
    outcome = outcome_of(response(status, b'{"message":\n  "unknown sender"}'))
    assert isinstance(outcome, Refused)
    assert outcome.error.code == CARRIER_REJECTED and outcome.error.permanent
    assert outcome.error.message == f'carrier telco answered HTTP {status[:3]} {{"message": "unknown sender"}}'


WHOLE = results(accepted(FIRST, "a"), accepted(SECOND, "b"))


@pytest.mark.parametrize(
    "answer",
    [
        response("500 Internal Server Error", b"oops"),
        response("502 Bad Gateway"),
        response("504 Gateway Timeout"),
        response("303 See Other", b"", "Location: /result"),
        response("200 OK", b"<html>maintenance</html>"),
        response("200 OK", b""),
        response("200 OK", b'{"results": "none"}'),
        response("200 OK", b'{"results": [{"reference": 7, "status": "accepted"}]}'),
        response("200 OK", b'{"results": ["\xff\xfe"]}'),
        response("200 OK", gzip.compress(b'{"results": []}'), "Content-Encoding: gzip"),
        b"garbage\r\n\r\n",
        b"",
        WHOLE[:20],
        WHOLE[:-10],
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"res',
    ],
)
def test_what_may_have_been_taken_is_unknown(outcome_of, answer):
    outcome = outcome_of(answer)
    assert isinstance(outcome, Unknown)
    assert outcome.error.code == IN_DOUBT and not outcome.error.permanent


def test_an_answer_without_end_is_unknown(outcome_of, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    assert isinstance(outcome_of(response("200 OK", b" " * 1001)), Unknown)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_redirects_are_not_followed(outcome_of, status):
    outcome = outcome_of(response(status, b"", "Location: http://127.0.0.1:9/"))
    assert isinstance(outcome, NotSent) and "url" in outcome.error.message


def test_what_cannot_be_reached_was_not_sent(batch, serve_raw):
    async def attempt(url: str) -> Any:
        client = carrier(url)
        outcome = await client.submit(batch(1), "key")
        await client.close()
        return outcome

    async def against_plain_text() -> Any:
        async def handle(reader, writer):
            await reader.read(10)
            writer.write(b"this is no TLS\r\n\r\n")
            await writer.drain()

        async with serve_raw(handle) as url:
            return await attempt(url.replace("http:", "https:"))

    with socket.create_server(("127.0.0.1", 0)) as taken:
        free_port = taken.getsockname()[1]
    for outcome in (
        asyncio.run(attempt(f"http://127.0.0.1:{free_port}/")),
        asyncio.run(attempt("gopher://127.0.0.1/")),
        asyncio.run(against_plain_text()),
    ):
        assert isinstance(outcome, NotSent)
        assert outcome.error.code == CARRIER_UNAVAILABLE and not outcome.error.permanent


def test_a_hang_is_unknown_in_time_and_leaves_the_carrier_usable(batch, serve_raw, read_request):
    async def run() -> None:
        requests = 0

        async def handle(reader, writer):
            nonlocal requests
            await read_request(reader)
            requests += 1
            if requests < 4:
                await reader.read()  # says nothing until the client goes away
            writer.write(results(accepted(FIRST, "a")))
            await writer.drain()

        async with serve_raw(handle) as url:
            client = carrier(url, timeout=0.2, connections=1)
            started = asyncio.get_running_loop().time()
            for _ in range(3):
                assert isinstance(await client.submit(batch(1), "key"), Unknown)
            assert asyncio.get_running_loop().time() - started < 3
            assert await client.submit(batch(1), "key") == Answered([Accepted("a")])
            await client.close()

    asyncio.run(run())


def test_an_answer_that_drips_does_not_outlast_the_timeout(batch, serve_raw, read_request):
    async def run() -> None:
        async def handle(reader, writer):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.02)

        async with serve_raw(handle) as url:
            client = carrier(url, timeout=0.3)
            started = asyncio.get_running_loop().time()
            assert isinstance(await client.submit(batch(1), "key"), Unknown)
            assert asyncio.get_running_loop().time() - started < 2
            await client.close()

    asyncio.run(run())


def test_waiting_for_a_connection_ends_as_not_sent(batch, serve_raw, read_request):
    async def run() -> None:
        async def handle(reader, writer):
            await read_request(reader)
            await reader.read()

        async with serve_raw(handle) as url:
            client = carrier(url, timeout=0.8, connections=1)
            first = asyncio.create_task(client.submit(batch(1), "one"))
            await asyncio.sleep(0)
            assert isinstance(await client.submit(batch(1), "two"), NotSent)
            assert isinstance(await first, Unknown)
            await client.close()

    asyncio.run(run())


def test_a_connection_cut_while_sending_is_unknown(serve_raw, batch):
    async def run() -> None:
        async def handle(reader, writer):
            await reader.read(10)
            writer.transport.abort()

        async with serve_raw(handle) as url:
            client = carrier(url)
            assert isinstance(await client.submit(batch(1000) * 20, "key"), Unknown)
            await client.close()

    asyncio.run(run())


def test_the_request_is_the_contracts(serve_raw, read_request, batch):
    async def run() -> tuple[bytes, bytes]:
        seen: list[tuple[bytes, bytes]] = []

        async def handle(reader, writer):
            seen.append(await read_request(reader))
            writer.write(results())
            await writer.drain()

        async with serve_raw(handle) as url:
            client = carrier(f"{url}/messages?v=1")
            await client.submit(batch(1), "attempt-7")
            await client.close()
        return seen[0]

    head, body = asyncio.run(run())
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /messages?v=1 http/1.1"
    assert {"idempotency-key: attempt-7", f"authorization: bearer {TOKEN}", "content-type: application/json"} <= {
        *lines
    }
    assert msgspec.json.decode(body) == {
        "messages": [
            {
                "reference": FIRST,
                "from": "ACME",
                "to": "+393330000000",
                "text": "Ciao 0 €",
                "encoding": "GSM-7",
                "parts": 1,
                "validitySeconds": 172800,
            }
        ]
    }


def test_the_token_shows_nowhere(outcome_of, caplog):
    caplog.set_level(logging.DEBUG)
    for status in ("400 Bad Request", "500 Internal Server Error", "200 OK"):
        outcome = outcome_of(response(status, f"you sent Bearer {TOKEN}".encode()))
        assert TOKEN not in repr(outcome)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\r\nX: y", f"{TOKEN} {TOKEN}", "schlüssel"])
def test_a_token_no_header_can_carry_is_refused_without_being_shown(token):
    with pytest.raises(ConfigError, match=r"carriers\.telco\.token") as raised:
        carrier("http://127.0.0.1/", token=token)
    assert token not in str(raised.value)
