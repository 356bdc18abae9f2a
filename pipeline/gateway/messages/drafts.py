"""`/drafts`: requests that are checked and kept, and sent when they are asked for: once, however often that is."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
import structlog
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Request, Response

from pipeline.accounts import AccountRecord
from pipeline.drafts import MAX_BYTES, MAX_DRAFT_BYTES, MAX_DRAFTS, Draft
from pipeline.gateway import views
from pipeline.gateway.body import Body
from pipeline.gateway.messages.create import parse
from pipeline.gateway.messages.idempotency import key_of
from pipeline.gateway.messages.sending import claimed, examine
from pipeline.gateway.messages.sending import send as send_request
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, parsed, read_body, sees_secrets
from pipeline.gateway.services import Services, services
from pipeline.stages.fate import rfc3339
from schemas import errors
from schemas.errors import Error

log = structlog.get_logger()

#: What was acknowledged before is looked for this long.
_REFRESH_SECONDS = 5.0
#: For so long a draft that was sent may be asked to be sent again, and is answered alike: the stages know the repeat.
_AGAIN = timedelta(days=1)
_ID_BYTES = 8

router = APIRouter(tags=["Drafts"])


class Nothing(Body):
    """What is sent is the draft: a field here would be one that its sender believes in."""


class DraftResponse(msgspec.Struct, rename="camel"):
    """A draft. `request_id`: the one it is sent under; `sent_at`: None before."""

    id: str
    request_id: str
    created_at: str
    updated_at: str
    sent_at: str | None
    request: msgspec.Raw


@router.post("/drafts", status_code=201, summary="Keep a draft")
async def create(request: Request) -> Response:
    """The body of POST /messages without requestId, checked as there, kept and not sent. Prohibited content is looked
    for when it is sent. With an Idempotency-Key the same again is answered with the draft that there is. An account has
    1,000 drafts at most."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    key = key_of(request)
    if isinstance(key, Refusal):
        return problem(key)
    body = await _checked(request, account, at)
    if isinstance(body, Refusal):
        return problem(body)
    now = rfc3339(time.time_ns() // 1_000_000)
    draft = Draft(account.name, _new_id(account.name, key), msgspec.Raw(body), now, now)
    if known := at.drafts.get(account.name, draft.id):
        if _content(known) == _content(draft):
            return _one(known, HTTPStatus.CREATED)
        message = f"Idempotency-Key: {key!r} was used before for a draft, which has other content; use a new key"
        return problem(refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.REQUEST_ID_REUSED, message))
    if refused := _no_room(at, draft) or await _change(at, [Outgoing(at.names.drafts, draft.value, key=draft.key)]):
        return problem(refused)
    return _one(draft, HTTPStatus.CREATED)


@router.get("/drafts", summary="Drafts of the account, newest first")
async def page(request: Request) -> Response:
    """All of them, each with its sender, its text and the number of its recipients."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    return Response(views.encode([_told(draft) for draft in at.drafts.of(account.name)]), media_type="application/json")


@router.get("/drafts/{id}", summary="A draft")
async def get(request: Request, id: str) -> Response:
    """With its whole request."""
    asked = await _draft(request, id)
    if isinstance(asked, Refusal):
        return problem(asked)
    body = views.encode(_view(asked[0]))
    return Response(body if sees_secrets(request) else views.masked_answer(body), media_type="application/json")


@router.put("/drafts/{id}", summary="Replace a draft's request")
async def put(request: Request, id: str) -> Response:
    """409 where it is sent already."""
    asked = await _draft(request, id)
    if isinstance(asked, Refusal):
        return problem(asked)
    _, account, at = asked
    body = await _checked(request, account, at)
    if isinstance(body, Refusal):
        return problem(body)
    draft = await _refresh(at) or _found(at, account, id)  # a body may come slowly, and the draft be sent meanwhile
    if isinstance(draft, Refusal):
        return problem(draft)
    if draft.sent_at:
        return problem(_too_late(draft, "it stays as it was sent"))
    now = rfc3339(time.time_ns() // 1_000_000)
    changed = msgspec.structs.replace(draft, request=msgspec.Raw(body), updated_at=now)
    if refused := _no_room(at, changed) or await _change(at, [Outgoing(at.names.drafts, changed.value, key=draft.key)]):
        return problem(refused)
    return _one(changed)


@router.delete("/drafts/{id}", status_code=204, summary="Delete a draft")
async def delete(request: Request, id: str) -> Response:
    """Messages that it was sent as go on."""
    asked = await _draft(request, id)
    if isinstance(asked, Refusal):
        return problem(asked)
    draft, _, at = asked
    refused = await _change(at, [Outgoing(at.names.drafts, None, key=draft.key)])
    return problem(refused) if refused else Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/drafts/{id}/send", status_code=201, summary="Send a draft")
async def send(request: Request, id: str) -> Response:
    """Answers as POST /messages does, and a repeat alike: it is sent once, under a requestId made of the draft's id.
    409 a day after it was sent."""
    asked = await _draft(request, id)
    if isinstance(asked, Refusal):
        return problem(asked)
    draft, account, at = asked
    if account.blocklisted:
        message = "The user is blocklisted. Please contact support for assistance."
        return problem(refuse(HTTPStatus.FORBIDDEN, errors.BLOCKLISTED, message))
    body = await parsed(request, Nothing)
    if isinstance(body, Refusal):
        return problem(body)
    if draft.sent_at and datetime.fromisoformat(draft.sent_at) < datetime.now(UTC) - _AGAIN:
        return problem(_too_late(draft, f"ask for the messages of {draft.request_id}"))
    wanted = parse(bytes(draft.request), account)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    wanted.request_id = draft.request_id
    claim = await claimed(wanted, at)
    answer = problem(claim) if isinstance(claim, Refusal) else await send_request(wanted, claim, at)
    if answer.status_code == HTTPStatus.CREATED and draft.sent_at is None:
        sent = msgspec.structs.replace(draft, sent_at=rfc3339(time.time_ns() // 1_000_000))
        if await _change(at, [Outgoing(at.names.drafts, sent.value, key=draft.key)]):
            log.warning("draft.sent_unmarked", account=account.name, draft=id)  # a repeat is answered alike
    return answer


def _new_id(account: str, key: str | None) -> str:
    """Made of the Idempotency-Key, so that every gateway knows it again, for as long as the draft is kept."""
    if key is None:
        return secrets.token_hex(_ID_BYTES)
    return blake2b(f"{account}/{key}".encode(), digest_size=_ID_BYTES).hexdigest()


def _content(draft: Draft) -> bytes:
    return orjson.dumps(orjson.loads(bytes(draft.request)), option=orjson.OPT_SORT_KEYS)


async def _asked(request: Request) -> tuple[AccountRecord, Services] | Refusal:
    """Who asks, once what was acknowledged until now is seen."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return account
    return await _refresh(at) or (account, at)


