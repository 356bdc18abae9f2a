"""What is asked of batches: uploads, and requests with several recipients. Blocking; call it in a thread.

A batch's messages are those of its requests. They are found by the requests' ids, in the order of the requests and of
the recipients in them, which is the order of the upload's lines.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store.database import SQLITE, WRITES
from pipeline.store.stored import StoredMessage, select_stored
from pipeline.store.tables import batches, ledger, messages
from schemas.batch import BadLine, BatchRecord
from schemas.ledger import Kind
from schemas.states import STATE, Detailed, is_final

_T = TypeVar("_T")

#: Ids that one statement names.
_TOGETHER = 1_000
_FINAL = {state.name for state in Detailed if is_final(state)}
_COLUMNS = [column.name for column in batches.columns]
_bad_lines = msgspec.json.Decoder(list[BadLine]).decode


class Place(NamedTuple):
    """Where a page goes on: behind a recipient (its place in its request) of a batch's request (the first is 1)."""

    request: int
    recipient: int


class Progress(msgspec.Struct, frozen=True):
    """How far a batch is. `known`: messages that a stage has told of; `detailed`: these by their exact state."""

    recipients: int
    detailed: dict[str, int]
    dry_run: bool

    @property
    def known(self) -> int:
        return sum(self.detailed.values())

    @property
    def final(self) -> int:
        """Messages that nothing follows. Of a dry run that is so with every message that is known."""
        return self.known if self.dry_run else sum(n for state, n in self.detailed.items() if state in _FINAL)

    @property
    def states(self) -> dict[str, int]:
        """Messages by the contract's state; what no stage has told of is NEW."""
        found = dict.fromkeys(STATE.values(), 0)
        for state, number in self.detailed.items():
            found[STATE[Detailed[state]]] += number
        found[STATE[Detailed.ACCEPTED]] += max(0, self.recipients - self.known)
        return found


class Cost(msgspec.Struct, frozen=True):
    """A batch's money in micro-units: earned by what carriers took (less what was given back), and still promised."""

    spent: int
    reserved: int
    currency: str | None


