"""Price: what does each message cost, and can the account pay?

In: moderated batches by account (`sms.moderated`), top-ups (`sms.credits`), and what became of reserved money
(`sms.settlements`). Out: paid batches (`sms.priced`), the news that they are accepted, rejections, the blocklisting of
accounts that sent prohibited content, and each account's balance as of its last change (`sms.balances`).

All decisions on an account happen in one partition, in order. A decision depends on the balance at its moment, and on
the term lists at the moment of moderation, so it is made durable before anyone sees it (`put_first`): a replay gives
the same answer again, and what moderate says of the batch another time is not heard any more.

    d<batch>    the decision: how many recipients are paid for, what was reserved, and what of it is settled
    a<account>  the money, with the offset of the last record of each topic that is in it

Both go to the changelog in that order. An account's value tells by its offsets whether a record is in it already,
whichever write was the last before a crash.
"""

import time

import msgspec
import orjson
import structlog

from pipeline import ids
from pipeline.accounts import Blocklisting
from pipeline.billing import Account, PriceList, affordable, format_amount, format_price
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import (
    Accepted,
    Batch,
    Rejected,
    decode_batches,
    decode_credits,
    decode_settlements,
    encode,
)
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming import letters
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors
from schemas.errors import PROHIBITED_CODES, Error
from schemas.intake import WORLDWIDE
from schemas.states import Detailed

log = structlog.get_logger()


class Ledger(msgspec.Struct, array_like=True):
    """An account's money in micro-units, and up to which offset of each topic it is counted in."""

    money: Account = Account()
    applied: dict[str, int] = {}
    sequence: int = 0
    credits: list[str] = []  # references of the last top-ups, so that a repeated one counts once


class Decision(msgspec.Struct, array_like=True):
    """What was decided on a batch, by which record. `paid`: recipients, from the first of those that are allowed and
    have a price; `penalty`: for those with prohibited content. Micro-units, in totals."""

    topic: str
    offset: int
    request: bytes
    paid: int
    reserved: int
    prices: list[int]
    captured: int = 0
    released: int = 0
    penalty: int = 0


#: References of top-ups an account remembers.
_CREDITS_KEPT = 1000


def sources(settings: Settings, prices: PriceList, minimum: int) -> list[Source]:
    """The stage's agents: a lane each, top-ups, settlements. `minimum`: micro-units available asked for per part."""
    names = TopicNames(settings.kafka.topic_prefix)
    bank = Bank(settings, names)
    found = [Source(names.moderated(lane), _agent(settings, names, bank, prices, minimum, lane)) for lane in LANES]
    return [*found, Source(names.credits, bank.credit), Source(names.settlements, bank.settle)]


def _agent(settings: Settings, names: TopicNames, bank: "Bank", prices: PriceList, minimum: int, lane: str) -> Decide:
    partitions, currency = settings.kafka.partitions, settings.billing.currency

    def decide(record: Record, step: Step) -> None:
        book = bank.open(record, step)
        for batch in decode_batches(record.value):
            count_in("price", lane, len(batch))
            if not book.answers_for(batch):
                continue
            home = ids.partition_of(batch.id, partitions)
            batch.currency = currency
            wrong, batch.errors = batch.errors, {}
            allowed, blocked = split("moderate", batch, wrong, Detailed.BLOCKED)
            fine = penalty(blocked, prices, minimum) if blocked else 0
            priced, unpriced = (None, None) if allowed is None else split("price", allowed, put_prices(allowed, prices))
            paid, unpaid = book.pay(batch, priced, minimum, fine)
            for rejected in filter(None, (blocked, unpriced, unpaid)):
                step.outbox.pack(names.outcomes(lane), home, rejected, len(rejected.which))
            if blocked and fine:
                _blocklist(blocked, record, step, names, fine)
            if paid:
                step.outbox.pack(names.outcomes(lane), home, Accepted(paid), len(paid))
                if not paid.dry_run:
                    count_out("price", lane, len(paid))
                    step.outbox.pack(names.priced(lane), home, paid, len(paid))
        book.close()

    return decide


def penalty(blocked: Rejected, prices: PriceList, minimum: int) -> int:
    """Micro-units for the prohibited content among what was blocked: what is asked for per part, and by the tariffs of
    Italy and Spain what the message would have cost. Nothing for a dry run, nor for a recipient who opted out."""
    batch, total = blocked.batch, 0
    if batch.dry_run:
        return 0
    for position, place in enumerate(blocked.which):
        if blocked.errors[place].code not in PROHIBITED_CODES:
            continue
        to, number = batch.destinations[batch.where[position]], batch.numbers[position]
        listed = minimum if batch.tariff == WORLDWIDE else prices.price(to.country, to.operator, number)
        total += (minimum if listed is None else listed) * batch.content_of(position).count
    return total


