"""The token bucket on a clock that is moved by hand: nothing here sleeps."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.carriers.throughput import BURST_SECONDS, Throughput


class HandClock:
    """A clock with timers, as an event loop has, that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fired = 0
        self._order = count()
        self._timers: list[tuple[float, int, Callable[[], Any]]] = []
        self._cancelled: set[int] = set()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        number = next(self._order)
        heapq.heappush(self._timers, (self.now + delay, number, callback))
        clock = self

        class Timer:
            def cancel(self) -> None:
                clock._cancelled.add(number)

        return Timer()

    async def advance(self, seconds: float) -> None:
        """Move on, firing what falls due on the way, and let everybody who was woken run."""
        until = self.now + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= until:
            at, number, callback = heapq.heappop(self._timers)
            if number not in self._cancelled:
                self.now = max(self.now, at)
                self.fired += 1
                callback()
                await self.settle()
        self.now = until

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


class Log:
    """Who was let go, and when."""

    def __init__(self, clock: HandClock, bucket: Throughput) -> None:
        self.clock, self.bucket = clock, bucket
        self.taken: list[tuple[str, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, name: str, parts: int, priority: bool = False) -> asyncio.Task[None]:
        async def take() -> None:
            await self.bucket.take(parts, priority)
            self.taken.append((name, round(self.clock.now - 1000, 3)))

        task = asyncio.create_task(take())
        self.tasks.append(task)
        await self.clock.settle()
        return task

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.taken]


def scenario(rate: float):
    """Runs the decorated coroutine with a bucket of `rate`, its clock and its log."""

    def decorate(body: Callable[..., Any]) -> Callable[[], None]:
        def test() -> None:
            async def run() -> None:
                clock = HandClock()
                bucket = Throughput(rate, clock)
                log = Log(clock, bucket)
                await body(clock, bucket, log)
                for task in log.tasks:
                    task.cancel()

            asyncio.run(run())

        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test

    return decorate


@scenario(100)
async def test_a_small_burst_goes_at_once_then_the_rate_holds(clock, bucket, log):
    for n in range(10):
        await log.start(str(n), 1)
    assert len(log.taken) == 5  # 50 ms of 100 a second
    await clock.advance(0.05)
    assert [at for _, at in log.taken[5:]] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05], abs=2e-3)


@scenario(100)
async def test_a_submission_larger_than_the_burst_goes_and_is_paid_for_after(clock, bucket, log):
    for name in "abc":
        await log.start(name, 100)
    await clock.advance(3)
    assert log.taken == [("a", 0.0), ("b", pytest.approx(1.0)), ("c", pytest.approx(2.0))]


@scenario(100)
async def test_priority_overtakes_all_bulk_that_waits(clock, bucket, log):
    for name in ("bulk 1", "bulk 2", "bulk 3"):
        await log.start(name, 50)
    await log.start("code 1", 1, priority=True)
    await log.start("code 2", 1, priority=True)
    await clock.advance(5)
    assert log.names == ["bulk 1", "code 1", "code 2", "bulk 2", "bulk 3"]


@scenario(1000)
async def test_bulk_waits_while_priority_waits(clock, bucket, log):
    await log.start("first", 1000)
    await log.start("code", 500, priority=True)
    await log.start("small", 1)
    await clock.advance(0.99)
    assert log.names == ["first"]
    await clock.advance(1)
    assert log.names == ["first", "code", "small"]


@scenario(1000)
async def test_slowing_down_halts_both_lanes_and_resumes_without_a_burst(clock, bucket, log):
    bucket.slow_down(2)
    await log.start("code", 10, priority=True)
    await log.start("bulk", 10)
    await clock.advance(1.999)
    assert log.taken == []
    await clock.advance(1)
    assert log.taken == [("code", pytest.approx(2.01, abs=2e-3)), ("bulk", pytest.approx(2.02, abs=2e-3))]


@scenario(1000)
async def test_a_shorter_pause_does_not_shorten_a_longer_one(clock, bucket, log):
    bucket.slow_down(5)
    await log.start("waits", 1)
    await clock.advance(1)
    bucket.slow_down(1)
    await clock.advance(3.9)
    assert log.taken == []
    await clock.advance(0.2)
    assert log.names == ["waits"]


@scenario(1000)
async def test_a_pause_reaches_those_who_wait_already(clock, bucket, log):
    await log.start("first", 100)
    await log.start("second", 100)
    bucket.slow_down(10)
    await clock.advance(9.9)
    assert log.names == ["first"]
    await clock.advance(0.5)
    assert log.names == ["first", "second"]


@scenario(1000)
async def test_a_share_of_the_rate(clock, bucket, log):
    bucket.set_share(0.25)
    for name in "abc":
        await log.start(name, 250)
    await clock.advance(2.5)
    assert log.taken == [("a", 0.0), ("b", pytest.approx(1.0)), ("c", pytest.approx(2.0))]


@scenario(1000)
async def test_without_a_share_nothing_goes_until_there_is_one(clock, bucket, log):
    bucket.set_share(0)
    await log.start("waits", 1)
    await clock.advance(1000)
    assert log.taken == [] and clock.fired == 0
    bucket.set_share(0.5)
    await clock.advance(0.1)
    assert log.names == ["waits"]


@scenario(10)
async def test_a_taker_that_gives_up_costs_nothing(clock, bucket, log):
    await log.start("first", 10)
    gone = await log.start("gone", 1000)
    await log.start("last", 1)
    gone.cancel()
    await clock.advance(1.2)
    assert log.names == ["first", "last"]


@scenario(100)
async def test_waiting_costs_one_timer_a_grant(clock, bucket, log):
    for n in range(20):
        await log.start(str(n), 10)
    await clock.advance(10)
    assert len(log.taken) == 20 and clock.fired <= 40


@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.booleans(), st.floats(0, 0.5)),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([10.0, 333.3, 2000.0]),
)
def test_no_stretch_of_time_gets_more_than_rate_burst_and_one_submission(requests, rate):
    async def run() -> list[tuple[float, int]]:
        clock = HandClock()
        bucket = Throughput(rate, clock)
        grants: list[tuple[float, int]] = []

        async def take(parts: int, priority: bool) -> None:
            await bucket.take(parts, priority)
            grants.append((clock.now, parts))

        tasks = []
        for parts, priority, pause in requests:
            tasks.append(asyncio.create_task(take(parts, priority)))
            await clock.advance(pause)
        await clock.advance(sum(parts for parts, _, _ in requests) / rate + 1)
        assert all(task.done() for task in tasks)
        return grants

    grants = asyncio.run(run())
    largest = max(parts for parts, _, _ in requests)
    for start in range(len(grants)):
        total = 0
        for at, parts in grants[start:]:
            total += parts
            assert total <= (at - grants[start][0]) * rate + rate * BURST_SECONDS + largest + 0.1


def test_on_the_event_loops_own_clock():
    async def run() -> float:
        bucket = Throughput(10_000)
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(bucket.take(100) for _ in range(20)))
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(run()) >= 0.14  # 2,000 parts, of which 500 are the burst
