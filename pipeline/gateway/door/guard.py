"""What a gateway process bears: requests at a time and a second, wrong tokens, bodies in memory.

Each limit refuses with a problem and Retry-After; what is refused costs next to nothing. Times are monotonic seconds,
handed in.
"""

import math
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope as Connection

from pipeline.accounts import AccountRecord
from pipeline.config_gateway import Gateway
from pipeline.gateway import metrics
from pipeline.gateway.door.quota import Buckets, Quota
from pipeline.gateway.problems import Refusal, unavailable
from pipeline.tokens import Token
from schemas import errors
from schemas.errors import Error

_KEY = "sms.caller"
_IPV6_PREFIX = 64  # what one customer has at least (RFC 6177): its addresses count as one


class Caller:
    """Who makes a request, as far as it is known. `quota`: what is left of the token's requests."""

    __slots__ = ("account", "buffered", "counted", "quota", "token")

    def __init__(self) -> None:
        self.account: AccountRecord | None = None
        self.token: Token | None = None
        self.quota: Quota | None = None
        self.counted = False
        self.buffered = 0


def caller(connection: Connection) -> Caller:
    """Who makes the request of this ASGI scope."""
    found: Caller | None = connection.get(_KEY)
    if found is None:
        found = connection[_KEY] = Caller()
    return found


class Guard:
    """One of these a process. `active`: requests that are worked on, those not counted whose body is waited for."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        self._requests = Buckets(settings.requests_per_second, settings.burst_seconds)
        self._failures = Buckets(settings.failures_per_minute / 60, 60)
        self._running: dict[str, int] = {}
        self._buffered = 0
        self.active = 0

    def busy(self) -> Refusal | None:
        """503 where as many requests are worked on as may be."""
        if self.active < self._settings.concurrent_requests:
            return None
        metrics.REFUSED.labels("concurrent_requests").inc()
        return unavailable("too many requests are being worked on; try again")

    def admit(self, connection: Connection, account: AccountRecord, token: Token, now: float) -> Refusal | None:
        """Count a request to its token, until `leave`. Refusals: 429, too many a second or at a time."""
        known = caller(connection)
        known.account, known.token = account, token
        known.quota = quota = self._requests.take(token.hash, now, account.limits.requests_a_second)
        if not quota.allowed:
            message = f"more than {quota.capacity} requests in {quota.window:g} s with this token; slow down"
            return _too_many("requests_per_second", errors.TOO_MANY_REQUESTS, message, quota.wait)
        running = self._running.get(token.hash, 0)
        if running >= self._settings.concurrent_requests_per_token:
            message = f"{running} requests with this token are being worked on; wait for their answers"
            return _too_many("concurrent_requests_per_token", errors.TOO_MANY_REQUESTS, message, 1)
        self._running[token.hash] = running + 1
        known.counted = True
        return None

    def hold(self, connection: Connection, octets: int) -> Refusal | None:
        """Count octets of a body that is kept in memory, until `leave`. Refusals: 503."""
        if self._buffered + octets > self._settings.body_memory_bytes:
            metrics.REFUSED.labels("body_memory_bytes").inc()
            return unavailable("too much is being sent at this moment; try again")
        caller(connection).buffered += octets
        self._buffered += octets
        return None

    def leave(self, known: Caller) -> None:
        """The request is answered."""
        self._buffered -= known.buffered
        if known.counted and known.token:
            running = self._running[known.token.hash] - 1
            if running:
                self._running[known.token.hash] = running
            else:
                del self._running[known.token.hash]

    def wary(self, address: str, now: float) -> Refusal | None:
        """429 where too many wrong tokens came from an address. Right ones are served all the same, so that nobody
        shuts out who shares the address."""
        quota = self._failures.look(_network(address), now)
        if quota.allowed:
            return None
        message = "too many wrong bearer tokens came from your address; a token that is valid is served meanwhile"
        return _too_many("failures_per_minute", errors.TOO_MANY_FAILURES, message, quota.wait)

    def failed(self, address: str, now: float) -> None:
        """Remember that a wrong token came from an address."""
        self._failures.take(_network(address), now)


def _network(address: str) -> str:
    """What is taken for one client."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a UNIX socket
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address


def _too_many(limit: str, code: int, message: str, wait: float) -> Refusal:
    metrics.REFUSED.labels(limit).inc()
    headers = {"Retry-After": str(max(1, math.ceil(wait)))}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, Error(code, message, permanent=False), headers)
