"""What the gateway puts into Kafka: durable when it says so, and dropped when it said that it failed."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterable, Callable, Sequence

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
#: Longer than a batch waits for more records, shorter than anybody waits for his message.
_TURN_SECONDS = 0.02
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
        self._turns = Turns(kafka.partitions)
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
        now = asyncio.get_running_loop().time()
        anywhere = self._turns.at(now)
        self._under_way[mark] = now, producer
        try:
            sent = []
            for r in records:
                partition = anywhere if r.partition is None and r.key is None else r.partition
                sent.append(await producer.send(r.topic, r.value, r.key, partition, r.timestamp_ms))
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

    async def _watch(self) -> None:
        """Drop the producer that has not had an answer for too long; who waits for it is told then."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PATIENCE_SECONDS / 20)
            began, producer = next(iter(self._under_way.values()), (loop.time(), None))
            if producer and loop.time() - began > PATIENCE_SECONDS:
                self.replace(producer)


class Turns:
    """The partition for records that may go to any: one for a moment, then the next. What comes together so goes in one
    batch instead of one for each partition (Kafka's KIP-480)."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._partition, self._until = random.randrange(partitions), 0.0  # noqa: S311  (several gateways differ)

    def at(self, now: float) -> int:
        """Whose turn it is (monotonic seconds)."""
        if now >= self._until:
            self._partition, self._until = (self._partition + 1) % self._partitions, now + _TURN_SECONDS
        return self._partition


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
    producer._message_accumulator.fail_all(KafkaTimeoutError("dropped"))
    await producer.stop()
