import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import broker
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from working import names

from pipeline.config import Settings
from pipeline.records import Credit, decode_credits
from pipeline.streaming import app as faust_app
from pipeline.streaming import client, outbox
from pipeline.streaming.outbox import PACK_WEIGHT, Outbox
from pipeline.streaming.state import State


@pytest.fixture(scope="module")
def ready(make_settings: Callable[[], Settings]) -> Settings:
    settings = make_settings()
    broker.create_topics(settings)
    return settings


def produced(settings: Settings, work: Callable[[AIOKafkaProducer], Awaitable[Any]]) -> Any:
    """What `work` gives, done with a producer as workers have it."""

    async def run() -> Any:
        producer = client.producer(settings.kafka)
        await producer.start()
        try:
            return await work(producer)
        finally:
            await producer.stop()

    return asyncio.run(run())


def test_rows_of_several_batches_keep_their_order_and_tell_their_last_offset(ready: Settings):
    topic = names(ready).credits
    rows = [(b"%d" % n, os.urandom(8_000), [("n", b"%d" % n)], 1_790_000_000_000 + n) for n in range(300)]
    before = len([r for r in broker.read(ready, topic) if r.partition == 1])
    last = produced(ready, lambda producer: outbox.send(producer, (topic, 1), rows))
    found = [r for r in broker.read(ready, topic) if r.partition == 1][before:]
    assert [(r.key, r.value, list(r.headers), r.timestamp) for r in found] == rows
    assert found[-1].offset == last == before + 299
    more = produced(ready, lambda producer: outbox.send(producer, (topic, 1), [(None, None, [], None)]))
    assert more == last + 1


def test_packs_share_records_up_to_the_weight_and_keep_the_order(ready: Settings):
    topic = names(ready).settlements
    box = Outbox()
    for n in range(7):
        box.pack(topic, n % 2, Credit("acme", n, ""), PACK_WEIGHT // 2)
    box.record(topic, 0, b"own", key=b"k")
    produced(ready, box.flush)
    found = broker.read(ready, topic)
    packs = {p: [r.value for r in found if r.partition == p and r.value != b"own"] for p in (0, 1)}
    amounts = {p: [[c.amount for c in decode_credits(v)] for v in values] for p, values in packs.items()}
    assert amounts == {0: [[0, 2], [4, 6]], 1: [[1, 3], [5]]}
    produced(ready, box.flush)
    assert len(broker.read(ready, topic)) == len(found)


def test_of_a_compacted_topic_only_the_last_value_is_sent(ready: Settings):
    topic = names(ready).balances
    box = Outbox()
    for n in range(5):
        box.latest(topic, 0, b"acme", b"%d" % n)
    box.latest(topic, 0, b"zeta", b"z")
    produced(ready, box.flush)
    assert [(r.key, r.value) for r in broker.read(ready, topic)] == [(b"acme", b"4"), (b"zeta", b"z")]


def test_large_items_do_not_share_a_record_that_no_broker_takes(ready: Settings):
    """Twelve requests of a megabyte each (`custom` may be as long as the record) in one window."""
    topic = names(ready).encoded()
    box = Outbox()
    for _ in range(12):
        box.pack(topic, 0, os.urandom(1_000_000))
    produced(ready, box.flush)
    assert sum(len(r.value) for r in broker.read(ready, topic)) >= 12_000_000


def test_the_changelog_has_a_write_before_the_store_has_it(ready: Settings):
    changelog = names(ready).changelog("encode")

    async def work(producer: AIOKafkaProducer) -> tuple[dict[int, bytes], int | None]:
        app = faust_app.create(ready, "encode", "test")
        state = State(app, "price", partitions=ready.kafka.partitions, retention_seconds=None)
        await state.write(producer, 2, {b"a": b"1", b"b": b"2"})
        await state.write(producer, 2, {b"a": None, b"c": b"3"})
        await state.write(producer, 2, {})
        with pytest.raises(MessageSizeTooLargeError):
            await state.write(producer, 2, {b"d": os.urandom(client.MAX_RECORD_BYTES + 1)})
        view = state.view(2)
        return {key: value for key in b"abcd" if (value := view.get(bytes([key]), bytes))}, state.persisted_offset(2)

    stored, offset = produced(ready, work)
    found = broker.read(ready, changelog)
    assert [(r.partition, r.key, r.value) for r in found] == [
        (2, b"a", b"1"), (2, b"b", b"2"), (2, b"a", None), (2, b"c", b"3"),
    ]  # fmt: skip
    assert stored == {98: b"2", 99: b"3"}
    assert offset == found[-1].offset
