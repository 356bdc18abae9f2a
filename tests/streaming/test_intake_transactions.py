"""Producers of requests that use transactions: what they abort is never sent, and is no lost record either."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import broker
import pytest
from aiokafka import AIOKafkaProducer
from working import Worker, names, number, request, wait_for

from pipeline.config import Settings
from pipeline.streaming import client

PARTITIONS = range(3)


@pytest.fixture(scope="module")
def running(make_settings: Callable[[], Settings]) -> Iterator[tuple[Settings, Worker]]:
    settings = make_settings()
    broker.create_topics(settings)
    worker = Worker(settings, ["validate"], "one")
    try:
        yield settings, worker.wait_ready()
        assert worker.process.poll() is None, worker.log.read_text()[-6000:]
    finally:
        worker.stop()


@asynccontextmanager
async def transactional(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = client.producer(settings.kafka, transactional_id=settings.kafka.topic_prefix + "test")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer: AIOKafkaProducer, settings: Settings, name: str, partition: int) -> None:
    value = request(name, number(1))
    await producer.send_and_wait(names(settings).intake(), value, partition=partition)


def plain(settings: Settings, *requests: tuple[str, int]) -> None:
    rows = [(None, request(name, number(1)), partition) for name, partition in requests]
    broker.produce(settings, names(settings).intake(), rows)


def passed(settings: Settings) -> bytes:
    """Everything that validate passed on."""
    return b" ".join(record.value for record in broker.read(settings, names(settings).validated()))


def committed(settings: Settings) -> dict[int, int]:
    """Where the stage's group goes on in the intake, by partition."""

    async def ask() -> dict[int, int]:
        admin = client.admin(settings.kafka)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(f"{settings.kafka.topic_prefix}validate")
        finally:
            await admin.close()
        topic = names(settings).intake()
        return {place.partition: told.offset for place, told in found.items() if place.topic == topic}

    return asyncio.run(ask())


def test_what_was_aborted_is_not_sent_and_what_stands_around_it_is(running: tuple[Settings, Worker]):
    settings, _ = running

    async def work() -> None:
        async with transactional(settings) as producer:
            for name, commit in (("aborted-1", False), ("aborted-2", False), ("committed", True), ("aborted-3", False)):
                await producer.begin_transaction()
                for partition in PARTITIONS:
                    for place in range(5):
                        await send(producer, settings, f"{name}-{partition}-{place}", partition)
                await (producer.commit_transaction() if commit else producer.abort_transaction())

    asyncio.run(work())
    plain(settings, *((f"behind-{partition}", partition) for partition in PARTITIONS))
    wait_for(lambda: passed(settings).count(b"behind-") == 3)
    assert passed(settings).count(b"committed-") == 15
    assert b"aborted" not in passed(settings)


def test_a_stage_that_starts_before_aborted_records_commits_behind_them(
    settings: Settings, start: Callable[..., Worker]
):
    """Where it stands the next offsets are of no record: Faust by itself would never commit again."""
    broker.create_topics(settings)

    async def abort(name: str) -> None:
        async with transactional(settings) as producer:
            await producer.begin_transaction()
            for place in range(5):
                await send(producer, settings, f"{name}-{place}", 0)
            await producer.abort_transaction()

    asyncio.run(abort("aborted-before"))
    plain(settings, ("first", 0))
    worker = start(settings, ["validate"], "one").wait_ready()
    wait_for(lambda: committed(settings).get(0) == 7)
    asyncio.run(abort("aborted-behind"))
    worker.kill()
    worker = start(settings, ["validate"], "one").wait_ready()
    lag = f'sms_stage_lag_records{{stage="validate",topic="{names(settings).intake()}"}} 0.0'
    wait_for(lambda: lag in worker.metrics())
    plain(settings, ("second", 0), ("third", 0))
    wait_for(lambda: committed(settings).get(0) == 15)
    assert (
        passed(settings).count(b"first") == passed(settings).count(b"second") == passed(settings).count(b"third") == 1
    )
    assert b"aborted" not in passed(settings)
    assert worker.process.poll() is None


def test_an_open_transaction_holds_its_partition_only_and_only_until_it_ends(running: tuple[Settings, Worker]):
    settings, _ = running

    async def work() -> None:
        async with transactional(settings) as producer:
            await producer.begin_transaction()
            await send(producer, settings, "open", 0)
            await asyncio.to_thread(plain, settings, ("held", 0), ("free", 1))
            await asyncio.to_thread(wait_for, lambda: b"free" in passed(settings))
            so_far = await asyncio.to_thread(passed, settings)
            assert b"open" not in so_far and b"held" not in so_far
            await producer.commit_transaction()

    asyncio.run(work())
    wait_for(lambda: b"held" in passed(settings))
    assert b"open" in passed(settings)


def test_a_producer_that_died_in_a_transaction_holds_nothing_up_for_ever(running: tuple[Settings, Worker]):
    settings, _ = running

    async def die() -> None:
        producer = client.producer(
            settings.kafka, transactional_id=settings.kafka.topic_prefix + "dying", transaction_timeout_ms=1000
        )
        await producer.start()
        await producer.begin_transaction()
        await send(producer, settings, "orphan", 2)
        await producer.client.close()  # without a word to the coordinator
        producer._sender.sender_task.cancel()
        producer._closed = True

    asyncio.run(die())
    plain(settings, ("behind-orphan", 2))
    wait_for(lambda: b"behind-orphan" in passed(settings), 40)  # the broker looks for dead ones every ten seconds
    assert b'orphan"' not in passed(settings).replace(b"behind-orphan", b"")


def test_a_transaction_for_each_request_is_no_brake(running: tuple[Settings, Worker]):
    """Each leaves a hole behind its record; to ask the broker about each would take ten seconds."""
    settings, worker = running
    count = 120

    async def work() -> None:
        async with transactional(settings) as producer:
            for place in range(count):
                await producer.begin_transaction()
                await send(producer, settings, f"small-{place}-", 0)
                await (producer.abort_transaction() if place % 3 == 2 else producer.commit_transaction())

    asyncio.run(work())
    began = time.monotonic()
    wait_for(lambda: passed(settings).count(b"small-") == count * 2 // 3)
    assert time.monotonic() - began < 3
    assert b"small-2-" not in passed(settings)
    assert "stage.unsafe" not in worker.log.read_text()
