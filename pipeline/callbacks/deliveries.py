"""The log of deliveries, read where it stands: on its topic, an account's records in one partition, for seven days.

A reading is bounded in records and seconds and tells where to go on, so that a long log costs many short readings.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from pipeline import ids
from pipeline.callbacks.records import Delivery, Outcome, decode_delivery
from pipeline.config import Settings
from pipeline.stages.fate import rfc3339
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

#: The outcomes by their public names.
STATES = {outcome.name.lower().replace("_", "-"): outcome for outcome in Outcome}
_NAMES = {outcome: name for name, outcome in STATES.items()}
#: Records read backwards at a time: few first, because most ask for the latest.
_STEPS = (200, 1_000, 5_000)
_POLL_RECORDS = 200
_STALL_SECONDS = 10.0
#: A question for offsets waits behind a fetch that waits for records.
_FETCH_WAIT_MS = 20


class Wanted(msgspec.Struct, frozen=True):
    """Which deliveries: of an account, and of a message, an endpoint, an outcome, a time (Unix ms; to is exclusive)."""

    account: str
    message: str | None = None
    endpoint: str | None = None
    outcome: Outcome | None = None
    since: int | None = None
    until: int | None = None

    def holds(self, delivery: Delivery) -> bool:
        """Whether this is one."""
        return (
            delivery.account == self.account
            and (self.message is None or any(event.message == self.message for event in delivery.events))
            and (self.endpoint is None or delivery.endpoint == self.endpoint)
            and (self.outcome is None or delivery.outcome == self.outcome)
            and (self.since is None or delivery.at >= self.since)
            and (self.until is None or delivery.at < self.until)
        )


class Log:
    """A reader of the log, one reading at a time; `close` it. Raises KafkaError, TimeoutError where Kafka is away."""

    def __init__(self, settings: Settings, *, most_records: int = 20_000, most_seconds: float = 5.0) -> None:
        """`most_records`, `most_seconds`: what one reading looks through at most."""
        self._settings = settings
        self._topic = TopicNames(settings.kafka.topic_prefix).callback_deliveries
        self._most_records, self._most_seconds = most_records, most_seconds
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._turn:
            await self._drop()

    async def latest(self, wanted: Wanted, before: int | None, most: int) -> tuple[list[Delivery], int | None]:
        """The newest first, and where to go on (None: there is no more). `before`: where the last reading said."""
        async with self._reading():
            consumer, place = await self._at(wanted.account)
            first, end = await self._ends(consumer, place, wanted)
            end = end if before is None else min(before, end)
            found: list[tuple[int, Delivery]] = []
            until, steps = self._until(), iter(_STEPS)
            looked, step = 0, _STEPS[0]
            while end > first and len(found) < most and looked < self._most_records and time.monotonic() < until:
                step = next(steps, step)
                start = max(first, end - step)
                some = [row async for row in self._read(consumer, place, start, end) if wanted.holds(row[1])]
                found += reversed(some)
                looked, end = looked + step, start
            if len(found) > most:
                found, end = found[:most], found[most - 1][0]
            return [delivery for _, delivery in found], end if end > first else None

    async def forward(self, wanted: Wanted, after: int | None, take: Callable[[Delivery], bool]) -> int | None:
        """Hand the deliveries to `take`, oldest first, until it wants no more; where to go on (None: that was all)."""
        async with self._reading():
            consumer, place = await self._at(wanted.account)
            first, end = await self._ends(consumer, place, wanted)
            start = first if after is None else max(after, first)
            until, looked = self._until(), 0
            if start >= end:
                return None
            async for offset, delivery in self._read(consumer, place, start, end):
                looked += 1
                enough = wanted.holds(delivery) and not take(delivery)
                if enough or looked >= 10 * self._most_records or time.monotonic() > until:
                    return offset + 1 if offset + 1 < end else None
            return None

    def _until(self) -> float:
        return time.monotonic() + self._most_seconds

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """A reading that takes too long, or fails, costs its connection: the next begins with a new one."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._most_seconds + _STALL_SECONDS):
                    yield
                if self._consumer:
                    self._consumer.pause(*self._consumer.assignment())  # else it goes on fetching, for nobody
            except BaseException:
                await self._drop()
                raise

    async def _at(self, account: str) -> tuple[AIOKafkaConsumer, TopicPartition]:
        if self._consumer is None:
            self._consumer = client.consumer(
                self._settings.kafka, max_poll_records=_POLL_RECORDS, fetch_max_wait_ms=_FETCH_WAIT_MS
            )
            await self._consumer.start()
        place = TopicPartition(self._topic, ids.partition_of(account.encode(), self._settings.kafka.partitions))
        self._consumer.assign([place])
        return self._consumer, place

    async def _ends(self, consumer: AIOKafkaConsumer, place: TopicPartition, wanted: Wanted) -> tuple[int, int]:
        """The first offset that may be wanted, and the one behind the last that is there. A record is written after
        what it tells of, so that its time is no earlier."""
        first = (await consumer.beginning_offsets([place]))[place]
        end: int = (await consumer.end_offsets([place]))[place]
        if wanted.since:
            found = (await consumer.offsets_for_times({place: wanted.since}))[place]
            first = end if found is None else max(first, found.offset)
        return first, end

    async def _read(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
    ) -> AsyncIterator[tuple[int, Delivery]]:
        """Every readable record from `start` up to, not including, `end`."""
        consumer.seek(place, start)
        while await consumer.position(place) < end:
            records: list[ConsumerRecord] = (await consumer.getmany(place, timeout_ms=500)).get(place, [])
            for record in records:
                if record.offset >= end:
                    return
                try:
                    yield record.offset, decode_delivery(record.value)
                except msgspec.DecodeError as error:
                    log.error("delivery.unreadable", partition=place.partition, offset=record.offset, error=str(error))
            await asyncio.sleep(0)

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer:
            await consumer.stop()


def told(delivery: Delivery) -> dict[str, Any]:
    """A delivery as it is shown. `milliseconds`: None where nobody was called."""
    return {
        "id": delivery.id,
        "at": rfc3339(delivery.at),
        "endpoint": delivery.endpoint or None,
        "url": delivery.url or None,
        "state": _NAMES[delivery.outcome],
        "attempt": delivery.attempt,
        "status": delivery.status,
        "error": delivery.error or None,
        "milliseconds": None if delivery.milliseconds < 0 else delivery.milliseconds,
        "nextAttemptAt": rfc3339(delivery.due) if delivery.outcome == Outcome.RETRYING else None,
        "events": [{"id": event.id, "type": event.type, "message": event.message or None} for event in delivery.events],
    }
