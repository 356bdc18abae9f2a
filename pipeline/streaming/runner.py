"""A stage in a process: its Faust app, an agent a source, and the loop from a window to its acknowledgement.

    Faust's stream → inbox → (the stage's turn) → window.py, steps 1 to 5 → acknowledge

Windows are not timed: whatever came while the last one was worked on makes the next. When partitions are given up
(a rebalance, SIGTERM) the inboxes are emptied, and only the windows under way are finished: the rest comes again to
whoever owns the partition then.
"""

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import AsyncIterator
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from faust.types import TP

from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.streaming import client, failpoint, holes, pulse
from pipeline.streaming.ceiling import Ceiling, Halted
from pipeline.streaming.consumer import Consumer, Positions
from pipeline.streaming.courtesy import courtesy
from pipeline.streaming.stage import Abandoned, Record, Source
from pipeline.streaming.state import State
from pipeline.streaming.window import Windows

log = structlog.get_logger()

#: For how long a window waits for the records that go first (`Source.after`).
_LONGEST_FIRST_SECONDS = 2.0


class Runner:
    """One stage in this process."""

    def __init__(
        self,
        app: faust.App,
        name: str,
        sources: list[Source],
        producer: AIOKafkaProducer,
        settings: Settings,
        dead_letters: str,
        state: State | None,
    ) -> None:
        self.app = app
        self.name = name
        self.state = state
        self._kafka = settings.kafka
        self._consumer: Consumer = app.consumer
        self._windows = Windows(name, producer, state, dead_letters, self._consumer.draining)
        self._turn = asyncio.Lock()
        self._positions = Positions(self._consumer)
        self._inboxes = [_Inbox(source, self._consumer, settings) for source in sources]
        self._worked: dict[TP, float] = {}
        self._given_up: set[tuple[TP, int | None]] = set()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        for inbox in self._inboxes:
            self._agent(inbox)

    def _agent(self, inbox: "_Inbox") -> None:
        holes.watch(inbox.source.topic)
        topic = self.app.topic(
            inbox.source.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def receive(stream: faust.Stream[bytes]) -> None:
            manual = stream.noack()
            inbox.stream = manual
            async for event in manual.events():
                await inbox.put(event)

        self.app.agent(topic, name=f"{self.name}:{inbox.source.topic}", concurrency=1)(receive)

    async def start(self) -> None:
        self._bind()
        self._consumer.on_drain = self._drain
        self._tasks.append(asyncio.create_task(self._watch()))
        await self.app.start()
        for inbox in self._inboxes:
            self._tasks.append(asyncio.create_task(self._work(inbox), name=f"{self.name}:{inbox.source.topic}"))

    def _bind(self) -> None:
        """Bind every service of the app to this loop, now. Each would do so when first asked for its loop, and where
        the consumer's thread asks first, it is bound to that thread's loop and waits there for ever."""
        app = self.app
        tables = list(app.tables.values())
        services = [app, app.tables, app.topics, app.consumer, app.producer, app.monitor, app.agents, app._fetcher]
        for service in [*services, *tables, *(table.data for table in tables), app.tables.recovery]:
            if service.loop is not asyncio.get_running_loop():
                raise RuntimeError(f"{service} of stage {self.name} is bound to another loop")
        assert app.tables.changelog_queue is not None

    async def _watch(self) -> None:
        """A crashed service of Faust leaves a process that keeps its partitions and reads nothing: end it."""
        app = self.app
        while True:
            await asyncio.sleep(1.0)
            for service in (app, app.consumer, app.consumer._thread, app.tables, app.tables.recovery, app._fetcher):
                if service.crashed and not self._stopping:  # not app.should_stop: a crash sets that too
                    reason = repr(service.crash_reason)
                    log.critical("stage.crashed", stage=self.name, service=type(service).__name__, error=reason)
                    os._exit(pulse.EXIT_UNSAFE)

    async def stop(self) -> None:
        """Finish the windows at hand, commit, leave the group."""
        self._stopping = True
        self._consumer.drain()
        await self.app.stop()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _drain(self) -> None:
        for inbox in self._inboxes:
            inbox.empty()

    @property
    def ready(self) -> bool:
        """True once partitions are assigned, tables recovered and records flow; never while a source is halted."""
        app = self.app
        flows = app.tables.recovery.completed.is_set() and not app.rebalancing and not app.in_recovery
        return bool(flows) and not any(inbox.halted for inbox in self._inboxes)

    @property
    def draining(self) -> asyncio.Event:
        """Set while partitions are given up: what works beside the stage lets go of them too."""
        return self._consumer.draining

    def lag(self) -> dict[str, int]:
        """Records by topic that wait in the partitions owned here, as of the last fetch."""
        waiting = {inbox.source.topic: 0 for inbox in self._inboxes}
        for tp in self._consumer.assignment():
            end = self._consumer.highwater(tp) if tp.topic in waiting else None
            if end is not None:
                waiting[tp.topic] += max(0, end - self._positions.next(tp, end))
        return waiting

    def watermark(self, partition: int, *, but: str) -> float:
        """The time (Unix seconds) up to which everything in a partition is worked on, of all topics but one; 0 where
        that is not known. A clock that ran ahead of a backlog would give up on what the backlog tells."""
        reached = [time.time()]
        assigned = self._consumer.assignment()
        for topic in (inbox.source.topic for inbox in self._inboxes):
            tp = TP(topic, partition)
            end = self._consumer.highwater(tp) if tp in assigned else None
            if topic != but and (end is None or self._positions.next(tp, 0) < end):
                reached.append(self._worked.get(tp, 0.0))
        return min(reached)

    async def _work(self, inbox: "_Inbox") -> None:
        source = inbox.source
        try:
            while not inbox.halted:
                events = await inbox.take()
                try:
                    if source.delay_seconds:
                        await self._until_due(events[-1].message.timestamp + source.delay_seconds)
                    if not source.priority:
                        await courtesy.breathe()
                    if source.after:
                        await self._until_worked_on(source.after, {event.message.partition for event in events})
                    async with self._in_turn(source):
                        await self._window(inbox, events)
                except Abandoned as abandoned:
                    log.info("window.abandoned", stage=self.name, topic=source.topic, at=str(abandoned))
                except Halted as halted:
                    inbox.halted = True
                    log.critical("source.halted", stage=self.name, topic=source.topic, reason=str(halted))
                    metrics.HALTED.labels(self.name, source.topic).set(1)
                finally:
                    inbox.done(events)
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.critical("stage.unsafe", stage=self.name, source=source.topic, error=traceback.format_exc())
            os._exit(pulse.EXIT_UNSAFE)

    async def _until_due(self, at: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at - time.time())):  # not wait_for: 3.11's may lose a cancellation
                await self._consumer.draining.wait()

    async def _until_worked_on(self, topic: str, partitions: set[int]) -> None:
        """Wait until a window took what these partitions of another source hold by now: once, and not for ever."""
        deadline = time.monotonic() + _LONGEST_FIRST_SECONDS
        for tp in (TP(topic, partition) for partition in partitions):
            end = self._end(tp)
            if (tp, end) in self._given_up:
                continue
            while (end is None or self._positions.next(tp, end) < end) and not self._consumer.draining.is_set():
                if time.monotonic() > deadline:  # that source is halted, or a hole's end is not known yet
                    log.warning("source.not_waited_for", stage=self.name, topic=topic, partition=tp.partition, end=end)
                    self._given_up.add((tp, end))
                    break
                await asyncio.sleep(0.005)
                end = end or self._end(tp)

    def _end(self, tp: TP) -> int | None:
        """The end of a partition as of the last fetch; None before the first, 0 where it is not assigned."""
        try:
            found: int | None = self._consumer.highwater(tp)
        except AssertionError:  # how aiokafka says that it is not assigned
            return 0
        return found

    @contextlib.asynccontextmanager
    async def _in_turn(self, source: Source) -> AsyncIterator[None]:
        if source.exclusive:
            async with self._turn:
                yield
        else:
            yield

    async def _window(self, inbox: "_Inbox", events: list[Any]) -> None:
        started = time.perf_counter()
        if self._consumer.draining.is_set():
            return
        events = await self._current(events)
        try:
            await self._windows.carry_out(inbox.source, [_record(event.message) for event in events], inbox.ceiling)
        except Halted as halted:
            done = {(row.partition, row.offset) for row in halted.done}
            await self._acknowledge(inbox, [e for e in events if (e.message.partition, e.message.offset) in done])
            raise
        await self._acknowledge(inbox, events)
        failpoint.reach(f"{self.name}.acknowledged")
        metrics.STAGE_RECORDS.labels(self.name).inc(len(events))
        metrics.STAGE_SECONDS.labels(self.name).observe(time.perf_counter() - started)

    async def _acknowledge(self, inbox: "_Inbox", events: list[Any]) -> None:
        for event in events:
            await inbox.stream.ack(event)
            self._worked[event.message.tp] = event.message.timestamp

    async def _current(self, events: list[Any]) -> list[Any]:
        """The events of this assignment; older ones come again to whoever owns their partition now."""
        generation = self.app.consumer_generation_id
        current = [event for event in events if event.message.generation_id == generation]
        for event in current:
            message = event.message
            expected = self._positions.hole_before(message.tp, message.offset, generation)
            if expected is not None:
                if holes.past(message.tp, expected) != message.offset:
                    await self._explain_hole(message, expected)
                await self._consumer.pass_over(message.tp, expected, message.offset)
                self._positions.accept(message.tp, message.offset)
        return current

    async def _explain_hole(self, message: Any, expected: int) -> None:
        """Ask the broker. What of a transaction is no record was left out by the client, which then tells; where it was
        restarted in between, or records expired unread, it cannot. Anything else that is missing is a lost record."""
        async with client.consumer(self._kafka) as reader:
            partition = TopicPartition(message.topic, message.partition)
            reader.assign([partition])
            reader.seek(partition, expected)
            async with asyncio.timeout(30):
                found = await reader.getone(partition)
        if found.offset != message.offset:
            raise RuntimeError(f"{message.tp}: offset {message.offset} came where {found.offset} was due")


