"""Status records and ledger entries into rows: the hot path of the read model. Blocking; the projector calls it in a
thread."""

import time
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
import sqlalchemy as sql
import structlog

from pipeline.billing import PriceList, parse_amount
from pipeline.config import Privacy
from pipeline.store import tables
from pipeline.store.bulk import Bulk
from pipeline.store.costs import CostFinder
from pipeline.store.database import WRITES
from pipeline.store.privacy import Ages, Erasures, masked
from pipeline.store.statistics import count_anew
from pipeline.store.tallies import Counted, Tallies
from pipeline.streaming import failpoint
from schemas.errors import Error
from schemas.ledger import LedgerEntry
from schemas.status import StatusRecord

log = structlog.get_logger()

#: What PostgreSQL's integers hold. The topic is open to others.
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Restarted(Exception):
    """Somebody else moved the offsets or erased a recipient: nothing was stored; read on from `Writer.offsets`."""


class _Status(StatusRecord):
    """The status record with its free JSON left unread, and numbers that fit."""

    custom: msgspec.Raw
    index: _Number
    sequence: _Number
    characters_count: _Number
    message_count: _Number
    parts_delivered: _Number


class Told(NamedTuple):
    """A status record's JSON, and what travels on a message's first one only: its text and operator, and its request's
    options and callback as JSON."""

    value: bytes
    text: str | None = None
    operator: str | None = None
    options: str | None = None
    callback: str | None = None


_decode = msgspec.json.Decoder(_Status).decode
_encode = msgspec.json.Encoder().encode

_COLUMNS = [column.name for column in tables.messages.columns]
#: The table's last columns are made here, those before are the record's fields as they are.
_MADE = ["message", "error", "custom", "updated_at", "sent_at", "delivered_at", "operator", "cost", "send_at"]
assert _COLUMNS[-len(_MADE) :] == _MADE
_taken = attrgetter(*_COLUMNS[: -len(_MADE)])


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
    #: By account and batch: options and callback.
    requests: dict[tuple[str, str], tuple[str | None, str | None]]


