"""`/estimate`: what a request would cost, before it is sent."""

from collections import defaultdict
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request, Response

from pipeline.billing import format_amount, format_price
from pipeline.gateway import views
from pipeline.gateway.messages.create import parse
from pipeline.gateway.messages.idempotency import key_of
from pipeline.gateway.messages.sending import admitted, refused
from pipeline.gateway.messages.simulation import Course, cost, simulate
from pipeline.gateway.problems import Refusal, problem
from pipeline.gateway.services import Services, services
from pipeline.gateway.views import Refused

router = APIRouter(tags=["Messages"])

#: Country, operator, price, bundle: what recipients of a group share.
_Key = tuple[str, str, int, str | None]


class Group(msgspec.Struct, rename="camel"):
    """Recipients alike in destination and price; `price` is a part's, nothing where a `bundle` pays."""

    country_code: str
    operator: str
    recipients: int
    parts: int
    price: str
    total_price: str
    bundle: str | None


class Estimate(msgspec.Struct, rename="camel"):
    """`recipients` as asked, `accepted` of them would be sent if the money sufficed, `parts` is theirs. `sufficient`:
    whether it does, `shortage`: why not; `available`: what the account has, its credit included."""

    recipients: int
    accepted: int
    parts: int
    groups: list[Group]
    total_price: str
    currency: str
    available: str
    sufficient: bool
    shortage: str | None
    refused: list[Refused]


@router.post("/estimate", status_code=200, summary="What a request would cost")
async def create(request: Request) -> Response:
    """The body of `/messages`; parts and price by country and operator, and who would be refused. No effect."""
    at = services(request)
    asked = await admitted(request, at)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, body = asked
    key = key_of(request)
    wanted = key if isinstance(key, Refusal) else parse(body, account, None, key)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    found = await simulate(wanted, account, at)
    if isinstance(found, Refusal):
        return problem(found)
    available = at.balances.get(account.name).available + account.limits.credit
    view = _estimate(found, len(wanted.recipients), available, at)
    return Response(views.encode(view), HTTPStatus.OK, media_type="application/json")


def _estimate(found: Course, recipients: int, available: int, at: Services) -> Estimate:
    priced = [*found.sent, *found.unpaid]
    sums: defaultdict[_Key, list[int]] = defaultdict(lambda: [0, 0])
    for batch in priced:
        for position, place in enumerate(batch.where):
            to = batch.destinations[place]
            bundle = batch.bundles[batch.funding[position] - 1] if batch.funding and batch.funding[position] else None
            total = sums[to.country, to.operator, batch.price_of(position), bundle]
            total[0] += 1
            total[1] += batch.content_of(position).count
    groups = [
        Group(country, operator, count, parts, format_price(price), format_price(price * parts), bundle)
        for (country, operator, price, bundle), (count, parts) in sorted(sums.items(), key=lambda item: str(item[0]))
    ]
    return Estimate(
        recipients=recipients,
        accepted=sum(map(len, priced)),
        parts=sum(parts for _, parts in sums.values()),
        groups=groups,
        total_price=format_price(sum(map(cost, priced))),
        currency=at.settings.billing.currency,
        available=format_amount(available),
        sufficient=not found.unpaid,
        shortage=found.why[min(found.why)][1].message if found.why else None,
        refused=refused(found.refused),
    )
