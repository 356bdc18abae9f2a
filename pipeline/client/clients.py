"""The two clients: each carries out the same operations, one at once, one in an event loop."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import httpx

from pipeline.client.calls import Call, Page, Stream
from pipeline.client.exchange import Answer, NoAnswer, Pause, Retries, Script, Steps, carried_out, one
from pipeline.client.operations import Operations

P = ParamSpec("P")
T = TypeVar("T")

#: Connecting is quick or does not work; a durable answer may wait for Kafka to elect a leader.
TIMEOUT = httpx.Timeout(30.0, connect=5.0)
#: What says that nothing has reached the gateway.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: What may pass by itself. Other errors of httpx are bugs of whoever calls.
_BROKEN = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_TOKEN = re.compile(r"[\x21-\x7e]+")


class _Gateway(Operations):
    """Where it is, and whose token asks."""

    def __init__(self, base_url: str, token: str, retries: Retries) -> None:
        self._base = httpx.URL(base_url.rstrip("/"))
        if self._base.scheme not in ("http", "https") or not self._base.host:
            raise ValueError(f"{base_url!r} is no address of a gateway, such as https://sms.example.com")
        if not _TOKEN.fullmatch(token):
            raise ValueError("the token has characters that no token has")
        self._authorization = _Secret(f"Bearer {token}")
        self._retries = retries

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._base.copy_with(userinfo=b''))!r})"

    def _url(self, call: Call[Any]) -> str:
        return f"{self._base}{call.target}"

    def _headers(self, call: Call[Any]) -> dict[str, str]:
        return {"Accept": "application/json", "Authorization": self._authorization.value, **call.headers}


class Client(_Gateway):
    """A gateway, for programs without an event loop; use it with `with`. May be shared by threads.

    `base_url`: where the gateway is. `token`: the account's. `timeout`: seconds (or an httpx.Timeout) of each try,
    `retries`: how often and when it is tried again. `http`: an httpx client with proxies and certificates of one's own,
    which is left open.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float | httpx.Timeout = TIMEOUT,
        retries: Retries = Retries(),  # noqa: B008  (frozen)
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(base_url, token, retries)
        self._timeout = timeout
        self._own = http is None
        self._http = http or httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        if self._own:
            self._http.close()

    def _run(self, script: Script[T]) -> T:
        steps: Steps[T] = carried_out(script, self._retries)
        outcome: Answer | NoAnswer | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._exchange(step)

    def _exchange(self, call: Call[Any]) -> Answer | NoAnswer:
        try:
            found = self._http.request(
                call.method,
                self._url(call),
                headers=self._headers(call),
                content=call.body,
                timeout=self._timeout,
                follow_redirects=False,
            )
        except _BROKEN as error:
            return NoAnswer(error, sent=not isinstance(error, _NOT_SENT))
        return Answer(found.status_code, found.headers, found.content)

    def _each(self, first: Call[Page[T]]) -> Iterator[T]:
        following: Call[Page[T]] | None = first
        while following:
            page = self._run(one(following))
            yield from page.items
            following = page.following


class AsyncClient(_Gateway):
    """A gateway, for asyncio; use it with `async with`. Arguments as Client has them, `http` an httpx.AsyncClient."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float | httpx.Timeout = TIMEOUT,
        retries: Retries = Retries(),  # noqa: B008  (frozen)
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(base_url, token, retries)
        self._timeout = timeout
        self._own = http is None
        self._http = http or httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._own:
            await self._http.aclose()

    async def _run(self, script: Script[T]) -> T:
        steps: Steps[T] = carried_out(script, self._retries)
        outcome: Answer | NoAnswer | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._exchange(step)

    async def _exchange(self, call: Call[Any]) -> Answer | NoAnswer:
        try:
            found = await self._http.request(
                call.method,
                self._url(call),
                headers=self._headers(call),
                content=_chunks(call.body) if isinstance(call.body, Stream) else call.body,
                timeout=self._timeout,
                follow_redirects=False,
            )
        except _BROKEN as error:
            return NoAnswer(error, sent=not isinstance(error, _NOT_SENT))
        return Answer(found.status_code, found.headers, found.content)

    async def _each(self, first: Call[Page[T]]) -> AsyncIterator[T]:
        following: Call[Page[T]] | None = first
        while following:
            page = await self._run(one(following))
            for item in page.items:
                yield item
            following = page.following


class _Secret:
    """Text that no repr shows."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "_Secret(***)"


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    for chunk in stream:
        yield chunk
