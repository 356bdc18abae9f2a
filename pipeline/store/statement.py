"""A statement of account: an account's movements as they are told, as objects and as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.billing import format_amount
from pipeline.store.queries import Movement, Spend

#: What is told of a movement, in this order.
FIELDS = [
    "sequence", "at", "kind", "amount", "balance", "reserved", "available", "currency",
    "batch", "requestId", "messages", "parts", "reference", "reason", "priceList", "bundle", "bundleLeft",
]  # fmt: skip
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


def told_spend(by: str, one: Spend) -> dict[str, Any]:
    """Spend under the name of what it is told by."""
    counts = {"messages": one.messages, "parts": one.parts}
    return {by: one.key, **counts, "amount": format_amount(one.amount), "currency": one.currency}


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
        writer.writerows(told(one).values() for one in some)
        yield chunk.getvalue()
