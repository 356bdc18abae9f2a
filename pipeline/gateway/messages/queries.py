"""`GET /messages`, `GET /messages/{id}`, `GET /statistics`: the account's messages, as the read model knows them."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from pipeline.gateway import views
from pipeline.gateway.messages import filters
from pipeline.gateway.parameters import wrong
from pipeline.gateway.problems import Refusal, problem, refuse
from pipeline.gateway.reading import reader, sees_secrets
from pipeline.gateway.services import services
from pipeline.store.search import Wanted, cursor, read_cursor
from pipeline.store.statistics import BY, Count
from schemas import errors
from schemas.states import STATE, Detailed

MAX_PAGE = 1000
#: Behind more messages than these a page begins at a cursor.
MAX_SKIP = 100_000
_MOST_COUNTS = 10_000

Text = Annotated[str, Query(max_length=128)]
Since = Annotated[str, Query(alias="from", description="A date or an RFC 3339 time; inclusive.")]
Until = Annotated[str, Query(alias="to", description="A date or an RFC 3339 time; exclusive.")]

router = APIRouter(tags=["Messages"])


@router.get("/messages", summary="Messages of the account, newest first")
async def page(
    request: Request,
    skip: Annotated[int, Query(ge=0, le=MAX_SKIP, description="Without cursor and filters but from and to.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[Text, Query(description="The last answer's nextCursor.")] = "",
    state: Annotated[list[str], Query(description="state or detailedState; may be repeated.")] = [],  # noqa: B006
    recipient: Text = "",
    request_id: Annotated[list[str], Query(alias="requestId", description="May be repeated.")] = [],  # noqa: B006
    batch: Annotated[Text, Query(description="A batch's id.")] = "",
    country_code: Annotated[str, Query(alias="countryCode")] = "",
    sender: Text = "",
    since: Since = "",
    until: Until = "",
) -> Response:
    """A page of the read model, which follows the pipeline within moments. `custom.KEY=VALUE` asks for a member of
    `custom`. `nextCursor` is null on the last page; a page may hold fewer messages than `limit` before it. What arrives
    meanwhile stands before the first page, so that the pages behind it stay as they are."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    wanted = filters.wanted(
        filters.Given(state, recipient, request_id, batch, country_code, sender, since, until),
        request.query_params.multi_items(),
    )
    if isinstance(wanted, Refusal):
        return problem(wanted)
    behind = read_cursor(cursor) if cursor else None
    if cursor and behind is None:
        return problem(wrong(f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out"))
    if skip and (cursor or wanted != Wanted(since=wanted.since, until=wanted.until)):
        return problem(wrong("skip: only without cursor and filters other than from and to; page on by nextCursor"))
    found = await asyncio.to_thread(model.search, account.name, wanted, behind, limit, skip)
    return _json(
        views.encode_page(
            [views.stored(row, secrets=sees_secrets(request)) for row in found.messages], _told(found.behind)
        )
    )


@router.get("/messages/{id}", summary="One message of the account")
async def get(request: Request, id: str) -> Response:
    """A message of the token's account; another's is not found."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    row = await asyncio.to_thread(model.get, account.name, id.lower())
    if row:
        return _json(views.encode(views.stored(row, secrets=sees_secrets(request))))
    if answer := services(request).fresh.get(id.lower(), account.name, time.monotonic()):
        return _json(answer if sees_secrets(request) else views.masked_answer(answer))
    return problem(refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no message {id[:64]!r} of this account"))


@router.get("/statistics", summary="What became of the account's messages, counted")
async def statistics(
    request: Request,
    by: Annotated[list[str], Query(description="What to count by; up to three.")] = ["day"],  # noqa: B006
    since: Since = "",
    until: Until = "",
) -> Response:
    """Messages and parts by day of the request (UTC), country, operator, carrier or state, with the time from the
    carrier's taking to the delivery in percentiles (seconds, within 3 %). Whole days: the last 30 unless told
    otherwise, at most 366. Dry runs are not counted; what retention or erasure removed since still is."""
    asked = await reader(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, model = asked
    by = list(dict.fromkeys(by))
    if unknown := [one for one in by if one not in BY]:
        return problem(wrong(f"by: {unknown[0][:64]!r} is not one of {', '.join(BY)}"))
    if len(by) > 3:
        return problem(wrong("by: at most three at a time"))
    days = filters.days(since, until)
    if isinstance(days, Refusal):
        return problem(days)
    found = await asyncio.to_thread(model.counted, account.name, by, *(day.isoformat() for day in days))
    if len(found) > _MOST_COUNTS:
        return problem(wrong(f"by: {len(found)} counts, more than {_MOST_COUNTS}; ask for fewer days, or by less"))
    return _json(orjson.dumps({"data": [_view(one) for one in found]}))


def _view(one: Count) -> dict[str, object]:
    view: dict[str, object] = dict(one.about)
    if "state" in view:
        detailed = view["state"]
        known = str(detailed) in Detailed.__members__
        view |= {"state": STATE[Detailed[str(detailed)]] if known else detailed, "detailedState": detailed}
    states = {} if "state" in one.about else {"states": one.states}
    times = {"deliveries": one.timed, **(one.delivered_within or dict.fromkeys(("p50", "p90", "p99")))}
    return {**view, "messages": one.messages, "parts": one.parts, **states, "deliveryTime": times}


def _told(behind: str | None) -> str | None:
    return None if behind is None else cursor(behind)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
