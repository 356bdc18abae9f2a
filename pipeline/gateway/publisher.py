"""What the gateway puts into Kafka: durable when it says so, and dropped when it said that it failed."""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from pipeline.config import Kafka
from pipeline.streaming import client
from schemas.errors import TOO_LARGE, UNAVAILABLE, Error

log = structlog.get_logger()

#: A client waits this long for an acknowledgement, then hears 503. Long enough for a leader to be elected.
PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0


class Outgoing(msgspec.Struct, frozen=True):
    """One record. `partition`: None where the key's, or any, will do. `value`: None deletes what the key had."""

    topic: str
    value: bytes | None
    partition: int | None = None
    timestamp_ms: int | None = None
    key: bytes | None = None


class Publisher:
    """Holds the producer, and replaces it when Kafka did not answer in time.

    An idempotent producer never gives up a record: once Kafka is back it would send what its client was told had
    failed. So the producer is dropped with all it holds; what is on the wire at that moment is in doubt, as ever.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
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

    async def publish(self, records: Sequence[Outgoing]) -> Error | None:
        """None once every record is on all in-sync replicas. Errors: 3052 Kafka is away, 3011 a record is too large."""
        producer = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._connected.wait()
                producer = self._producer
                assert producer
                await asyncio.gather(
                    *[await producer.send(r.topic, r.value, r.key, r.partition, r.timestamp_ms) for r in records]
                )
        except MessageSizeTooLargeError:
            return Error(TOO_LARGE, f"larger than the {client.MAX_RECORD_BYTES} bytes a record may have; split it")
        except (TimeoutError, KafkaError) as error:
            log.error("gateway.kafka_away", error=repr(error))
            if producer:
                self._replace(producer)
            return Error(UNAVAILABLE, "the message store does not answer; try again", permanent=False)
        return None

    async def _connect(self) -> None:
        while True:
            producer = client.producer(self._kafka)
            try:
                await producer.start()
            except KafkaError as error:
                log.warning("gateway.waiting", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except BaseException:
                await _drop(producer)
                raise
            else:
                self._producer = producer
                self._connected.set()
                return

    def _replace(self, failed: AIOKafkaProducer) -> None:
        if failed is not self._producer:
            return  # another request has found out before
        self._producer = None
        self._connected.clear()
        task = asyncio.create_task(_drop(failed))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)
        self.start()


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
