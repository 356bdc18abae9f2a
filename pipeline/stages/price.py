"""Price: what does each message cost, and can the account pay?

In: moderated batches by account (`sms.moderated`), top-ups (`sms.credits`), and what became of reserved money
(`sms.settlements`). Out: paid batches (`sms.priced`), the news that they are accepted, rejections, the blocklisting of
accounts that sent prohibited content, and each account's balance as of its last change (`sms.balances`).

All decisions on an account happen in one partition, in order. A decision depends on the balance at its moment, and on
the term lists at the moment of moderation, so it is made durable before anyone sees it: a replay gives the same answer
again, and what moderate says of the batch another time is not heard any more. How: stages/book.py.
"""

import structlog

from pipeline import ids
from pipeline.accounts import Blocklisting, Register
from pipeline.billing import PriceBook, View, format_amount
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Accepted, Batch, Rejected, decode_batches, decode_credits, decode_settlements
from pipeline.stages.book import Bank
from pipeline.stages.common import count_in, count_out, split
from pipeline.stages.paying import pay
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors
from schemas.errors import PROHIBITED_CODES, Error
from schemas.intake import WORLDWIDE
from schemas.states import Detailed

log = structlog.get_logger()


def sources(settings: Settings, lists: PriceBook, minimum: int, accounts: Register) -> list[Source]:
    """The stage's agents: a lane each, top-ups, settlements. `minimum`: micro-units available asked for per part;
    `accounts`: for their limits."""
    names = TopicNames(settings.kafka.topic_prefix)
    bank = Bank(settings, names, accounts)

    def credit(record: Record, step: Step) -> None:
        book = bank.open(record, step)
        for one in decode_credits(record.value):
            book.credit(one)
        book.close()

    def settle(record: Record, step: Step) -> None:
        book = bank.open(record, step)
        for one in decode_settlements(record.value):
            book.settle(one)
        book.close(settled=True)

    lanes = [  # after a standstill the top-ups wait beside the messages they are to pay for
        Source(names.moderated(lane), _agent(settings, names, bank, lists, minimum, lane), after=names.credits)
        for lane in LANES
    ]
    return [*lanes, Source(names.credits, credit), Source(names.settlements, settle)]


def _agent(settings: Settings, names: TopicNames, bank: Bank, lists: PriceBook, minimum: int, lane: str) -> Decide:
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
            in_force = lists.at(record.timestamp_ms)  # by the record's time: a replay sees the same
            prices = in_force.for_account(batch.account, record.timestamp_ms)
            fine = penalty(blocked, prices, minimum) if blocked else 0
            priced, unpriced = (None, None) if allowed is None else split("price", allowed, put_prices(allowed, prices))
            paid, unpaid = pay(book, batch, priced, minimum, fine, in_force.version)
            for rejected in filter(None, (blocked, unpriced, unpaid)):
                step.outbox.pack(names.outcomes(lane), home, rejected, len(rejected.which))
            if blocked and fine:
                _blocklist(blocked, record, step, names, fine)
            if paid:
                step.outbox.pack(names.outcomes(lane), home, Accepted(paid), len(paid))
                if not paid.dry_run:
                    count_out("price", lane, len(paid))
                    if not paid.scheduled:  # what is, track lets go when its time has come
                        step.outbox.pack(names.priced(lane), home, paid, len(paid))
        book.close()

    return decide


def penalty(blocked: Rejected, prices: View, minimum: int) -> int:
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


def put_prices(batch: Batch, prices: View) -> dict[int, Error]:
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