async def _draft(request: Request, id_: str) -> tuple[Draft, AccountRecord, Services] | Refusal:
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return asked
    account, at = asked
    found = _found(at, account, id_)
    return found if isinstance(found, Refusal) else (found, account, at)


def _found(at: Services, account: AccountRecord, id_: str) -> Draft | Refusal:
    found = at.drafts.get(account.name, id_)
    if found is None:
        return refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no draft {id_[:64]!r} of this account")
    return found


async def _checked(request: Request, account: AccountRecord, at: Services) -> bytes | Refusal:
    """The body, which could be sent as it is now."""
    body = await read_body(request, MAX_DRAFT_BYTES)
    wanted = body if isinstance(body, Refusal) else parse(body, account)
    if isinstance(wanted, Refusal):
        return wanted
    assert isinstance(body, bytes)
    given = orjson.loads(body)
    if "requestId" in given:
        return _wrong(Error(errors.MALFORMED_REQUEST, "requestId: a draft's is made of its id; leave it out"))
    if wanted.options.dry_run:
        message = "options.dryRun: a draft is for sending; try it out with POST /messages"
        return _wrong(Error(errors.MALFORMED_REQUEST, message))
    seen = examine(wanted, time.time_ns() // 1_000_000, at)
    return _wrong(seen) if isinstance(seen, Error) else orjson.dumps(given)


def _no_room(at: Services, draft: Draft) -> Refusal | None:
    """The account has too many drafts beside this one, or too large ones."""
    others = [one for one in at.drafts.of(draft.account) if one.id != draft.id]
    size = sum(len(bytes(one.request)) for one in [*others, draft])
    if len(others) < MAX_DRAFTS and size <= MAX_BYTES:
        return None
    message = f"{len(others)} drafts of {size} bytes; {MAX_DRAFTS} of {MAX_BYTES} are kept. Delete some"
    log.info("draft.refused", account=draft.account, drafts=len(others), bytes=size)
    return refuse(HTTPStatus.CONFLICT, errors.TOO_MANY_DRAFTS, message)


async def _change(at: Services, records: Sequence[Outgoing]) -> Refusal | None:
    """Make the records durable and see them."""
    failed = await at.publisher.publish(records)
    return unavailable(failed.message) if failed else await _refresh(at)


async def _refresh(at: Services) -> Refusal | None:
    if not at.drafts_known:
        return unavailable("the drafts are not read yet; try again")
    try:
        async with asyncio.timeout(_REFRESH_SECONDS):
            await at.drafts.refresh()
    except (TimeoutError, KafkaError):
        return unavailable("the drafts cannot be read; try again")
    return None


def _too_late(draft: Draft, what: str) -> Refusal:
    return refuse(HTTPStatus.CONFLICT, errors.TOO_LATE, f"draft {draft.id} was sent at {draft.sent_at}; {what}")


def _wrong(error: Error) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, error)


def _told(draft: Draft) -> dict[str, Any]:
    """As a list has it."""
    given = orjson.loads(bytes(draft.request))
    recipients = given.get("recipients", given.get("recipient"))
    count = len(recipients) if isinstance(recipients, list) else 1
    return {
        "id": draft.id,
        "requestId": draft.request_id,
        "createdAt": draft.created_at,
        "updatedAt": draft.updated_at,
        "sentAt": draft.sent_at,
        "sender": given.get("sender"),
        "message": given.get("message"),
        "recipients": count,
    }


def _view(draft: Draft) -> DraftResponse:
    times = draft.created_at, draft.updated_at, draft.sent_at
    return DraftResponse(draft.id, draft.request_id, *times, draft.request)


def _one(draft: Draft, status: int = HTTPStatus.OK) -> Response:
    return Response(views.encode(_view(draft)), status, media_type="application/json")
