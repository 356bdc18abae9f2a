"""A real broker for tests, and topics of a test's own on it."""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord

from pipeline.config import Kafka, Settings, Storage
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.streaming import client, topics


@contextmanager
def broker(directory: Path) -> Iterator[str]:
    """Bootstrap servers of a broker: the one named by SMS_TEST_KAFKA if it is set, else one started here."""
    if given := os.environ.get("SMS_TEST_KAFKA"):
        yield given
        return
    kafka = EmbeddedKafka(directory)
    try:
        yield kafka.start()
    finally:
        if kafka.alive():
            os.kill(kafka.pid, signal.SIGKILL)  # nobody needs its data: an orderly stop takes seconds
        kafka.stop()


def settings_for(bootstrap: str, directory: Path, *, partitions: int = 3, **sections: Any) -> Settings:
    """Settings with a topic prefix of their own, so that tests sharing a broker do not meet."""
    kafka = Kafka(bootstrap_servers=bootstrap, partitions=partitions, topic_prefix=f"t{uuid.uuid4().hex[:8]}.")
    # Tests' messages are of any time, and are not to be removed for their age.
    storage = Storage(directory=directory, read_model_days=36_500)
    return Settings(kafka=kafka, storage=storage, **sections)


def create_topics(settings: Settings) -> None:
    """Create every topic of these settings."""
    asyncio.run(topics.ensure(settings))


def read(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Every record on a topic now, by partition and offset."""

    async def all_records() -> list[ConsumerRecord]:
        consumer = client.consumer(settings.kafka, topic)
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[ConsumerRecord] = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return sorted(found, key=lambda record: (record.partition, record.offset))
        finally:
            await consumer.stop()

    return asyncio.run(all_records())


def produce(settings: Settings, topic: str, records: list[tuple[bytes | None, bytes | None, int | None]]) -> None:
    """Put (key, value, partition) records on a topic, acknowledged."""

    async def put() -> None:
        producer = client.producer(settings.kafka)
        await producer.start()
        try:
            sent = [await producer.send(topic, key=k, value=v, partition=p) for k, v, p in records]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    asyncio.run(put())
