"""Around every request: its name, the limit of requests at a time, headers, metrics, a line in the log. Plain ASGI:
some microseconds."""

import math
import time
from functools import lru_cache
from http import HTTPStatus

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.gateway import metrics
from pipeline.gateway.door import trace
from pipeline.gateway.door.guard import Caller, Guard, caller
from pipeline.gateway.door.quota import Quota
from pipeline.gateway.problems import Refusal, problem, refuse
from pipeline.logs import Gathered
from schemas import errors

log = structlog.get_logger()
_lines = Gathered()

_POLICY = b"content-security-policy"
#: For an API that serves no pages (OWASP REST security cheat sheet). A page that is served names a policy of its own.
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]
_NO_PAGES = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
#: Two years (OWASP HTTP headers cheat sheet); RFC 6797 has it on TLS only.
_ONLY_TLS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
#: A bug. It is logged here; the client learns no details.
_BROKEN = refuse(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UNAVAILABLE,
    "something went wrong here; whether the request was taken is not known",
)
#: Supervisors and scrapers are answered however busy it is, and not logged.
_PROBES = ("/health/", "/metrics")


class Edge:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, guard: Guard, access_log: bool = True) -> None:
        self._app = app
        self._guard = guard
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        name = trace.begin(scope["headers"])
        guard, known = self._guard, caller(scope)
        probe = scope["path"].startswith(_PROBES)
        status, begun = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = int(message["status"])
                message["headers"] = [*message["headers"], *_headers(scope, message, name, known)]
            await send(message)

        async def body() -> Message:
            guard.active -= 1
            try:
                return await receive()
            finally:
                guard.active += 1

        refused = None if probe else guard.busy() or _unreadable(scope)
        guard.active += 1
        try:
            await (problem(refused) if refused else self._app)(scope, body, answer)
        except Exception:
            log.exception("http.broken", route=_route(scope))
            if begun:
                raise  # half an answer: the server cuts the connection
            await problem(_BROKEN)(scope, body, answer)
        finally:
            guard.active -= 1
            guard.leave(known)
            seconds = time.perf_counter() - started
            route = _route(scope)
            requests, duration = _measures(route, status)
            requests.inc()
            duration.observe(seconds)
            if self._access_log and not probe:
                _tell(scope, route, status, seconds, known)


def _route(scope: Scope) -> str:
    """The pattern of the route that was found."""
    return getattr(scope.get("route"), "path", "other")


@lru_cache(maxsize=4096)  # routes by statuses
def _measures(route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.REQUESTS.labels(route, status), metrics.SECONDS.labels(route)


def _unreadable(scope: Scope) -> Refusal | None:
    """400 for a character that no name, number or time holds, and that databases stumble over."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        message = "the path or the query holds a NUL character; leave it out"
        return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, message)
    return None


def _headers(scope: Scope, message: Message, name: str, known: Caller) -> list[tuple[bytes, bytes]]:
    """What every answer says beside its own headers."""
    found = [*_HEADERS, (trace.HEADER, name.encode())]
    if not any(header == _POLICY for header, _ in message["headers"]):
        found.append(_NO_PAGES)
    if scope["scheme"] == "https":
        found.append(_ONLY_TLS)
    if known.quota:
        found += rate_limit(known.quota)
    return found


def rate_limit(quota: Quota) -> list[tuple[bytes, bytes]]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-10, structured fields (RFC 9651): the policy and what is left
    of it, times in seconds."""
    policy = b'"token";q=%d;w=%d' % (quota.capacity, math.ceil(quota.window))
    left = b'"token";r=%d;t=%d' % (quota.remaining, math.ceil(quota.full_in))
    return [(b"ratelimit-policy", policy), (b"ratelimit", left)]


def _tell(scope: Scope, route: str, status: int, seconds: float, known: Caller) -> None:
    """A line with ids, and nothing of what was sent: a path may hold a number."""
    client = scope.get("client")
    _lines.info(
        "http.request",
        method=scope["method"],
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        client=client[0] if client else None,
        account=known.account.name if known.account else None,
        token=known.token.id if known.token else None,
    )
