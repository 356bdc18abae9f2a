"""A statement of account: an account's movements as they are told, as objects and as CSV; and what was spent."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.billing import format_amount
from pipeline.store.queries import Movement
from pipeline.store.spending import Spend

#: What is told of a movement, in this order.
FIELDS = [
    "sequence", "at", "kind", "amount", "balance", "reserved", "available", "currency",
    "batch", "requestId", "messages", "parts", "reference", "reason", "priceList", "bundle", "bundleLeft",
]  # fmt: skip
#: Columns of what people wrote. A spreadsheet runs a cell that begins like a formula as one, which may send other cells
#: elsewhere; behind an apostrophe it is text (OWASP, CSV Injection).
_WRITTEN = ("requestId", "reference", "reason", "bundle")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Movements read at a time.
PAGE = 1000

DAY_SECONDS = 24 * 3600
#: Spend is told of this many days up to now if nothing else is said, and of a leap year at most.
_DAYS, MOST_DAYS = 30, 366


def told(one: Movement) -> dict[str, Any]:
    """A movement, amounts as decimal strings; `balance`, `reserved` and `available` are those after it."""
    return {
        "sequence": one.sequence,
        "at": one.at,
        "kind": one.kind,
        "amount": format_amount(one.amount),
        "balance": format_amount(one.balance),
        "reserved": format_amount(one.reserved),
        "available": format_amount(one.balance - one.reserved),
        "currency": one.currency,
        "batch": one.batch,
        "requestId": one.request_id,
        "messages": one.messages,
        "parts": one.parts,
        "reference": one.reference,
        "reason": one.reason,
        "priceList": one.price_list,
        "bundle": one.bundle,
        "bundleLeft": one.bundle_left,
    }


def told_spend(one: Spend) -> dict[str, Any]:
    """Spend as the account is told of it: nothing of our costs."""
    counts = {"messages": one.messages, "parts": one.parts}
    return {**one.about, **counts, "amount": format_amount(one.amount), "currency": one.currency}


def told_margin(one: Spend) -> dict[str, Any]:
    """Spend as the operator of the platform is told of it. `cost` and `margin` are null where that of some of the
    messages is not known; `uncosted` tells of how many."""
    cost, margin = (None, None) if one.uncosted else map(format_amount, (one.cost, one.amount - one.cost))
    return told_spend(one) | {"cost": cost, "margin": margin, "uncosted": one.uncosted}


def period(since: int | None, until: int | None, now: int) -> tuple[int, int]:
    """Times in Unix ms as the first second, and the first past the last, that spend is asked of. Without `until` up to
    and with `now`, without `since` the 30 days (UTC) that end there."""
    past = -(-until // 1000) if until is not None else now // 1000 + 1
    first = -(-since // 1000) if since is not None else ((past - 1) // DAY_SECONDS - _DAYS + 1) * DAY_SECONDS
    return max(first, 0), past


def pages(read: Callable[[int | None, int], list[Movement]], before: int | None, most: int | None) -> Iterator[Any]:
    """Lists of movements, newest first: `read(before, limit)` gives the next behind a sequence. `most`: in all."""
    while most is None or most > 0:
        limit = PAGE if most is None else min(PAGE, most)
        found = read(before, limit)
        if found:
            yield found
        if len(found) < limit:
            return
        before = found[-1].sequence
        most = None if most is None else most - limit


def csv_chunks(lists: Iterable[Iterable[Movement]]) -> Iterator[str]:
    """The header, then a chunk for each list (RFC 4180)."""
    chunk = io.StringIO(newline="")
    writer = csv.writer(chunk)
    writer.writerow(FIELDS)
    yield chunk.getvalue()
    for some in lists:
        chunk.seek(0)
        chunk.truncate()
        writer.writerows(_as_text(told(one)).values() for one in some)
        yield chunk.getvalue()


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with nothing in it that a spreadsheet takes for a formula."""
    return row | {name: f"'{row[name]}" for name in _WRITTEN if row[name] and row[name].startswith(_FORMULA)}
