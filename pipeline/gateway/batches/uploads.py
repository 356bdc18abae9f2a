"""Uploads of recipients: read whole and checked first, then taken in one transaction, or not at all.

    body → (a thread) lines, each number once, requests of 1,000 → a file → a transaction: requests and batch record

The batch's record stands beside its requests in the transaction, so it tells a repeat, after any crash, that the first
was taken. Requests have ids made from the batch's, so also a repeat that nobody recognised here sends nothing twice.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple
from zlib import crc32

import msgspec
import structlog
from aiokafka.errors import KafkaError

from pipeline.batches import BatchDirectory
from pipeline.config import Settings
from pipeline.gateway import metrics
from pipeline.gateway.batches.spool import Spool
from pipeline.gateway.batches.upload_request import Wanted
from pipeline.gateway.publisher import PATIENCE_SECONDS, Outgoing, Transactions
from pipeline.recipients import Kind, Reader
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames
from schemas.batch import BatchRecord
from schemas.errors import BAD_LINES, NO_RECIPIENTS, REQUEST_ID_REUSED, UNAVAILABLE, Error

log = structlog.get_logger()

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

#: Given to the thread at a time: enough that passing it over is nothing, so little that others soon have their turn.
_PIECE_BYTES = 64 * 1024
#: Requests read from the file at a time.
_READ_AHEAD = 16


class Uploads:
    """One of these a gateway. `batches`: those that were taken."""

    def __init__(self, settings: Settings) -> None:
        self.batches = BatchDirectory(settings)
        #: Uploads under way, by account.
        self.running: Counter[str] = Counter()
        self._settings = settings
        self._names = TopicNames(settings.kafka.topic_prefix)
        name = f"{settings.kafka.topic_prefix}gateway.{socket.gethostname()}.{settings.gateway.port}"
        self._transactions = Transactions(settings.kafka, name)
        self._turn = asyncio.Lock()
        # One thread: what it computes, nobody else computes meanwhile.
        self._thread = ThreadPoolExecutor(1, "uploads")
        self._following: asyncio.Task[None] | None = None

    def busy(self, account: str) -> str | None:
        """Why no more can be taken at this moment: of anybody, or of an account, which has half of them at most."""
        most = self._settings.uploads.concurrent
        if self.running.total() >= most:
            return "as many uploads as may be are under way"
        share = max(1, most // 2)
        return f"{share} uploads of this account are under way" if self.running[account] >= share else None

    def start(self) -> None:
        """Come up in the background. Ends what an earlier process of this gateway left open."""
        self._transactions.start()
        self._following = asyncio.create_task(self.batches.start(), name="gateway batches")

    async def stop(self) -> None:
        """Let go; a transaction that is open is never seen."""
        await self._transactions.stop()
        if self._following:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self.batches.stop()
        self._thread.shutdown(cancel_futures=True)

    async def spooled(self, wanted: Wanted, kind: Kind | None, recipients: AsyncIterator[bytes]) -> Spool:
        """The recipients, read to their end or to what is wrong with all of them. Close it.

        Raises what `recipients` raises, and OSError of the disk.
        """
        spool = Spool(self._settings, Reader(kind, wanted.fields), wanted.head, (wanted.name or "").encode())
        try:
            held: list[bytes] = []
            size = 0
            async for data in recipients:
                held.append(data)
                size += len(data)
                if size >= _PIECE_BYTES:
                    await self._in_thread(spool.feed, b"".join(held))
                    held, size = [], 0
                if spool.wrong:
                    return spool
            await self._in_thread(spool.feed, b"".join(held))
            await self._in_thread(spool.finish)
        except BaseException:
            spool.close()
            raise
        return spool

    async def taken(self, wanted: Wanted, spool: Spool) -> BatchRecord | Error:
        """The batch, durable with all its requests; the one taken before, where this is its repeat.

        Errors: 3086 nobody to send to; 3085 bad lines, where none were to be; 3009 the id was used for something else;
        3052 Kafka is away: nothing is taken, or the same again tells.
        """
        if spool.bad_line_count and wanted.on_error == "refuse":
            return Error(BAD_LINES, f"{spool.bad_line_count} bad lines, and onError is refuse: nothing was taken")
        if not spool.recipients:
            return Error(NO_RECIPIENTS, "recipients: no line gives a recipient")
        async with self._turn:
            if error := await self._transactions.ready():
                return error
            now = time.time_ns() // 1_000_000
            record = self._record(wanted, spool, now)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert self._following
                    await asyncio.shield(self._following)
                    await self.batches.refresh()
            except (TimeoutError, KafkaError):
                return Error(UNAVAILABLE, "earlier uploads cannot be read; try again", permanent=False)
            if known := self.batches.taken(record):
                return self._again(record, known.digest, known.created_at)
            began = time.perf_counter()
            if error := await self._transactions.commit(self._outgoing(wanted, spool, record, now)):
                return error
            # Committed is not yet readable: the brokers write the transaction's markers behind their answer.
            self.batches.take(record.key, record.value)
            metrics.UPLOAD_COMMIT_SECONDS.observe(time.perf_counter() - began)
        metrics.UPLOAD_LINES.labels("recipient").inc(spool.recipients)
        metrics.UPLOAD_LINES.labels("repeat").inc(spool.repeats)
        metrics.UPLOAD_LINES.labels("bad").inc(spool.bad_line_count)
        return record

    def _again(self, record: BatchRecord, digest: str, created_at: str) -> BatchRecord | Error:
        if digest != record.digest:
            message = f"requestId: {record.id!r} was used before for an upload with other content; use a new id"
            return Error(REQUEST_ID_REUSED, message)
        return msgspec.structs.replace(record, created_at=created_at)

    def _record(self, wanted: Wanted, spool: Spool, now: int) -> BatchRecord:
        return BatchRecord(
            account=wanted.account,
            id=wanted.id,
            name=wanted.name,
            created_at=rfc3339(now),
            recipients=spool.recipients,
            requests=len(spool.sizes),
            repeats=spool.repeats,
            bad_line_count=spool.bad_line_count,
            bad_lines=spool.bad_lines,
            sender=wanted.sender,
            message=wanted.message,
            dry_run=wanted.dry_run,
            digest=spool.digest,
        )

    async def _outgoing(self, wanted: Wanted, spool: Spool, record: BatchRecord, now: int) -> AsyncIterator[Outgoing]:
        """The batch's record and its requests, spread over the partitions."""
        yield Outgoing(self._names.batches, record.value, 0, now, record.key)
        topic, partitions = self._names.intake(), self._settings.kafka.partitions
        start = crc32(record.key)
        number = 0
        for at in range(0, len(spool.sizes), _READ_AHEAD):
            for recipients in await self._in_thread(spool.read, spool.sizes[at : at + _READ_AHEAD]):
                number += 1
                value = wanted.request(number, recipients)
                yield Outgoing(topic, value, (start + number) % partitions, now)

    async def _in_thread(self, work: Callable[[*_Ts], _T], *arguments: *_Ts) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
