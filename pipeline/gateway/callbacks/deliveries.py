"""`/callbacks/deliveries` and `/callbacks/replay`: what became of the account's callbacks, and telling them again."""

import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Annotated, Literal, TypeVar

import orjson
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from pipeline import ids
from pipeline.callbacks import deliveries, endpoints, replay
from pipeline.callbacks.deliveries import STATES, Wanted
from pipeline.gateway import parameters, views
from pipeline.gateway.body import Body
from pipeline.gateway.parameters import wrong
from pipeline.gateway.problems import Refusal, problem, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, parsed
from pipeline.gateway.services import services
from pipeline.stages.fate import rfc3339

MAX_PAGE = 1000
#: What is looked through for a replay that names no time.
_REPLAYED_MS = 24 * 3_600_000
_T = TypeVar("_T")

router = APIRouter(tags=["Callbacks"])


class ReplayBody(Body):
    """Which events are told again: of a message, to an endpoint, attempted in a time (of which `to` is exclusive; the
    last 24 hours, or since the message was made). `state`: what had become of them. `cursor`: the last answer's."""

    message: str | None = None
    endpoint: str | None = None
    state: Literal["given-up", "delivered", "all"] = "given-up"
    since: str | None = Field(default=None, alias="from")
    until: str | None = Field(default=None, alias="to")
    cursor: str | None = None


@router.get("/callbacks/deliveries", summary="Attempts at the account's callbacks, newest first")
async def page(
    request: Request,
    message: Annotated[str, Query(description="A message's id.")] = "",
    endpoint: Annotated[str, Query(description="An endpoint's id.")] = "",
    state: Annotated[str, Query(description="delivered, retrying or given-up.")] = "",
    since: Annotated[str, Query(alias="from", description="A date or an RFC 3339 time; inclusive.")] = "",
    until: Annotated[str, Query(alias="to", description="A date or an RFC 3339 time; exclusive.")] = "",
    cursor: Annotated[str, Query(description="The last answer's nextCursor.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Response:
    """A page, kept for seven days. `nextCursor` is null on the last; a page before it may be short, or empty, where
    much had to be looked through."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    if state and state not in STATES:
        return problem(wrong(f"state: {state[:64]!r} is not one of {', '.join(STATES)}"))
    asked = _wanted(account.name, message, endpoint, (since, until), state, cursor)
    if isinstance(asked, Refusal):
        return problem(asked)
    found = await _read(at.callbacks.log.latest(*asked, limit))
    if isinstance(found, Refusal):
        return problem(found)
    rows, more = found
    body = {"data": [deliveries.told(one) for one in rows], "nextCursor": None if more is None else str(more)}
    return Response(orjson.dumps(body), media_type="application/json")


@router.post("/callbacks/replay", status_code=202, summary="Tell events again")
async def again(request: Request) -> Response:
    """202 with how many events are told again, under the ids they had; `nextCursor` is null where these are all. What
    is still being tried is left to that."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    body = await parsed(request, ReplayBody)
    if isinstance(body, Refusal):
        return problem(body)
    state = "" if body.state == "all" else body.state
    since = body.since or ("" if body.message else rfc3339(time.time_ns() // 1_000_000 - _REPLAYED_MS))
    asked = _wanted(account.name, body.message, body.endpoint, (since, body.until), state, body.cursor)
    if isinstance(asked, Refusal):
        return problem(asked)
    found = await _read(replay.collect(at.callbacks.log, *asked))
    if isinstance(found, Refusal):
        return problem(found)
    events, more = found
    records = [
        Outgoing(at.names.callbacks, value, home) for home, value in replay.rows(events, at.settings.kafka.partitions)
    ]
    if records and (failed := await at.publisher.publish(records)):
        return problem(unavailable(failed.message))
    told = {"events": len(events), "nextCursor": None if more is None else str(more)}
    return Response(views.encode(told), HTTPStatus.ACCEPTED, media_type="application/json")


def _wanted(
    account: str,
    message: str | None,
    endpoint: str | None,
    period: tuple[str | None, str | None],
    state: str,
    cursor: str | None,
) -> tuple[Wanted, int | None] | Refusal:
    """What to look for, and where to go on."""
    times = parameters.period(*period)
    if isinstance(times, Refusal):
        return times
    first, past = times
    if message:
        if ids.split(message) is None:
            return wrong(f"message: {message[:64]!r} is no message's id (24 hex digits)")
        first = first or int(message[:8], 16) * 1000  # nothing was told before it was made
    if endpoint and not endpoints.is_id(endpoint):
        return wrong(f"endpoint: {endpoint[:64]!r} is no endpoint's id (ep_ and 24 hex digits)")
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        return wrong(f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out")
    wanted = Wanted(account, message.lower() if message else None, endpoint or None, STATES.get(state), first, past)
    return wanted, int(cursor) if cursor else None


async def _read(reading: Awaitable[_T]) -> _T | Refusal:
    try:
        return await reading
    except (TimeoutError, KafkaError):
        return unavailable("the log of deliveries cannot be read; try again, nothing was told again")
