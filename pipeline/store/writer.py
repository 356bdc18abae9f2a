"""Status records and ledger entries into rows: the hot path of the read model. Blocking; the projector calls it in a
thread."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sql
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.billing import PriceList, parse_amount
from pipeline.store import tables
from pipeline.store.costs import CostFinder
from pipeline.store.database import SQLITE, WRITES
from pipeline.streaming import failpoint
from schemas.errors import Error
from schemas.ledger import LedgerEntry
from schemas.status import StatusRecord

log = structlog.get_logger()


class _Status(StatusRecord):
    """The status record with its free JSON left unread."""

    custom: msgspec.Raw


#: A status record's JSON, and its message's text and operator, which travel on the first one only.
Told = tuple[bytes, str | None, str | None]

_decode = msgspec.json.Decoder(_Status).decode
_encode = msgspec.json.Encoder().encode

_COLUMNS = [column.name for column in tables.messages.columns]
#: The table's last columns are made here, those before are the record's fields as they are.
_MADE = ["message", "error", "custom", "updated_at", "sent_at", "delivered_at", "operator", "cost"]
assert _COLUMNS[-len(_MADE) :] == _MADE
_taken = attrgetter(*_COLUMNS[: -len(_MADE)])
#: What the first record says for good.
_FIXED = {"account", "id", "request_id", "index"}


class Moved(NamedTuple):
    """Ledger entries as JSON (in the order of their partitions), their topic, and where to go on reading it."""

    topic: str
    entries: Iterable[bytes]
    next_offsets: dict[int, int]


_decode_entry = msgspec.json.Decoder(LedgerEntry).decode
_AMOUNTS = ["amount", "balance", "reserved"]
_LEDGER = [column.name for column in tables.ledger.columns]


class _News(NamedTuple):
    """What records say of their messages, by id: the latest one, when each was sent and delivered (whichever says so),
    and what travels on the first."""

    latest: dict[str, _Status]
    sent: dict[str, str]
    delivered: dict[str, str]
    texts: dict[str, str]
    operators: dict[str, str]


class Writer:
    """Puts the latest record of each message, and every movement of money, into its row. Repeats and late records
    change nothing: of a message only a higher `sequence` overwrites, a movement stays as it was read first. Rows and
    offsets are one transaction, so what is stored is exactly what was read.

    `in_force`: the price list of a moment (Unix ms), asked in the thread that writes; without it no cost is known.
    """

    def __init__(self, engine: sql.Engine, in_force: Callable[[int], PriceList] | None = None) -> None:
        self._costs = CostFinder(in_force) if in_force else None
        self._reading = engine
        self._engine = engine.execution_options(**{WRITES: True})
        # Compiled once, for tuples in the order of the table's columns.
        self._upsert_messages = _upsert_messages(engine)
        self._insert_ledger = str(_insert(engine, tables.ledger).on_conflict_do_nothing().compile(engine))
        self._upsert_offsets = _upsert_offsets(engine)

    def offsets(self, topic: str) -> dict[int, int]:
        """Where to go on reading: next offset by partition; a partition never read is missing."""
        there = tables.offsets
        with self._engine.connect() as connection:
            query = sql.select(there.c.partition, there.c.next_offset).where(there.c.topic == topic)
            return {row.partition: row.next_offset for row in connection.execute(query)}

    def write(self, topic: str, told: Iterable[Told], next_offsets: dict[int, int], moved: Moved | None = None) -> int:
        """Store status records (in the order of their partitions), ledger entries, and where to go on; the number of
        messages' rows.

        A record that cannot be read is logged and left out. Raises sqlalchemy's errors; then nothing is stored.
        """
        news = _read(told)
        costs = self._costs.find(news.latest, news.sent, news.operators, self._operators) if self._costs else {}
        rows = _rows(news, costs)
        places = [(topic, partition, offset) for partition, offset in next_offsets.items()]
        movements = _movements(moved.entries) if moved else []
        if moved:
            places += [(moved.topic, partition, offset) for partition, offset in moved.next_offsets.items()]
        with self._engine.begin() as connection:
            if rows:
                connection.exec_driver_sql(self._upsert_messages, rows)
            if movements:
                connection.exec_driver_sql(self._insert_ledger, movements)
            connection.exec_driver_sql(self._upsert_offsets, places)
            failpoint.reach("store.written")
        failpoint.reach("store.committed")
        return len(rows)

    def _operators(self, messages: Sequence[StatusRecord]) -> Mapping[str, str]:
        """Those in the rows of these messages, by id."""
        by_account: defaultdict[str, list[str]] = defaultdict(list)
        for message in messages:
            by_account[message.account].append(message.id)
        there = tables.messages.c
        query = sql.select(there.id, there.operator).where(there.operator.is_not(None))
        found: dict[str, str] = {}
        with self._reading.connect() as connection:
            for account, ids in by_account.items():
                rows = connection.execute(query.where(there.account == account, there.id.in_(ids)))
                found |= {row[0]: row[1] for row in rows}
        return found


def _read(told: Iterable[Told]) -> _News:
    news = _News({}, {}, {}, {}, {})
    latest, sent, delivered, texts, operators = news
    for value, text, operator in told:
        try:
            record = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("status.unreadable", error=str(error), value=value[:200])
            continue
        known = latest.get(record.id)
        if known is None or known.sequence < record.sequence:
            latest[record.id] = record
        if text is not None:
            texts[record.id] = text
        if operator is not None:
            operators[record.id] = operator
        if record.detailed_state == "SUBMITTED":
            sent.setdefault(record.id, record.at)
        elif record.detailed_state == "DELIVERED":
            delivered.setdefault(record.id, record.at)
    return news


def _rows(news: _News, costs: Mapping[str, int]) -> list[tuple[Any, ...]]:
    """One row a message, in the order of the table's columns."""
    latest, sent, delivered, texts, operators = news
    return [
        (
            *_taken(record),
            texts.get(id_),
            None if record.error is None else _encode(record.error).decode(),
            bytes(record.custom).decode(),
            record.at,
            sent.get(id_),
            delivered.get(id_),
            operators.get(id_),
            costs.get(id_),
        )
        for id_, record in latest.items()
    ]