class Batches:
    """Questions to the database that the projector keeps."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    def put(self, records: Sequence[BatchRecord]) -> None:
        """Store batches; one that is there stays."""
        insert = (
            (sqlite if self._engine.dialect.name == SQLITE else postgresql).insert(batches).on_conflict_do_nothing()
        )
        rows = [{name: getattr(one, name) for name in _COLUMNS} for one in records]
        for row in rows:
            row["bad_lines"] = msgspec.json.encode(row["bad_lines"]).decode()
        with self._engine.execution_options(**{WRITES: True}).begin() as connection:
            connection.execute(insert, rows)

    def get(self, account: str, id_: str) -> BatchRecord | None:
        """The account's upload of this id."""
        query = sql.select(batches).where(batches.c.account == account, batches.c.id == id_)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return _record(row) if row else None

    def named(self, id_: str, account: str | None = None) -> list[BatchRecord]:
        """Uploads of this id, whoever's they are or an account's."""
        query = sql.select(batches).where(batches.c.id == id_).order_by(batches.c.account)
        if account is not None:
            query = query.where(batches.c.account == account)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def page(self, account: str | None, before: tuple[str, str] | None, limit: int) -> list[BatchRecord]:
        """Uploads of an account, or of all, newest first, behind the one of this time and id."""
        there = batches.c
        query = sql.select(batches).order_by(there.created_at.desc(), there.id.desc()).limit(limit)
        if account is not None:
            query = query.where(there.account == account)
        if before is not None:
            query = query.where(sql.tuple_(there.created_at, there.id) < sql.tuple_(*before))
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def requests(self, record: BatchRecord | None, id_: str) -> list[str]:
        """The ids of a batch's requests. Without a record it is a request itself."""
        return record.request_ids if record else [id_]

    def first(self, account: str, request: str) -> StoredMessage | None:
        """A message of this request."""
        with self._engine.connect() as connection:
            row = connection.execute(_select(account, [request]).limit(1)).first()
        return StoredMessage(*row) if row else None

    def text(self, account: str, request: str) -> str | None:
        """The text of all messages of this request; None where they differ, as those of a template do."""
        there = messages.c
        ids = sql.select(there.id).where(there.account == account, there.request_id == request)
        query = sql.select(sql.func.min(there.message), sql.func.max(there.message))
        with self._engine.connect() as connection:
            least, greatest = connection.execute(query.where(there.account == account, there.id.in_(ids))).one()
        return least if least == greatest else None

    def progress(self, account: str, requests: Sequence[str], recipients: int, dry_run: bool) -> Progress:
        """Counts of a batch's messages; `recipients`: of the batch."""
        there = messages.c
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for some in _some(requests):
                query = (
                    sql.select(there.detailed_state, sql.func.count())
                    .where(there.account == account, there.request_id.in_(some))
                    .group_by(there.account, there.request_id, there.detailed_state)  # as the index is sorted
                )
                for state, number in connection.execute(query):
                    found[state] = found.get(state, 0) + number
        return Progress(max(recipients, sum(found.values())), found, dry_run)

    def cost(self, account: str, requests: Sequence[str]) -> Cost:
        """What a batch cost, by the ledger."""
        there = ledger.c
        sums: dict[str, int] = {}
        currency = None
        with self._engine.connect() as connection:
            for some in _some(requests):
                named = sql.select(there.batch).where(there.account == account, there.request_id.in_(some))
                query = (
                    sql.select(there.kind, sql.func.sum(there.amount), sql.func.max(there.currency))
                    .where(there.account == account, there.batch.in_(named))
                    .group_by(there.kind)
                )
                for kind, amount, currency in connection.execute(query):  # noqa: B007
                    sums[kind] = sums.get(kind, 0) + int(amount)
        reserved, captured, released, refunded = (
            sums.get(kind, 0) for kind in (Kind.RESERVE, Kind.CAPTURE, Kind.RELEASE, Kind.REFUND)
        )
        return Cost(captured - refunded, reserved - captured - released, currency)

    def messages(
        self, account: str, requests: Sequence[str], behind: Place, limit: int, states: Sequence[str] = ()
    ) -> tuple[list[StoredMessage], Place | None]:
        """A batch's next messages, and where the page behind them goes on (None: nowhere). `states`: detailed ones;
        none: all."""
        found: list[StoredMessage] = []
        with self._engine.connect() as connection:
            for number in self._with(connection, account, requests, behind.request, states):
                after = behind.recipient if number == behind.request else -1
                query = _select(account, [requests[number - 1]], states).where(messages.c.index > after)
                query = query.order_by(messages.c.index).limit(limit + 1 - len(found))
                found += [StoredMessage(*row) for row in connection.execute(query)]
                if len(found) > limit:
                    last = found[limit - 1]
                    return found[:limit], Place(requests.index(last.request_id or "") + 1, last.index)
        return found, None

    def whole(self, account: str, requests: Sequence[str], states: Sequence[str] = ()) -> Iterator[list[StoredMessage]]:
        """All of a batch's messages, a list a request."""
        for request in requests:
            query = _select(account, [request], states).order_by(messages.c.index)
            with self._engine.connect() as connection:
                found = [StoredMessage(*row) for row in connection.execute(query)]
            if found:
                yield found

    def _with(
        self, connection: sql.Connection, account: str, requests: Sequence[str], first: int, states: Sequence[str]
    ) -> Iterator[int]:
        """The numbers of requests from `first` on, only those with messages of these states."""
        places = range(first, len(requests) + 1)
        if not states:
            yield from places
            return
        there = messages.c
        for some in _some(places):
            named = {requests[number - 1]: number for number in some}
            query = sql.select(there.request_id).distinct()
            query = query.where(
                there.account == account, there.request_id.in_(list(named)), there.detailed_state.in_(states)
            )
            yield from sorted(named[row.request_id] for row in connection.execute(query))


def _select(account: str, requests: Sequence[str], states: Sequence[str] = ()) -> sql.Select[Any]:
    """Messages of these requests. Their ids are read from the index by request, then the rows by these: asked for both
    at once, SQLite looks through all of the account's rows."""
    there = messages.c
    ids = sql.select(there.id).where(there.account == account, there.request_id.in_(requests))
    if states:
        ids = ids.where(there.detailed_state.in_(states))
    return select_stored.where(there.account == account, there.id.in_(ids))


def _some(things: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for at in range(0, len(things), _TOGETHER):
        yield things[at : at + _TOGETHER]


def _record(row: sql.Row[Any]) -> BatchRecord:
    told = dict(row._mapping)
    return BatchRecord(**{**told, "bad_lines": _bad_lines(told["bad_lines"])})
