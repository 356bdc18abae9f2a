"""Connections of clients that are slow, many, or send what is no request: uvicorn's HTTP protocol has no time limits
and no bounds on a request's head (its parser keeps whatever comes), so they stand here.

Each connection notes what it waits for, and since when; one look a second at all of them finds those that take too
long. So a request costs a few attributes, and ten thousand slow connections some milliseconds a second.
"""

import asyncio
import heapq
import resource
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pipeline.config_gateway import Gateway
from pipeline.gateway import metrics
from pipeline.gateway.problems import encoded, refuse
from schemas import errors

log = structlog.get_logger()

#: Of a request's line and headers together, as common servers have it; and of what stands around the pieces of a body.
MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
#: So long a client is listened to after an answer that ends the connection.
_GOODBYE_SECONDS = 2.0
#: A body that nobody wants is read up to here, so that the connection can be used again.
_MOST_DISCARDED = 256 * 1024
#: A client that takes nothing of its answer for so many times `client_seconds` is gone.
_STUCK = 3
#: Descriptors for all else: Kafka, databases, files, the listener.
_RESERVED_DESCRIPTORS = 256
#: When there are too many connections, one in so many gives way.
_GIVE_WAY = 16


class Waits(Enum):
    """What a connection waits for from its client."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()
    GOODBYE = auto()


class Connections:
    """All connections of a process: `look` about once a second. `most`: so many may be open."""

    def __init__(self, settings: Gateway) -> None:
        self.seconds = settings.client_seconds
        self.rate = settings.client_bytes_per_second
        self.open: set[Connection] = set()
        self.most = min(settings.connections, _descriptors() - _RESERVED_DESCRIPTORS)
        if self.most < settings.connections:
            log.info("gateway.fewer_connections", configured=settings.connections, possible=self.most)

    def look(self) -> None:
        """End those that take too long."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.open):
            connection.look(now)

    def make_room(self) -> bool:
        """Whether there is room for one more. Those that have kept us waiting longest give way, a share at a time: a
        client that sends its request at once gets through, however many do not."""
        if len(self.open) >= self.most:
            now = asyncio.get_running_loop().time()
            slow = [one for one in self.open if one.expendable(now)]
            for one in heapq.nsmallest(max(1, self.most // _GIVE_WAY), slow, key=lambda one: one.since):
                one.drop("full")
                self.open.discard(one)
        return len(self.open) < self.most


def _descriptors() -> int:
    """How many files and connections this process may have open, once that is raised as far as it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


class Connection(HttpToolsProtocol):
    """One connection. `waits`, `since` (loop time): for what, since when; `idle`: between two requests."""

    def __init__(self, connections: Connections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = connections
        self.waits, self.since, self.idle = Waits.HEAD, self.loop.time(), False
        #: Octets since the parser last told of something; of the body since `since`; of a body after its answer.
        self._unparsed = self._got = self._discarded = 0
        self._unsent, self._unsent_since = 0, 0.0
        #: The request whose answer has begun; that answer's head, until its body goes with it: one call of the system
        #: and one packet instead of two.
        self._answering: RequestResponseCycle | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.is_closing = transport.is_closing
        super().connection_made(transport)
        if not self._all.make_room():
            self.drop("full")
            return
        self._all.open.add(self)
        metrics.CONNECTIONS.set(len(self._all.open))

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.open.discard(self)
        metrics.CONNECTIONS.set(len(self._all.open))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.waits is Waits.GOODBYE:
            return
        if self.idle:
            self._wait_for(Waits.HEAD)
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and self.waits is not Waits.NOTHING:
            self._head_too_large()

    # What the parser tells
    def on_message_begin(self) -> None:
        if self.waits is Waits.NOTHING:  # the next request, while this one is being answered
            self._wait_for(Waits.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.waits is Waits.GOODBYE:
            return
        self._wait_for(Waits.BODY)
        self._unparsed = self._got = self._discarded = 0
        if len(self.url) > MAX_TARGET_BYTES:
            message = f"a request's target may have {MAX_TARGET_BYTES} bytes; shorten it"
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, errors.HEAD_TOO_LARGE, message)
        elif len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._head_too_large()
        else:
            super().on_headers_complete()
            self.cycle.transport = self  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        if self.waits is Waits.GOODBYE:
            return
        self._unparsed = 0
        self._got += len(body)
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > _MOST_DISCARDED:
                self.close()

    def on_message_complete(self) -> None:
        if self.waits is Waits.GOODBYE:
            return
        self._wait_for(Waits.NOTHING)
        self._unparsed = 0
        self.idle = self.cycle.response_complete
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.waits is Waits.NOTHING and not self.pipeline:
            self.since, self.idle = self.loop.time(), True
        self._write_head()
        if self.waits is not Waits.GOODBYE:
            super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Who asks for another protocol is answered in this one (RFC 9110, 7.8)."""

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed."""
        message = "this is no HTTP request (RFC 9112); the connection is closed"
        self._refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, message)

    # How it ends
    def expendable(self, now: float) -> bool:
        """Whether its client keeps us waiting, or nothing is lost with it."""
        if self.waits is Waits.BODY:
            return self.cycle.response_complete or self._got < self._all.rate * (now - self.since)
        return self.idle or self.waits is not Waits.NOTHING

    def look(self, now: float) -> None:
        """End it where its client takes too long."""
        waited, limit = now - self.since, self._all.seconds
        if self._takes_nothing(now):
            self.drop("takes no answer")
        elif self.waits is Waits.NOTHING:
            if self.idle and waited > self.timeout_keep_alive:
                self.transport.close()
        elif self.waits is Waits.GOODBYE:
            if waited > _GOODBYE_SECONDS:
                self.transport.abort()
        elif self.flow.read_paused or (self.cycle and self.cycle.waiting_for_100_continue):
            self.since, self._got = now, 0  # it waits for us
        elif waited <= limit:
            pass
        elif self.waits is Waits.HEAD and not self._unparsed:
            self.drop("sends nothing")
        elif self.waits is Waits.BODY and self._got >= self._all.rate * limit:
            self.since, self._got = now, 0
        else:
            what = "head" if self.waits is Waits.HEAD else "body"
            message = f"the {what} of the request did not come in time; the connection is closed"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, errors.TOO_SLOW, message)

    def write(self, data: bytes) -> None:
        """Answers are written through this object, and end it in good order; once it is dropped it takes nothing."""
        if self.cycle and self.cycle.response_started and self.cycle is not self._answering:
            self._answering, self._head = self.cycle, self._head + data
        elif not self.is_closing():
            self.transport.write(self._head + data)
            self._head = b""

    def _write_head(self) -> None:
        """Of an answer that has no body, or whose body does not come."""
        if self._head and not self.is_closing():
            self.transport.write(self._head)
        self._head = b""

    def close(self) -> None:
        """End it once its answer is sent. While the client still sends, what it sends is read and forgotten for a
        moment: the reset it would get instead would take the answer away (RFC 9112, 9.6)."""
        self._write_head()
        if self.waits is Waits.NOTHING or not self.transport.can_write_eof():
            self.transport.close()
        elif self.waits is not Waits.GOODBYE:
            self._wait_for(Waits.GOODBYE)
            self.flow.resume_reading()
            self.transport.write_eof()

    def drop(self, reason: str) -> None:
        """End it at once."""
        metrics.CLOSED.labels(reason).inc()
        self._wait_for(Waits.GOODBYE)
        self.transport.abort()

    def _refuse(self, status: HTTPStatus, code: int, message: str) -> None:
        """Answer in the application's place, and end. Where an answer is on its way it would be cut in two: then
        only end."""
        reason = status.phrase.lower()
        if self.cycle and not self.cycle.response_complete:
            if self.cycle.response_started or self.pipeline:
                self.drop(reason)
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        metrics.CLOSED.labels(reason).inc()
        body = encoded(refuse(status, code, message))
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.write(STATUS_LINE[status] + head + body)
        self.close()

    def _head_too_large(self) -> None:
        message = f"a request's line and headers may have {MAX_HEAD_BYTES} bytes together; shorten them"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, errors.HEAD_TOO_LARGE, message)

    def _wait_for(self, what: Waits) -> None:
        self.waits, self.since, self.idle = what, self.loop.time(), False

    def _takes_nothing(self, now: float) -> bool:
        """Whether its answer has been waiting to be read for too long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        return bool(unsent) and now - self._unsent_since > _STUCK * self._all.seconds
