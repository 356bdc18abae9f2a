"""The running system as faults meet it: its processes by name, what was done to them and when, and how they came back.

The main thread starts and restarts processes (they die with the thread that forked them), everything else happens in
an event loop of a second thread and asks the main thread for what only that may do.
"""

import asyncio
import concurrent.futures
import json
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from pipeline.ops.rig import Rig
from pipeline.ops.system import GROUPS

T = TypeVar("T")

#: Groups of stages that may be killed, stopped, added and taken away.
WORKERS = ("intake", "dispatch", "track")
KAFKA = "kafka"
_LOOK_SECONDS = 0.05
#: Whoever is not back by then does not come back.
RECOVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Recovery:
    """From SIGKILL to the same stages finishing records again. `undisturbed`: the broker was there all the time, and
    nobody of the group stood still."""

    name: str
    seconds: float
    undisturbed: bool


class World:
    """One system under faults. `drive` belongs to the main thread, the rest to the event loop.

    `failpoints`: the directory where failpoints are armed; `points`: which, one after the other. `reached`: those that
    struck. `pids`: the processes as the main thread saw them last, which a starting broker holds up for seconds.
    """

    def __init__(self, rig: Rig, failpoints: Path, points: Iterator[str]) -> None:
        self.rig = rig
        self.failpoints = failpoints
        self.points = points
        self.began = time.monotonic()
        self.kills = 0
        self.others = 0
        self.deaths: Counter[str] = Counter()
        self.reached: set[str] = set()
        self.recoveries: list[Recovery] = []
        self.phases: list[tuple[str, float, float]] = []  # carrier, from, to (Unix seconds): answers came too late
        self.broker_lock = asyncio.Lock()
        self.group_locks = {group: asyncio.Lock() for group in WORKERS}
        self.web = httpx.AsyncClient(timeout=2.0, trust_env=False)
        self._standstills: Counter[str] = Counter()  # begun and ended, of the broker and of each group
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()  # SimpleQueue.get hangs where a signal comes
        self.pids: dict[str, int] = {}
        self._killed: set[int] = set()
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._log = (rig.directory / "chaos.ndjson").open("a")

    def note(self, event: str, **details: Any) -> None:
        """Write down what happens, with the seconds since the start."""
        at = time.time()
        line = {"at": round(time.monotonic() - self.began, 2), "unix": round(at, 2), "event": event, **details}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    # The main thread's part.

    def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work in a second thread's event loop, and what it asks for here; the processes are looked after.

        Raises StartError where the supervisor gives up.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        result = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            self.pids = self.rig.system.pids
            while not result.done():
                self.rig.tick()
                self._count_deaths()
                with suppress(queue.Empty):
                    self._calls.get(timeout=_LOOK_SECONDS)()
            return result.result()
        finally:
            result.cancel()
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _count_deaths(self) -> None:
        now = self.rig.system.pids
        for name, pid in self.pids.items():
            left = name.partition("-")[0] in WORKERS and name not in self.rig.system.metrics_urls  # scaled away
            if now.get(name) != pid and not left:
                self.deaths[name] += 1
                self.note("died", name=name, pid=pid)
        self.pids = now

    # The event loop's part.

    async def main(self, call: Callable[[], T]) -> T:
        """What `call` gives in the main thread."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(run)
        return await asyncio.wrap_future(future)

    def names(self, *groups: str) -> list[str]:
        """The processes of these groups that run now."""
        return sorted(name for name, pid in self.pids.items() if name.rpartition("-")[0] in groups and alive(pid))

    def signal(self, name: str, number: signal.Signals) -> int | None:
        """Send a signal; the process it went to, None where there was none."""
        pid = self.pids.get(name)
        if pid is None or not alive(pid):
            pid = None
        else:
            os.kill(pid, number)
        self.note("signal", name=name, signal=number.name, pid=pid)
        return pid

    def kill(self, name: str) -> bool:
        """SIGKILL; False where the process was dead already. Of a worker, the recovery is measured."""
        since = time.monotonic()
        if self.pids.get(name) in self._killed:
            return False
        pid = self.signal(name, signal.SIGKILL)
        if pid is None:
            return False
        self._killed.add(pid)
        self.killed(name, since)
        return True

    def killed(self, name: str, since: float) -> None:
        """Count a kill, and measure how long its work stands still."""
        self.kills += 1
        if name.rpartition("-")[0] in WORKERS:
            if name in self._watching:
                self._watching[name].cancel()  # killed again before it was back: the last kill counts
            self._watching[name] = asyncio.create_task(self._recovery(name, since))

    @contextmanager
    def still(self, who: str) -> Iterator[None]:
        """While the broker, or one of a group, does not answer; recoveries that fall into it are told apart."""
        self._standstills[who] += 1
        try:
            yield
        finally:
            self._standstills[who] += 1

    async def _recovery(self, name: str, since: float) -> None:
        """Until the replacement finishes records of every stage, or reads again where there are none to finish."""
        group = name.rpartition("-")[0]
        before = [self._standstills[who] for who in (KAFKA, group)]
        while time.monotonic() < since + RECOVERY_SECONDS and name in self.rig.system.metrics_urls:
            if await self.works(name, GROUPS[group]):
                after = [self._standstills[who] for who in (KAFKA, group)]
                undisturbed = before == after and not any(count % 2 for count in after)
                seconds = time.monotonic() - since
                self.recoveries.append(Recovery(name, seconds, undisturbed))
                self.note("recovered", name=name, seconds=round(seconds, 2), undisturbed=undisturbed)
                return
            await asyncio.sleep(_LOOK_SECONDS)
        self.note("not recovered", name=name)

    async def absent(self) -> list[str]:
        """The workers and the gateway that do not come back, once nothing strikes any more."""
        names = {name: url.replace("/metrics", "/health/ready") for name, url in self.rig.system.metrics_urls.items()}

        async def ready(url: str) -> bool:
            try:
                return (await self.web.get(url)).is_success
            except httpx.HTTPError:
                return False

        async def all_ready() -> bool:
            return all([await ready(url) for url in names.values()])

        if await until(all_ready, RECOVERY_SECONDS):
            return []
        return [name for name, url in names.items() if not await ready(url)]

    async def works(self, name: str, stages: list[str]) -> bool:
        url = self.rig.system.metrics_urls[name]
        try:
            if (await self.web.get(url.replace("/metrics", "/health/ready"))).is_success:
                return True
            text = (await self.web.get(url)).text
        except httpx.HTTPError:
            return False
        finished = [line for line in text.splitlines() if line.startswith("sms_stage_records_total{")]
        return all(any(f'"{stage}"' in line and not line.endswith(" 0.0") for line in finished) for stage in stages)

    async def close(self) -> None:
        """Wait for the recoveries under way."""
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        await self.web.aclose()


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)


def alive(pid: int) -> bool:
    """Whether it is a process of ours that runs; a zombie does not, and what has its number now is none of ours."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state not in "ZX" and int(parent) == os.getpid()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
