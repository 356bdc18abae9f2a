"""`/prices`: what a part costs the token's account, by the list in force."""

import asyncio
import time
from bisect import bisect_right
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from pipeline.billing import PriceList, format_price
from pipeline.billing.price_rows import Rate
from pipeline.gateway import parameters
from pipeline.gateway.parameters import wrong
from pipeline.gateway.problems import Refusal, problem, unavailable
from pipeline.gateway.reading import authenticate
from pipeline.gateway.services import services

MAX_PAGE = 1000

router = APIRouter(tags=["Money"])

#: Country, operator, prefix: what a price is of.
Key = tuple[str, str, str]


@router.get("/prices", summary="Prices of the account, by country, operator and prefix")
async def prices(
    request: Request,
    country: Annotated[str, Query(description="ISO 3166-1, such as IT; without it all.")] = "",
    cursor: Annotated[str, Query(description="The last answer's nextCursor.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
) -> Response:
    """A page, `nextCursor` is null on the last. `version` names the list; where it changes from page to page, begin
    anew. A country without a price has no rows."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    if not at.prices_known:
        return problem(unavailable("the prices are not read yet; try again"))
    if cursor and cursor.count("/") < 2:
        return problem(wrong(f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out"))
    place = parameters.country("country", country)
    if isinstance(place, Refusal):
        return problem(place)
    now = time.time_ns() // 1_000_000
    found = at.prices.book.at(now)
    listed = await asyncio.to_thread(in_force, found, account.name, now, place)
    begin = bisect_right(listed, _key(cursor), key=lambda row: row[0]) if cursor else 0
    page, more = listed[begin : begin + limit], len(listed) > begin + limit
    currency = at.settings.billing.currency
    view = [
        {"country": where, "operator": operator, "prefix": prefix, "price": format_price(price), "currency": currency}
        for (where, operator, prefix), price in page
    ]
    cursors = {"nextCursor": _cursor(page[-1][0]) if more else None}
    return Response(orjson.dumps({"data": view, "version": found.version, **cursors}), media_type="application/json")


def in_force(listed: PriceList, account: str, at: int, country: str = "") -> list[tuple[Key, int]]:
    """What a part costs an account at a time (Unix ms), micro-units by key, in order: for every key that has a price
    of its own or in the list, with its own prices before the list's and its discount taken off."""
    view = listed.for_account(account, at)
    keys = {_of(row) for row in listed.rows.holding(at).prices if row.owner in ("", account)}
    wanted = sorted(key for key in keys if not country or key[0] == country)
    return [(key, price) for key in wanted if (price := view.price(*key)) is not None]


def _of(row: Rate) -> Key:
    return row.country, row.operator, row.prefix


def _cursor(key: Key) -> str:
    country, operator, prefix = key
    return f"{country}/{prefix}/{operator}"


def _key(cursor: str) -> Key:
    country, prefix, operator = cursor.split("/", 2)
    return country, operator, prefix
