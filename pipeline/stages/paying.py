"""Paying: which messages of a batch the account may send, and who pays for them.

Limits of the account come first, then the pumping guard, its bundles, and the wallet as far as it goes. What is decided
is durable before anybody hears of it, and is what a replay tells again.
"""

from collections.abc import Callable, Collection, Sequence

import msgspec

from pipeline.billing import (
    Bundle,
    Limits,
    Usage,
    affordable,
    format_amount,
    format_price,
    fund,
    near,
    within,
)
from pipeline.ops import metrics
from pipeline.records import Batch, Rejected
from pipeline.stages.book import Book, Decision
from pipeline.stages.common import split
from pipeline.stages.guard import Guard
from schemas import errors
from schemas.errors import Error
from schemas.intake import WORLDWIDE
from schemas.ledger import Kind

#: Why recipients, by position, get nothing, beside those who get nothing already.
Refuse = Callable[[Batch, Collection[int]], dict[int, Error]]


class Means(msgspec.Struct):
    """What an account has: micro-units `available` (its credit included, before a `fine`), bundles, limits, and what is
    used of them. `refuse`: the guard's word."""

    available: int
    fine: int
    bundles: list[Bundle]
    limits: Limits
    usage: Usage
    refuse: Refuse


class Afforded(msgspec.Struct):
    """What means suffice for: messages paid from the wallet, their micro-units and parts; the others as in a Decision.
    `used`: messages and parts of each bundle; `going`: who is paid for, by position."""

    paid: int
    amount: int
    parts: int
    excluded: dict[int, Error]
    why: Error | None
    funding: bytes
    bundles: list[str]
    used: list[tuple[int, int]]
    going: Sequence[int]


#: What a decision of an earlier version did not tell of those it left unpaid.
_NO_CREDIT = Error(errors.INSUFFICIENT_CREDIT, "account: not enough is available; add credit", permanent=False)


def pay(
    book: Book, batch: Batch, priced: Batch | None, minimum: int, fine: int, price_list: str
) -> tuple[Batch | None, Rejected | None]:
    """The recipients of `priced`, the part of the batch that can be sent, who are paid for; the rejection of the rest.

    `minimum`: micro-units asked for per part; `fine`: the penalty for the other part of the batch; `price_list`: the
    version in force. A decision that stands is kept, unless the account was not written after it: then nobody has been
    told of it.
    """
    decision = book.decisions[batch.id]
    if decision is None or not book.counted(batch.account):
        decision = _decide(book, batch, priced, minimum, fine, price_list)
    elif priced and len(decision.prices) == len(priced.prices):
        priced.prices = decision.prices  # a replay tells what was decided, whatever the price list says today
    if priced is None:
        return None, None
    return split("price", priced, apply(decision, priced))


def apply(decision: Decision | Afforded, priced: Batch) -> dict[int, Error]:
    """Put on the batch which bundles pay for which recipients; why the others (by position) are not paid for."""
    unpaid: Sequence[int] = range(decision.paid, len(priced))
    if decision.funding:
        unpaid = [p for p, source in enumerate(decision.funding) if not source and p not in decision.excluded]
        priced.bundles = decision.bundles
        priced.funding = bytes([max(source - 1, 0) for source in decision.funding])
    elif decision.excluded:
        unpaid = [p for p in range(len(priced)) if p not in decision.excluded][decision.paid :]
    return decision.excluded | dict.fromkeys(unpaid, decision.why or _NO_CREDIT)


def _decide(book: Book, batch: Batch, priced: Batch | None, minimum: int, fine: int, price_list: str) -> Decision:
    account, at = batch.account, book.record.timestamp_ms
    limits, ledger = book.limits(account), book.ledger(account)
    usage = ledger.usage.at(batch.received_at)
    available = ledger.money.available + limits.credit
    fine = min(fine, max(available, 0))
    guard = Guard(book, batch)
    means = Means(available, fine, [] if batch.dry_run else ledger.bundles, limits, usage, guard.refuse)
    found = afford(batch, priced, means, minimum)
    paid, why, used = found.paid, found.why, found.used
    reserve = 0 if batch.dry_run else found.amount
    record = book.record
    made = Decision(
        record.topic, record.offset, batch.request, paid, reserve, list(priced.prices) if priced else [],
        penalty=fine, excluded=found.excluded, price_list=price_list, why=why,
        funding=found.funding, bundles=found.bundles,
    )  # fmt: skip
    book.decide(batch, made)
    about = {"batch": batch.id.hex(), "request_id": batch.request_id, "price_list": price_list}
    book.move(account, Kind.PENALTY, fine, at, **about, reason="prohibited content")
    book.move(account, Kind.RESERVE, reserve, at, **about, messages=paid, parts=found.parts)
    for bundle, (messages, taken) in zip(means.bundles, used, strict=True):
        if taken:
            book.keep(account, bundle.reserve(taken))
            left = bundle.left - taken
            more = {"bundle": bundle.name, "bundle_left": left, "messages": messages, "parts": taken}
            book.move(account, Kind.RESERVE, 0, at, **about, **more)
    guard.count(found.going)
    if not batch.dry_run:  # counted without limits too, so that one that is set at noon knows of the morning
        _use(book, account, limits, usage.plus(len(found.going), reserve), why)
    return made


