"""What came of calls, told to the stage: everything that came while the last record was on its way makes the next."""

import asyncio

from aiokafka import AIOKafkaProducer

from pipeline.callbacks.records import Result
from pipeline.streaming.outbox import Outbox


class Reports:
    """Results on their way to the topic. `run` it; what it raises must end the process."""

    def __init__(self, topic: str, producer: AIOKafkaProducer) -> None:
        self._topic, self._producer = topic, producer
        self._waiting = Outbox()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, partition: int, result: Result) -> None:
        """Tell the partition that these entries wait in."""
        self._waiting.pack(self._topic, partition, result, len(result.keys))
        self._idle.clear()
        self._filled.set()

    async def run(self) -> None:
        """Send what is added, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            sending, self._waiting = self._waiting, Outbox()
            await sending.flush(self._producer)
            if not self._filled.is_set():
                self._idle.set()

    async def sent(self) -> None:
        """Return once everything that was added is durable."""
        await self._idle.wait()
