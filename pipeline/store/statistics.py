"""Statistics: an account's messages counted by day, country, operator, carrier and state, and how long deliveries took.

Asked of counters that the writer keeps, so that the answer costs by the days asked for, not by the messages.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sql

from pipeline.store.bulk import Bulk
from pipeline.store.tables import delivery_times, messages, statistics
from pipeline.store.tallies import Counted, Tallies, percentile
from schemas.states import STATE, Detailed

#: What statistics are told by.
BY = ("day", "country", "operator", "carrier", "state")
#: An operator's name says nothing without its country.
_WITH = {"operator": ("operator", "country")}
#: Rows that a reader fetches at a time.
_FETCH = 10_000
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Count(msgspec.Struct, frozen=True):
    """Messages that have something in common: `about` names it (None where it is not known). `states`: messages by the
    contract's state. `delivered_within`: seconds from the carrier's taking to the delivery, by percentile, of the
    `timed` deliveries of which both are known; within 3 %, for the times are kept in steps."""

    about: dict[str, str | None]
    messages: int
    parts: int
    states: dict[str, int]
    timed: int
    delivered_within: dict[str, float]


def counts(connection: sql.Connection, account: str, by: Sequence[str], first: str, past: str) -> list[Count]:
    """Messages requested on the days `first` (inclusive) to `past` (exclusive), by some of BY: days in order, of others
    the most frequent first. Dry runs are not among them."""
    names = list(dict.fromkeys(name for one in by for name in _WITH.get(one, (one,))))
    states = _states(connection, account, names, first, past)
    times = _times(connection, account, names, first, past)
    found = [_count(names, key, sums, times.get(key, [])) for key, sums in states.items()]
    if "day" in names:
        return sorted(found, key=lambda one: (one.about["day"] or "", -one.messages))
    return sorted(found, key=lambda one: (-one.messages, [name or "" for name in one.about.values()]))


def count_anew(connection: sql.Connection, bulk: Bulk) -> None:
    """Count every row there is: for a database older than the counters."""
    for table in (statistics, delivery_times):
        connection.execute(sql.delete(table))
    tallies = Tallies()
    query = sql.select(*(messages.c[name] for name in Counted._fields))
    for row in connection.execute(query.execution_options(yield_per=_FETCH)):
        tallies.add(Counted(*row))
    bulk.statistics(connection, tallies.states, tallies.times)


_Sums = dict[str, list[int]]
_Key = tuple[str, ...]


def _states(connection: sql.Connection, account: str, names: Sequence[str], first: str, past: str) -> dict[_Key, _Sums]:
    """Messages and parts by key and detailed state."""
    there = statistics.c
    keys = [there[name] for name in names if name != "state"]
    query = (
        sql.select(*keys, there.state, sql.func.sum(there.messages), sql.func.sum(there.parts))
        .where(there.account == account, there.day >= first, there.day < past)
        .group_by(*keys, there.state)
    )
    found: dict[_Key, _Sums] = {}
    for *values, state, count, parts in connection.execute(query):
        if count:
            named = iter(values)
            key = tuple(state if name == "state" else next(named) for name in names)
            found.setdefault(key, {})[state] = [int(count), int(parts)]
    return found


def _times(
    connection: sql.Connection, account: str, names: Sequence[str], first: str, past: str
) -> dict[_Key, list[tuple[int, int]]]:
    """Deliveries by key and step."""
    there = delivery_times.c
    keys = [there[name] for name in names if name != "state"]
    query = (
        sql.select(*keys, there.step, sql.func.sum(there.messages))
        .where(there.account == account, there.day >= first, there.day < past)
        .group_by(*keys, there.step)
    )
    found: defaultdict[_Key, list[tuple[int, int]]] = defaultdict(list)
    for *values, step, count in connection.execute(query):
        named = iter(values)
        key = tuple(Detailed.DELIVERED.name if name == "state" else next(named) for name in names)
        found[key].append((step, int(count)))
    return found


def _count(names: Sequence[str], key: _Key, sums: _Sums, times: list[tuple[int, int]]) -> Count:
    about: dict[str, Any] = {name: value or None for name, value in zip(names, key, strict=True)}
    states = dict.fromkeys(STATE.values(), 0)
    for state, (count, _) in sums.items():
        if state in Detailed.__members__:  # the topic is open to others
            states[STATE[Detailed[state]]] += count
    return Count(
        about=about,
        messages=sum(count for count, _ in sums.values()),
        parts=sum(parts for _, parts in sums.values()),
        states=states,
        timed=sum(count for _, count in times),
        delivered_within={name: percentile(times, share) for name, share in _SHARES.items()} if times else {},
    )
