"""What the gateway puts into Kafka: durable when it says so, and dropped when it said that it failed."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterable, Callable, Sequence
from itertools import chain
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from pipeline.config import Kafka
from pipeline.streaming import client, failpoint
from schemas.errors import TOO_LARGE, UNAVAILABLE, Error

log = structlog.get_logger()

#: A client waits this long for an acknowledgement, then hears 503. Long enough for a leader to be elected.
PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0
#: Whoever reads the topics waits for a transaction: one of a gateway that is gone ends after this.
_TRANSACTION_SECONDS = 15.0
#: Of these, for all records; what is left is for the commit's way to the brokers.
_PRODUCE_SECONDS = 12.0


class Outgoing(msgspec.Struct, frozen=True):
    """One record. `partition`: None where the key's, or any, will do. `value`: None deletes what the key had."""

    topic: str
    value: bytes | None
    partition: int | None = None
    timestamp_ms: int | None = None
    key: bytes | None = None


class _Connection:
    """Holds a producer, and replaces it when Kafka did not answer in time.

    An idempotent producer never gives up a record: once Kafka is back it would send what its client was told had
    failed. So the producer is dropped with all it holds; what is on the wire at that moment is in doubt, as ever.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._make = make
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._dropping: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a producer that has not failed."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect in the background, as often as it takes."""
        self._connecting = asyncio.create_task(self._connect(), name="gateway producer")

    async def stop(self) -> None:
        """Stop; what was acknowledged is durable, nothing else is waited for."""
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._producer:
            await _drop(self._producer)
        await asyncio.gather(*self._dropping)

    async def producer(self) -> AIOKafkaProducer:
        """The producer, once there is one; bound the wait."""
        await self._connected.wait()
        assert self._producer
        return self._producer

    def replace(self, failed: AIOKafkaProducer) -> None:
        """Drop a producer, and connect anew."""
        if failed is not self._producer:
            return  # another request has found out before
        self._producer = None
        self._connected.clear()
        task = asyncio.create_task(_drop(failed))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)
        self.start()

    async def _connect(self) -> None:
        while True:
            producer = self._make()
            try:
                await producer.start()
            except KafkaError as error:
                log.warning("gateway.waiting", error=repr(error))
                await _drop(producer)
                await asyncio.sleep(_RETRY_SECONDS)
            except BaseException:
                await _drop(producer)
                raise
            else:
                self._producer = producer
                self._connected.set()
                return


