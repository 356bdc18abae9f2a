"""The filters of the routes that ask the read model: from query parameters, which may hold anything."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple

from pipeline.billing.price_rows import parse_time
from pipeline.gateway.problems import Refusal, refuse
from pipeline.store.search import Wanted
from schemas import errors
from schemas.errors import Error
from schemas.states import STATE, Detailed

#: Days that statistics are asked of at most, and without `from`.
MOST_DAYS, DAYS = 366, 30
#: The last second that a message id can tell.
_LATEST = 2**32 - 1
_MOST_REQUESTS = 10
_MOST_CUSTOM = 5
_CUSTOM = "custom."
_NAMED = {"skip", "limit", "cursor", "state", "recipient", "requestId", "batch", "countryCode", "sender", "from", "to"}
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


def wrong(message: str) -> Refusal:
    """422: the message names the parameter and what to do."""
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)


def wanted(given: Given, parameters: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """What to look for. `parameters`: all of the query, for members of `custom`; an unknown one is refused, lest a
    misspelt filter gives everything."""
    times, states, custom = _times(given.since, given.until), _states(given.states), _custom(parameters)
    if isinstance(times, Refusal):
        return times
    if isinstance(states, Refusal):
        return states
    if isinstance(custom, Refusal):
        return custom
    if len(given.requests) > _MOST_REQUESTS:
        return wrong(f"requestId: at most {_MOST_REQUESTS} at a time")
    return Wanted(
        states=states,
        recipient=_number(given.recipient),
        requests=tuple(dict.fromkeys(given.requests)),
        batch=given.batch,
        country=given.country.upper(),
        sender=given.sender,
        since=times[0],
        until=times[1],
        custom=custom,
    )


def _number(text: str) -> str:
    """A number as it is stored: in a URL its plus is a space, unless it was escaped."""
    text = text.strip()
    return f"+{text}" if text.isascii() and text.isdigit() else text


def _states(given: Sequence[str]) -> frozenset[str] | Refusal:
    """Detailed states, of those and of the contract's."""
    found: set[str] = set()
    for name in given:
        detailed = {state.name for state, coarse in STATE.items() if name in (state.name, coarse)}
        if not detailed:
            return wrong(f"state: {name[:64]!r} is not one of {', '.join(STATES)}")
        # A name that is both (EXPIRED, UNDELIVERABLE, …) is the contract's, of which the detailed one is a part.
        found |= detailed
    return frozenset(found)


def _custom(parameters: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...] | Refusal:
    """Members of `custom` and their values."""
    found = []
    for name, value in parameters:
        if not name.startswith(_CUSTOM):
            if name not in _NAMED:
                return wrong(f"{name[:64]}: unknown parameter; there are {', '.join(sorted(_NAMED))} and custom.KEY")
            continue
        key = name.removeprefix(_CUSTOM)
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
    found: list[int | None] = []
    for name, text in (("from", since), ("to", until)):
        moment = parse_time(text) if text else None
        if isinstance(moment, Error):
            return wrong(f"{name}: {moment.message}")
        found.append(None if moment is None else -(-moment // 1000))
    return found[0], found[1]


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