def _blocklist(blocked: Rejected, record: Record, step: Step, names: TopicNames, fine: int) -> None:
    """Let the account send nothing more until an operator looks at it."""
    batch = blocked.batch
    reason = next(error.message for error in blocked.errors if error.code in PROHIBITED_CODES)
    metrics.BLOCKLISTED.inc()
    metrics.PENALTIES.inc(fine / 1e6)
    log.warning("account.blocklisted", account=batch.account, batch=batch.id.hex(), penalty=format_amount(fine))
    told = Blocklisting(batch.account, reason, record.timestamp_ms, batch.id.hex(), format_amount(fine))
    step.outbox.latest(names.accounts, 0, told.key, told.value)


def put_prices(batch: Batch, prices: PriceList) -> dict[int, Error]:
    """Set the price of every destination; the recipients (by position) for which there is none.

    Where a country's price depends on the number, its recipients get destinations of their own, one a price.
    """
    by_number = [prices.has_prefix_rules(destination.country) for destination in batch.destinations]
    found = [None if split_up else prices.price(d.country, d.operator) for d, split_up in
             zip(batch.destinations, by_number, strict=True)]  # fmt: skip
    if any(by_number):
        places: dict[tuple[int, int | None], int] = {}
        for position, place in enumerate(batch.where):
            if not by_number[place]:
                continue
            destination = batch.destinations[place]
            price = prices.price(destination.country, destination.operator, batch.numbers[position])
            if (place, price) not in places:
                places[place, price] = len(batch.destinations)
                batch.destinations.append(destination)
                found.append(price)
            batch.where[position] = places[place, price]
    batch.prices = [price or 0 for price in found]
    missing = {place for place, price in enumerate(found) if price is None}
    if missing.isdisjoint(batch.where):
        return {}
    return {
        position: Error(
            errors.NO_PRICE, f"recipient: no price for {batch.destinations[place].country or 'this country'}"
        )
        for position, place in enumerate(batch.where)
        if place in missing
    }


def _costs(batch: Batch) -> tuple[list[int], list[int]]:
    """The parts of each message, and its micro-units."""
    if batch.content:
        counts = [batch.contents[place].count for place in batch.content]
    else:
        counts = [batch.contents[0].count] * len(batch)
    return counts, [batch.prices[place] * count for place, count in zip(batch.where, counts, strict=True)]


class Bank:
    """The accounts of the partitions this process owns."""

    def __init__(self, settings: Settings, names: TopicNames) -> None:
        self._balances = names.balances
        self._dead_letters = names.dead_letters
        self._currency = settings.billing.currency

    def open(self, record: Record, step: Step) -> "Book":
        """The accounts as one record meets them."""
        return Book(record, step, self._balances, self._dead_letters, self._currency)

    def credit(self, record: Record, step: Step) -> None:
        """Count top-ups in, each reference once."""
        book = self.open(record, step)
        for credit in decode_credits(record.value):
            ledger, counted = book.ledger(credit.account)
            if counted or credit.reference in ledger.credits:
                metrics.REPEATS.labels("price").inc()
                continue
            money = ledger.money.credit(credit.amount)
            kept = [*ledger.credits, credit.reference][-_CREDITS_KEPT:]
            book.change(credit.account, msgspec.structs.replace(ledger, money=money, credits=kept))
        book.close()

    def settle(self, record: Record, step: Step) -> None:
        """Capture and release what settlements say beyond what is settled already.

        The account is written before the decisions: where a crash comes between, a replay finds the record counted
        and only brings the decisions level.
        """
        book = self.open(record, step)
        decisions: dict[bytes, Decision] = {}
        for settlement in decode_settlements(record.value):
            key = b"d" + settlement.batch
            decision = decisions.get(key) or step.view.get(key, Decision)
            if decision is None:
                raise RuntimeError(f"settlement of batch {settlement.batch.hex()} that was never paid for")
            left = decision.reserved - decision.captured - decision.released
            captured = min(max(settlement.captured - decision.captured, 0), left)
            released = min(max(settlement.released - decision.released, 0), left - captured)
            if settlement.captured + settlement.released > decision.reserved:
                log.error("settlement.exceeds", batch=settlement.batch.hex(), account=settlement.account)
            ledger, counted = book.ledger(settlement.account)
            if not counted and (captured or released):
                money = ledger.money.capture(captured).release(released)
                book.change(settlement.account, msgspec.structs.replace(ledger, money=money))
            decisions[key] = msgspec.structs.replace(
                decision, captured=decision.captured + captured, released=decision.released + released
            )
        book.close(first=True)
        for key, decision in decisions.items():
            step.view.put_first(key, decision)


