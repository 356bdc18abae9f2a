"""`/tokens`: the bearer tokens of the account, for whoever has one of scope admin."""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, field_validator

from pipeline.accounts import AccountRecord
from pipeline.billing.price_rows import parse_time
from pipeline.gateway import views
from pipeline.gateway.account.acts import act
from pipeline.gateway.body import Body
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, parsed, refresh
from pipeline.gateway.services import Services, services
from pipeline.stages.fate import rfc3339
from pipeline.tokens import MAX_TOKENS, USUAL, Scope, Token, make_token
from schemas import errors
from schemas.errors import Error

router = APIRouter(tags=["Tokens"])


class NewToken(Body):
    """A token to be made. `expiresAt`: a date or an RFC 3339 time; null: it never does."""

    name: str = Field(default="", max_length=100)
    scopes: list[str] = Field(default=[str(scope) for scope in USUAL], min_length=1, max_length=len(Scope))
    expires_at: str | None = None

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: list[str]) -> list[str]:
        if unknown := [scope for scope in scopes if scope not in list(Scope)]:
            raise ValueError(f"{unknown[0][:64]!r} is not one of {', '.join(Scope)}")
        return scopes


@router.get("/tokens", summary="Tokens of the account, the oldest first")
async def page(request: Request) -> Response:
    """What was told of a token when it was made, without the token: that is not kept."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    return Response(views.encode([told(token) for token in at.accounts.tokens(account.name)]), media_type=_JSON)


@router.post("/tokens", status_code=201, summary="A new token; it is shown this once")
async def create(request: Request) -> Response:
    """201 with `token`, once it can be used at this gateway; at every other one it can within a second."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    wanted = await parsed(request, NewToken)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    now = time.time_ns() // 1_000_000
    expires = _expiry(wanted.expires_at, now)
    if isinstance(expires, Refusal):
        return problem(expires)
    if len(at.accounts.tokens(account.name)) >= MAX_TOKENS:
        message = f"the account has {MAX_TOKENS} tokens; revoke one that nobody uses any more"
        return problem(refuse(HTTPStatus.CONFLICT, errors.TOO_MANY_TOKENS, message))
    secret, token = make_token(account.name, at=now, scopes=wanted.scopes, expires=expires, name=wanted.name)
    details = {"token": token.id, "scopes": list(token.scopes), "name": token.name or None}
    told_of = act(request, "token.create", account.name, **details, expiresAt=expires and rfc3339(expires))
    if refused := await _change(at, [told_of, Outgoing(at.names.accounts, token.value, key=token.key)]):
        return problem(refused)
    return Response(views.encode(told(token) | {"token": secret}), HTTPStatus.CREATED, media_type=_JSON)


@router.delete("/tokens/{id}", status_code=204, summary="Revoke a token")
async def delete(request: Request, id: str) -> Response:
    """204 once it opens nothing at this gateway any more; at every other one within a second. Its own included."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    found = next((token for token in at.accounts.tokens(account.name) if token.id == id.lower()), None)
    if found is None:
        return problem(refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no token {id[:64]!r} of this account"))
    told_of = act(request, "token.revoke", account.name, token=found.id)
    refused = await _change(at, [told_of, Outgoing(at.names.accounts, found.revocation, key=found.key)])
    return problem(refused) if refused else Response(status_code=HTTPStatus.NO_CONTENT)


_JSON = "application/json"


def told(token: Token) -> dict[str, Any]:
    """A token as its account sees it."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "createdAt": rfc3339(token.created) if token.created else None,
        "expiresAt": None if token.expires is None else rfc3339(token.expires),
    }


async def _asked(request: Request) -> tuple[AccountRecord, Services] | Refusal:
    """Whose tokens, once what was acknowledged until now is seen."""
    at = services(request)
    account = await authenticate(request, at, Scope.ADMIN)
    if isinstance(account, Refusal):
        return account
    return await refresh(at) or (account, at)


async def _change(at: Services, records: Sequence[Outgoing]) -> Refusal | None:
    """Make the act and what it changes durable, and see it."""
    failed = await at.publisher.publish(records)
    return unavailable(failed.message) if failed else await refresh(at)


def _expiry(text: str | None, now: int) -> int | Refusal | None:
    if text is None:
        return None
    moment = parse_time(text)
    if isinstance(moment, Error):
        return _wrong(f"expiresAt: {moment.message}")
    return moment if moment > now else _wrong(f"expiresAt: {text[:40]} is past")


def _wrong(message: str) -> Refusal:
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
