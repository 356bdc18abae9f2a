"""Real servers for the carrier tests: ASGI applications under uvicorn, and raw ones that answer what they are told."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from pipeline.carriers.base import Outbound

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Any], AbstractAsyncContextManager[str]]
Batch = Callable[..., list[Outbound]]


@asynccontextmanager
async def _serve(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="auto", http="httptools", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (uvicorn offers no event)
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def _serve_raw(handle: Raw) -> AsyncIterator[str]:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length is not None
    return head, await reader.readexactly(int(length[1]))


@pytest.fixture
def serve() -> Serve:
    """`async with serve(app) as url`: an ASGI application on a free port of the loopback."""
    return _serve


@pytest.fixture
def serve_raw() -> Callable[[Raw], AbstractAsyncContextManager[str]]:
    """`async with serve_raw(handle) as url`: every connection goes to `handle(reader, writer)`, then it is closed."""
    return _serve_raw


@pytest.fixture
def read_request() -> Callable[[asyncio.StreamReader], Awaitable[tuple[bytes, bytes]]]:
    """Head and body of one request."""
    return _read_request


@pytest.fixture
def batch() -> Batch:
    """`batch(count, first=0)`: messages with references counting from `first`."""

    def make(count: int, first: int = 0) -> list[Outbound]:
        return [
            Outbound(f"{n:024x}", "ACME", f"+39333{n:07d}", f"Ciao {n} €", "GSM-7", 1 + n % 3, 172800)
            for n in range(first, first + count)
        ]

    return make
