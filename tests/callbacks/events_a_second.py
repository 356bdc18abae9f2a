"""Events a second to a fast receiver: single calls, and batches of 100.

python -m tests.callbacks.events_a_second [EVENTS]
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "streaming"))
sys.path.insert(0, str(Path(__file__).parent))

import broker
from calling import DELIVERED, PENDING, Stage, batch, notice
from working import wait_for

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_EVENT = b'"updatedAt"'


class _Fast(asyncio.Protocol):
    """Answers each request, and counts the events in it."""

    events = calls = 0
    last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            _Fast.events += body.count(_EVENT)
            _Fast.calls += 1
            _Fast.last = time.time()
            self._transport.write(_ANSWER)


def _serve(pipe: Connection) -> None:
    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(_Fast, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await asyncio.sleep(0.1)
            pipe.send((_Fast.events, _Fast.calls, _Fast.last))

    asyncio.run(work())


def _measure(kind: str, stage: Stage, pipe: Connection, port: int, events: int) -> None:
    url, account = f"http://127.0.0.1:{port}/", kind.replace(" ", "-")
    callback = {"url": url, "retry": 3} if kind == "single" else None
    if kind != "single":
        stage.endpoint(url, account=account, batch=100, batch_milliseconds=200)
    abouts = [batch(500, account=account, callback=callback) for _ in range(events // 1000)]
    before, seen = _latest(pipe), 0
    began = time.time()
    stage.tell(*(notice(about, state) for about in abouts for state in (PENDING, DELIVERED)))

    def done() -> bool:
        nonlocal seen
        seen = _latest(pipe)[0] - before[0]
        return seen >= events

    wait_for(done, 300, lambda: str(seen))
    found = _latest(pipe)
    seconds = found[2] - began
    print(f"{kind}: {events} events in {found[1] - before[1]} calls, {seconds:.1f} s, {events / seconds:,.0f} a second")


def _latest(pipe: Connection) -> tuple[int, int, float]:
    found = pipe.recv()
    while pipe.poll():
        found = pipe.recv()
    return found


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    pipe, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = pipe.recv()
    with tempfile.TemporaryDirectory() as place, broker.broker(Path(place) / "broker") as kafka:
        directory = Path(place) / "stage"
        directory.mkdir()
        with Stage(kafka, directory) as stage:
            _measure("single", stage, pipe, port, events)
            _measure("in batches", stage, pipe, port, 5 * events)
    server.terminate()


if __name__ == "__main__":
    main()
