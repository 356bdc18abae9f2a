"""Whether the price stage has refused to move money: it tells so as an event, and what it moved in the ledger."""

import time
from contextlib import AsyncExitStack

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from pipeline import ids
from pipeline.commands.reading import poll, reading
from pipeline.config import Settings
from pipeline.records import Credit
from pipeline.streaming.topics import TopicNames
from schemas.ledger import Kind

#: Both are told in the window of the balance that shows it, in no order.
_PATIENCE_SECONDS = 10.0


class _Told(msgspec.Struct):
    account: str
    kind: str
    reference: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(_Told).decode


class Refusals:
    """What is told of a movement from now on, which is yet to be asked for."""

    def __init__(self, settings: Settings, credit: Credit, begins: dict[TopicPartition, int]) -> None:
        self._settings, self._credit, self._begins = settings, credit, begins

    @classmethod
    async def of(cls, settings: Settings, credit: Credit) -> "Refusals":
        """Note where the topics end. A top-up is never refused, so nobody has to look."""
        names = TopicNames(settings.kafka.topic_prefix)
        home = ids.partition_of(credit.account.encode(), settings.kafka.partitions)
        begins: dict[TopicPartition, int] = {}
        for topic in () if credit.kind == Kind.TOP_UP else (names.ledger, names.events):
            async with reading(settings, topic) as consumer:
                begins |= await consumer.end_offsets([TopicPartition(topic, home)])
        return cls(settings, credit, begins)

    async def why(self) -> str | None:
        """Why it was refused, once it is decided on; None where it was not."""
        found: list[_Told] = []

        def take(record: ConsumerRecord) -> None:
            told = _decode(record.value)
            if (told.account, told.reference) == (self._credit.account, self._credit.reference):
                found.append(told)

        async with AsyncExitStack() as stack:
            consumers = [
                await stack.enter_async_context(reading(self._settings, place.topic, {place.partition: begin}))
                for place, begin in self._begins.items()
            ]
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while consumers and not found and time.monotonic() < deadline:
                for consumer in consumers:
                    await poll(consumer, take, timeout_ms=100)
        return next((told.message for told in found if told.kind == "credit-refused"), None)
