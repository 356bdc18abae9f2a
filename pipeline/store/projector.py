"""Status and ledger into the read model: one process, every partition, offsets in the database.

In: `sms.status`, `sms.ledger`, and the prices in force (`sms.prices`). Out: rows. A poll is one transaction with
its offsets, so a kill at any moment repeats nothing and misses nothing; what still repeats (a record written twice
upstream) is known by its sequence.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.config import Settings
from pipeline.store import metrics
from pipeline.store.database import open_database
from pipeline.store.in_force import InForce
from pipeline.store.upkeep import Upkeep
from pipeline.store.writer import Moved, Restarted, Told, Writer
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from schemas.status import CALLBACK_HEADER, OPERATOR_HEADER, OPTIONS_HEADER, TEXT_HEADER

log = structlog.get_logger()

_RETRY_SECONDS = 1.0
#: Records a transaction: past some thousands the commit no longer shows, and the write lock is held for 0.1 s.
_MOST_RECORDS = 5_000
#: A poll below this is a trickle: wait a little, so that what follows shares its transaction.
_TRICKLE = 200
_GATHER_SECONDS = 0.05
#: How long the broker holds an idle fetch; a record ends it at once.
_FETCH_WAIT_MS = 5_000
#: Where nothing comes, the database is asked this often whether it is to be read again.
_LOOK_SECONDS = 2.0
#: Longest wait for the versions of the price list; then they are asked for again.
_PRICES_SECONDS = 10.0

_HEADERS = frozenset({TEXT_HEADER, OPERATOR_HEADER, OPTIONS_HEADER, CALLBACK_HEADER})
_NO_OPTIONS = "{}"

#: The topics that are read: of statuses, and of movements of money.
Topics = tuple[str, str]
Polled = Mapping[TopicPartition, Sequence[ConsumerRecord]]


async def run_projector(
    settings: Settings, *, ready: asyncio.Event | None = None, stop: asyncio.Event | None = None
) -> None:
    """Project until `stop` is set or the task is cancelled; what was read by then is stored.

    `ready` is set when records are being read. Waits for Kafka and the topics to be there. Raises ConfigError (also for
    a faulty price list) or the database's errors: nothing of the poll is stored then, and a restart goes on where the
    database stands.
    """
    stop = stop or asyncio.Event()
    prices = InForce(settings)
    engine = await asyncio.to_thread(open_database, settings)
    try:
        names = TopicNames(settings.kafka.topic_prefix)
        topics = names.status, names.ledger
        writer = Writer(engine, prices.at, settings.privacy)
        consumer = await _start(settings, topics, writer, stop) if await _unless(stop, prices.start()) else None
        if consumer is None:
            return
        upkeep = Upkeep(engine, settings)
        keeping = asyncio.create_task(upkeep.run())
        try:
            if ready:
                ready.set()
            await _project(consumer, topics, writer, prices, upkeep, stop)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await consumer.stop()
    finally:
        await prices.stop()
        engine.dispose()


async def _start(settings: Settings, topics: Topics, writer: Writer, stop: asyncio.Event) -> AIOKafkaConsumer | None:
    """A consumer of every partition from where the database stands; None where `stop` came before Kafka."""
    while not stop.is_set():
        consumer = client.consumer(settings.kafka, fetch_max_wait_ms=_FETCH_WAIT_MS)
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            log.warning("projector.waiting", topics=topics, error=repr(error))
            await _wait(stop, _RETRY_SECONDS)
            continue
        places = [TopicPartition(topic, number) for topic in topics for number in range(settings.kafka.partitions)]
        # Assigned, not subscribed: a subscription is reset to the beginning when the topic's metadata flickers.
        consumer.assign(places)
        await _seek(consumer, writer)
        return consumer
    return None


async def _restart(consumer: AIOKafkaConsumer, writer: Writer) -> None:
    log.info("projector.restarted", reason="the read model is rebuilt, or a recipient was erased")
    await _seek(consumer, writer)


async def _seek(consumer: AIOKafkaConsumer, writer: Writer) -> None:
    """Read on from where the database stands."""
    places = consumer.assignment()
    offsets = {topic: await asyncio.to_thread(writer.offsets, topic) for topic in {place.topic for place in places}}
    begins = [place for place in places if place.partition not in offsets[place.topic]]
    if begins:
        await consumer.seek_to_beginning(*begins)
    for place in places:
        if place.partition in offsets[place.topic]:
            consumer.seek(place, offsets[place.topic][place.partition])


async def _project(
    consumer: AIOKafkaConsumer,
    topics: Topics,
    writer: Writer,
    prices: InForce,
    upkeep: Upkeep,
    stop: asyncio.Event,
) -> None:
    stopped = asyncio.create_task(stop.wait())
    poll: asyncio.Task[Any] = stopped
    try:
        while not stop.is_set():
            poll = asyncio.create_task(consumer.getmany(timeout_ms=60_000, max_records=_MOST_RECORDS))
            while not (poll.done() or stopped.done()):
                await asyncio.wait([poll, stopped], return_when=asyncio.FIRST_COMPLETED, timeout=_LOOK_SECONDS)
                if not poll.done() and await asyncio.to_thread(writer.stale):
                    await _restart(consumer, writer)
            if not poll.done():
                return  # what it fetched meanwhile is fetched again: the database knows nothing of it
            try:
                polled = poll.result()
            except KafkaError as error:
                log.warning("projector.failed", topics=topics, error=repr(error))
                await _wait(stop, _RETRY_SECONDS)
                continue
            if not await _know(prices, stop):
                return
            try:
                async with upkeep.turn:
                    read = await _store(polled, topics, writer)
            except Restarted:
                await _restart(consumer, writer)
                continue
            metrics.LAG.set(await _lag(consumer))
            if read < _TRICKLE:
                upkeep.quiet.set()
                await _wait(stop, _GATHER_SECONDS)
            else:
                upkeep.quiet.clear()
    finally:
        poll.cancel()
        stopped.cancel()


async def _know(prices: InForce, stop: asyncio.Event) -> bool:
    """Have the prices by which what was polled costs, so that reading it again tells the same; False where `stop` comes
    first."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(_PRICES_SECONDS):
                await prices.refresh()
        except (KafkaError, TimeoutError) as error:
            log.warning("projector.waits_for_prices", error=repr(error))
            await _wait(stop, _RETRY_SECONDS)
        else:
            return True
    return False


