"""The filters of the routes that ask the read model: from query parameters, which may hold anything."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from pipeline.gateway import parameters
from pipeline.gateway.parameters import CUSTOM, wrong
from pipeline.gateway.problems import Refusal
from pipeline.store.search import Wanted
from schemas.states import STATE, Detailed

#: Days that statistics are asked of at most, and without `from`.
MOST_DAYS, DAYS = 366, 30
#: The last second that a message id can tell.
_LATEST = 2**32 - 1
_MOST_REQUESTS = 10
_MOST_CUSTOM = 5
#: What `state` may be: the contract's, and the detailed ones that are not among them.
STATES = list(dict.fromkeys([*STATE.values(), *(state.name for state in Detailed)]))


class Given(NamedTuple):
    """Filters as they were written; what is empty was not given."""

    states: Sequence[str]
    recipient: str
    requests: Sequence[str]
    batch: str
    country: str
    sender: str
    since: str
    until: str


def wanted(given: Given, query: Iterable[tuple[str, str]]) -> Wanted | Refusal:
    """What to look for. `query`: all of it, for members of `custom`."""
    times, detailed, custom = _times(given.since, given.until), states(given.states), _custom(query)
    recipient = parameters.number("recipient", given.recipient)
    country = parameters.country("countryCode", given.country)
    if isinstance(times, Refusal):
        return times
    if isinstance(detailed, Refusal):
        return detailed
    if isinstance(custom, Refusal):
        return custom
    if isinstance(recipient, Refusal):
        return recipient
    if isinstance(country, Refusal):
        return country
    if len(given.requests) > _MOST_REQUESTS:
        return wrong(f"requestId: at most {_MOST_REQUESTS} at a time")
    return Wanted(
        states=detailed,
        recipient=recipient,
        requests=tuple(dict.fromkeys(given.requests)),
        batch=given.batch,
        country=country,
        sender=given.sender,
        since=times[0],
        until=times[1],
        custom=custom,
    )


def states(given: Sequence[str]) -> frozenset[str] | Refusal:
    """Detailed states, of those and of the contract's."""
    found: set[str] = set()
    for name in given:
        detailed = {state.name for state, coarse in STATE.items() if name in (state.name, coarse)}
        if not detailed:
            return wrong(f"state: {name[:64]!r} is not one of {', '.join(STATES)}")
        # A name that is both (EXPIRED, UNDELIVERABLE, …) is the contract's, of which the detailed one is a part.
        found |= detailed
    return frozenset(found)


def _custom(query: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...] | Refusal:
    """Members of `custom` and their values."""
    found = []
    for name, value in query:
        if not name.startswith(CUSTOM):
            continue
        key = name.removeprefix(CUSTOM)
        if not 0 < len(key) <= 64 or any(one in key for one in '"\\') or not key.isprintable():
            return wrong(f"{name[:80]}: a key of 1 to 64 characters without quotes and backslashes is wanted")
        if len(value) > 256:
            return wrong(f"{name[:80]}: a value of at most 256 characters is wanted")
        found.append((key, value))
    if len(found) > _MOST_CUSTOM:
        return wrong(f"custom: at most {_MOST_CUSTOM} members at a time")
    return tuple(found)


def _times(since: str, until: str) -> tuple[int | None, int | None] | Refusal:
    """Unix seconds, the first at or after; None where nothing is given."""
    found = parameters.period(since, until)
    if isinstance(found, Refusal):
        return found
    first, past = (None if moment is None else -(-moment // 1000) for moment in found)
    return first, past


def days(since: str, until: str) -> tuple[date, date] | Refusal:
    """The first day and the first past the last. `to` in the midst of a day takes the day in."""
    times = _times(since, until)
    if isinstance(times, Refusal):
        return times
    first, past = times[0], None if times[1] is None else min(times[1], _LATEST)
    end = datetime.fromtimestamp(int(time.time()) if past is None else max(past - 1, 0), UTC).date() + timedelta(1)
    begin = end - timedelta(DAYS) if first is None else datetime.fromtimestamp(first, UTC).date()
    if end - begin > timedelta(MOST_DAYS):
        return wrong(f"from: more than {MOST_DAYS} days before to; ask for less at a time")
    return begin, end
