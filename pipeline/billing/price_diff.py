"""What is different between two price lists."""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.billing.price_check import Kind
from pipeline.billing.price_rows import Discount, Rate
from pipeline.billing.prices import PriceList

Row = Rate | Discount


class Change(NamedTuple):
    """A row that is in one list only, or in both with another amount. Rows are the same if all but their amount is."""

    kind: Kind
    before: Row | None
    after: Row | None

    @property
    def what(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def percent(self) -> str | None:
        """By how much a price or cost changed: "+12.50", rounded half up; None where there is nothing to compare."""
        if not (isinstance(self.before, Rate) and isinstance(self.after, Rate)) or not self.before.amount:
            return None
        change = self.after.amount - self.before.amount
        hundredths = (abs(change) * 20_000 + self.before.amount) // (2 * self.before.amount)
        return f"{'-' if change < 0 else '+'}{hundredths // 100}.{hundredths % 100:02d}"


def diff(before: PriceList, after: PriceList) -> list[Change]:
    """Prices, then discounts, then costs, each in the lists' order."""
    return [
        *_changes("prices", before.rows.prices, after.rows.prices),
        *_changes("discounts", before.rows.discounts, after.rows.discounts),
        *_changes("costs", before.rows.costs, after.rows.costs),
    ]


def _changes(kind: Kind, before: tuple[Row, ...], after: tuple[Row, ...]) -> Iterator[Change]:
    old, new = ({_key(row): row for row in rows} for rows in (before, after))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Change(kind, old.get(key), new.get(key))


def _key(row: Row) -> tuple[str | int, ...]:
    """All but the amount."""
    if isinstance(row, Discount):
        return row.account, row.since, row.until
    return *row[:4], row.since, row.until
