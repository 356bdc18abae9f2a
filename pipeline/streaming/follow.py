"""A compacted topic, followed into memory: every process that needs it reads it whole and stays up to date."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.config import Kafka
from pipeline.streaming import client

log = structlog.get_logger()

_RETRY_SECONDS = 1.0
#: How long the broker holds an idle fetch; new records end it at once, so a long wait is only cheap, never slow.
_FETCH_WAIT_MS = 5_000
#: Records handed over before others may run: a topic of a million must not hold a process up.
_AT_ONCE = 2_000
#: A batch that compaction emptied moves the position without handing over a record; this often it is looked for.
_POSITION_SECONDS = 0.5


class Follower:
    """Hands every record of `topic` to `on_record(key, value)`, in order per partition; a value of None is a deletion.

    All partitions, from the beginning, without a consumer group. While Kafka is away what was read stays readable.
    """

    def __init__(self, kafka: Kafka, topic: str, on_record: Callable[[bytes, bytes | None], None]) -> None:
        self._kafka = kafka
        self._topic = topic
        self._on_record = on_record
        self._reader: AIOKafkaConsumer | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._following: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self._asking = asyncio.Lock()
        self._begun = self._done = 0

    async def start(self) -> None:
        """Return when everything that was there at the start is read. Waits for Kafka and the topic to be there."""
        while self._following is None:
            try:
                await self._connect()
            except KafkaError as error:
                log.warning("follower.waiting", topic=self._topic, error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
        while True:
            try:
                return await self.catch_up()
            except KafkaError as error:
                log.warning("follower.waiting", topic=self._topic, error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def catch_up(self) -> None:
        """Read to the end offsets as of now: what was acknowledged before this call is seen after it.

        Raises KafkaError where the brokers cannot be asked; waits as long as reading takes, so bound it. Calls that
        come while one is under way share the next.
        """
        asked = self._begun
        async with self._asking:
            if self._done > asked:
                return
            self._begun += 1
            await self._read_to_end()
            self._done = self._begun

    async def stop(self) -> None:
        """Stop following; what was read stays."""
        if self._following:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._disconnect()

    async def _connect(self) -> None:
        self._reader = client.consumer(self._kafka, fetch_max_wait_ms=_FETCH_WAIT_MS, max_poll_records=_AT_ONCE)
        # A connection of its own: behind a waiting fetch the question for the end would wait as long as that.
        self._asker = client.consumer(self._kafka, self._topic)
        try:
            await self._asker.start()
            partitions = list(self._asker.assignment())
            self._asker.unsubscribe()
            await self._reader.start()
            # Assigned, not subscribed: a subscription is reset to the beginning when the topic's metadata flickers.
            self._reader.assign(partitions)
        except BaseException:
            await self._disconnect()
            raise
        self._following = asyncio.create_task(self._follow(self._reader), name=f"follow {self._topic}")

    async def _disconnect(self) -> None:
        for consumer in filter(None, (self._reader, self._asker)):
            await consumer.stop()

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        while True:
            try:
                polled = await reader.getmany(timeout_ms=60_000)
            except KafkaError as error:
                log.warning("follower.failed", topic=self._topic, error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for records in polled.values():
                for record in records:
                    if record.key is not None:
                        self._on_record(record.key, record.value)
            async with self._moved:
                self._moved.notify_all()
            await asyncio.sleep(0)  # a reader that has more at hand does not wait, and so lets nobody run

    async def _read_to_end(self) -> None:
        assert self._reader and self._asker and self._following, "start() comes first"
        ends = await self._asker.end_offsets(self._reader.assignment())
        async with self._moved:
            while not await self._reached(ends):
                if self._following.done():
                    self._following.result()  # a bug in on_record: say it here too, instead of waiting for ever
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POSITION_SECONDS):
                        await self._moved.wait()

    async def _reached(self, ends: dict[TopicPartition, int]) -> bool:
        assert self._reader
        return all([await self._reader.position(partition) >= end for partition, end in ends.items()])


class Directory:
    """What a compacted topic tells, in memory and up to date: beside a register with a `take` for its records, the part
    that follows. Start it before use; `refresh` before refusing what it does not know."""

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        raise NotImplementedError

    def follow(self, kafka: Kafka, topic: str) -> None:
        """Name the topic. Nothing is read before the start."""
        self._follower = Follower(kafka, topic, self.take)

    async def start(self) -> None:
        """Return when everything that was there at the start is read."""
        await self._follower.start()

    async def refresh(self) -> None:
        """See every change acknowledged before this call. Raises KafkaError; bound it."""
        await self._follower.catch_up()

    async def stop(self) -> None:
        """Stop following; what was read stays."""
        await self._follower.stop()
