"""The statements of the hot path, compiled once, for tuples in the order of the tables' columns; in SQLite's words and
in PostgreSQL's."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store import tables
from pipeline.store.database import SQLITE
from pipeline.store.tallies import Counted

#: What the first record says for good.
_FIXED = {"account", "id", "request_id", "index", "recipient"}
#: What is kept once it is known.
_ONCE = ("message", "sent_at", "delivered_at", "operator")
#: PostgreSQL: one projector at a time counts and writes. Any number of ours but the migrations' (database.py).
_LOCK = 0x534D5351

Row = tuple[Any, ...]


class Bulk:
    """Each in the caller's transaction."""

    def __init__(self, engine: sql.Engine) -> None:
        self._sqlite = engine.dialect.name == SQLITE
        self._messages = _upsert_messages(engine, from_table=None if self._sqlite else "incoming")
        self._ledger = str(_insert(engine, tables.ledger).on_conflict_do_nothing().compile(engine))
        self._requests = _upsert_requests(engine)
        self._statistics = _add_up(engine, tables.statistics, "messages", "parts")
        self._delivery_times = _add_up(engine, tables.delivery_times, "messages")
        self._offsets = _upsert_offsets(engine)
        self._known = _known(self._sqlite)

    def begin(self, connection: sql.Connection) -> int:
        """Have the right to write; the epoch."""
        if not self._sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        return int(connection.execute(sql.select(tables.projection.c.epoch)).scalar_one())

    def known(self, connection: sql.Connection, messages: Iterable[tuple[str, str]]) -> dict[str, Counted]:
        """What was counted of messages (account, id), by id."""
        by_account: defaultdict[str, list[str]] = defaultdict(list)
        for account, id_ in messages:
            by_account[account].append(id_)
        found: dict[str, Counted] = {}
        for account, ids in by_account.items():
            wanted = json.dumps(ids) if self._sqlite else ids
            rows = connection.exec_driver_sql(self._known, (account, wanted))
            found.update((row[1], Counted(*row)) for row in rows)
        return found

    def messages(self, connection: sql.Connection, rows: Sequence[Row]) -> None:
        if not rows:
            return
        if self._sqlite:
            connection.exec_driver_sql(self._messages, list(rows))
            return
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE messages INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy("COPY incoming FROM STDIN") as copy:
            for row in rows:
                copy.write_row([_storable(value) for value in row])
        connection.exec_driver_sql(self._messages)

    def ledger(self, connection: sql.Connection, rows: Sequence[Row]) -> None:
        self._many(connection, self._ledger, rows)

    def requests(self, connection: sql.Connection, rows: Sequence[Row]) -> None:
        self._many(connection, self._requests, rows)

    def statistics(self, connection: sql.Connection, states: Iterable[Row], times: Iterable[Row]) -> None:
        self._many(connection, self._statistics, states)
        self._many(connection, self._delivery_times, times)

    def offsets(self, connection: sql.Connection, rows: Sequence[Row]) -> None:
        self._many(connection, self._offsets, rows)

    def _many(self, connection: sql.Connection, statement: str, rows: Iterable[Row]) -> None:
        # In one order everywhere, so that no two transactions of PostgreSQL wait for each other's rows.
        some = list(rows) if self._sqlite else sorted(tuple(map(_storable, row)) for row in rows)
        if some:
            connection.exec_driver_sql(statement, some)


def _storable(value: Any) -> Any:
    """PostgreSQL's texts hold no NUL; the topic is open to others."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _insert(engine: sql.Engine, table: sql.Table) -> Any:
    return (sqlite if engine.dialect.name == SQLITE else postgresql).insert(table)


def _upsert_messages(engine: sql.Engine, from_table: str | None) -> str:
    insert = _insert(engine, tables.messages)
    names = [column.name for column in tables.messages.columns]
    if from_table:
        incoming = sql.table(from_table, *(sql.column(name) for name in names))
        insert = insert.from_select(names, sql.select(*incoming.columns))
    new, old = insert.excluded, tables.messages.c
    changes = {name: new[name] for name in names if name not in _FIXED}
    changes |= {name: sql.func.coalesce(old[name], new[name]) for name in _ONCE}
    changes["cost"] = sql.func.coalesce(new.cost, old.cost)  # the last record need not tell that a carrier took it
    # A repeat overwrites itself: that is how a topic that is read again mends a row.
    not_older = new.sequence >= old.sequence
    return str(
        insert.on_conflict_do_update(index_elements=["account", "id"], set_=changes, where=not_older).compile(engine)
    )


def _upsert_requests(engine: sql.Engine) -> str:
    insert = _insert(engine, tables.requests)
    changes = {name: insert.excluded[name] for name in ("options", "callback")}
    return str(insert.on_conflict_do_update(index_elements=["account", "batch"], set_=changes).compile(engine))


def _upsert_offsets(engine: sql.Engine) -> str:
    insert = _insert(engine, tables.offsets)
    changes = {"next_offset": insert.excluded.next_offset}
    return str(insert.on_conflict_do_update(index_elements=["topic", "partition"], set_=changes).compile(engine))


def _add_up(engine: sql.Engine, table: sql.Table, *numbers: str) -> str:
    insert = _insert(engine, table)
    sums = {name: table.c[name] + insert.excluded[name] for name in numbers}
    return str(insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=sums).compile(engine))


def _known(sqlite: bool) -> str:
    columns = ", ".join(Counted._fields)
    if sqlite:
        return f"SELECT {columns} FROM messages WHERE account = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608
    return f"SELECT {columns} FROM messages WHERE account = %s AND id = ANY(%s::text[])"  # noqa: S608
