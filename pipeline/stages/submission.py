"""One submission: some messages of one carrier, called for as often as is safe and sensible, until each has a verdict.

What the carrier said is a verdict; what it could not take goes back to routing, to this carrier again or to another;
what nobody can know is in doubt.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from pipeline.carriers import base
from pipeline.carriers.throughput import Throughput
from pipeline.config import HttpCarrier
from pipeline.ops import metrics
from pipeline.records import Batch
from pipeline.streaming import failpoint, pulse
from pipeline.streaming.stage import Abandoned
from pipeline.streaming.topics import PRIORITY
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

#: What a throttling carrier has not taken by then is queued again behind others; what it may have taken is not let
#: go of so soon.
_WAIT_SECONDS, _DOUBTFUL_SECONDS = 60.0, 300.0
_BACKOFF_SECONDS = (0.25, 5.0)  # first and longest pause between attempts at one submission


class Verdict(msgspec.Struct, array_like=True):
    """What becomes of one message: its state, the carrier's id or the error; or another try at routing."""

    state: int = 0
    reference: str = ""
    error: Error | None = None
    again: bool = False
    elsewhere: bool = False

    @property
    def decided(self) -> bool:
        """Whether the message needs no call any more."""
        return bool(self.state) or self.again or self.elsewhere


class Line:
    """A carrier as dispatch uses it: its throughput, and its connections, of which a campaign never takes the last."""

    def __init__(self, name: str, config: HttpCarrier, carrier: base.Carrier) -> None:
        self.name = name
        self.config = config
        self.carrier = carrier
        self.throughput = Throughput(config.throughput)
        kept = max(1, config.connections // 4)
        self._bulk = asyncio.Semaphore(max(1, config.connections - kept))
        self._priority = asyncio.Semaphore(kept) if config.connections > 1 else self._bulk

    def connection(self, lane: str) -> asyncio.Semaphore:
        """What a submission of this lane holds while it is under way."""
        return self._priority if lane == PRIORITY else self._bulk


@dataclass
class Message:
    """One message of a submission: where it stands in which batch, and as the carrier sees it."""

    batch: Batch
    position: int
    outbound: base.Outbound


async def submit(
    line: Line,
    chunk: list[Message],
    key: str,
    *,
    priority: bool,
    doubtful: bool,
    draining: asyncio.Event,
    opening: Callable[[], Awaitable[list[Message]]],
) -> list[Verdict]:
    """Call the carrier until every message of the chunk has its verdict; `opening` is awaited right before the first
    call, and says which of them it is for: only these have a verdict then.

    `doubtful`: an earlier call under this key may have been taken. From then on only an answer settles it: a refused
    connection or request says nothing of the call before. `draining`: nothing is waited for any more. What surely was
    not taken is queued again; what may have been is left as it is (Abandoned), to be called under the same key by
    whoever reads the record next.
    """
    outbound = [message.outbound for message in chunk]
    parts = sum(message.parts for message in outbound)  # of what is stopped too, which is seldom
    begun = time.monotonic()
    impatient = begun + line.config.patience
    pause, longest = _BACKOFF_SECONDS
    opened = False
    error = Error(errors.CARRIER_UNAVAILABLE, f"{line.name} was never free to take it", permanent=False)

    def give_up(otherwise: Verdict) -> list[Verdict]:
        if doubtful and draining.is_set() and line.config.idempotent:
            raise Abandoned(key)
        unknown = Verdict(Detailed.IN_DOUBT, error=doubt(line.name, error.message))
        return [unknown if doubtful else otherwise] * len(chunk)

    while True:
        deadline = begun + (_DOUBTFUL_SECONDS if doubtful else _WAIT_SECONDS)
        if not await _granted(line, parts, priority, deadline, draining):
            return give_up(Verdict(again=True))
        if not opened:
            chunk, opened = await opening(), True
            if not chunk:
                return []
            outbound = [message.outbound for message in chunk]
        match await _call(line, outbound, key):
            case base.Answered(results):
                return [_verdict(line, result) for result in results]
            case base.Refused(error):
                return give_up(Verdict(Detailed.REJECTED, error=error))
            case base.SlowDown(seconds):
                line.throughput.slow_down(seconds)
                if time.monotonic() + seconds > deadline:
                    return give_up(Verdict(again=True))
                continue
            case base.NotSent(error):
                if draining.is_set():
                    return give_up(Verdict(again=True))
                if time.monotonic() + pause > impatient:
                    return give_up(Verdict(elsewhere=True, error=error))
            case base.Unknown(error):
                doubtful = True
                if not line.config.idempotent or draining.is_set() or time.monotonic() + pause > impatient:
                    return give_up(Verdict())
        log.warning("carrier.retry", carrier=line.name, key=key, messages=len(chunk), error=error.message, pause=pause)
        await _either(draining.wait(), asyncio.sleep(pause))
        pause = min(pause * 2, longest)


async def _call(line: Line, outbound: list[base.Outbound], key: str) -> base.Outcome:
    """One call, as the last thing before which this process makes sure that it is not a zombie."""
    pulse.check()
    failpoint.reach("dispatch.calling")
    started = time.perf_counter()
    outcome = await line.carrier.submit(outbound, key)
    metrics.DISPATCH_SECONDS.labels(line.name).observe(time.perf_counter() - started)
    metrics.DISPATCH_ATTEMPTS.labels(line.name, type(outcome).__name__).inc()
    return outcome


async def _granted(line: Line, parts: int, priority: bool, deadline: float, draining: asyncio.Event) -> bool:
    """Wait for the carrier's throughput; False where it did not come in time, or there is no time any more."""
    if draining.is_set():
        return False
    grant = line.throughput.take(parts, priority)
    return await _either(grant, draining.wait(), asyncio.sleep(max(deadline - time.monotonic(), 0))) == 0


async def _either(*awaitables: Coroutine[Any, Any, object]) -> int:
    """Wait until one is done, cancel the others; the place of the first that is."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(place for place, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()


def _verdict(line: Line, result: base.Result) -> Verdict:
    match result:
        case base.Accepted(reference):
            return Verdict(Detailed.SUBMITTED, reference)
        case base.Rejected(error):
            return Verdict(Detailed.REJECTED, error=error, elsewhere=not error.permanent)
        case base.Unanswered():
            return Verdict(Detailed.IN_DOUBT, error=doubt(line.name, "the carrier's answer leaves it out"))


def doubt(carrier: str, why: str) -> Error:
    """The error of a message of which nobody knows whether `carrier` took it."""
    return Error(errors.IN_DOUBT, f"unknown whether {carrier} took the message ({why}); it is not sent again", False)