def _movements(moved: Iterable[bytes]) -> list[tuple[Any, ...]]:
    """One row an entry, in the order of the table's columns."""
    rows = []
    for value in moved:
        try:
            entry = _decode_entry(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("ledger.unreadable", error=str(error), value=value[:200])
            continue
        amounts = {name: parse_amount(getattr(entry, name)) for name in _AMOUNTS}
        if any(isinstance(amount, Error) for amount in amounts.values()):
            log.error("ledger.unreadable", error="no amount", value=value[:200])
            continue
        rows.append(tuple(amounts[name] if name in amounts else getattr(entry, name) for name in _LEDGER))
    return rows


def _insert(engine: sql.Engine, table: sql.Table) -> Any:
    return (sqlite if engine.dialect.name == SQLITE else postgresql).insert(table)


def _upsert_messages(engine: sql.Engine) -> str:
    insert = _insert(engine, tables.messages)
    new, old = insert.excluded, tables.messages.c
    changes = {name: new[name] for name in _COLUMNS if name not in _FIXED}
    changes |= {
        name: sql.func.coalesce(old[name], new[name]) for name in ("message", "sent_at", "delivered_at", "operator")
    }
    changes["cost"] = sql.func.coalesce(new.cost, old.cost)  # the last record need not tell that a carrier took it
    later = new.sequence > old.sequence
    return str(
        insert.on_conflict_do_update(index_elements=["account", "id"], set_=changes, where=later).compile(engine)
    )


def _upsert_offsets(engine: sql.Engine) -> str:
    insert = _insert(engine, tables.offsets)
    changes = {"next_offset": insert.excluded.next_offset}
    return str(insert.on_conflict_do_update(index_elements=["topic", "partition"], set_=changes).compile(engine))