async def _store(polled: Polled, topics: Topics, writer: Writer) -> int:
    """Write a poll in a thread, to the end even when this task is cancelled; the number of records."""
    status, ledger = topics
    told = [_told(record) for record in _records(polled, status)]
    entries = [record.value for record in _records(polled, ledger)]
    offsets, moved = _offsets(polled, status), Moved(ledger, entries, _offsets(polled, ledger))
    if not offsets and not moved.next_offsets:
        return 0
    writing = asyncio.create_task(asyncio.to_thread(writer.write, status, told, offsets, moved))
    with metrics.WRITE_SECONDS.time():
        try:
            rows = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise
    metrics.ROWS.inc(rows)
    metrics.RECORDS.inc(len(told))
    metrics.MOVEMENTS.inc(len(entries))
    return len(told) + len(entries)


def _records(polled: Polled, topic: str) -> Iterator[ConsumerRecord]:
    """Those of a topic, without tombstones."""
    for place, records in polled.items():
        if place.topic == topic:
            yield from (record for record in records if record.value is not None)


def _offsets(polled: Polled, topic: str) -> dict[int, int]:
    """Where a topic is to be read on, by partition."""
    return {
        place.partition: records[-1].offset + 1 for place, records in polled.items() if records and place.topic == topic
    }


def _told(record: ConsumerRecord) -> Told:
    """A status record, with what travels in its headers. The callback is on every record, and taken from the first."""
    found = {name: str(value, "utf-8", "replace") for name, value in record.headers if name in _HEADERS}
    if not found:
        return Told(record.value)
    options = found.get(OPTIONS_HEADER)
    callback = None if options is None else found.get(CALLBACK_HEADER)
    return Told(
        record.value,
        found.get(TEXT_HEADER),
        found.get(OPERATOR_HEADER),
        None if options == _NO_OPTIONS else options,
        callback,
    )


async def _lag(consumer: AIOKafkaConsumer) -> int:
    """Records behind the ends as the last fetches saw them; a partition never fetched says nothing."""
    ends = {place: consumer.highwater(place) for place in consumer.assignment()}
    return sum([end - await consumer.position(place) for place, end in ends.items() if end is not None])


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do it; False where `stop` comes first."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([doing, stopped], return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        doing.cancel()
        stopped.cancel()
        await asyncio.gather(doing, stopped, return_exceptions=True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
