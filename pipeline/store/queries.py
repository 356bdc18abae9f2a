"""What is asked of the read model. Blocking, milliseconds; call it in a thread."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sql

from pipeline.billing import parse_amount
from pipeline.store.tables import ledger, messages
from schemas.states import STATE, Detailed


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as of its latest status record. `error` and `custom` are JSON, money decimal strings; `sent_at` is
    when a carrier took it; `message` its text as sent.
    """

    account: str
    id: str
    request_id: str | None
    index: int
    sender: str | None
    recipient: str
    international_prefix: str | None
    country_code: str | None
    state: str
    detailed_state: str
    sequence: int
    encoding: str | None
    characters_count: int
    message_count: int
    parts_delivered: int
    price: str
    total_price: str
    currency: str
    carrier: str | None
    carrier_reference: str | None
    dry_run: bool
    message: str | None
    error: str | None
    custom: str
    updated_at: str
    sent_at: str | None
    delivered_at: str | None


class Movement(msgspec.Struct, frozen=True):
    """A movement of an account's money (schemas/ledger.py), in micro-units; `balance` and `reserved` are after it."""

    account: str
    sequence: int
    kind: str
    amount: int
    balance: int
    reserved: int
    currency: str
    batch: str | None
    request_id: str | None
    messages: int
    parts: int
    reference: str | None
    reason: str | None
    price_list: str | None
    bundle: str | None
    bundle_left: int | None
    at: str


class Spend(msgspec.Struct, frozen=True):
    """What an account's messages cost, of one day, country or carrier (`key`; None where it is not known).

    `amount`: micro-units of what carriers took.
    """

    key: str | None
    currency: str
    messages: int
    parts: int
    amount: int


_DAY_SECONDS = 24 * 3600
#: What spend is told by, and the column behind it. A day is that of the request, as its messages' ids tell it.
SPEND_BY = {"day": None, "country": messages.c.country_code, "carrier": messages.c.carrier}
#: A carrier took the message: it told so, gave it an id, or its receipt speaks of it.
_taken = sql.or_(
    messages.c.sent_at.is_not(None),
    messages.c.carrier_reference.is_not(None),
    messages.c.detailed_state.in_(["SUBMITTED", "BUFFERED", "ENROUTE", "DELIVERED"]),
)
_movements = sql.select(*(ledger.c[field] for field in Movement.__struct_fields__)).order_by(ledger.c.sequence.desc())
_select = sql.select(*(messages.c[field] for field in StoredMessage.__struct_fields__))


class ReadModel:
    """Questions to the database that the projector keeps."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    def get(self, account: str, id_: str) -> StoredMessage | None:
        """The account's message of this id; None also where it is another account's."""
        query = _select.where(messages.c.account == account, messages.c.id == id_)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return StoredMessage(*row) if row else None

    def page(self, account: str, skip: int, limit: int) -> list[StoredMessage]:
        """`limit` messages of the account behind the newest `skip`, newest first."""
        query = _select.where(messages.c.account == account).order_by(messages.c.id.desc()).offset(skip).limit(limit)
        with self._engine.connect() as connection:
            return [StoredMessage(*row) for row in connection.execute(query)]

    def counts(self, account: str | None = None, request_ids: Sequence[str] | None = None) -> dict[str, int]:
        """Messages by detailedState, of one account or all, of some requests or all."""
        key = messages.c.account, messages.c.request_id, messages.c.detailed_state
        # Grouped as the index is sorted: read in one pass, five times faster than by state alone.
        query = sql.select(messages.c.detailed_state, sql.func.count()).group_by(*key)
        if account is not None:
            query = query.where(messages.c.account == account)
        if request_ids is not None:
            query = query.where(messages.c.request_id.in_(request_ids))
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for state, number in connection.execute(query):
                found[state] = found.get(state, 0) + number
        return found

    def totals(self, account: str | None = None, request_ids: Sequence[str] | None = None) -> dict[str, int]:
        """Messages by the contract's state; every state is there, those of no message with 0."""
        found = dict.fromkeys(STATE.values(), 0)
        for state, number in self.counts(account, request_ids).items():
            found[STATE[Detailed[state]]] += number
        return found

    def last_movement(self, account: str) -> Movement | None:
        """The account's last movement, which tells its balance; None where it never had money."""
        return next(iter(self.movements(account, limit=1)), None)

    def movements(
        self,
        account: str,
        *,
        kinds: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Movement]:
        """The account's movements, newest first, at most `limit`: of these kinds (none: all), `since` (inclusive) to
        `until` (exclusive; RFC 3339 in UTC with milliseconds), behind the one of sequence `before`."""
        query = _movements.where(ledger.c.account == account).limit(limit)
        if kinds:
            query = query.where(ledger.c.kind.in_(kinds))
        if since is not None:
            query = query.where(ledger.c.at >= since)
        if until is not None:
            query = query.where(ledger.c.at < until)
        if before is not None:
            query = query.where(ledger.c.sequence < before)
        with self._engine.connect() as connection:
            return [Movement(*row) for row in connection.execute(query)]

    def spend(self, account: str, by: str, since: int, until: int) -> list[Spend]:
        """What carriers took of the account's messages that were requested `since` (inclusive) to `until` (exclusive;
        Unix seconds), by one of SPEND_BY: days in order, of others the dearest first."""
        column = SPEND_BY[by]
        with self._engine.connect() as connection, connection.begin():
            if column is not None:
                found = _summed(tuple(row) for row in connection.execute(_spend(account, since, until, column)))
                return sorted(found, key=lambda one: (-one.amount, one.key or ""))
            return [
                one
                for first, past in _days(since, until)
                for one in _summed((_day(first), *row) for row in connection.execute(_spend(account, first, past)))
            ]

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()


def _spend(account: str, since: int, until: int, *keys: sql.Column[Any]) -> sql.Select[Any]:
    """Keys, currency, price, and the messages and parts at this price. Message ids begin with their request's time:
    one stretch of the table."""
    there = messages.c
    groups = *keys, there.currency, there.total_price
    return (
        sql.select(*groups, sql.func.count(), sql.func.sum(there.message_count))
        .where(there.account == account, there.id >= f"{since:08x}", there.id < f"{until:08x}")
        .where(_taken, there.dry_run.is_(False))
        .group_by(*groups)
    )


def _summed(rows: Iterable[tuple[Any, ...]]) -> list[Spend]:
    """Rows of key, currency, price, messages and parts, by key. Summed here, where amounts are exact: the database has
    prices as text."""
    sums: defaultdict[tuple[str | None, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for key, currency, price, count, parts in rows:
        micros = parse_amount(price)
        cost = micros if isinstance(micros, int) else 0  # the topic is open to others
        total = sums[key, currency]
        for place, number in enumerate((count, parts, cost * count)):
            total[place] += number
    return [Spend(key, currency, *total) for (key, currency), total in sums.items()]


def _days(since: int, until: int) -> Iterator[tuple[int, int]]:
    """The days (UTC) between two times, each as its first second here and the first past it."""
    while since < until:
        past = min((since // _DAY_SECONDS + 1) * _DAY_SECONDS, until)
        yield since, past
        since = past


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).date().isoformat()