class Publisher(_Connection):
    """Records, each by itself."""

    def __init__(self, kafka: Kafka) -> None:
        super().__init__(lambda: client.producer(kafka))
        self._partitions = kafka.partitions
        self._gathered: dict[str, _Gathering] = {}
        #: Publications under way, the oldest first: when each began, and with which producer. One look at them now and
        #: then does for all what a timeout does for each, at a twentieth of a request's time.
        self._under_way: dict[object, tuple[float, AIOKafkaProducer]] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        super().start()
        self._watching = self._watching or asyncio.create_task(self._watch(), name="gateway publications")

    async def stop(self) -> None:
        if self._watching:
            self._watching.cancel()
        await super().stop()

    async def publish(self, records: Sequence[Outgoing]) -> Error | None:
        """None once every record is on all in-sync replicas. Errors: 3052 Kafka is away, 3011 a record is too large."""
        if not self.connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._connected.wait()
        producer, mark = self._producer, object()
        if producer is None:
            return _away()
        self._under_way[mark] = asyncio.get_running_loop().time(), producer
        try:
            sent = [await self._send(producer, record) for record in records]
            await (sent[0] if len(sent) == 1 else asyncio.gather(*sent))
        except MessageSizeTooLargeError:
            return _too_large()
        except KafkaError as error:
            log.error("gateway.kafka_away", error=repr(error))
            self.replace(producer)
            return _away()
        finally:
            del self._under_way[mark]
        return None

    async def _send(self, producer: AIOKafkaProducer, record: Outgoing) -> "asyncio.Future[Any]":
        if record.partition is not None or record.key is not None:
            sent: asyncio.Future[Any] = await producer.send(
                record.topic, record.value, record.key, record.partition, record.timestamp_ms
            )
            return sent
        if len(record.value or b"") > client.MAX_RECORD_BYTES:
            raise MessageSizeTooLargeError
        if producer is not self._producer:  # replaced while an earlier record of the same request was sent
            raise KafkaTimeoutError("dropped")
        if record.topic not in self._gathered:
            self._gathered[record.topic] = _Gathering(producer, record.topic, self._partitions)
        return self._gathered[record.topic].add(record)

    def replace(self, failed: AIOKafkaProducer) -> None:
        if failed is self._producer:
            for gathering in self._gathered.values():
                gathering.drop()
            self._gathered = {}
        super().replace(failed)

    async def _watch(self) -> None:
        """Drop the producer that has not had an answer for too long; who waits for it is told then."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PATIENCE_SECONDS / 20)
            began, producer = next(iter(self._under_way.values()), (loop.time(), None))
            if producer and loop.time() - began > PATIENCE_SECONDS:
                self.replace(producer)


_Riding = list[tuple[Outgoing, "asyncio.Future[None]"]]


class _Gathering:
    """Records of one topic that may go to any partition: what comes while a batch is on its way makes the next one, in
    the next partition. A batch filled by hand costs a tenth of the producer's own `send` a record."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer, self._topic, self._partitions = producer, topic, partitions
        self._partition = random.randrange(partitions)  # noqa: S311  (several gateways differ)
        self._waiting: _Riding = []
        self._sending: asyncio.Task[None] | None = None

    def add(self, record: Outgoing) -> asyncio.Future[None]:
        """Done once the record is on all in-sync replicas, or with the producer's error."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name=f"gateway batches {self._topic}")
        return done

    async def _send(self) -> None:
        while self._waiting:
            riding = self._waiting
            batch = self._producer.create_batch()
            for count, (record, _) in enumerate(riding):
                if batch.append(key=None, value=record.value, timestamp=record.timestamp_ms) is None:
                    riding = riding[:count]
                    break
            self._waiting = self._waiting[len(riding) :]
            self._partition = (self._partition + 1) % self._partitions
            try:
                await (await self._producer.send_batch(batch, self._topic, partition=self._partition))
            except Exception as error:  # whoever waits for it is told
                _fail(riding, error)
            for _, done in riding:
                if not done.done():
                    done.set_result(None)

    def drop(self) -> None:
        """What no batch holds yet is not sent."""
        waiting, self._waiting = self._waiting, []
        _fail(waiting, KafkaTimeoutError("dropped"))


def _fail(records: _Riding, error: Exception) -> None:
    for _, done in records:
        if not done.done():  # else nobody waits for it any more
            done.set_exception(error)


class Transactions(_Connection):
    """Records, all or none. One transaction at a time: let callers take turns.

    `name`: the same at every start of this gateway, and no other's: a new producer of a name ends what one before it
    left open. A transaction that fails is left to that as well.
    """

    def __init__(self, kafka: Kafka, name: str) -> None:
        timeout = int(_TRANSACTION_SECONDS * 1000)
        super().__init__(lambda: client.producer(kafka, transactional_id=name, transaction_timeout_ms=timeout))

    async def ready(self) -> Error | None:
        """None once no earlier transaction of this name is open or undecided. Error 3052: Kafka is away."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.producer()
        except TimeoutError:
            return _away()
        return None

    async def commit(self, records: AsyncIterable[Outgoing]) -> Error | None:
        """None once all records are there, for all readers of committed records, and for good. Errors: 3052, where none
        will be seen (or, if the commit itself was cut off, all: `ready`, then the topics tell); 3011."""
        producer = await self.producer()
        try:
            async with asyncio.timeout(_PRODUCE_SECONDS):
                await producer.begin_transaction()
                sent = [
                    await producer.send(r.topic, r.value, r.key, r.partition, r.timestamp_ms) async for r in records
                ]
                await asyncio.gather(*sent)
                failpoint.reach("gateway.transaction-produced")
                await producer.commit_transaction()
                failpoint.reach("gateway.transaction-committed")
        except MessageSizeTooLargeError:
            self.replace(producer)
            return _too_large()
        except (TimeoutError, KafkaError) as error:
            log.error("gateway.transaction_failed", error=repr(error))
            self.replace(producer)
            return _away()
        except BaseException:
            self.replace(producer)
            raise
        return None


def _away() -> Error:
    return Error(UNAVAILABLE, "the message store does not answer; try again", permanent=False)


def _too_large() -> Error:
    return Error(TOO_LARGE, f"larger than the {client.MAX_RECORD_BYTES} bytes a record may have; split it")


async def _drop(producer: AIOKafkaProducer) -> None:
    """Close without sending what is still held: aiokafka's own `stop` would wait until it is sent."""
    sender = producer._sender.sender_task
    if sender:
        sender.cancel()
    await producer.client.close()
    if sender:
        await asyncio.wait([sender], timeout=1)
    held = producer._message_accumulator
    for batch in chain(held._pending_batches, *held._batches.values()):
        batch._drain_waiter.add_done_callback(asyncio.Future.exception)  # nobody waits for it: else asyncio complains
    held.fail_all(KafkaTimeoutError("dropped"))
    await producer.stop()
