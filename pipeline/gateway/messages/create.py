"""`POST /messages`: requests into the intake topics."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from pipeline.accounts import AccountRecord
from pipeline.gateway.body import read_object
from pipeline.gateway.messages.idempotency import key_of
from pipeline.gateway.messages.sending import admitted, claimed, dry_run, send
from pipeline.gateway.problems import Refusal, malformed, problem, refuse
from pipeline.gateway.services import services
from schemas import errors, intake

router = APIRouter(tags=["Messages"])


@router.post("/messages", status_code=201, summary="Send a message")
async def create(request: Request) -> Response:
    """Take a request; 201 once it is durable. What becomes of it is told by status, callback and GET; so is that there
    is no credit for it (3021)."""
    return await _create(request)


@router.post("/WW-messages", status_code=201, summary="Send a message (worldwide)")
async def create_worldwide(request: Request) -> Response:
    """The same by the worldwide tariff: the price is known once a carrier took the message."""
    return await _create(request, "WW")


@router.post("/IT-messages", status_code=201, summary="Send a message (Italy)")
async def create_italy(request: Request) -> Response:
    """The same to numbers of Italy, at a fixed price."""
    return await _create(request, "IT")


@router.post("/ES-messages", status_code=201, summary="Send a message (Spain)")
async def create_spain(request: Request) -> Response:
    """The same to numbers of Spain, at a fixed price."""
    return await _create(request, "ES")


async def _create(request: Request, tariff: str | None = None) -> Response:
    at = services(request)
    asked = await admitted(request, at)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, body = asked
    key = key_of(request)
    wanted = key if isinstance(key, Refusal) else parse(body, account, tariff, key)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    if wanted.options.dry_run:
        return await dry_run(wanted, account, at)
    claim = await claimed(wanted, at)
    return problem(claim) if isinstance(claim, Refusal) else await send(wanted, claim, at)


def parse(
    body: bytes, account: AccountRecord, tariff: str | None = None, key: str | None = None
) -> intake.Request | Refusal:
    """The request as the intake topics hold it: with its account and sender, and the tariff of its path.

    `key`: the Idempotency-Key, which is the request's id where the body gives none. `recipient` may be one or a list,
    numbers or objects.
    """
    data = read_object(body)
    return data if isinstance(data, Refusal) else request_of(data, account, tariff, key)


def request_of(
    data: dict[str, Any], account: AccountRecord, tariff: str | None, key: str | None
) -> intake.Request | Refusal:
    """The same of a body that is read."""
    if "account" in data:
        return _wrong("account: unknown field (the token names the account)")
    full = {**data, "account": account.name}
    if isinstance(data.get("recipient"), list) and "recipients" not in data:
        full["recipients"] = full.pop("recipient")
    if key is not None:
        given = full.setdefault("requestId", key)
        if given != key:
            return _wrong(f"Idempotency-Key: {key!r} is not requestId; give one of them, or the same in both")
    if tariff is not None:
        options = full.setdefault("options", {})
        if isinstance(options, dict):
            if options.get("tariff", tariff) != tariff:
                return _wrong(f"options.tariff: this path has tariff {tariff}; leave it out, or use /messages")
            if tariff != intake.WORLDWIDE:
                full["options"] = {**options, "tariff": tariff}
    try:
        request = intake.Request.model_validate(full)
    except ValidationError as found:
        return malformed(found, data, intake.Request)
    request.sender = request.sender or intake.DEFAULT_SENDER
    return request


def _wrong(message: str) -> Refusal:
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