def afford(batch: Batch, priced: Batch | None, means: Means, minimum: int) -> Afforded:
    """What of `priced`, the part of the batch that can be sent, the means suffice for: limits first, then the guard,
    bundles, and the wallet. `minimum`: micro-units asked for per part by the worldwide tariff. Changes nothing."""
    offer = Offer.of(priced, means, batch.received_at)
    room, why = within(means.limits, means.usage, offer.costs)
    costs, parts = offer.costs[:room], offer.counts[:room]
    if offer.source:
        wallet = [place for place in range(room) if not offer.source[place]]
        costs, parts = [costs[place] for place in wallet], [parts[place] for place in wallet]
    least = minimum if batch.tariff == WORLDWIDE else 0
    paid = affordable(means.available - means.fine, costs, [least * count for count in parts])
    if paid < len(costs):
        needed = format_amount(least * parts[paid])
        floor = f", and {needed} must be available for it (the minimum per part)" if least else ""
        why = Error(
            errors.INSUFFICIENT_CREDIT,
            f"account: {format_amount(means.available)} {batch.currency} available, this message costs "
            f"{format_price(costs[paid])}{floor}; add credit",
            permanent=False,
        )
    funding, used = offer.funded(room, paid)
    bundles = [bundle.name for bundle in means.bundles] if funding else []
    going = [place for place, source in enumerate(funding) if source] if funding else offer.positions[:paid]
    return Afforded(paid, sum(costs[:paid]), sum(parts[:paid]), offer.excluded, why, funding, bundles, used, going)


class Offer(msgspec.Struct):
    """The messages of a batch that neither limits nor the guard shut out, in order: position, parts and cost of each,
    and the bundle that would pay (see `fund`; b"": there is none). `excluded`: why the others are shut out."""

    size: int
    positions: Sequence[int]
    counts: list[int]
    costs: list[int]
    excluded: dict[int, Error]
    bundles: list[Bundle]
    source: bytes

    @classmethod
    def of(cls, priced: Batch | None, means: Means, at: int) -> "Offer":
        """`at`: Unix ms of the request."""
        limits, bundles = means.limits, means.bundles
        if priced is None:
            return cls(0, [], [], [], {}, bundles, b"")
        counts, costs = _costs(priced)
        excluded = _shut_out(priced, costs, limits) if limits.countries or limits.price is not None else {}
        excluded |= means.refuse(priced, excluded)
        positions: Sequence[int] = range(len(priced))
        if excluded:
            positions = [position for position in positions if position not in excluded]
            counts, costs = [counts[p] for p in positions], [costs[p] for p in positions]
        source = b""
        if bundles:
            countries = [priced.destinations[priced.where[position]].country for position in positions]
            source = fund(bundles, at, countries, counts)
            costs = [0 if source[place] else cost for place, cost in enumerate(costs)]
        return cls(len(priced), positions, counts, costs, excluded, bundles, source)

    def funded(self, room: int, paid: int) -> tuple[bytes, list[tuple[int, int]]]:
        """Who pays for each recipient of the batch, as a decision has it, where `room` messages may go and the wallet
        pays for `paid`; and the messages and parts of each bundle. b"" where no bundle pays for any."""
        used = [(0, 0) for _ in self.bundles]
        if not any(self.source[:room]):
            return b"", used
        funding = bytearray(self.size)
        for place, position in enumerate(self.positions[:room]):
            if bundle := self.source[place]:
                messages, parts = used[bundle - 1]
                used[bundle - 1] = messages + 1, parts + self.counts[place]
                funding[position] = bundle + 1
            elif paid:
                paid -= 1
                funding[position] = 1
        return bytes(funding), used


def _costs(batch: Batch) -> tuple[list[int], list[int]]:
    """The parts of each message, and its micro-units."""
    if batch.content:
        counts = [batch.contents[place].count for place in batch.content]
    else:
        counts = [batch.contents[0].count] * len(batch)
    return counts, [batch.prices[place] * count for place, count in zip(batch.where, counts, strict=True)]


def _shut_out(batch: Batch, costs: list[int], limits: Limits) -> dict[int, Error]:
    """Recipients, by position, to whom the account may not send."""
    found = (
        (position, limits.shuts_out(batch.destinations[place].country, costs[position]))
        for position, place in enumerate(batch.where)
    )
    return {position: error for position, error in found if error}


def _use(book: Book, account: str, limits: Limits, usage: Usage, why: Error | None) -> None:
    """Put down what was used, and tell the owner once a day of each limit that is near or reached."""
    warned = list(usage.warned)
    for name, used, most in near(limits, usage):
        amounts = [format_amount(n) if name == "spendADay" else n for n in (used, most)]
        book.event(account, "limit-near", limit=name, used=amounts[0], bound=amounts[1])
        warned.append(name)
    reached = f"reached {why.code}" if why else ""
    if why and why.code in (errors.RATE_LIMIT, errors.DAILY_LIMIT) and reached not in warned:
        book.event(account, "limit-reached", code=why.code, message=why.message)
        metrics.LIMITS.labels(str(why.code)).inc()
        warned.append(reached)
    book.change(account, usage=msgspec.structs.replace(usage, warned=tuple(warned)))
