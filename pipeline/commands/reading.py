"""Reading topics from the outside: no consumer group, nothing committed, the running system never notices."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from pipeline.commands.common import fail, run
from pipeline.config import Settings
from pipeline.streaming import client, topics

#: A broker that hands over nothing for this long, although there is something, is taken for gone.
_STALL_SECONDS = 20.0
#: Where compaction emptied a batch the position moves without a record; this often it is looked for.
_POLL_MS = 500
#: For how long the broker holds a fetch that finds nothing new. What is asked meanwhile (offsets) waits behind it.
_FETCH_WAIT_MS = 50

Take = Callable[[ConsumerRecord], None]
T = TypeVar("T")


def ask(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. What goes wrong is said in a line of ours, without the client's own log before it."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return run(work)


async def partition_counts(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """How many partitions these topics have; one that does not exist is missing."""
    admin = client.admin(settings.kafka)
    try:
        await admin.start()
        described = await admin.describe_topics(list(names))
    finally:
        await admin.close()
    return {found["topic"]: len(found["partitions"]) for found in described if found["error_code"] == 0}


def fail_without(topic: str) -> NoReturn:
    """End the command: this topic is not there."""
    fail(f"topic {topic} does not exist; start the system, or create it with `sms-pipeline topics create`")


@contextlib.asynccontextmanager
async def reading(
    settings: Settings, topic: str, begins: Mapping[int, int] | None = None
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one of our topics: every partition from its beginning, or those of `begins` from these offsets.

    Ends the command if there is no such topic. A partition that does not exist is left out.
    """
    consumer = client.consumer(settings.kafka, fetch_max_wait_ms=_FETCH_WAIT_MS)
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            fail_without(topic)
        count = next(known.partitions for known in topics.catalogue(settings) if known.name == topic)
        places = [TopicPartition(topic, number) for number in range(count)]
        if begins is None:
            consumer.assign(places)
        else:
            wanted = [place for place in places if place.partition in begins]
            consumer.assign(wanted)
            for place in wanted:
                consumer.seek(place, begins[place.partition])
        yield consumer
    finally:
        await consumer.stop()


async def until_now(consumer: AIOKafkaConsumer) -> AsyncIterator[list[ConsumerRecord]]:
    """Every record that is there now, some at a time, in order within a partition."""
    ends = await consumer.end_offsets(consumer.assignment())
    last_news = time.monotonic()
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        polled = await consumer.getmany(timeout_ms=_POLL_MS)
        if polled:
            yield [record for records in polled.values() for record in records]
            last_news = time.monotonic()
        elif time.monotonic() - last_news > _STALL_SECONDS:
            fail("Kafka stopped answering in the middle of a topic; try again")


async def catch_up(consumer: AIOKafkaConsumer, take: Take) -> None:
    """Hand every record that is there now to `take`, in order within a partition."""
    async for records in until_now(consumer):
        for record in records:
            take(record)


async def poll(consumer: AIOKafkaConsumer, take: Take, timeout_ms: int = _POLL_MS) -> int:
    """Hand what came within `timeout_ms` to `take`; how many records."""
    polled = await consumer.getmany(timeout_ms=timeout_ms)
    for records in polled.values():
        for record in records:
            take(record)
    return sum(map(len, polled.values()))


async def read_all(settings: Settings, topic: str, take: Take) -> None:
    """Hand every record that is on the topic now to `take`, in order within a partition."""
    async with reading(settings, topic) as consumer:
        await catch_up(consumer, take)
