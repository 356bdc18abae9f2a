"""Opening the read model's database: SQLite in the storage directory, or PostgreSQL."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from alembic import command
from alembic.config import Config

from pipeline.config import ConfigError, Settings, Storage

FILE = "read-model.sqlite3"
SQLITE = "sqlite"
#: Execution option of connections that write: SQLite then takes its one write lock at the begin, waiting in turn.
WRITES = "writes"
#: Longest wait for another process's write transaction.
_BUSY_SECONDS = 30
_MIGRATIONS = Path(__file__).parent / "migrations"
#: Any number that no other application on the server uses for its advisory lock.
_LOCK = 0x534D5350


def open_database(settings: Settings) -> sql.Engine:
    """An engine on the read model, with its tables at their latest version; several processes may call it at once.

    Raises ConfigError where `storage.database` names something that cannot be opened.
    """
    engine = _engine(settings.storage)
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if engine.dialect.name != SQLITE:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        command.upgrade(config, "head")
    return engine


def _engine(storage: Storage) -> sql.Engine:
    if storage.database == SQLITE:
        storage.directory.mkdir(parents=True, exist_ok=True)
        url = sql.URL.create(SQLITE, database=str(storage.directory / FILE))
        engine = sql.create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)
        sql.event.listen(engine, "connect", _prepare)
        sql.event.listen(engine, "begin", _begin)
        return engine
    try:
        url = sql.make_url(storage.database)
    except sql.exc.ArgumentError:
        raise ConfigError(f'storage.database: "sqlite" or postgresql://…, not {storage.database!r}') from None
    if url.get_backend_name() != "postgresql":
        raise ConfigError(f'storage.database: "sqlite" or postgresql://…, not {url.get_backend_name()}')
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return sql.create_engine(url, paramstyle="format", pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"storage.database: PostgreSQL needs the package {missing.name}; install sms-pipeline[postgresql]"
        ) from None
    except sql.exc.NoSuchModuleError:
        raise ConfigError(f"storage.database: no driver {url.drivername!r} is known; write postgresql://…") from None


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # begin and commit are SQLAlchemy's, not guessed by the driver
    # WAL: readers and the writer do not wait for each other. NORMAL: a power cut may undo the last transactions,
    # their offsets with them, so they are read again.
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")  # KiB
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: fewer, larger copies into the main file


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of several that open a new database at once only one can change its mode: the others are told that it is locked,
    at once, however long they are ready to wait."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: sql.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")
