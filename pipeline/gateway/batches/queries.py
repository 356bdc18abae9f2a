"""`/batches`: uploads, and requests to several recipients, out of the read model."""

import asyncio
import base64
import binascii
from http import HTTPStatus
from typing import Annotated, NamedTuple

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from pipeline.gateway import views
from pipeline.gateway.messages import filters
from pipeline.gateway.parameters import wrong
from pipeline.gateway.problems import Refusal, problem, refuse
from pipeline.gateway.reading import reader, sees_secrets
from pipeline.gateway.services import services
from pipeline.stages.fate import rfc3339
from pipeline.store import batch_views
from pipeline.store.batches import Batches, Place
from pipeline.store.stored import StoredMessage
from schemas import errors
from schemas.batch import BatchRecord

MAX_PAGE = 1000
_JSON = "application/json"

Cursor = Annotated[str, Query(description="The last answer's nextCursor.", max_length=400)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]

router = APIRouter(tags=["Batches"])


class _Found(NamedTuple):
    """A batch of the account that asks. `record`: None where a request made it, then `first` is one of its messages."""

    account: str
    store: Batches
    id: str
    record: BatchRecord | None
    first: StoredMessage | None

    @property
    def requests(self) -> list[str]:
        return self.store.requests(self.record, self.id)


@router.get("/batches", summary="Uploads of the account, newest first")
async def page(request: Request, cursor: Cursor = "", limit: Limit = 100) -> Response:
    """A page; `nextCursor` is null on the last."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    before = _read(cursor, 2)
    if isinstance(before, Refusal):
        return problem(before)
    behind = (before[0], before[1]) if before else None
    found = await asyncio.to_thread(Batches(model.engine).page, account.name, behind, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    told = [batch_views.told(one) for one in found[:limit]]
    return _page(told, _cursor(last.created_at, last.id) if last else None)


@router.get("/batches/{id:path}/errors", summary="Lines of an upload that gave no recipient")
async def bad_lines(request: Request, id: str) -> Response:
    """The first 100 by number and reason, and how many there are in all."""
    found = await _find(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    told = batch_views.bad_lines(found.record)["badLines"] if found.record else []
    count = found.record.bad_line_count if found.record else 0
    return Response(orjson.dumps({"data": told, "badLineCount": count}), media_type=_JSON)


@router.get("/batches/{id:path}/messages", summary="Messages of a batch, in the order of its recipients")
async def messages(
    request: Request,
    id: str,
    state: Annotated[list[str], Query(description="NEW, DELIVERED … or a detailedState; may be repeated.")] = [],  # noqa: B006
    cursor: Cursor = "",
    limit: Limit = 100,
    format: Annotated[str, Query(description="json, or csv for all of them.")] = "json",
) -> Response:
    """A page, `nextCursor` is null on the last; or CSV, all of it. Messages that no stage has told of are missing."""
    found = await _find(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    wanted = filters.states(state)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    states = sorted(wanted)
    if format == "csv":
        chunks = batch_views.csv_chunks(found.store.whole(found.account, found.requests, states))
        named = {"Content-Disposition": 'attachment; filename="messages.csv"'}
        return StreamingResponse(chunks, headers=named, media_type="text/csv")
    if format != "json":
        return problem(wrong(f"format: {format[:64]!r} is not json or csv"))
    given = _read(cursor, 2)
    if isinstance(given, Refusal) or not all(one.isdecimal() and len(one) < 10 for one in given):
        return problem(_no_cursor(cursor))
    behind = Place(*map(int, given)) if given else Place(1, -1)
    if behind.request < 1:
        return problem(_no_cursor(cursor))
    rows, more = await asyncio.to_thread(found.store.messages, found.account, found.requests, behind, limit, states)
    body = views.encode([views.stored(row, secrets=sees_secrets(request)) for row in rows])
    following = orjson.dumps(_cursor(str(more.request), str(more.recipient)) if more else None)
    return Response(body[:-1] + b',"nextCursor":' + following + b"}", media_type=_JSON)


@router.get("/batches/{id:path}", summary="One batch: its progress and cost")
async def get(request: Request, id: str) -> Response:
    """An upload, or a request to several recipients by its requestId: counts by state, the final share, the money."""
    found = await _find(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    record, first, requests = found.record, found.first, found.requests
    dry_run = record.dry_run if record else bool(first and first.dry_run)
    recipients = record.recipients if record else 0
    progress = await asyncio.to_thread(found.store.progress, found.account, requests, recipients, dry_run)
    cost = await asyncio.to_thread(found.store.cost, found.account, requests)
    view = batch_views.told(record or _of_request(found, progress.recipients))
    if record is None:  # what was asked for is not kept: of a template there are only the texts that it made
        view["message"] = await asyncio.to_thread(found.store.text, found.account, found.id)
    view |= batch_views.how_far(progress, cost, services(request).settings.billing.currency)
    return Response(views.encode(view), media_type=_JSON)


def _of_request(found: _Found, recipients: int) -> BatchRecord:
    """The batch that a request made, as far as its messages tell."""
    first = found.first
    assert first
    return BatchRecord(
        account=found.account,
        id=found.id,
        created_at=rfc3339(int(first.id[:8], 16) * 1000),
        recipients=recipients,
        requests=1,
        sender=first.sender or "",
        message="",
        dry_run=first.dry_run,
        digest="",
    )


async def _find(request: Request, id_: str) -> _Found | Refusal:
    """The account's batch. Refusals: those of `reader`, 404."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return asked
    account, model = asked
    store = Batches(model.engine)
    record = services(request).uploads.batches.recent(account.name, id_)
    record = record or await asyncio.to_thread(store.get, account.name, id_)
    first = None if record else await asyncio.to_thread(store.first, account.name, id_)
    if record is None and first is None:
        return refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no batch {id_[:64]!r} of this account")
    return _Found(account.name, store, id_, record, first)


def _page(told: list[dict[str, object]], more: str | None) -> Response:
    return Response(orjson.dumps({"data": told, "nextCursor": more}), media_type=_JSON)


def _cursor(*parts: str) -> str:
    return base64.urlsafe_b64encode("\n".join(parts).encode()).decode().rstrip("=")


def _read(cursor: str, count: int) -> list[str] | Refusal:
    """The parts of a cursor; none where there is none. Refusals: 422."""
    if not cursor:
        return []
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("\n", count - 1)
    except (binascii.Error, ValueError):
        return _no_cursor(cursor)
    return parts if len(parts) == count else _no_cursor(cursor)


def _no_cursor(cursor: str) -> Refusal:
    return wrong(f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out")
