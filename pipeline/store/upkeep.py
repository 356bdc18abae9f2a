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

#: Between rounds over the accounts.
_ROUND_SECONDS = 600.0
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
        self._reading = engine
        self._engine = engine.execution_options(**{WRITES: True})
        self._settings = settings
        self._clock = clock
        self._size = _FIRST
        self._done_with = ""  # the account that was last looked after

    async def run(self) -> None:
        """Until it is cancelled; the transaction under way is then finished."""
        while True:
            try:
                over = await self._in_turn() is None
            except SQLAlchemyError as error:
                log.warning("upkeep.failed", error=str(error))
                over = True
            if over:
                await asyncio.sleep(_ROUND_SECONDS)

    async def _in_turn(self) -> int | None:
        """Do a piece, and rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):  # not wait_for: Python 3.11's may lose a cancellation
                await self.quiet.wait()
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
        return done

    def piece(self) -> int | None:
        """Remove or erase, in one transaction, some messages of the next account that are due; their number. None where
        no account is left in this round. Blocking."""
        there, now = messages.c, self._clock()
        with self._reading.connect() as connection:
            after = sql.select(sql.func.min(there.account)).where(there.account > self._done_with)
            account = connection.scalar(after)
        if account is None:
            self._done_with = ""
            return None
        began = time.perf_counter()
        done = self._remove(account, f"{max(int(now - self._settings.storage.read_model_days * _DAY_SECONDS), 0):08x}")
        ages = Ages.of(self._settings.privacy, now)
        for what, before in ((TEXT, ages.texts), (NUMBER, ages.numbers)):
            if not done and before:
                done = self._erase(account, what, before)
        if not done:
            self._done_with = account
            return 0
        took = time.perf_counter() - began
        metrics.UPKEEP_SECONDS.observe(took)
        self._size = min(max(int(self._size * min(max(_AIM_SECONDS / took, 0.25), 1.5)), _LEAST), _MOST)
        return done

    def _remove(self, account: str, before: str) -> int:
        """The account's oldest messages of those requested before."""
        there = messages.c
        old = sql.select(there.id).where(there.account == account, there.id < before).order_by(there.id)
        with self._reading.connect() as connection:
            ids = connection.scalars(old.limit(self._size)).all()
        if not ids:
            return 0
        said = requests.c
        with self._engine.begin() as connection:
            gone = connection.execute(sql.delete(messages).where(there.account == account, there.id <= ids[-1]))
            # What a request said stays until the last of its batch is gone.
            connection.execute(sql.delete(requests).where(said.account == account, said.batch < ids[-1][:BATCH_DIGITS]))
        metrics.REMOVED.inc(gone.rowcount)
        return int(gone.rowcount)

    def _erase(self, account: str, what: str, before: str) -> int:
        """The account's texts or numbers that are left from before."""
        there = messages.c
        this = sql.and_(swept.c.what == what, swept.c.account == account)
        with self._reading.connect() as connection:
            up_to = connection.scalar(sql.select(swept.c.id).where(this)) or ""
            left = sql.select(there.id).where(there.account == account, there.id > up_to, there.id < before)
            ids = connection.scalars(left.order_by(there.id).limit(self._size)).all()
        if not ids:
            return 0
        with self._engine.begin() as connection:
            connection.execute(_ERASING[what](account, ids))
            connection.execute(sql.delete(swept).where(this))
            connection.execute(sql.insert(swept).values(what=what, account=account, id=ids[-1]))
        metrics.ERASED.labels(what).inc(len(ids))
        return len(ids)
