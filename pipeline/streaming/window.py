"""What happens to a window of records, in this order, so that nothing is lost and repeats do no harm.

    1. decode, and decide record by record: reads of the table, writes and outputs are only collected;
    2. write what must be decided for good before anyone sees it, await the changelog (`put_first`);
    3. act: what leaves this system (only dispatch does); what it learned is written like 2, before anyone is told;
    4. produce the outputs, await the broker;
    5. write the state, await the changelog (`put`);
    6. the runner acknowledges the records, in order.

A crash before 6 repeats the window: ids are deterministic and the state of 5 says what was done, so a repeat is
recognised here or at the next stage. Whatever fails in 2 to 5 ends the process: nothing is acknowledged past it.
A record that cannot be decoded or makes the stage's function raise goes to the dead letters, and its neighbours on.
"""

import asyncio
import traceback

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.ops import metrics
from pipeline.streaming import failpoint, letters, pulse
from pipeline.streaming.ceiling import Ceiling, Halted
from pipeline.streaming.courtesy import courtesy
from pipeline.streaming.outbox import Outbox
from pipeline.streaming.stage import Abandoned, Record, Source, Step, Unreadable, turn_of_the_loop
from pipeline.streaming.state import State, View

log = structlog.get_logger()

#: No record's fault: the broker or the disk. They end the process, and the records come again.
_ENDING = (KafkaError, OSError, MemoryError)


class Windows:
    """The windows of one stage in this process. `draining`: set while its partitions are being given up."""

    def __init__(
        self, stage: str, producer: AIOKafkaProducer, state: State | None, dead_letters: str, draining: asyncio.Event
    ) -> None:
        self._stage = stage
        self._producer = producer
        self._state = state
        self._dead_letters = dead_letters
        self._draining = draining

    async def carry_out(self, source: Source, rows: list[Record], ceiling: Ceiling) -> None:
        """Steps 1 to 5 for records of one source, in the order of their offsets. Raises Halted, Abandoned."""
        by_partition: dict[int, list[Record]] = {}
        for row in rows:
            by_partition.setdefault(row.partition, []).append(row)
        steps = []
        for partition, some in by_partition.items():
            try:
                steps.append(await self._decide(source, partition, some))
                ceiling.good(len(some))
            except _ENDING:
                raise
            except Exception:
                await self._one_by_one(source, partition, some, ceiling)
        await self._make_durable(steps)

    async def _decide(self, source: Source, partition: int, rows: list[Record]) -> Step:
        view = self._state.view(partition) if self._state else View(None, partition)
        # Whoever holds the state's turn must not wait for the priority lane, which may be waiting for that turn.
        breathe = turn_of_the_loop if source.priority or source.exclusive else courtesy.breathe
        step = Step(view, Outbox(), breathe, self._draining, lambda: self._write(partition, view.take_first()))
        for row in rows:
            waiting = source.decide(row, step)
            if waiting is not None:
                await waiting
            await step.breathe()
        return step

    async def _one_by_one(self, source: Source, partition: int, rows: list[Record], ceiling: Ceiling) -> None:
        """A record of this window failed: each goes alone, the failing one to the dead letters."""
        for place, row in enumerate(rows):
            try:
                step = await self._decide(source, partition, [row])
                ceiling.good(1)
            except _ENDING:
                raise
            except Exception:
                try:
                    step = self._dead_letter(partition, row, traceback.format_exc(), ceiling)
                except Halted as halted:
                    halted.done = rows[:place]
                    raise
            await self._make_durable([step])

    async def _make_durable(self, steps: list[Step]) -> None:
        """Steps 2 to 5."""
        failpoint.reach(f"{self._stage}.decided")
        await self._write_first(steps)
        failpoint.reach(f"{self._stage}.first-written")
        pulse.check()
        await self._act(steps)
        failpoint.reach(f"{self._stage}.acted")
        await self._write_first(steps)
        failpoint.reach(f"{self._stage}.learned-written")
        for step in steps:
            await step.outbox.flush(self._producer)
        failpoint.reach(f"{self._stage}.produced")
        await asyncio.gather(*(self._write(step.view.partition, step.view.take_later()) for step in steps))
        failpoint.reach(f"{self._stage}.written")

    async def _act(self, steps: list[Step]) -> None:
        """All actions together. Raises Abandoned where one of them was; the others are cancelled then."""
        try:
            async with asyncio.TaskGroup() as actions:
                for step in steps:
                    for action in step.acts:
                        actions.create_task(action(step))
        except* Abandoned as group:
            raise Abandoned(str(group.exceptions[0])) from None

    async def _write_first(self, steps: list[Step]) -> None:
        await asyncio.gather(*(self._write(step.view.partition, step.view.take_first()) for step in steps))

    async def _write(self, partition: int, writes: dict[bytes, bytes | None]) -> None:
        if writes:
            assert self._state is not None
            await self._state.write(self._producer, partition, writes)

    def _dead_letter(self, partition: int, row: Record, stack: str, ceiling: Ceiling) -> Step:
        reason = stack.strip().rsplit("\n", 1)[-1].removeprefix(f"{Unreadable.__module__}.{Unreadable.__qualname__}: ")
        ceiling.bad(reason)
        log.error(
            "record.dead_letter",
            stage=self._stage, topic=row.topic, partition=row.partition, offset=row.offset, reason=reason,
        )  # fmt: skip
        metrics.DEAD_LETTERS.labels(self._stage).inc()
        step = Step(View(None, partition), Outbox())
        headers = letters.headers(row, stage=self._stage, reason=reason, stack=stack)
        step.outbox.record(self._dead_letters, partition, row.value, key=row.key, headers=headers)
        return step
