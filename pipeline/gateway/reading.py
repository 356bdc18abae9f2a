"""What every route reads alike: who asks, and the body."""

import asyncio
import time
from http import HTTPStatus
from typing import TypeVar

from aiokafka.errors import KafkaError
from fastapi import Request
from starlette.requests import ClientDisconnect

from pipeline import tokens
from pipeline.accounts import AccountRecord
from pipeline.gateway import metrics, parameters
from pipeline.gateway.body import Body, shaped
from pipeline.gateway.door.guard import caller
from pipeline.gateway.problems import Refusal, refuse, unavailable
from pipeline.gateway.services import Services, services
from pipeline.stages.fate import rfc3339
from pipeline.store.queries import ReadModel
from pipeline.tokens import Scope, Token
from schemas import errors

#: A token made a moment ago is looked for this long before it is refused.
_REFRESH_SECONDS = 5.0
_READS = ("GET", "HEAD")
#: Of a body that names no recipients.
_MAX_SMALL_BYTES = 64 * 1024
_REALM = 'Bearer realm="sms-pipeline"'

_B = TypeVar("_B", bound=Body)


async def reader(request: Request, scope: Scope = Scope.READ) -> tuple[AccountRecord, ReadModel] | Refusal:
    """Who asks, and the read model to answer from. Refusals: those of `authenticate`, or 503."""
    at = services(request)
    account = await authenticate(request, at, scope)
    if isinstance(account, Refusal):
        return account
    if at.read_model is None:
        return unavailable("the read model is not open yet; try again")
    return account, at.read_model


async def authenticate(request: Request, at: Services, scope: Scope | None = None) -> AccountRecord | Refusal:
    """The account of the bearer token (RFC 6750), which may do what `scope` says: read where the method is GET, else
    send, unless the route has it otherwise. Blocklisted accounts too. The request counts to the token's limits.

    Refusals: 401 no token, a wrong or an expired one; 403 it lacks the scope; 422 a query parameter that the route does
    not have; 429 a limit, Retry-After tells when; 503 the accounts cannot be read.
    """
    now = time.monotonic()
    token = await _token(request, at, now)
    if isinstance(token, Refusal):
        return token
    account = at.accounts.get(token.account)
    assert account, "a token is known with its account only"
    if refused := at.guard.admit(request.scope, account, token, now):
        return refused
    wanted = scope or (Scope.READ if request.method in _READS else Scope.SEND)
    if not token.allows(wanted):
        metrics.REFUSED.labels("scope").inc()
        message = _scopes(token) + f"; this operation wants {wanted}"
        challenge = f'{_REALM}, error="insufficient_scope", scope="{wanted}"'
        return refuse(HTTPStatus.FORBIDDEN, errors.INSUFFICIENT_SCOPE, message, WWW_Authenticate=challenge)
    if request.scope["query_string"] and (misspelt := parameters.unknown(request)):
        return misspelt
    return account


def _scopes(token: Token) -> str:
    if not token.scopes:
        return "this token has no scope"
    return f"this token's scope{'s are' if len(token.scopes) > 1 else ' is'} {', '.join(token.scopes)}"


def sees_secrets(request: Request) -> bool:
    """Whether the token of an authenticated request may see what a callback's headers hold: one that may only read is
    often given away, to a dashboard or a colleague."""
    token = caller(request.scope).token
    assert token
    return token.allows(Scope.SEND) or token.allows(Scope.ADMIN)


async def _token(request: Request, at: Services, now: float) -> Token | Refusal:
    """The bearer token, if it can be used now."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() != "bearer" or not given:
        message = "send the header Authorization: Bearer TOKEN"
        return refuse(HTTPStatus.UNAUTHORIZED, errors.UNAUTHENTICATED, message, WWW_Authenticate=_REALM)
    found = at.accounts.by_token(given)
    now_ms = time.time_ns() // 1_000_000
    if found and not found.expired(now_ms):
        return found
    address = request.client.host if request.client else ""
    if refused := at.guard.wary(address, now):
        return refused
    if found is None and tokens.is_token(given):
        if refused := await refresh(at):
            return refused
        found = at.accounts.by_token(given)
    if found and not found.expired(now_ms):
        return found
    at.guard.failed(address, now)
    if found and found.expires is not None:
        message = f"the bearer token {found.id} expired at {rfc3339(found.expires)}; make a new one"
        return _invalid(errors.TOKEN_EXPIRED, message, "the token expired")
    return _invalid(errors.UNAUTHENTICATED, "the bearer token is not valid", "the token is not known")


async def refresh(at: Services) -> Refusal | None:
    """See the accounts and tokens as of now."""
    if "accounts" in at.missing:
        return unavailable("the accounts are not read yet; try again")
    try:
        async with asyncio.timeout(_REFRESH_SECONDS):
            await at.accounts.refresh()
    except (TimeoutError, KafkaError):
        return unavailable("the accounts cannot be read; try again")
    return None


def _invalid(code: int, message: str, description: str) -> Refusal:
    challenge = f'{_REALM}, error="invalid_token", error_description="{description}"'
    metrics.REFUSED.labels("token").inc()
    return refuse(HTTPStatus.UNAUTHORIZED, code, message, WWW_Authenticate=challenge)


async def parsed(request: Request, kind: type[_B]) -> _B | Refusal:
    """The body as `kind`; one that is empty has no fields. Refusals: those of `read_body` and `shaped`."""
    body = await read_body(request, _MAX_SMALL_BYTES)
    return body if isinstance(body, Refusal) else shaped(body or b"{}", kind)


async def read_body(request: Request, limit: int) -> bytes | Refusal:
    """The body, up to `limit` bytes. Refusals: 413 as soon as it is longer, 503 where the process holds too many."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return _too_large(limit)
    guard, length = services(request).guard, 0
    pieces: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        length += len(piece)
        if length > limit:
            return _too_large(limit)
        if refused := guard.hold(request.scope, len(piece)):
            return refused
        pieces.append(piece)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> Refusal:
    # The rest of the body is not read, so the connection is of no more use.
    message = f"a request may have {limit} bytes; split it"
    return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, errors.TOO_LARGE, message, Connection="close")
