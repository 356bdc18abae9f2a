"""A transport for httpx that connects to permitted addresses only.

The name is resolved here, every address it has is judged, and one of these very addresses is connected to; TLS and the
Host header keep the name. Nothing is asked a second time in between.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore
import httpx

from pipeline.callbacks.addresses import Policy

#: A name with many addresses is tried at so many of them.
_TRIED = 3
#: Names that are resolved at a time; a slow name server holds a thread for some seconds.
_RESOLVERS = 32
#: Idle connections are let go of before most servers close them, so that a call seldom meets a closing one.
_IDLE_SECONDS = 4.0

#: Host and port to addresses. Raises OSError. Blocking.
Resolve = Callable[[str, int], list[str]]


class Forbidden(Exception):
    """The host is, or its name leads to, an address that may not be called."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, best first."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Transport(httpx.AsyncHTTPTransport):
    """Connections of all hosts, kept while they are used. Neither redirects nor proxies of the environment exist here.

    `connections`: in all. Raises Forbidden beside httpx's errors.
    """

    def __init__(
        self, policy: Policy, connections: int, *, resolve: Resolve = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        # httpx takes no network backend, so its pool of connections is made here and not by it.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Backend(policy, resolve),
        )


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._dialler = httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses, which are all permitted."""
        try:
            async with asyncio.timeout(timeout):
                *others, last = await self._addresses(host, port)
                for address in others:
                    with contextlib.suppress(httpcore.ConnectError):
                        return await self._dialler.connect_tcp(address, port, None, local_address, socket_options)
                return await self._dialler.connect_tcp(last, port, None, local_address, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise Forbidden("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, self._resolve, host, port)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        if not all(self._policy.permits(address) for address in found):
            raise Forbidden("an address outside the public Internet and callbacks.allow")
        return found[:_TRIED]
