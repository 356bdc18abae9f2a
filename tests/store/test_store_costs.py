"""What messages cost us, through the projector: prices in force are followed, a read model built again is the same."""

import asyncio
import threading
import time

import broker
import pytest
from projecting import project
from records import encode, status

from pipeline.billing import PriceList
from pipeline.prices import AHEAD_MS, imported
from pipeline.store.database import FILE, open_database
from pipeline.store.in_force import InForce
from pipeline.store.projector import run_projector
from pipeline.store.tables import messages
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from schemas.status import OPERATOR_HEADER, TEXT_HEADER

COUNT = 20


@pytest.fixture
def settings(kafka, tmp_path):
    found = broker.settings_for(kafka, tmp_path)
    broker.create_topics(found)
    return found


def price_list(*rows):
    found = PriceList.parse(["country,operator,prefix,price,carrier,cost", "IT,,,0.05,,", *rows])
    assert isinstance(found, PriceList), found
    return found


def put(settings, *records):
    """Records (topic, key, value, headers), acknowledged."""

    async def work():
        producer = client.producer(settings.kafka)
        await producer.start()
        try:
            for topic, key, value, headers in records:
                await producer.send_and_wait(topic, value, key=key, headers=headers, partition=0)
        finally:
            await producer.stop()

    asyncio.run(work())


def version(settings, prices, valid_from):
    """Import a list; it is announced early enough."""
    record = imported(prices, "", valid_from, valid_from - AHEAD_MS, "ada")
    return TopicNames(settings.kafka.topic_prefix).prices, record.key, record.value, []


def told(settings, record, operator=None):
    topic = TopicNames(settings.kafka.topic_prefix).status
    first = [(TEXT_HEADER, b"Hello")] if record.sequence == 1 else []
    return topic, record.id.encode(), encode(record), first + ([(OPERATOR_HEADER, operator)] if operator else [])


def rows(settings):
    engine = open_database(settings)
    with engine.connect() as connection:
        found = connection.execute(messages.select().order_by(messages.c.id)).all()
    engine.dispose()
    return found


def test_operators_and_costs_arrive_and_are_the_same_when_built_again(settings):
    second = int(status(0, 1).id[:8], 16)  # four messages are of it, and of each second behind it
    put(
        settings,
        version(settings, price_list("IT,,,,sim,0.03", "IT,TIM,,,sim,0.02"), second * 1000),
        version(settings, price_list("IT,,,,sim,0.04"), (second + 2) * 1000),
        version(settings, price_list(), (second + 4) * 1000),
        *(told(settings, status(n, 1), b"TIM" if n % 2 else None) for n in range(COUNT)),
        *(told(settings, status(n, 2)) for n in range(COUNT)),
    )
    project(settings, lambda model: model.counts() == {"SUBMITTED": COUNT})
    found = rows(settings)
    assert [row.cost for row in found] == [30_000, 20_000] * 4 + [40_000] * 8 + [None] * 4
    assert [row.operator for row in found] == [None, "TIM"] * (COUNT // 2)
    assert {row.message for row in found} == {"Hello"}
    put(settings, *(told(settings, status(n, 3)) for n in range(COUNT)))
    project(settings, lambda model: model.counts() == {"DELIVERED": COUNT})
    before = rows(settings)
    assert [row.cost for row in before] == [row.cost for row in found]
    for file in settings.storage.directory.glob(FILE + "*"):
        file.unlink()
    project(settings, lambda model: model.counts() == {"DELIVERED": COUNT})
    assert rows(settings) == before


def test_a_version_that_is_announced_while_it_runs_holds_for_what_is_requested_later(settings):
    """The record is read at once; the version before it, though nothing makes the projector look."""

    async def run():
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(run_projector(settings, ready=ready, stop=stop))
        await asyncio.wait_for(ready.wait(), 20)
        now = int(time.time())
        announced = version(settings, price_list("IT,,,,sim,0.07"), now * 1000)
        message = status(1, 2, id=f"{now:08x}{1:016x}")
        await asyncio.to_thread(put, settings, announced, told(settings, message))
        deadline = time.monotonic() + 20
        while not (found := await asyncio.to_thread(rows, settings)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(task, 20)
        return found

    (row,) = asyncio.run(run())
    assert row.cost == 70_000


def test_versions_are_asked_for_before_any_can_come_into_force_and_not_with_every_poll(settings):
    async def run():
        prices = InForce(settings)
        await prices.start()
        asked, ask = [], prices._follower.catch_up

        async def count():
            asked.append(time.monotonic())
            await ask()

        prices._follower.catch_up = count
        try:
            begin = time.monotonic()
            await asyncio.to_thread(put, settings, version(settings, price_list("IT,,,,sim,0.07"), 1_000_000))
            while len(asked) < 2:
                await prices.refresh()
                assert prices.at(2_000_000).cost("sim", "IT", "") == 70_000
                assert time.monotonic() < begin + 20
                await asyncio.sleep(0.02)
            assert 1 < asked[1] - asked[0] < AHEAD_MS / 1000
        finally:
            await prices.stop()

    asyncio.run(run())


def test_a_thread_may_ask_while_versions_come_and_go(settings):
    prices = InForce(settings)
    records = [version(settings, price_list(f"IT,,,,sim,0.{n:02d}"), n * 1_000_000) for n in range(1, 30)]
    done = threading.Event()
    wrong = []

    def ask():
        while not done.is_set():
            try:
                prices.at(2**40)
            except Exception as error:
                wrong.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(20):
        for _, key, value, _ in records:
            prices.take(key, value)
        for _, key, _, _ in records:
            prices.take(key, None)
    done.set()
    asking.join()
    assert wrong == []