def _record(message: Any) -> Record:
    stamp = int(message.timestamp * 1000)
    headers = list(message.headers or [])
    return Record(message.topic, message.partition, message.offset, stamp, message.key, message.value or b"", headers)


class _Inbox:
    """Records between Faust's stream and the window loop: whatever came during a window makes the next one."""

    def __init__(self, source: Source, consumer: Consumer, settings: Settings) -> None:
        self.source = source
        self.stream: Any = None
        self.ceiling = Ceiling(source.topic, settings.dead_letters)
        self.halted = False
        self._consumer = consumer
        self._events: list[Any] = []
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, event: Any) -> None:
        """Add an event, when there is room; while partitions are being given up it is dropped instead."""
        while (self.halted or self._is_full()) and not self._consumer.draining.is_set():
            self._emptied.clear()
            await self._emptied.wait()
        if self._consumer.draining.is_set():
            self._consumer.give_back([event])
            return
        if self.source.goes_first:
            courtesy.begin()
        self._events.append(event)
        self._bytes += len(event.message.value or b"")
        self._filled.set()

    def _is_full(self) -> bool:
        return len(self._events) >= self.source.max_records or self._bytes >= self.source.max_bytes

    async def take(self) -> list[Any]:
        """What is there, as soon as there is something."""
        await self._filled.wait()
        return self._emptied_out()

    def done(self, events: list[Any]) -> None:
        """No window works on these any more. What of them is not acknowledged comes again."""
        self._consumer.give_back(events)
        if self.source.goes_first:
            courtesy.end(len(events))

    def empty(self) -> None:
        """Give everything back that no window has taken yet."""
        self.done(self._emptied_out())

    def _emptied_out(self) -> list[Any]:
        events, self._events, self._bytes = self._events, [], 0
        self._filled.clear()
        self._emptied.set()
        return events