class Writer:
    """Puts the latest record of each message, and every movement of money, into its row, and counts the messages. Late
    records change nothing: of a message only what is not older overwrites, a movement stays as it was read first. Rows,
    counts and offsets are one transaction, so what is stored is exactly what was read.

    `in_force`: the price list of a moment (Unix ms), asked in the thread that writes; without it no cost is known.
    `privacy`: what is not stored any more.
    """

    def __init__(
        self, engine: sql.Engine, in_force: Callable[[int], PriceList] | None = None, privacy: Privacy | None = None
    ) -> None:
        self._costs = CostFinder(in_force) if in_force else None
        self._privacy = privacy or Privacy()
        self._reading = engine
        self._engine = engine.execution_options(**{WRITES: True})
        self._bulk = Bulk(engine)
        self._epoch = 0
        self._erasures = Erasures(b"", {})

    def offsets(self, topic: str) -> dict[int, int]:
        """Where to go on reading: next offset by partition; a partition never read is missing. What is held in memory
        is as of this moment, too."""
        there = tables.offsets
        with self._engine.begin() as connection:
            self._epoch = self._bulk.begin(connection)
            if not self._epoch:
                count_anew(connection, self._bulk)
                connection.execute(sql.update(tables.projection).values(epoch=1))
                self._epoch = 1
            self._erasures = Erasures.read(connection)
            query = sql.select(there.c.partition, there.c.next_offset).where(there.c.topic == topic)
            return {row.partition: row.next_offset for row in connection.execute(query)}

    def stale(self) -> bool:
        """Whether somebody else moved the offsets or erased a recipient since `offsets`."""
        with self._reading.connect() as connection:
            return bool(connection.execute(sql.select(tables.projection.c.epoch)).scalar_one() != self._epoch)

    def write(self, topic: str, told: Iterable[Told], next_offsets: dict[int, int], moved: Moved | None = None) -> int:
        """Store status records (in the order of their partitions), ledger entries, and where to go on; the number of
        messages' rows.

        A record that cannot be read is logged and left out. Raises Restarted, and sqlalchemy's errors; then nothing is
        stored.
        """
        news = _read(told)
        places = [(topic, partition, offset) for partition, offset in next_offsets.items()]
        movements = _movements(moved.entries) if moved else []
        if moved:
            places += [(moved.topic, partition, offset) for partition, offset in moved.next_offsets.items()]
        if not self._epoch:
            self.offsets(topic)
        with self._engine.begin() as connection:
            if self._bulk.begin(connection) != self._epoch:
                raise Restarted
            known = self._bulk.known(connection, ((one.account, id_) for id_, one in news.latest.items()))
            rows = _rows(news, self._costs_of(news, known))
            counted = _counted(news, known)
            self._bulk.messages(connection, self._kept(rows))
            self._bulk.requests(connection, [(*key, *said) for key, said in news.requests.items()])
            self._bulk.statistics(connection, counted.states, counted.times)
            self._bulk.ledger(connection, movements)
            self._bulk.offsets(connection, places)
            failpoint.reach("store.written")
        failpoint.reach("store.committed")
        return len(rows)

    def _costs_of(self, news: _News, known: Mapping[str, Counted]) -> Mapping[str, int]:
        if self._costs is None:
            return {}

        def operators(messages: list[StatusRecord]) -> dict[str, str]:
            found = ((message.id, known[message.id].operator) for message in messages if message.id in known)
            return {id_: operator for id_, operator in found if operator is not None}

        return self._costs.find(news.latest, news.sent, news.operators, operators)

    def _kept(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows without what is erased."""
        ages = Ages.of(self._privacy, time.time())
        if ages == _KEEP_ALL and not self._erasures.until:
            return rows
        return [self._without(row, ages) for row in rows]

    def _without(self, row: tuple[Any, ...], ages: Ages) -> tuple[Any, ...]:
        account, id_, recipient, error = (row[place] for place in (_ACCOUNT, _ID, _RECIPIENT, _ERROR))
        erased = self._erasures.holds(account, recipient, id_)
        changed = list(row)
        if erased or id_ < ages.texts:
            changed[_MESSAGE], changed[_CUSTOM] = None, "{}"
        if erased or id_ < ages.numbers:
            instead = masked(row[_PREFIX])
            changed[_RECIPIENT] = instead
            changed[_ERROR] = error.replace(recipient, instead) if error and recipient else error
        return tuple(changed)


_KEEP_ALL = Ages()
_ACCOUNT, _ID, _RECIPIENT, _PREFIX, _MESSAGE, _CUSTOM, _ERROR = map(
    _COLUMNS.index, ["account", "id", "recipient", "international_prefix", "message", "custom", "error"]
)


def _read(told: Iterable[Told]) -> _News:
    news = _News({}, {}, {}, {}, {}, {})
    latest, sent, delivered, texts, operators, requests = news
    for value, text, operator, options, callback in told:
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
        if options is not None or callback is not None:
            requests[record.account, record.id[: tables.BATCH_DIGITS]] = options, callback
        if record.detailed_state == "SUBMITTED":
            sent.setdefault(record.id, record.at)
        elif record.detailed_state == "DELIVERED":
            delivered.setdefault(record.id, record.at)
    for id_, at in delivered.items():
        sent.setdefault(id_, at)  # a receipt may overtake the carrier's answer
    return news


def _rows(news: _News, costs: Mapping[str, int]) -> list[tuple[Any, ...]]:
    """One row a message, in the order of the table's columns."""
    latest, sent, delivered, texts, operators, _ = news
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
            record.send_at or None,
        )
        for id_, record in latest.items()
    ]


def _counted(news: _News, known: Mapping[str, Counted]) -> Tallies:
    """What the rows change in the statistics: what was counted before is taken away."""
    latest, sent, delivered, _, operators, _ = news
    tallies = Tallies()
    for id_, record in latest.items():
        before = known.get(id_)
        if before is not None and before.account != record.account:  # the topic is open to others
            before = None
        if before is not None and before.sequence > record.sequence:
            continue
        after = Counted(
            record.account,
            id_,
            record.country_code,
            (before and before.operator) or operators.get(id_),
            record.carrier,
            record.detailed_state,
            record.message_count,
            (before and before.sent_at) or sent.get(id_),
            (before and before.delivered_at) or delivered.get(id_),
            record.dry_run,
            record.sequence,
        )
        if before is not None:
            tallies.add(before, -1)
        tallies.add(after)
    return tallies


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
