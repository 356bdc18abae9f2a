"""How a stage runs on Faust so that nothing is lost and repeats do no harm.

A stage's author gives, for each topic it reads, a function of one record, the table and the outbox. The rest is
here, once, for every stage. For a window (the records that came while the last window was worked on):

    1. decode, and decide record by record: reads of the table, writes and outputs are only collected;
    2. write what must be decided for good before anyone sees it, await the changelog (`put_first`);
    3. act: what leaves this system (only dispatch does); what it learned is written like 2, before anyone is told;
    4. produce the outputs, await the broker;
    5. write the state, await the changelog (`put`);
    6. acknowledge the records, in order.

A crash before 6 repeats the window: ids are deterministic and the state of 5 says what was done, so a repeat is
recognised here or at the next stage. Whatever fails in 2, 4 or 5 ends the process: nothing is acknowledged past it.
A record that cannot be decoded or makes the stage's function raise goes to the dead letters, and its neighbours on.
"""

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.config import Kafka
from pipeline.ops import metrics
from pipeline.streaming import client, pulse
from pipeline.streaming.consumer import Positions
from pipeline.streaming.outbox import Outbox
from pipeline.streaming.state import State, View
from pipeline.streaming.topics import PRIORITY

log = structlog.get_logger()


@dataclass(frozen=True)
class Record:
    """A source record, undecoded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes


#: No record's fault: the broker or the disk. They end the process, and the records come again.
_ENDING = (KafkaError, OSError, MemoryError)


class Unreadable(Exception):
    """A record that no retry will make readable; its text is the reason on the dead letter."""


class _Courtesy:
    """Bulk lets the priority lane go first, in all stages of this process, between one piece of work and the next.

    Never for longer than a moment, so that a stream of login codes slows a campaign and does not stop it.
    """

    LONGEST_SECONDS = 0.05

    def __init__(self) -> None:
        self._busy = 0
        self._idle = asyncio.Event()

    def begin(self) -> None:
        """A priority record came in."""
        self._busy += 1
        self._idle.clear()

    def end(self, records: int) -> None:
        """Priority records are done."""
        self._busy -= records
        if not self._busy:
            self._idle.set()

    async def breathe(self) -> None:
        """Let others run; while there are priority records, wait for them."""
        await asyncio.sleep(0)
        if self._busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self.LONGEST_SECONDS)


async def _turn_of_the_loop() -> None:
    """Let others run, and wait for nobody."""
    await asyncio.sleep(0)


@dataclass
class Step:
    """What a stage's function works with: the table's view of this partition, and the outputs.

    `breathe` is awaited between pieces of long work, so that the priority lane passes.
    """

    view: View
    outbox: Outbox
    breathe: Callable[[], Awaitable[None]] = _turn_of_the_loop
    acts: list[Callable[["Step"], Awaitable[None]]] = field(default_factory=list)

    def act(self, action: Callable[["Step"], Awaitable[None]]) -> None:
        """Do this after the first writes are durable; it may send and put more. Actions of a window run together."""
        self.acts.append(action)


#: One for all stages of this process: they share its loop.
_courtesy = _Courtesy()

#: A function of one record; asynchronous only where it must let others run, or ask, in between.
Decide = Callable[[Record, Step], Awaitable[None] | None]


@dataclass(frozen=True)
class Source:
    """A topic a stage reads and the function that decides on its records.

    `exclusive`: windows of the stage's exclusive sources never overlap, because they share state; so `max_records` of
    a bulk window bounds how long the priority lane may have to wait. `waits_outside`: its windows wait for somebody
    outside (a carrier), so its priority records do not hold this process's bulk lanes back.
    """

    topic: str
    decide: Decide
    exclusive: bool = True
    max_records: int = 8
    waits_outside: bool = False

    @property
    def priority(self) -> bool:
        """Whether this is the priority lane."""
        return self.topic.endswith(PRIORITY)

    @property
    def goes_first(self) -> bool:
        """Whether bulk gives way to its records."""
        return self.priority and not self.waits_outside


class Runner:
    """One stage in this process: its Faust app, an agent a source, and the loop described above."""

    def __init__(
        self,
        app: faust.App,
        name: str,
        sources: list[Source],
        producer: AIOKafkaProducer,
        kafka: Kafka,
        dead_letters: str,
        state: State | None,
    ) -> None:
        self.app = app
        self.name = name
        self._producer = producer
        self._kafka = kafka
        self._dead_letters = dead_letters
        self.state = state
        self._lock = asyncio.Lock()
        self._inboxes = [_Inbox(source) for source in sources]
        self._tasks: list[asyncio.Task[None]] = []
        for inbox in self._inboxes:
            self._agent(inbox)

    def _agent(self, inbox: "_Inbox") -> None:
        topic = self.app.topic(
            inbox.source.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def receive(stream: faust.Stream[bytes]) -> None:
            manual = stream.noack()
            inbox.stream = manual
            async for event in manual.events():
                if inbox.source.goes_first:
                    _courtesy.begin()
                await inbox.put(event)

        self.app.agent(topic, name=f"{self.name}:{inbox.source.topic}", concurrency=1)(receive)

    async def start(self) -> None:
        self._bind()
        self._tasks.append(asyncio.create_task(self._watch()))
        await self.app.start()
        for inbox in self._inboxes:
            self._tasks.append(asyncio.create_task(self._work(inbox), name=f"{self.name}:{inbox.source.topic}"))

    async def _watch(self) -> None:
        """A crashed service of Faust leaves a process that keeps its partitions and reads nothing: end it."""
        app = self.app
        while True:
            await asyncio.sleep(1.0)
            for service in (app, app.consumer, app.consumer._thread, app.tables, app.tables.recovery, app._fetcher):
                if service.crashed and not app.should_stop:
                    reason = repr(service.crash_reason)
                    log.critical("stage.crashed", stage=self.name, service=type(service).__name__, error=reason)
                    os._exit(pulse.EXIT_UNSAFE)

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

    async def stop(self) -> None:
        """Finish the windows at hand, commit, leave the group."""
        await self.app.stop()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def ready(self) -> bool:
        """True once partitions are assigned, tables recovered and records flow."""
        app = self.app
        return bool(app.tables.recovery.completed.is_set() and not app.rebalancing and not app.in_recovery)

    async def _work(self, inbox: "_Inbox") -> None:
        positions = Positions(self.app.consumer)
        try:
            while True:
                events = await inbox.take()
                if not inbox.source.priority:
                    await _courtesy.breathe()
                async with self._turn(inbox.source):
                    await self._window(inbox, await self._current(events, positions))
                if inbox.source.goes_first:
                    _courtesy.end(len(events))
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.critical("stage.unsafe", stage=self.name, source=inbox.source.topic, error=traceback.format_exc())
            os._exit(pulse.EXIT_UNSAFE)

    @contextlib.asynccontextmanager
    async def _turn(self, source: Source) -> AsyncIterator[None]:
        if source.exclusive:
            async with self._lock:
                yield
        else:
            yield

    async def _current(self, events: list[Any], positions: Positions) -> list[Any]:
        """The events of this assignment; older ones come again to whoever owns their partition now."""
        generation = self.app.consumer_generation_id
        current = [event for event in events if event.message.generation_id == generation]
        for event in current:
            message = event.message
            expected = positions.hole_before(message.tp, message.offset, generation)
            if expected is not None:
                await self._explain_hole(message, expected)
                positions.accept(message.tp, message.offset)
        return current

    async def _explain_hole(self, message: Any, expected: int) -> None:
        """A transaction's marker takes an offset and is no record. Anything else that is missing is a lost record."""
        async with client.consumer(self._kafka, isolation_level="read_committed") as reader:
            partition = TopicPartition(message.topic, message.partition)
            reader.assign([partition])
            reader.seek(partition, expected)
            found = await asyncio.wait_for(reader.getone(partition), timeout=30)
        if found.offset != message.offset:
            raise RuntimeError(f"{message.tp}: offset {message.offset} came where {found.offset} was due")

    async def _window(self, inbox: "_Inbox", events: list[Any]) -> None:
        started = time.perf_counter()
        by_partition: dict[int, list[Record]] = {}
        for event in events:
            message = event.message
            by_partition.setdefault(message.partition, []).append(
                Record(
                    message.topic,
                    message.partition,
                    message.offset,
                    int(message.timestamp * 1000),
                    message.key,
                    message.value or b"",
                )
            )
        steps = []
        for partition, rows in by_partition.items():
            try:
                steps.append(await self._decide(inbox.source, partition, rows))
            except _ENDING:
                raise
            except Exception:
                await self._one_by_one(inbox.source, partition, rows)
        await self._carry_out(steps)
        for event in events:
            await inbox.stream.ack(event)
        metrics.STAGE_RECORDS.labels(self.name).inc(len(events))
        metrics.STAGE_SECONDS.labels(self.name).observe(time.perf_counter() - started)

    async def _decide(self, source: Source, partition: int, rows: list[Record]) -> Step:
        view = self.state.view(partition) if self.state else View(None, partition)
        # Whoever holds the state's turn must not wait for the priority lane, which may be waiting for that turn.
        step = Step(view, Outbox(), _turn_of_the_loop if source.priority or source.exclusive else _courtesy.breathe)
        for row in rows:
            waiting = source.decide(row, step)
            if waiting is not None:
                await waiting
            await step.breathe()
        return step

    async def _one_by_one(self, source: Source, partition: int, rows: list[Record]) -> None:
        """A record of this window failed: each goes alone, the failing one to the dead letters."""
        for row in rows:
            try:
                step = await self._decide(source, partition, [row])
            except _ENDING:
                raise
            except Exception:
                step = self._dead_letter(partition, row, traceback.format_exc())
            await self._carry_out([step])

    async def _carry_out(self, steps: list[Step]) -> None:
        """Steps 2 to 5 of the order above."""
        await asyncio.gather(*(self._write(step.view.partition, step.view.take_first()) for step in steps))
        pulse.check()
        await asyncio.gather(*(action(step) for step in steps for action in step.acts))
        await asyncio.gather(*(self._write(step.view.partition, step.view.take_first()) for step in steps))
        for step in steps:
            await step.outbox.flush(self._producer)
        await asyncio.gather(*(self._write(step.view.partition, step.view.take_later()) for step in steps))

    def _dead_letter(self, partition: int, row: Record, stack: str) -> Step:
        reason = stack.strip().rsplit("\n", 1)[-1].removeprefix(f"{Unreadable.__module__}.{Unreadable.__qualname__}: ")
        log.error(
            "record.dead_letter",
            stage=self.name, topic=row.topic, partition=row.partition, offset=row.offset, reason=reason,
        )  # fmt: skip
        metrics.DEAD_LETTERS.labels(self.name).inc()
        step = Step(View(None, partition), Outbox())
        headers = {
            "reason": reason, "stage": self.name, "topic": row.topic, "partition": str(row.partition),
            "offset": str(row.offset), "stack": stack[-4000:],
        }  # fmt: skip
        step.outbox.record(
            self._dead_letters, partition, row.value, key=row.key,
            headers=[(name, value.encode("utf-8", "replace")) for name, value in headers.items()],
        )  # fmt: skip
        return step

    async def _write(self, partition: int, writes: dict[bytes, bytes | None]) -> None:
        if writes:
            assert self.state is not None
            await self.state.write(self._producer, partition, writes)


class _Inbox:
    """Records between Faust's stream and the window loop: whatever came during a window makes the next one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stream: Any = None
        self._events: list[Any] = []
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, event: Any) -> None:
        while len(self._events) >= self.source.max_records:
            self._emptied.clear()
            await self._emptied.wait()
        self._events.append(event)
        self._filled.set()

    async def take(self) -> list[Any]:
        await self._filled.wait()
        events, self._events = self._events, []
        self._filled.clear()
        self._emptied.set()
        return events
