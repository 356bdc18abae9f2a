"""The deliverer: calls for what stands in the queues and is due, and reports what came of it.

It only reads the table. What it is calling for, or has reported and the stage has not settled yet, it keeps in mind
(`_taken`); all of that is forgotten when partitions move, and whoever owns them then calls again. Lanes with something
to do are `_hot`: told by the stage's writes, by calls that end, and by a walk over all queues once a second, which
finds what has become due. So memory holds what is under way, however much is parked.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping

import structlog
from aiokafka import AIOKafkaProducer

from pipeline.callbacks import metrics, queues
from pipeline.callbacks.caller import Answer, Caller
from pipeline.callbacks.lanes import Lane, Lanes
from pipeline.callbacks.records import Entry, Outcome, Result, decode_entry
from pipeline.callbacks.reports import Reports
from pipeline.callbacks.targets import Call, Targets
from pipeline.config import Settings
from pipeline.streaming import failpoint, pulse
from pipeline.streaming.runner import Runner
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

_WALK_SECONDS = 1.0
#: A walk over very many lanes may take this share of the time, no more.
_WALK_SHARE = 0.1
#: Calls a lane may begin before the others have had their turn.
_TURN = 4
#: Entries called for and not settled yet, at most.
_TAKEN = 20_000
#: Entries of a lane given up at a time for their age; keys counted before others may run.
_EXPIRED_AT_ONCE = 500
_COUNTED_AT_ONCE = 5_000
#: How long calls under way may go on when partitions are given up, or the process stops.
_LET_GO_SECONDS = 2.0
_MOMENT_SECONDS = 0.2

#: A partition and a lane in it.
Place = tuple[int, bytes]


class Deliverer:
    """The deliverer of one process. `run` it beside the stage; `stop` before the stage stops."""

    def __init__(self, settings: Settings, targets: Targets, caller: Caller) -> None:
        config = settings.callbacks
        self._targets, self._caller = targets, caller
        self._results = TopicNames(settings.kafka.topic_prefix).callback_results
        self._lanes = Lanes(config.connections, config.connections_per_host, config.retry_seconds)
        self._give_up_ms = int(config.give_up_hours * 3_600_000)
        self._taken: defaultdict[int, set[bytes]] = defaultdict(set)
        self._hot: dict[Place, None] = {}
        self._blocked: dict[Place, None] = {}
        self._timed: set[Place] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._depth: dict[int, int] = {}
        self._able = self._stopping = False

    async def run(self, runner: Runner, producer: AIOKafkaProducer) -> None:
        """Deliver until cancelled. Raises what must end the process."""
        assert runner.state is not None
        self._runner, self._state = runner, runner.state
        self._reports = Reports(self._results, producer)
        self._state.on_write = self._written
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for work in (self._reports.run(), self._keep_to_partitions(), self._walk(), self._work()):
                tasks.create_task(work)

    async def stop(self) -> None:
        """Begin no call any more, end those under way, and report what came of them."""
        self._stopping = True
        await self._let_go()
        await self._reports.sent()
        await self._caller.close()

    async def _keep_to_partitions(self) -> None:
        """Work only while the partitions are ours and the table is recovered."""
        while True:
            if self._runner.draining.is_set() or not self._runner.ready or self._runner.lag()[self._results]:
                await asyncio.sleep(_MOMENT_SECONDS)
                continue
            self._begin_anew()
            await self._runner.draining.wait()
            await self._let_go()

    def _begin_anew(self) -> None:
        self._taken.clear()
        self._lanes.forget_cursors()
        self._hot.clear()
        self._blocked.clear()
        self._depth.clear()
        self._able = not self._stopping

    async def _let_go(self) -> None:
        self._able = False
        if self._calls:
            await asyncio.wait(self._calls, timeout=_LET_GO_SECONDS)
        for call in self._calls:
            call.cancel()

    def _written(self, partition: int, writes: Mapping[bytes, bytes | None]) -> None:
        """The stage has changed queues."""
        for key, value in writes.items():
            if not key.startswith(queues.QUEUE):
                continue
            if partition in self._depth:
                self._depth[partition] += -1 if value is None else 1
            if value is None:
                self._taken[partition].discard(key)
                continue
            name = queues.lane_of(key)
            lane = self._lanes.known(name)
            if lane and key < lane.cursors.get(partition, b""):
                lane.cursors[partition] = key
            self._heat((partition, name))

    def _heat(self, place: Place) -> None:
        self._hot[place] = None
        self._wake.set()

    def _heat_in(self, seconds: float, place: Place) -> None:
        if place not in self._timed:
            self._timed.add(place)
            asyncio.get_running_loop().call_later(seconds, self._heat_timed, place)

    def _heat_timed(self, place: Place) -> None:
        self._timed.discard(place)
        self._heat(place)

    async def _work(self) -> None:
        """Begin calls as lanes become hot."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for number, place in enumerate(list(self._hot)):
                if not self._able or self._lanes.full:
                    break
                if place in self._hot:
                    del self._hot[place]
                    self._visit(place)
                if number % 10 == 9:
                    await asyncio.sleep(0)

    def _visit(self, place: Place) -> None:
        """Begin what this lane has to do and may do now."""
        partition, name = place
        lane = self._lanes.get(name)
        full = sum(map(len, self._taken.values())) >= _TAKEN
        if partition not in self._state.owned() or full or lane.circuit.rests(time.monotonic()):
            return  # the walk comes by again
        first = next(self._due(place, lane), None)
        if first is None:
            return
        target = self._targets.find(self._state.view(partition), first[1])
        if target.gone:
            self._give_up(place, [first, *self._more(place, lane, first[0], target.batch - 1)], target.gone)
            self._heat(place)
            return
        room = min(self._lanes.room(lane, target.origin), _TURN)
        if not room:
            self._blocked[place] = None
            return
        found = [first, *self._more(place, lane, first[0], room * target.batch - 1)]
        wait = target.wait(found, time.time())
        if wait > 0:
            self._heat_in(wait, place)
            return
        for _, call in zip(range(room), target.calls(found), strict=False):
            self._begin(place, lane, call)
            lane.cursors[partition] = call.keys[-1]
        if lane.cursors.get(partition, b"") < found[-1][0] or len(found) == room * target.batch:
            self._heat(place)

    def _due(self, place: Place, lane: Lane, after: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """The lane's entries that are due and not taken, in order."""
        partition, name = place
        taken = self._taken[partition]
        start = max(lane.cursors.get(partition, queues.key_of(name, 0)), after)
        until = queues.key_of(name, int(time.time() * 1000) + 1)
        for key, value in self._state.view(partition).items(start, until):
            if key not in taken and key != after:
                yield key, decode_entry(value)

    def _more(self, place: Place, lane: Lane, after: bytes, most: int) -> list[tuple[bytes, Entry]]:
        due = self._due(place, lane, after)
        return [entry for _, entry in zip(range(most), due, strict=False)]

    def _begin(self, place: Place, lane: Lane, call: Call) -> None:
        self._taken[place[0]].update(call.keys)
        proven = self._lanes.begin(lane, call.origin)
        task = self._tasks.create_task(self._call(place, lane, call))
        self._calls.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._calls.discard(task)
            self._lanes.end(lane, call.origin, proven)
            for waiting in [place, *list(self._blocked)[:2]]:
                self._blocked.pop(waiting, None)
                self._heat(waiting)

        task.add_done_callback(ended)

    async def _call(self, place: Place, lane: Lane, call: Call) -> None:
        """One call and its report."""
        pulse.check()
        failpoint.reach("callbacks.calling")
        at = time.time()
        answer = await self._caller.post(call.post.url, call.post.content, call.post.headers)
        seconds = time.time() - at
        failpoint.reach("callbacks.called")
        if answer.taken or (answer.alive and call.shared):
            self._lanes.succeeded(lane)
        elif not answer.refused:
            self._lanes.failed(lane, time.monotonic(), answer.pause)
        metrics.SECONDS.labels(call.kind).observe(seconds)
        for outcome, due, keys in call.outcomes(answer, time.time()):
            metrics.CALLS.labels(call.kind, outcome.name.lower()).inc()
            self._report(place[0], call, keys, outcome, due, int(at * 1000), int(seconds * 1000), answer)
        if not answer.taken:
            log.info("callback.failed", id=call.post.id, status=answer.status, error=answer.error, host=call.origin)

    def _report(
        self, partition: int, call: Call, keys: list[bytes], outcome: Outcome, due: int, at: int, took: int,
        answer: Answer,
    ) -> None:  # fmt: skip
        result = Result(keys, outcome, at, due, took, answer.status, answer.error, call.post.id, call.shown_url)
        self._reports.add(partition, result)

    def _give_up(self, place: Place, found: list[tuple[bytes, Entry]], why: str) -> None:
        """Nobody is called for these any more."""
        keys = [key for key, _ in found]
        self._taken[place[0]].update(keys)
        now = int(time.time() * 1000)
        self._reports.add(place[0], Result(keys, Outcome.GIVEN_UP, now, 0, -1, None, why, found[0][1].event.id, ""))

    async def _walk(self) -> None:
        """Once a second over all queues: what has become due, what is too old, and the metrics."""
        while True:
            began = time.monotonic()
            if self._able:
                oldest = 0.0
                for partition in self._state.owned():
                    oldest = max(oldest, await self._walk_partition(partition))
                metrics.OLDEST.set(oldest)
                metrics.QUEUE.set(sum(self._depth.values()))
            metrics.CIRCUITS.set(self._lanes.open_circuits())
            metrics.RUNNING.set(self._lanes.running)
            await asyncio.sleep(max(_WALK_SECONDS, (time.monotonic() - began) / _WALK_SHARE))

    async def _walk_partition(self, partition: int) -> float:
        """The age of the oldest head in seconds."""
        oldest, start = 0.0, queues.QUEUE
        if partition not in self._depth:
            await self._count(partition)
        while self._able and partition in self._state.owned():
            head = next(self._state.view(partition).items(start, queues.QUEUE_END), None)
            if head is None:
                break
            key, entry = head[0], decode_entry(head[1])
            place, now_ms = (partition, queues.lane_of(key)), int(time.time() * 1000)
            oldest = max(oldest, (now_ms - entry.since) / 1000)
            if now_ms - entry.since > self._give_up_ms:
                self._expire(place, now_ms - self._give_up_ms)
            elif queues.due_of(key) <= now_ms:
                self._heat(place)
            start = queues.lane_end(place[1])
            await asyncio.sleep(0)
        return oldest

    def _expire(self, place: Place, before: int) -> None:
        """Give up entries of a lane that were queued before then (Unix ms), however its circuit stands."""
        partition, name = place
        view, taken = self._state.view(partition), self._taken[partition]
        head = view.items(queues.key_of(name, 0), queues.lane_end(name))
        some = [(key, decode_entry(value)) for _, (key, value) in zip(range(_EXPIRED_AT_ONCE), head, strict=False)]
        old = [(key, entry) for key, entry in some if entry.since < before and key not in taken]
        if old:
            self._give_up(place, old, "not taken in time")

    async def _count(self, partition: int) -> None:
        """How many entries a partition has."""
        self._depth[partition], start = 0, queues.QUEUE
        while self._able and partition in self._state.owned():
            keys = self._state.view(partition).keys(start, queues.QUEUE_END)
            some = [key for _, key in zip(range(_COUNTED_AT_ONCE), keys, strict=False)]
            if not some:
                return
            self._depth[partition] += len(some)
            start = some[-1] + b"\0"
            await asyncio.sleep(0)
