"""Reading the topics again, and how the read model stands. The projector does the reading: here it is only told to."""

import os
from pathlib import Path

import msgspec
import sqlalchemy as sql

from pipeline.config import Settings
from pipeline.store import tables
from pipeline.store.database import FILE, SQLITE, WRITES

#: What is projected; erasures are not, and stay.
_PROJECTED = (
    tables.messages, tables.requests, tables.ledger, tables.statistics, tables.delivery_times, tables.swept,
)  # fmt: skip


class Standing(msgspec.Struct, frozen=True, rename="camel"):
    """How the read model stands. `bytes`: what it takes on the disk. `oldest`: the second of the oldest message's
    request, in Unix time."""

    database: str
    bytes: int
    messages: int
    movements: int
    requests: int
    counters: int
    erasures: int
    oldest: int | None
    next_offsets: dict[str, dict[int, int]]


def rebuild(engine: sql.Engine, *, empty: bool = False) -> None:
    """Have every topic read from its beginning, by the projector that runs or the next one.

    Rows are written over as they are read again; none is missing meanwhile, and what the topics do not hold any more
    stays. `empty`: everything that was projected is forgotten first.
    """
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if empty:
            for table in _PROJECTED:
                # SQLite empties a table at once where there is no condition.
                word = "DELETE FROM" if engine.dialect.name == SQLITE else "TRUNCATE"
                connection.exec_driver_sql(f"{word} {table.name}")
        connection.execute(sql.delete(tables.offsets))
        connection.execute(sql.update(tables.projection).values(epoch=tables.projection.c.epoch + 1))


def standing(engine: sql.Engine, settings: Settings) -> Standing:
    """Counts every row: seconds where there are millions."""
    with engine.connect() as connection, connection.begin():

        def count(table: sql.Table) -> int:
            return int(connection.execute(sql.select(sql.func.count()).select_from(table)).scalar_one())

        offsets: dict[str, dict[int, int]] = {}
        for row in connection.execute(sql.select(tables.offsets)):
            offsets.setdefault(row.topic, {})[row.partition] = row.next_offset
        return Standing(
            database=engine.dialect.name,
            bytes=_bytes(connection, settings),
            messages=count(tables.messages),
            movements=count(tables.ledger),
            requests=count(tables.requests),
            counters=count(tables.statistics) + count(tables.delivery_times),
            erasures=count(tables.erasures),
            oldest=_oldest(connection),
            next_offsets=offsets,
        )


def _bytes(connection: sql.Connection, settings: Settings) -> int:
    if connection.dialect.name != SQLITE:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    files: list[Path] = list(settings.storage.directory.glob(FILE + "*"))
    return sum(os.stat(file).st_size for file in files)


def _oldest(connection: sql.Connection) -> int | None:
    from pipeline.store.spending import accounts

    there = tables.messages.c
    firsts = [
        connection.scalar(sql.select(sql.func.min(there.id)).where(there.account == name))
        for name in accounts(connection)
    ]
    seconds = [first[:8] for first in firsts if first]
    try:
        return int(min(seconds), 16) if seconds else None
    except ValueError:  # no id of ours: the topic is open to others
        return None
