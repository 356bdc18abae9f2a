"""Batch records into the read model. They are few, and their topic forgets them after days: it is read from its
beginning at each start, and what is stored already stays as it is."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from pipeline.config import Settings
from pipeline.store.batches import Batches
from pipeline.store.database import open_database
from pipeline.streaming.follow import Follower
from pipeline.streaming.topics import TopicNames
from schemas import batch
from schemas.batch import BatchRecord

log = structlog.get_logger()


async def run_batches(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Project until `stop` is set or the task is cancelled. Waits for Kafka. Raises the database's errors; a restart
    goes on."""
    stop = stop or asyncio.Event()
    waiting: asyncio.Queue[BatchRecord] = asyncio.Queue()
    engine = await asyncio.to_thread(open_database, settings)
    follower = Follower(settings.kafka, TopicNames(settings.kafka.topic_prefix).batches, _into(waiting))
    following = asyncio.create_task(follower.start())
    storing = asyncio.create_task(_store(waiting, Batches(engine)))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([storing, stopped], return_when=asyncio.FIRST_COMPLETED)
        if storing.done():
            storing.result()
    finally:
        for task in (following, storing, stopped):
            task.cancel()
        await asyncio.wait([following, storing, stopped])
        await follower.stop()
        engine.dispose()


async def _store(waiting: "asyncio.Queue[BatchRecord]", store: Batches) -> None:
    while True:
        records = [await waiting.get()]
        while not waiting.empty():
            records.append(waiting.get_nowait())
        await asyncio.to_thread(store.put, records)


def _into(waiting: "asyncio.Queue[BatchRecord]") -> Callable[[bytes, bytes | None], None]:
    def take(key: bytes, value: bytes | None) -> None:
        if value is None:
            return
        try:
            waiting.put_nowait(batch.decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("batch.unreadable", key=key, error=str(error))

    return take
