"""The simulated carrier over HTTP: a bare ASGI application, since it has to keep up with everything measured on it.

POST /messages   submissions (contract "HTTP carrier")       GET /journal?since=N   what was accepted, NDJSON
GET /stats       figures, JSON                                GET /metrics           the same for Prometheus
PUT /phase       habits for a while (`Phase` as JSON; an empty object ends it)         GET /health/ready
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from pipeline.carriers.simulator.acceptance import Answer, Decision, Desk, Submission
from pipeline.carriers.simulator.behaviour import Behaviour, Phase
from pipeline.carriers.simulator.journal import Journal
from pipeline.carriers.simulator.receipts import Receipts
from pipeline.carriers.simulator.stats import Stats, StatsCollector

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: 1,000 messages of ten parts stay below.
MAX_BODY_BYTES = 8 * 1024 * 1024

_JSON: Headers = [(b"content-type", b"application/json")]


def create_app(
    behaviour: Behaviour, journal: Journal, receipts: Receipts, stats: Stats, token: str | None = None
) -> App:
    """The ASGI application; its lifespan starts and stops `receipts` (made over the same `stats`).

    `token`: the bearer token that submissions must bring; None takes everybody.
    """
    return _Simulator(behaviour, journal, receipts, stats, token)


class _Simulator:
    def __init__(
        self, behaviour: Behaviour, journal: Journal, receipts: Receipts, stats: Stats, token: str | None
    ) -> None:
        self._habits = self._behaviour = behaviour  # as begun, and as they are in this phase
        self._journal = journal
        self._receipts = receipts
        self._stats = stats
        self._authorization = f"Bearer {token}".encode() if token else None
        self._desk = Desk(behaviour, journal, receipts, stats)
        self._decode = msgspec.json.Decoder(Submission).decode
        self._encode = msgspec.json.Encoder().encode
        self._registry = CollectorRegistry()
        self._registry.register(StatsCollector(stats))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        match scope["method"], scope["path"]:
            case "POST", "/messages":
                await self._messages(scope, receive, send)
            case "PUT", "/phase":
                await self._phase(receive, send)
            case "GET", "/journal":
                await self._lines(scope, send)
            case "GET", "/stats":
                await _respond(send, 200, self._encode(self._stats), _JSON)
            case "GET", "/metrics":
                content_type = CONTENT_TYPE_LATEST.encode()
                await _respond(send, 200, generate_latest(self._registry), [(b"content-type", content_type)])
            case "GET", "/health/ready":
                await _respond(send, 204)
            case _:
                await self._fail(send, 404, "no such resource")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._receipts.start()
        self._desk.resume(self._journal.entries())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._receipts.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _messages(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        body = await _body(receive)
        if body is None:
            return await self._fail(send, 413, f"more than {MAX_BODY_BYTES} bytes")
        if self._authorization and not hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
            return await self._fail(send, 401, "the bearer token is missing or wrong")
        try:
            submission = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return await self._fail(send, 400, str(error))
        key = headers.get(b"idempotency-key")
        decision = self._desk.take(submission, key.decode("latin-1") if key else None)
        await self._receipts.send_early(decision.early)
        if self._behaviour.latency:
            await asyncio.sleep(self._behaviour.latency)
        return await self._answer(decision, send)

    async def _answer(self, decision: Decision, send: Send) -> None:
        wait = [(b"retry-after", str(self._behaviour.retry_after).encode())]
        match decision.fate:
            case "answer":
                assert isinstance(decision.answer, Answer)
                await _respond(send, 200, self._encode(decision.answer), _JSON)
            case "throttle":
                await self._fail(send, 429, "too many messages", wait)
            case "unavailable":
                await self._fail(send, 503, "down for a moment", wait)
            case "error":
                await self._fail(send, 500, "broken after accepting")
            case "conflict":
                await self._fail(send, 422, "this Idempotency-Key was used with other messages")
            case "cut":  # a response never completed makes the server close the connection
                await send(_start(200, [*_JSON, (b"content-length", b"1000")]))

    async def _phase(self, receive: Receive, send: Send) -> None:
        try:
            self._behaviour = self._habits.changed(Phase.model_validate_json(await _body(receive) or b""))
        except ValidationError as error:
            return await self._fail(send, 422, "; ".join(found["msg"] for found in error.errors()))
        self._desk.behave(self._behaviour)
        return await _respond(send, 204)

    async def _lines(self, scope: Scope, send: Send) -> None:
        since = parse_qs(scope["query_string"].decode("latin-1")).get("since", ["0"])[0]
        if not (since.isascii() and since.isdigit() and len(since) < 19):
            return await self._fail(send, 400, "since: the number of lines to leave out")
        await send(_start(200, [(b"content-type", b"application/x-ndjson")]))
        for chunk in self._journal.chunks(int(since)):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        return await send({"type": "http.response.body"})

    async def _fail(self, send: Send, status: int, message: str, headers: Headers | None = None) -> None:
        body = self._encode({"error": {"code": str(status), "message": message}})
        await _respond(send, status, body, _JSON + (headers or []))


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None where it is too large."""
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
        if not event.get("more_body"):
            return b"".join(chunks)


def _start(status: int, headers: Headers) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _respond(send: Send, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
    await send(_start(status, [*(headers or []), (b"content-length", str(len(body)).encode())]))
    await send({"type": "http.response.body", "body": body})
