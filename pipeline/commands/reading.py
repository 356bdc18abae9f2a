"""Reading topics from the outside: no consumer group, nothing committed, the running system never notices."""

import contextlib
from collections.abc import AsyncIterator, Callable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from pipeline.commands.common import fail
from pipeline.config import Settings
from pipeline.streaming import client, topics

#: A broker that sends nothing for this long although there is something to send is taken for gone.
_STALL_MS = 20_000


@contextlib.asynccontextmanager
async def reading(settings: Settings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of every partition of one of our topics, at its beginning. Ends the command if there is no such."""
    consumer = client.consumer(settings.kafka)
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            fail(f"topic {topic} does not exist; start the system, or create it with `sms-pipeline topics create`")
        count = next(known.partitions for known in topics.catalogue(settings) if known.name == topic)
        consumer.assign([TopicPartition(topic, number) for number in range(count)])
        yield consumer
    finally:
        await consumer.stop()


async def read_all(settings: Settings, topic: str, take: Callable[[ConsumerRecord], None]) -> None:
    """Hand every record that is on the topic now to `take`, in order within a partition."""
    async with reading(settings, topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            polled = await consumer.getmany(timeout_ms=_STALL_MS)
            if not polled and any([await consumer.position(place) < end for place, end in ends.items()]):
                fail(f"Kafka stopped answering while {topic} was read; try again")
            for place, records in polled.items():
                for record in records:
                    if record.offset < ends[place]:
                        take(record)
