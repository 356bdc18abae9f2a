"""Keeping the processes of one machine running: start, watch, restart, give up, stop.

One thread: the loop sleeps until a signal (a child's death is one) or the next look around.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from pipeline.ops.child import StartError, spawn, tail
from pipeline.ops.health import Health
from pipeline.ops.metrics import CHILD_DEATHS
from pipeline.ops.signals import Signals

TICK = 0.5  # seconds between looks around
WAITING_TICK = 0.1  # while somebody waits for a child to become ready, or to end
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds before a dead child is started again, doubling
STEADY = 30.0  # seconds; a child that was ready for so long is forgiven its faults
#: For all children together. The broker gets up to 20 s after them: 90 s, as long as systemd waits by default.
DRAIN_SECONDS = 70.0
_OWN_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Child:
    """What to run. Ready means: `ready_url` answers 2xx to a GET, or, without one, the process was started.

    A child whose `live_url` is silent for too long is killed and started again. `env` is added to the supervisor's
    environment. `stop_timeout` seconds pass between SIGTERM and SIGKILL. Children of one `group` (default: its name)
    are stopped together.
    """

    name: str
    argv: Sequence[str]
    ready_url: str | None = None
    live_url: str | None = None
    env: Mapping[str, str] | None = None
    stop_timeout: float = 30.0
    group: str = ""


class _Slot:
    """A child and what became of it. `process` is None while it waits for its restart."""

    def __init__(self, child: Child, log_path: Path, silence: float) -> None:
        self.child = child
        self.log_path = log_path
        self.process: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self.faults = 0  # deaths by its own fault since it was last steady
        self.ever_ready = False  # in any life
        self.delay = FIRST_DELAY
        self.restart_at = 0.0
        self._silence = silence

    def spawn(self) -> None:
        self.process = spawn(self.child.argv, log=self.log_path, env=self.child.env)
        self.started, self.lives, self.hung = time.monotonic(), self.lives + 1, False
        self.health = Health(self.child.ready_url, self.child.live_url, self._silence)
        log.info("child started", child=self.child.name, pid=self.process.pid, restarts=self.lives - 1)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ready(self) -> bool:
        return self.process is not None and self.health.ready

    @property
    def lived(self) -> float:
        return round(time.monotonic() - self.started, 2)


class Supervisor:
    """Runs children until SIGTERM or SIGINT; each writes to `log_directory`/NAME.log.

        supervisor = Supervisor(directory)
        try:
            supervisor.start(children)
            if supervisor.wait_ready(timeout=60):
                print("ready")
            code = supervisor.run_until_signal()
        finally:
            supervisor.stop()

    A child that dies is started again, after 0.5 s, doubling to 10 s as long as it does not become ready. Anybody may
    kill it as often as he likes; one that dies more than `crash_limit` times by its own fault (an exit code above 0,
    SIGSEGV, SIGABRT or SIGBUS, or anything before it was ready for the first time) without being steady in between ends
    everything. One that was silent for `silence` seconds is killed.

    Use it in the main thread, one at a time: it has SIGTERM, SIGINT and SIGCHLD from `start` to `stop`. A SIGTERM or
    SIGINT during `stop` kills the children at once, and calls `on_hurry`.
    """

    def __init__(
        self,
        log_directory: Path,
        *,
        crash_limit: int = 8,
        silence: float = 60.0,
        on_hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self.failure: str | None = None  # why it gave up, for the person at the terminal
        self._log_directory = log_directory
        self._crash_limit = crash_limit
        self._silence = silence
        self._on_hurry = on_hurry
        self._slots: list[_Slot] = []
        self._groups: list[str] = []  # in the order of their first start
        self._signals: Signals | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the children that run now, by name."""
        return {slot.child.name: slot.process.pid for slot in self._slots if slot.process}

    @property
    def stop_asked(self) -> bool:
        """Whether SIGTERM or SIGINT came since `start`."""
        return self._signals is not None and self._signals.stop_asked

    def start(self, children: Sequence[Child]) -> None:
        """Start `children` in order. Raises StartError, with those before it stopped, when one cannot be executed."""
        self._log_directory.mkdir(parents=True, exist_ok=True)
        self._signals = Signals()
        try:
            for child in children:
                self.add(child)
        except StartError:
            self.stop()
            raise

    def add(self, child: Child) -> None:
        """Start one more child, to be kept running as the others are. Raises StartError."""
        if any(slot.child.name == child.name for slot in self._slots):
            raise ValueError(f"{child.name} is there already")
        slot = _Slot(child, self._log_directory / f"{child.name}.log", self._silence)
        slot.spawn()
        self._slots.append(slot)
        if _group(slot) not in self._groups:
            self._groups.append(_group(slot))

    def remove(self, *names: str) -> None:
        """Stop these children for good, together: SIGTERM, after the child's `stop_timeout` SIGKILL. Returns when they
        are gone; the others are looked after meanwhile. Raises KeyError for one that is not there."""
        by_name = {slot.child.name: slot for slot in self._slots}
        leaving = [by_name[name] for name in names]
        self._slots = [slot for slot in self._slots if slot not in leaving]
        try:
            self._end(leaving, float("inf"), self._look_around)
        except BaseException:
            self._slots += [slot for slot in leaving if slot.running]  # for `stop`
            raise

    def tick(self, on_tick: Callable[[], None] | None = None) -> None:
        """Look around once: bury the dead, start those that are due, see who is ready and who hangs. For a caller with
        a loop of its own, every second or so; `on_tick` as in `run_until_signal`."""
        self._look_around()
        if on_tick:
            try:
                on_tick()
            except StartError as error:
                self.failure = str(error)
                log.error("giving up", reason=self.failure)

    def wait_ready(self, timeout: float, on_tick: Callable[[], None] | None = None) -> bool:
        """Wait up to `timeout` seconds until every child says (again) that it is ready. False: one did not, or a stop
        was asked for; `run_until_signal` then returns the exit code at once."""
        deadline = time.monotonic() + timeout
        for slot in self._slots:
            slot.health.doubt()
        while not self._ending():
            self.tick(on_tick)
            waiting = [slot for slot in self._slots if not slot.ready]
            if not waiting:
                return True
            if time.monotonic() > deadline:
                self._give_up(waiting[0], f"was not ready within {timeout:g} s")
            self._wait(WAITING_TICK)
        return False

    def run_until_signal(self, on_tick: Callable[[], None] | None = None) -> int:
        """Keep the children running until SIGTERM or SIGINT. Returns the exit code: 0, or 1 when it gave up (`failure`
        says why). `stop` comes next.

        `on_tick` is called every 0.5 s and after every signal, a child's death included. It may restart what the
        caller runs beside the children; a StartError it raises ends everything with 1.
        """
        while not self._ending():
            self.tick(on_tick)
            due = min((slot.restart_at for slot in self._slots if not slot.process), default=float("inf"))
            self._wait(min(TICK, max(0.0, due - time.monotonic())))
        return 1 if self.failure else 0

    def stop(self, last: Callable[[], None] = lambda: None) -> None:
        """Stop the children, the groups in the reverse order of their start, each group's together: SIGTERM, after the
        child's `stop_timeout` SIGKILL, and SIGKILL for all after 70 s. Then call `last`. Harmless when repeated."""
        deadline = time.monotonic() + DRAIN_SECONDS
        if self._signals:
            self._signals.hurry = self._hurry
        while self._groups:
            group = self._groups.pop()
            self._end([slot for slot in self._slots if _group(slot) == group], deadline)
        self._slots.clear()
        try:
            last()
        finally:
            if self._signals:
                self._signals.close()
                self._signals = None

    def _ending(self) -> bool:
        assert self._signals is not None, "start comes first"
        return self._signals.stop_asked or self.failure is not None

    def _wait(self, seconds: float) -> None:
        if self._signals and not self._ending():
            self._signals.wait(seconds)

    def _look_around(self) -> None:
        for slot in self._slots:
            if slot.process is None:
                if time.monotonic() >= slot.restart_at and not self.failure:
                    slot.spawn()
            elif slot.process.poll() is not None:
                self._bury(slot, slot.process.returncode)
            else:
                self._examine(slot)

    def _examine(self, slot: _Slot) -> None:
        """Ask a child how it is; kill it when it has been silent for too long."""
        assert slot.process
        first = slot.health.ever_ready is None
        slot.health.look()
        if first and slot.health.ever_ready is not None:
            log.info("child ready", child=slot.child.name, pid=slot.process.pid, seconds=slot.lived)
        if slot.health.hangs and not slot.hung:
            slot.hung = True
            log.error(
                "child hangs: killing it", child=slot.child.name, pid=slot.process.pid,
                silent=round(slot.health.silent, 1), lived=slot.lived,
            )  # fmt: skip
            slot.process.kill()

    def _bury(self, slot: _Slot, code: int) -> None:
        """Put a dead child down for its restart, or give up when it keeps dying by its own fault."""
        assert slot.process
        pid, slot.process = slot.process.pid, None
        slot.health.close()
        now, ready_at = time.monotonic(), slot.health.ever_ready
        cause = "silence" if slot.hung else _cause(code)
        CHILD_DEATHS.labels(slot.child.name, cause).inc()
        if ready_at is not None:
            slot.ever_ready, slot.delay = True, FIRST_DELAY
            if now - ready_at >= STEADY:
                slot.faults = 0
        if code > 0 or -code in _OWN_FAULTS or not slot.ever_ready:
            slot.faults += 1
        log.warning(
            "child died", child=slot.child.name, pid=pid, cause=cause, lived=slot.lived,
            own_faults=slot.faults, restart_in=slot.delay,
        )  # fmt: skip
        if slot.faults > self._crash_limit:
            what = f"died {slot.faults} times by its own fault, at last by {cause}, and was never steady in between"
            self._give_up(slot, what)
        slot.restart_at, slot.delay = now + slot.delay, min(2 * slot.delay, LONGEST_DELAY)

    def _give_up(self, slot: _Slot, what: str) -> None:
        self.failure = f"{slot.child.name} {what}; the end of {slot.log_path}:\n{tail(slot.log_path)}"
        log.error("giving up", child=slot.child.name, reason=self.failure)

    def _end(self, slots: Sequence[_Slot], deadline: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """SIGTERM to all of them, SIGKILL to each that is late, until none is left."""
        began = time.monotonic()
        for slot in slots:
            if slot.process and slot.running:
                slot.process.terminate()
                slot.process.send_signal(signal.SIGCONT)  # who was stopped shall hear it
        waiting = [slot for slot in slots if slot.process]
        while waiting:
            meanwhile()
            for slot in list(waiting):
                assert slot.process
                if not slot.running:
                    waiting.remove(slot)
                    slot.health.close()
                    log.info(
                        "child stopped", child=slot.child.name, pid=slot.process.pid,
                        cause=_cause(slot.process.returncode), seconds=round(time.monotonic() - began, 2),
                    )  # fmt: skip
                elif time.monotonic() >= min(deadline, began + slot.child.stop_timeout) and not slot.hung:
                    slot.hung = True
                    log.warning("child killed: it did not stop in time", child=slot.child.name, pid=slot.process.pid)
                    slot.process.kill()
            if waiting:
                self._signals.wait(WAITING_TICK) if self._signals else time.sleep(WAITING_TICK)

    def _hurry(self) -> None:
        """Kill everything: somebody asked for the end a second time. Runs in the signal handler."""
        for slot in self._slots:
            if slot.process:
                slot.process.kill()
        self._on_hurry()


def _group(slot: _Slot) -> str:
    return slot.child.group or slot.child.name


def _cause(code: int) -> str:
    """How a process ended, for a person: "exit 1", "SIGKILL"."""
    try:
        return f"exit {code}" if code >= 0 else signal.Signals(-code).name
    except ValueError:  # a real-time signal has no name
        return f"signal {-code}"
