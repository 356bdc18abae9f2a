"""The load generator against a real server: what it counts is what the server saw."""

import asyncio

import pytest

from pipeline.ops.load import Generator, Load, Spec


def spec(port: int, **more: object) -> Spec:
    fields = {"bodies": ["{}", "[1]"], "connections": 2, "seconds": 0.2, "warmup": 0.1, **more}
    return Spec(port=port, path="/x", token="secret", **fields)  # type: ignore[arg-type]


def load(answers: list[bytes], pieces: int = 1) -> tuple[Load, list[bytes]]:
    """Run against a server that gives these answers in turn, each in so many pieces; an empty one closes."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            seen.append(head + body)
            answer = answers[len(seen) % len(answers)]
            if not answer:
                break
            size = -(-len(answer) // pieces)
            for start in range(0, len(answer), size):
                writer.write(answer[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async def run() -> Load:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await Generator(spec(server.sockets[0].getsockname()[1])).run()

    return asyncio.run(run()), seen


@pytest.mark.parametrize("pieces", [1, 3])
def test_requests_are_counted_as_the_server_saw_them(pieces: int) -> None:
    found, seen = load([b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"], pieces)
    assert found.statuses == {201: len(seen)}
    assert 0 < len(found.latencies) < len(seen)
    assert found.latencies == sorted(found.latencies)
    assert 0.2 <= found.seconds < 1
    assert b"POST /x HTTP/1.1\r\n" in seen[0]
    assert b"Authorization: Bearer secret\r\n" in seen[0]
    assert {request.partition(b"\r\n\r\n")[2] for request in seen} == {b"{}", b"[1]"}


def test_other_answers_and_broken_connections_are_told_apart() -> None:
    created = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
    found, seen = load([created] * 5 + [b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"])
    assert set(found.statuses) == {201, 503}
    assert sum(found.statuses.values()) == len(seen)
    found, _ = load([created, created, b""])
    assert found.statuses[0] == 2
