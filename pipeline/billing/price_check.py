"""What a price list must not hold although each of its rows is fine: the same key twice, overlaps, gaps."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from pipeline.billing.price_rows import Discount, Rate, format_time

Kind = Literal["prices", "discounts", "costs"]


class Place(NamedTuple):
    """Where a row stands: its number in the file's order, and in words ("line 7", "prices[3]")."""

    order: int
    words: str


class Placed(NamedTuple):
    """A row and where it stands."""

    place: Place
    kind: Kind
    row: Rate | Discount


class Fault(NamedTuple):
    """What is wrong, and where."""

    place: Place
    words: str


def check(rows: Iterable[Placed], spoilt: Collection[str]) -> list[Fault]:
    """Everything that is wrong between rows. `spoilt`: countries with rows that could not be read; what seems to be
    missing there may stand in these.

    A key is a price's (account, country, operator, prefix), a cost's (carrier, ...), a discount's account. It may
    stand more than once with validities that meet; a discount may also pause. Who has a price by operator or prefix
    in a country has one for the country too, as long as it holds.
    """
    by_key: defaultdict[tuple[str, ...], list[Placed]] = defaultdict(list)
    for placed in rows:
        by_key[placed.kind, *_key(placed.row)].append(placed)
    faults = [fault for same in by_key.values() if len(same) > 1 for fault in _in_time(same, spoilt)]
    return [*faults, *_countries(by_key, spoilt)]


def _key(row: Rate | Discount) -> tuple[str, ...]:
    return (row.account,) if isinstance(row, Discount) else row[:4]


def _in_time(same: list[Placed], spoilt: Collection[str]) -> Iterator[Fault]:
    """Rows of one key: they hold one after the other."""
    same.sort(key=lambda placed: (placed.row.since, placed.place))
    last = same[0]
    for placed in same[1:]:
        before, row = last.row, placed.row
        if row.since < before.until:
            first, second = sorted((last, placed))
            what = (
                "key" if (row.since, row.until) == (before.since, before.until) else "key, in force at the same time,"
            )
            yield Fault(second.place, f"the same {what} stands in {first.place.words}")
        elif row.since > before.until and isinstance(row, Rate) and row.country not in spoilt:
            ends, begins = format_time(before.until), format_time(row.since)
            yield Fault(placed.place, f"gap: {last.place.words} ends at {ends}, this begins at {begins}")
        if row.until > before.until:
            last = placed


def _countries(by_key: dict[tuple[str, ...], list[Placed]], spoilt: Collection[str]) -> Iterator[Fault]:
    """Rows by operator or prefix where the country has no price; told once an account and country."""
    told = set()
    for key, same in by_key.items():
        if key[0] != "prices" or key[3:] == ("", "") or key[2] in spoilt:
            continue
        _, owner, country, _, _ = key
        general = [
            *by_key.get(("prices", owner, country, "", ""), ()),
            *by_key.get(("prices", "", country, "", ""), ()),
        ]
        for placed in same:
            lacking = _uncovered(placed.row, [other.row for other in general])
            if lacking is None or (owner, country) in told:
                continue
            told.add((owner, country))
            when = f" at {format_time(lacking)}" if general else ""
            words = f"gap: {country} has a price by operator or prefix, but none for the country{when}"
            yield Fault(placed.place, f"{words} (a row with empty operator and prefix)")


def _uncovered(row: Rate | Discount, others: Iterable[Rate | Discount]) -> int | None:
    """The first moment at which `row` holds and none of the others does."""
    moment = row.since
    for other in sorted(others, key=lambda other: other.since):
        if other.since <= moment < other.until:
            moment = other.until
        if moment >= row.until:
            return None
    return moment
