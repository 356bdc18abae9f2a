"""A load generator: `python -m pipeline.ops.load SPEC RESULT` (files, JSON), in a process of its own.

Each connection sends a request, waits for its answer and sends the next (HTTP/1.1, keep-alive). Requests are rendered
before, answers only looked at for status and length, so that it costs some 20 µs a request, a tenth of what any server
in Python does; `cpuSeconds` tells what it was.
"""

import array
import asyncio
import collections
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop

_CREATED = 201
#: Answers that are still due when time is over are waited for so long.
_PATIENCE_SECONDS = 30.0


class Spec(msgspec.Struct):
    """What to do: `bodies` are posted to http://127.0.0.1:`port``path` in turn, over so many `connections` at a time,
    for so many `seconds` after a `warmup` that is not counted."""

    port: int
    path: str
    token: str
    bodies: list[str]
    connections: int
    seconds: float
    warmup: float = 0.5


class Load(msgspec.Struct, rename="camel"):
    """What came of it: `latencies` in seconds, ascending, of the requests answered with 201 in `seconds`, those of the
    warm-up left out. `statuses`: every answer, also those of the warm-up; 0 where the connection broke."""

    latencies: list[float]
    seconds: float
    statuses: dict[int, int]
    cpu_seconds: float


class Generator:
    """All connections of one run."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._requests = [_render(spec, body.encode()) for body in spec.bodies]
        self._next = 0
        self._counted_from = self._until = 0.0
        self._open = 0
        self._done = asyncio.Event()
        self._last = 0.0
        self.latencies = array.array("d")
        self.statuses: collections.Counter[int] = collections.Counter()

    async def run(self) -> Load:
        loop, used = asyncio.get_running_loop(), time.process_time()
        self._counted_from = time.perf_counter() + self._spec.warmup
        self._until = self._counted_from + self._spec.seconds
        self._open = self._spec.connections
        for _ in range(self._spec.connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._spec.port)
        await asyncio.wait_for(self._done.wait(), self._spec.warmup + self._spec.seconds + _PATIENCE_SECONDS)
        return Load(
            latencies=sorted(self.latencies),
            seconds=max(self._last, self._until) - self._counted_from,
            statuses=dict(self.statuses),
            cpu_seconds=time.process_time() - used,
        )

    def following(self) -> bytes | None:
        """The next request; None once time is over."""
        if time.perf_counter() >= self._until:
            return None
        self._next += 1
        return self._requests[self._next % len(self._requests)]

    def answered(self, status: int, sent_at: float) -> None:
        """An answer is here, or (status 0) will not come."""
        self.statuses[status] += 1
        if sent_at >= self._counted_from:
            self._last = time.perf_counter()
            if status == _CREATED:
                self.latencies.append(self._last - sent_at)

    def closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()


class _Connection(asyncio.Protocol):
    """One request at a time. A connection that breaks is counted and not opened again."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self._sent_at = 0.0
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by type
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        _, found, length = head.partition(b"content-length:")
        if len(self._buffer) < end + 4 + (int(length.partition(b"\r\n")[0]) if found else 0):
            return
        self._buffer = b""
        self._generator.answered(int(head[9:12]), self._sent_at)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended:
            self._generator.answered(0, self._sent_at)
        self._generator.closed()

    def _send(self) -> None:
        request = self._generator.following()
        if request is None:
            self._ended = True
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def _render(spec: Spec, body: bytes) -> bytes:
    head = (
        f"POST {spec.path} HTTP/1.1\r\nHost: 127.0.0.1:{spec.port}\r\nAuthorization: Bearer {spec.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _main(spec: Spec) -> Load:
    return await Generator(spec).run()


if __name__ == "__main__":
    wanted, result = map(Path, sys.argv[1:])
    load = uvloop.run(_main(msgspec.json.decode(wanted.read_bytes(), type=Spec)))
    result.write_bytes(msgspec.json.encode(load))
