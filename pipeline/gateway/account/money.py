"""`/balance`, `/statement`, `/statistics/spend`: the money of the token's account, as the read model knows it."""

import asyncio
import time
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from pipeline.billing import format_amount
from pipeline.billing.price_rows import format_time
from pipeline.gateway import views
from pipeline.gateway.parameters import period, wrong
from pipeline.gateway.problems import Refusal, problem
from pipeline.gateway.reading import reader
from pipeline.gateway.services import services
from pipeline.store import statement as statements
from pipeline.store.queries import Movement
from pipeline.store.spending import SPEND_BY
from schemas.ledger import Kind

MAX_PAGE = 1000
_PAGE = 100
_CSV = "text/csv"
_KINDS = [kind.value for kind in Kind]

Since = Annotated[str, Query(alias="from", description="A date or an RFC 3339 time; inclusive.")]
Until = Annotated[str, Query(alias="to", description="A date or an RFC 3339 time; exclusive.")]

router = APIRouter(tags=["Money"])


@router.get("/balance", summary="The account's money as of its last movement")
async def balance(request: Request) -> Response:
    """`available` is `balance` less `reserved`. Decimal strings; zeros where the account never had money."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    last = await asyncio.to_thread(model.last_movement, account.name)
    amounts = (last.balance, last.reserved, last.balance - last.reserved) if last else (0, 0, 0)
    view = dict(zip(("balance", "reserved", "available"), map(format_amount, amounts), strict=True))
    currency = last.currency if last else services(request).settings.billing.currency
    return Response(views.encode(view | {"currency": currency}), media_type="application/json")


@router.get("/statement", summary="Movements of the account's money, newest first")
async def statement(
    request: Request,
    since: Since = "",
    until: Until = "",
    kind: Annotated[list[str], Query(description="May be repeated; without it all.")] = [],  # noqa: B006
    cursor: Annotated[str, Query(description="The last answer's nextCursor.")] = "",
    limit: Annotated[int | None, Query(ge=1, le=MAX_PAGE, description="100 if not given; of CSV all.")] = None,
    format: Annotated[str, Query(description="json or csv; else as Accept has it.")] = "",
) -> Response:
    """A page, `nextCursor` is null on the last; or CSV, all of it unless there is a limit. What moves meanwhile stands
    before the first page, so that the pages behind it stay as they are."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    times = period(since, until)
    if isinstance(times, Refusal):
        return problem(times)
    if unknown := [one for one in kind if one not in _KINDS]:
        return problem(wrong(f"kind: {unknown[0][:64]!r} is not one of {', '.join(_KINDS)}"))
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        return problem(wrong(f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out"))
    if format not in ("", "json", "csv"):
        return problem(wrong(f"format: {format[:64]!r} is not json or csv"))
    bounds = [None if moment is None else format_time(moment) for moment in times]
    before = int(cursor) if cursor else None

    def read(before: int | None, limit: int) -> list[Movement]:
        return model.movements(account.name, kinds=kind, since=bounds[0], until=bounds[1], before=before, limit=limit)

    if format == "csv" or (not format and _prefers_csv(request)):
        chunks = statements.csv_chunks(statements.pages(read, before, limit))
        named = {"Content-Disposition": f'attachment; filename="statement-{account.name}.csv"'}
        return StreamingResponse(chunks, headers=named, media_type=_CSV)
    most = limit or _PAGE
    found = await asyncio.to_thread(read, before, most + 1)
    more = str(found[most - 1].sequence) if len(found) > most else None
    body = {"data": [statements.told(one) for one in found[:most]], "nextCursor": more}
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/statistics/spend", summary="What the account's messages cost")
async def spend(request: Request, by: str = "day", since: Since = "", until: Until = "") -> Response:
    """Messages that carriers took, their parts and what of their price was not given back, by day of the request (UTC),
    country, operator or carrier. The last 30 days unless told otherwise; at most 366."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    if by not in SPEND_BY:
        return problem(wrong(f"by: {by[:64]!r} is not one of {', '.join(SPEND_BY)}"))
    times = period(since, until)
    if isinstance(times, Refusal):
        return problem(times)
    first, past = statements.period(*times, time.time_ns() // 1_000_000)
    if past - first > statements.MOST_DAYS * statements.DAY_SECONDS:
        return problem(wrong(f"from: more than {statements.MOST_DAYS} days before to; ask for less at a time"))
    refunds = services(request).settings.billing.refund
    found = await asyncio.to_thread(model.spend, account.name, by, first, past, refunds)
    view = [statements.told_spend(one) for one in found]
    return Response(orjson.dumps({"data": view}), media_type="application/json")


def _prefers_csv(request: Request) -> bool:
    """Whether CSV is asked for, and JSON is not."""
    wanted = [one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "").split(",")]
    return _CSV in wanted and "application/json" not in wanted
