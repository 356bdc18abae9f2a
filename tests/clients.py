"""Both clients behind one face: the async one is awaited here, its iterators collected."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.client import AsyncClient, Client, Retries

#: Repeats at once, so that tests are quick.
QUICK = Retries(most=3, first=0.001, longest=2.0)


class _Awaited:
    """An AsyncClient whose methods return what they give."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client, self._loop = client, loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            found = method(*arguments, **named)
            if inspect.isasyncgen(found):
                return iter(self._loop.run_until_complete(_all(found)))
            return self._loop.run_until_complete(found)

        return call


@contextmanager
def calling(kind: str, url: str, token: str, **more: Any) -> Iterator[Any]:
    """A "sync" or an "async" client."""
    more = {"retries": QUICK, "timeout": 20.0, **more}
    if kind == "sync":
        with Client(url, token, **more) as client:
            yield client
        return
    loop = asyncio.new_event_loop()
    client = AsyncClient(url, token, **more)
    try:
        yield _Awaited(client, loop)
    finally:
        loop.run_until_complete(client.close())
        loop.close()


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
