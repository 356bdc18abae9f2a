"""What would become of a request: every stage's own functions, one after another, on what this gateway knows. Without
any effect: nothing is produced, counted or reserved.

Known here are the lists, opt-outs and prices as the stages know them, within a second; the account's money and bundles
as price last told them; what is used of a limit a day as far as the read model has come, and nothing of a limit a
second. What an account is sending at this moment may therefore make a difference.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from pipeline.accounts import AccountRecord
from pipeline.billing import Limits, Usage, View
from pipeline.carriers.routing import Router
from pipeline.gateway import metrics
from pipeline.gateway.problems import Refusal, unavailable
from pipeline.gateway.services import Services
from pipeline.optouts import OptOuts
from pipeline.prohibited import Lists
from pipeline.records import Batch
from pipeline.stages.encode import make
from pipeline.stages.guard import refuse_held
from pipeline.stages.moderate import moderate
from pipeline.stages.paying import Means, afford, apply
from pipeline.stages.price import put_prices
from pipeline.stages.validate import batches, check_request
from pipeline.streaming.stage import Record
from pipeline.text import Wire
from schemas import errors, intake
from schemas.errors import Error

#: More recipients than this are worked on in a thread, so that others are answered meanwhile.
_AT_ONCE = 50
_DAY_MS = 24 * 3600 * 1000
_NEEDED = ("lists", "prices", "balances", "optOuts")


class World(msgspec.Struct):
    """What a simulation looks at. `means` is used up by it."""

    max_parts: int
    wires: Callable[[Sequence[str]], Sequence[Wire]]
    lists: Lists
    opt_outs: OptOuts
    prices: View
    currency: str
    minimum: int
    router: Router
    means: Means


class Course(msgspec.Struct):
    """What would become of a request. `sent`: batches with contents, prices and who pays; `unpaid`: the same of what
    the money does not suffice for, `why`: number and error of these, by their place; `refused`: those of all others."""

    sent: list[Batch] = []
    unpaid: list[Batch] = []
    refused: dict[int, tuple[str, Error]] = {}
    why: dict[int, tuple[str, Error]] = {}

    @property
    def total(self) -> int:
        """Micro-units of all that would be sent."""
        return sum(map(cost, self.sent))

    @property
    def missed(self) -> dict[int, tuple[str, Error]]:
        """Number and error of everybody who would get nothing, in order."""
        return dict(sorted((self.refused | self.why).items()))


def cost(batch: Batch) -> int:
    """Micro-units of a batch; nothing where a bundle pays."""
    return sum(batch.price_of(p) * batch.content_of(p).count for p in range(len(batch)))


async def simulate(request: intake.Request, account: AccountRecord, at: Services) -> Course | Refusal:
    """The course of a request from now on. Refusals: 503 where this gateway does not know enough yet."""
    if missing := at.unread(*_NEEDED):
        return unavailable(f"{', '.join(missing)}: not read yet; try again")
    now = time.time_ns() // 1_000_000
    world = World(
        max_parts=at.settings.limits.parts,
        wires=lambda numbers: at.wires.each(list(numbers)),
        lists=Lists(at.lists.rules),
        opt_outs=at.opt_outs,
        prices=at.prices.book.at(now).for_account(account.name, now),
        currency=at.settings.billing.currency,
        minimum=at.minimum,
        router=at.router,
        means=await _means(account, at, now),
    )
    metrics.SIMULATED.inc(len(request.recipients))
    if len(request.recipients) > _AT_ONCE:
        return await asyncio.to_thread(course, request, account, world, now)
    return course(request, account, world, now)


async def _means(account: AccountRecord, at: Services, now: int) -> Means:
    funds, limits = at.balances.get(account.name), account.limits
    usage = Usage().at(now)
    if at.read_model and (limits.messages_a_day, limits.spend_a_day) != (None, None):
        midnight = datetime.fromtimestamp(now // _DAY_MS * _DAY_MS / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        count, amount = await asyncio.to_thread(at.read_model.reserved_since, account.name, midnight)
        usage = msgspec.structs.replace(usage, in_day=count, spent=amount)
    holds = {name: not hold.released for name, hold in at.accounts.holds(account.name).items()}
    refuse = partial(refuse_held, holds)
    return Means(funds.available + limits.credit, 0, list(funds.bundles), limits, usage, refuse)


def course(request: intake.Request, account: AccountRecord, world: World, now: int) -> Course:
    """Take the request through the stages, at `now` (Unix ms)."""
    data = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
    record = Record("", 0, 0, now, None, b"")
    found = Course([], [], {}, {})
    for batch in batches(data, record, check_request(request, account), {}):
        left = batch
        for stage in (_encode, _moderate, _price, _pay, _route):
            wrong = stage(left, world, now)
            for position, error in wrong.items():
                which = found.why if error.code == errors.INSUFFICIENT_CREDIT else found.refused
                which[left.index[position]] = left.numbers[position], error
            unpaid = [p for p, error in wrong.items() if error.code == errors.INSUFFICIENT_CREDIT]
            if unpaid:
                found.unpaid.append(left.select(sorted(unpaid)))
            left = left.select([p for p in range(len(left)) if p not in wrong]) if wrong else left
            if not len(left):
                break
        else:
            found.sent.append(left)
    return found


def _encode(batch: Batch, world: World, _: int) -> dict[int, Error]:
    if batch.error:
        return dict.fromkeys(range(len(batch)), batch.error)
    return make(batch, world.max_parts, world.wires)


def _moderate(batch: Batch, world: World, now: int) -> dict[int, Error]:
    return moderate(batch, world.lists, world.opt_outs, now)[0]


def _price(batch: Batch, world: World, _: int) -> dict[int, Error]:
    batch.currency = world.currency
    return put_prices(batch, world.prices)


def _pay(batch: Batch, world: World, _: int) -> dict[int, Error]:
    """As price decides, batch by batch; what one takes the next has no more."""
    means = world.means
    found = afford(batch, batch, means, world.minimum)
    means.available -= found.amount
    if found.used:
        means.bundles = [one.reserve(taken) for one, (_, taken) in zip(means.bundles, found.used, strict=True)]
    if means.limits != Limits():
        means.usage = means.usage.plus(found.paid + sum(messages for messages, _ in found.used), found.amount)
    return apply(found, batch)


def _route(batch: Batch, world: World, _: int) -> dict[int, Error]:
    carriers = world.router.group(batch.numbers)
    return {
        position: Error(errors.NO_ROUTE, f"no route leads to {batch.numbers[position]}; add one to routes")
        for position, carrier in enumerate(carriers)
        if carrier is None
    }
