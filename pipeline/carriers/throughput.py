"""A carrier's throughput: a token bucket in parts a second, shared by two lanes, priority first.

Timers, not polling: whoever must wait sleeps on a future, and one timer wakes the bucket when the first of them can
go. A pause is a bucket that starts to fill later, so a throttled carrier resumes without a burst.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

#: What may go at once after a silence, in seconds of the rate.
BURST_SECONDS = 0.05
#: Timers may fire a clock tick early; what is missing then is charged to the next one.
_TOLERANCE = 1e-3


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock with timers: what an asyncio event loop has."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], Any], /) -> Timer: ...


class Throughput:
    """Grants parts at `rate` a second. A submission larger than the burst goes when the bucket is full and leaves a
    debt, so that the rate holds over time whatever the size. Within a lane first come, first served."""

    def __init__(self, rate: float, clock: Clock | None = None) -> None:
        """`clock`: the running event loop where none is given."""
        self._clock: Clock = clock or asyncio.get_running_loop()
        self._full_rate = rate
        self._rate = rate
        self._level = rate * BURST_SECONDS
        self._filled_at = self._clock.time()
        self._priority: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._bulk: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._timer: Timer | None = None

    async def take(self, parts: int, priority: bool = False) -> None:
        """Return once `parts` may be sent. Bulk waits while anything waits with priority."""
        granted = asyncio.get_running_loop().create_future()
        (self._priority if priority else self._bulk).append((parts, granted))
        self._grant()
        await granted

    def set_share(self, fraction: float) -> None:
        """From now on use `fraction` (0 to 1) of the carrier's rate; 0 halts."""
        self._fill()
        self._rate = self._full_rate * fraction
        self._level = min(self._level, self._burst)
        self._grant()

    def slow_down(self, seconds: float) -> None:
        """Grant nothing for `seconds`, to anybody. A pause under way is never shortened."""
        self._fill()
        self._level = min(self._level, 0.0)
        self._filled_at = max(self._filled_at, self._clock.time() + seconds)
        self._grant()

    @property
    def _burst(self) -> float:
        return self._rate * BURST_SECONDS

    def _fill(self) -> None:
        """Bring the level to now; during a pause `_filled_at` lies ahead and nothing is added."""
        now = self._clock.time()
        if now > self._filled_at:
            self._level = min(self._burst, self._level + (now - self._filled_at) * self._rate)
            self._filled_at = now

    def _grant(self) -> None:
        """Let go whoever can, then set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fill()
        while lane := self._priority or self._bulk:
            parts, granted = lane[0]
            if granted.done():  # its taker was cancelled
                lane.popleft()
                continue
            missing = min(parts, self._burst) - self._level
            if self._rate <= 0 or self._paused or missing > _TOLERANCE:
                self._wake_after(missing)
                return
            lane.popleft()
            self._level -= parts
            granted.set_result(None)

    @property
    def _paused(self) -> bool:
        return self._filled_at > self._clock.time()

    def _wake_after(self, missing: float) -> None:
        if self._rate > 0:
            pause = self._filled_at - self._clock.time()
            self._timer = self._clock.call_later(max(pause, 0.0) + max(missing, 0.0) / self._rate, self._grant)