class Book:
    """The accounts as one source record meets them; `close` writes what changed, stamped with the record's offset."""

    def __init__(self, record: Record, step: Step, balances: str, dead_letters: str, currency: str) -> None:
        self._record, self._step = record, step
        self._balances, self._dead_letters, self._currency = balances, dead_letters, currency
        self._open: dict[str, tuple[Ledger, bool]] = {}
        self._changed: set[str] = set()
        self._answered: set[bytes] = set()
        self._decisions: dict[bytes, Decision | None] = {}

    def ledger(self, account: str) -> tuple[Ledger, bool]:
        """The account, and whether this record is counted in it already (a replay)."""
        if account not in self._open:
            ledger = self._step.view.get(b"a" + account.encode(), Ledger) or Ledger()
            self._open[account] = ledger, ledger.applied.get(self._record.topic, -1) >= self._record.offset
        return self._open[account]

    def change(self, account: str, ledger: Ledger) -> None:
        """The account after a movement."""
        self._open[account] = ledger, self._open[account][1]
        self._changed.add(account)

    def answers_for(self, batch: Batch) -> bool:
        """Whether the batch is decided on by this record: not where another brought it before, or it stands twice in
        this one, or its id belongs to another request."""
        decision = self._decisions[batch.id] = self._step.view.get(b"d" + batch.id, Decision)
        if decision is not None and decision.request != batch.request:
            self._collision(batch)
            return False
        origin = self._record.topic, self._record.offset
        if batch.id in self._answered or (decision is not None and (decision.topic, decision.offset) != origin):
            metrics.REPEATS.labels("price").inc()
            return False
        self._answered.add(batch.id)
        return True

    def pay(self, batch: Batch, priced: Batch | None, minimum: int, fine: int) -> tuple[Batch | None, Rejected | None]:
        """Reserve what `priced`, the part of the batch that can be sent, costs, as far as the credit goes: the paid
        recipients, the rejection of the rest. `fine`: the penalty for the other part."""
        ledger, counted = self.ledger(batch.account)
        decision = self._decisions[batch.id]
        if priced and decision is not None and counted and len(decision.prices) == len(priced.prices):
            priced.prices = decision.prices  # a replay tells what was decided, whatever the price list says today
        counts, costs = ([], []) if priced is None else _costs(priced)
        least = minimum if batch.tariff == WORLDWIDE else 0
        if decision is None or not counted:  # nobody has been told of a decision whose account was not written
            paid = affordable(ledger.money.available, costs, [least * count for count in counts])
            reserve = 0 if batch.dry_run else sum(costs[:paid])
            place = self._record.topic, self._record.offset, batch.request
            decision = Decision(*place, paid, reserve, list(priced.prices) if priced else [], penalty=fine)
            self._step.view.put_first(b"d" + batch.id, decision)
            money = ledger.money.reserve(reserve)
            if isinstance(money, Error):
                raise RuntimeError(f"account {batch.account}: affordable promised what does not fit: {money.message}")
            if reserve:
                self.change(batch.account, msgspec.structs.replace(ledger, money=money))
        if priced is None or decision.paid == len(priced):
            return priced, None
        error = Error(
            errors.INSUFFICIENT_CREDIT,
            f"account: {format_amount(ledger.money.available)} {batch.currency} available, this message costs "
            f"{format_price(costs[decision.paid])} and asks for {format_amount(least)} a part; add credit",
            permanent=False,
        )
        return split("price", priced, dict.fromkeys(range(decision.paid, len(priced)), error))

    def _collision(self, batch: Batch) -> None:
        """Another request of the same second has the same 40 bits of hash. Its messages have these ids, so no status
        can be told of this one: it goes to the dead letters, to be sent again under another requestId."""
        reason = f"batch id {batch.id.hex()} belongs to another request; send {batch.request_id!r} again under a new id"
        log.error("batch.collision", batch=batch.id.hex(), account=batch.account, request=batch.request_id)
        metrics.DEAD_LETTERS.labels("price").inc()
        headers = letters.headers(self._record, stage="price", reason=reason)
        self._step.outbox.record(self._dead_letters, self._record.partition, encode([batch]), headers=headers)

    def close(self, *, first: bool = False) -> None:
        """Write every account opened: behind the decisions so far, or (`first`) where it stands."""
        for account, (ledger, counted) in self._open.items():
            if counted:
                continue
            applied = ledger.applied | {self._record.topic: self._record.offset}
            sequence = ledger.sequence + (account in self._changed)
            ledger = msgspec.structs.replace(ledger, applied=applied, sequence=sequence)
            self._step.view.put_first(b"a" + account.encode(), ledger, last=not first)
            if account in self._changed:
                balance = balance_record(account, ledger, self._currency)
                self._step.outbox.latest(self._balances, 0, account.encode(), balance)


def balance_record(account: str, ledger: Ledger, currency: str) -> bytes:
    """The account's money as `sms.balances` tells it (JSON, amounts as decimal strings)."""
    money = ledger.money
    return orjson.dumps(
        {
            "account": account,
            "balance": format_amount(money.balance),
            "reserved": format_amount(money.reserved),
            "available": format_amount(money.available),
            "currency": currency,
            "sequence": ledger.sequence,
            "credits": ledger.credits[-20:],
            "at": int(time.time() * 1000),
        }
    )
