"""What every route reads alike: who asks, and the body."""

import asyncio
from http import HTTPStatus

from aiokafka.errors import KafkaError
from fastapi import Request

from pipeline import accounts
from pipeline.accounts import AccountRecord
from pipeline.gateway.problems import Refusal, refuse, unavailable
from pipeline.gateway.services import Services, services
from pipeline.store.queries import ReadModel
from schemas import errors

#: An account made a moment ago is looked for this long before its token is refused.
_REFRESH_SECONDS = 5.0


async def reader(request: Request) -> tuple[AccountRecord, ReadModel] | Refusal:
    """Who asks, and the read model to answer from. Refusals: those of `authenticate`, or 503."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return account
    if at.read_model is None:
        return unavailable("the read model is not open yet; try again")
    return account, at.read_model


async def authenticate(request: Request, services: Services) -> AccountRecord | Refusal:
    """The account of the bearer token (RFC 6750). Refusals: 401, or 503 where the accounts cannot be read."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return _unauthenticated("send the header Authorization: Bearer TOKEN")
    found = services.accounts.by_token(token)
    if found is None and accounts.is_token(token):
        if "accounts" in services.missing:
            return unavailable("the accounts are not read yet; try again")
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                await services.accounts.refresh()
        except (TimeoutError, KafkaError):
            return unavailable("the accounts cannot be read; try again")
        found = services.accounts.by_token(token)
    return found or _unauthenticated("the bearer token is not valid")


def _unauthenticated(message: str) -> Refusal:
    return refuse(HTTPStatus.UNAUTHORIZED, errors.UNAUTHENTICATED, message, WWW_Authenticate="Bearer")


async def read_body(request: Request, limit: int) -> bytes | Refusal:
    """The body, up to `limit` bytes; 413 as soon as it is longer."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> Refusal:
    # The rest of the body is not read, so the connection is of no more use.
    message = f"a request may have {limit} bytes; split it"
    return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, errors.TOO_LARGE, message, Connection="close")
