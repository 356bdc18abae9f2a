"""What ages leaves the read model: whole messages, their texts, their numbers. A little at a time, at quiet moments,
so that the projector never waits long: one transaction aims at half of what it may take."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import sqlalchemy as sql
import structlog
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import Settings
from pipeline.store import metrics
from pipeline.store.database import WRITES
from pipeline.store.privacy import Ages, without_number, without_text
from pipeline.store.tables import BATCH_DIGITS, messages, requests, swept

log = structlog.get_logger()

#: Between rounds in which nothing was left to do.
_ROUND_SECONDS = 60.0
#: After a piece the projector has this many times as long for itself.
_REST = 4
#: A busy projector is given way to for so long, then a piece is done all the same.
_PATIENCE_SECONDS = 10.0
#: A piece is to take half of the 50 ms that the projector may wait.
_AIM_SECONDS = 0.025
_LEAST, _FIRST, _MOST = 10, 200, 5_000
_DAY_SECONDS = 24 * 3600

TEXT, NUMBER = "text", "number"
_ERASING = {TEXT: without_text, NUMBER: without_number}


class Upkeep:
    """Runs beside the projector. `turn`: held by whoever writes, so that the other waits in line and not at the
    database; `quiet`: the projector has little to do."""

    def __init__(self, engine: sql.Engine, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.turn = asyncio.Lock()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._engine = engine.execution_options(**{WRITES: True})
        self._settings = settings
        self._clock = clock
        self._size = _FIRST

    async def run(self) -> None:
        """Until it is cancelled; the transaction under way is then finished."""
        while True:
            try:
                left = await self._piece()
            except SQLAlchemyError as error:
                log.warning("upkeep.failed", error=str(error))
                left = False
            await asyncio.sleep(0 if left else _ROUND_SECONDS)

    async def _piece(self) -> bool:
        """Do a piece and rest; whether there is more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.quiet.wait(), _PATIENCE_SECONDS)
        async with self.turn:
            began = time.perf_counter()
            working = asyncio.create_task(asyncio.to_thread(self.piece))
            try:
                done = await asyncio.shield(working)
            except asyncio.CancelledError:
                await working
                raise
            took = time.perf_counter() - began
        await asyncio.sleep(took * _REST)
        return done > 0

    def piece(self) -> int:
        """Remove or erase in one transaction what is due, a few messages; their number. Blocking."""
        began = time.perf_counter()
        now = self._clock()
        done = self._remove(f"{max(int(now - self._settings.storage.read_model_days * _DAY_SECONDS), 0):08x}")
        ages = Ages.of(self._settings.privacy, now)
        for what, before in ((TEXT, ages.texts), (NUMBER, ages.numbers)):
            if not done and before:
                done = self._erase(what, before)
        took = time.perf_counter() - began
        if done:
            metrics.UPKEEP_SECONDS.observe(took)
            factor = min(max(_AIM_SECONDS / took, 0.25), 1.5)
            self._size = min(max(int(self._size * factor), _LEAST), _MOST)
        return done

    def _remove(self, before: str) -> int:
        """Messages of the next account that has some requested before."""
        with self._engine.connect() as connection:
            account = self._oldest(connection, before)
        if account is None:
            return 0
        there = messages.c
        mine = sql.select(there.id).where(there.account == account, there.id < before).order_by(there.id)
        with self._engine.begin() as connection:
            last = connection.scalars(mine.limit(self._size)).all()[-1:]
            if not last:
                return 0
            gone = connection.execute(sql.delete(messages).where(there.account == account, there.id <= last[0]))
            # What the requests said goes when the last of a batch's messages may have gone: a batch is of one second.
            connection.execute(
                sql.delete(requests).where(requests.c.account == account, requests.c.batch < last[0][:BATCH_DIGITS])
            )
        metrics.REMOVED.inc(gone.rowcount)
        return int(gone.rowcount)

    def _oldest(self, connection: sql.Connection, before: str) -> str | None:
        """An account that has messages requested before."""
        there = messages.c
        account: str | None = ""
        while True:
            account = connection.scalar(sql.select(sql.func.min(there.account)).where(there.account > account))
            if account is None:
                return None
            first = connection.scalar(sql.select(sql.func.min(there.id)).where(there.account == account))
            if first is not None and first < before:
                return account

    def _erase(self, what: str, before: str) -> int:
        """Texts or numbers of the next account that has some left from before."""
        there = messages.c
        with self._engine.begin() as connection:
            for account, up_to in self._unswept(connection, what):
                mine = sql.select(there.id).where(there.account == account, there.id > up_to, there.id < before)
                ids = connection.scalars(mine.order_by(there.id).limit(self._size)).all()
                if not ids:
                    continue
                connection.execute(_ERASING[what](account, ids))
                this = sql.and_(swept.c.what == what, swept.c.account == account)
                connection.execute(sql.delete(swept).where(this))
                connection.execute(sql.insert(swept).values(what=what, account=account, id=ids[-1]))
                metrics.ERASED.labels(what).inc(len(ids))
                return len(ids)
        return 0

    def _unswept(self, connection: sql.Connection, what: str) -> list[tuple[str, str]]:
        """Every account, and up to where it is done."""
        from pipeline.store.spending import accounts

        done = {row.account: row.id for row in connection.execute(sql.select(swept).where(swept.c.what == what))}
        return [(name, done.get(name, "")) for name in accounts(connection)]
