"""Faust's consumer, mended where it loses records.

When a table's recovery ends, Faust seeks to the committed offsets while a fetch may be in flight; what that fetch
brings is then thrown away with the streams' queues, and later commits pass the hole. Here a seek first stops the flow
and waits for the fetch in flight, and partitions without a commit go to their beginning (aiokafka leaves them where
they are). `Positions` is the guard beside it: source topics are not compacted, so offsets are contiguous and a hole can
be seen. Only committed records are read, and where a transaction left a hole it is known (holes.py).

Before partitions are given up Faust waits until every record that began its way is acknowledged. Here it begins with
`draining`: what no window works on yet is dropped, so that it waits for the windows under way only.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import ensure_aiokafka_TP
from faust.types import TP

from pipeline.streaming import holes

log = structlog.get_logger()


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Seeks only while nothing is in flight, and remembers where each partition must go on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetches = 0
        self._landed = asyncio.Event()
        self._landed.set()
        self._fetcher_task: asyncio.Task[Any] | None = None
        self.starts: dict[TP, int] = {}
        #: Set while partitions are given up: from a rebalance's beginning to the new assignment, and at the stop.
        self.draining = asyncio.Event()
        self.on_drain: Callable[[], None] = lambda: None

    def drain(self) -> None:
        """Begin to give up the partitions."""
        self.draining.set()
        self.on_drain()

    def give_back(self, events: Iterable[Any]) -> None:
        """These are not worked on: nobody need wait for them to be acknowledged, and they come again."""
        for event in events:
            self._unacked_messages.discard(event.message)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins."""
        self.drain()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance is over (unless this process is about to stop)."""
        if not self.app.should_stop:
            self.draining.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        """The thread, with its method queue made now: left to the first who asks, this thread and the new one may
        each make their own, and then a subscription waits in the one that nobody serves."""
        thread = super()._new_consumer_thread()
        assert thread.method_queue is not None
        create = thread._create_worker_consumer

        def committed_only(transport: driver.Transport) -> AIOKafkaConsumer:
            consumer = create(transport)
            consumer._isolation_level = "read_committed"  # Faust asks for it in its own transactions only
            return consumer

        thread._create_worker_consumer = committed_only
        return thread

    async def pass_over(self, tp: TP, first: int, past: int) -> None:
        """These offsets (`past` exclusive) hold no records: let the commit go on behind them. Faust knows of a hole
        only where it stands behind a record of this assignment, and would never commit past one at its beginning."""
        await self._add_gap(tp, first, past - 1)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        self._fetches += 1
        self._landed.clear()
        self._fetcher_task = asyncio.current_task()
        try:
            return await super()._getmany(active_partitions, timeout)
        finally:
            self._fetches -= 1
            if not self._fetches:
                self._landed.set()

    async def perform_seek(self) -> None:
        """Seek every stream partition to where it goes on; the caller resumes the flow afterwards."""
        if asyncio.current_task() is self._fetcher_task:
            return  # a fetch landed on a stopped flow and is dropped; whoever stopped the flow seeks before resuming it
        self.stop_flow()
        await self._landed.wait()
        partitions = [ensure_aiokafka_TP(tp) for tp in self.assignment() if not self._is_changelog_tp(tp)]
        if not partitions:
            return
        committed = await self._thread.call_thread(_committed, self._thread._consumer, partitions)
        earliest = await self.earliest_offsets(*partitions)
        for partition in partitions:
            start, found = earliest.get(partition) or 0, committed[partition]
            if found is not None and found < start:
                log.error("records.expired_unread", topic=partition[0], partition=partition[1], count=start - found)
            start = max(start, found or 0)
            tp = TP(*partition)
            self.starts[tp] = start
            self._read_offset[tp] = None
            self._committed_offset[tp] = start or None
        await self._thread.call_thread(_seek, self._thread._consumer, {p: self.starts[TP(*p)] for p in partitions})


async def _committed(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int | None]:
    found = await asyncio.gather(*(consumer.committed(partition) for partition in partitions))
    return {
        p: offset if offset is not None and offset >= 0 else None for p, offset in zip(partitions, found, strict=True)
    }


async def _seek(consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int]) -> None:
    for partition, offset in starts.items():
        consumer.seek(partition, offset)


class Positions:
    """The next offset of every partition a stage reads; a hole is a lost record and ends the process."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._generation = -1
        self._next: dict[TP, int] = {}

    def hole_before(self, tp: TP, offset: int, generation: int) -> int | None:
        """None where `offset` may be processed; else the offset that should have come."""
        if generation != self._generation:
            self._next, self._generation = {}, generation
        expected = self._next.get(tp, self._consumer.starts.get(tp))
        if expected is not None and offset > expected:
            return expected
        self.accept(tp, offset)
        return None

    def next(self, tp: TP, default: int) -> int:
        """The offset that comes next, behind a hole that is known; `default` where that is not known yet."""
        start = self._consumer.starts.get(tp, -1)  # ahead of `_next` where others worked here in between
        known = max(start, self._next.get(tp, -1))
        return holes.past(tp, default if known < 0 else known)

    def accept(self, tp: TP, offset: int) -> None:
        """Go on behind `offset`."""
        self._next[tp] = max(offset + 1, self._next.get(tp, 0))
        holes.forget(tp, self._next[tp])
