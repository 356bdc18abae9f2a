"""The pumping guard: who is refused because his range is held, and which ranges are held from now on.

What trips is put down in the account's own value, with the decision that refuses by it, and told as a record of its own
on the accounts topic. The value keeps it until this process has read that record: so no crash loses a hold, and an
operator who releases it is never overruled by a trip of before.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog

from pipeline.billing import Trip, range_of
from pipeline.ops import metrics
from pipeline.records import Batch
from pipeline.stages.book import Book
from schemas import errors
from schemas.errors import Error

log = structlog.get_logger()


class Guard:
    """What the guard has to say of one batch: `refuse`, and once it is known who is paid for, `count`.

    A dry run is refused by what is held, and leaves no trace.
    """

    def __init__(self, book: Book, batch: Batch) -> None:
        self._book, self._batch = book, batch
        self._rule = None if batch.dry_run else book.pumping
        self._ranges: dict[int, str] = {}  # of those who are not refused and whose destination is costly, by position
        self._trips: list[Trip] = []

    def refuse(self, priced: Batch, excluded: Collection[int]) -> dict[int, Error]:
        """Why recipients, by position, get nothing. `excluded`: those who get nothing for other reasons.

        Nothing is done per recipient where no destination is costly and nothing is held.
        """
        holds = self._book.holds(self._batch.account)
        refused = refuse_held(holds, priced, excluded)
        costly = self._rule.ranges(priced.prices, priced.where, priced.numbers) if self._rule else {}
        if not (self._rule and costly):
            return refused
        self._ranges = {p: name for p, name in costly.items() if p not in excluded and p not in refused}
        asked = Counter(name for name in self._ranges.values() if name not in holds)
        traffic = self._book.ledger(self._batch.account).traffic.at(self._batch.received_at)
        messages = len(priced) - len(excluded) - len(refused)
        tripped = self._rule.trips(traffic, messages, asked)
        at, batch, of = self._book.record.timestamp_ms, self._batch.id.hex(), int(traffic.now.messages) + messages
        self._trips = [Trip(name, count, of, at, batch) for name, count in tripped.items()]
        return refused | _within(tripped, priced, excluded) if tripped else refused

    def count(self, going: Sequence[int]) -> None:
        """Count who is paid for (positions), hold what tripped, and tell of it."""
        if self._rule is None or not (going or self._trips):
            return
        account = self._batch.account
        costly = Counter(self._ranges[p] for p in going if p in self._ranges) if self._ranges else {}
        traffic = self._book.ledger(account).traffic.at(self._batch.received_at)
        self._book.change(account, traffic=traffic.plus(len(going), costly, self._trips))
        for trip in self._trips:
            about = {"range": trip.range, "count": trip.count, "share": round(trip.count / trip.messages, 4)}
            self._book.event(account, "traffic-held", **about, batch=trip.batch)
            metrics.HOLDS.inc()
            log.warning("traffic.held", account=account, batch=trip.batch, **about)


def refuse_held(holds: Mapping[str, bool], batch: Batch, excluded: Collection[int]) -> dict[int, Error]:
    """The error of each recipient, by position, whose range is held. `holds`: by range, False where it was released."""
    return _within([name for name, held in holds.items() if held], batch, excluded) if holds else {}


def _within(ranges: Collection[str], batch: Batch, excluded: Collection[int]) -> dict[int, Error]:
    """The error of each recipient, by position, whose range is one of these."""
    told = {
        name: Error(
            errors.TRAFFIC_HELD,
            f"recipient: {name}xxxx is held for sudden, costly traffic; ask the operator to release it",
            permanent=False,
        )
        for name in ranges
    }
    found = ((position, told.get(range_of(number))) for position, number in enumerate(batch.numbers))
    return {position: error for position, error in found if error and position not in excluded}
