"""Keeping the processes of one machine running: start, restart, give up, stop.

One thread, no polling: the loop sleeps until a signal (a child's death is one), a due restart or the next tick.
"""

from __future__ import annotations

import http.client
import select
import signal
import socket
import subprocess
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from pipeline.ops.child import StartError, spawn, tail, terminate

TICK = 0.5  # seconds between calls of on_tick
PROBE_INTERVAL = 0.1
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds before a dead child is started again, doubling
STEADY = 60.0  # a child that lived so long starts again after FIRST_DELAY

log = structlog.get_logger(__name__)
_loopback = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business here


@dataclass(frozen=True)
class Child:
    """What to run. Ready means: `ready_url` answers 2xx to a GET, or, without one, the process was started.

    `env` is added to the supervisor's environment. `stop_timeout` seconds pass between SIGTERM and SIGKILL.
    """

    name: str
    argv: Sequence[str]
    ready_url: str | None = None
    env: Mapping[str, str] | None = None
    stop_timeout: float = 30.0


@dataclass
class _Slot:
    """A child and what became of it. `process` is None while it waits for its restart."""

    child: Child
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started: float = 0.0
    restart_at: float = 0.0
    delay: float = FIRST_DELAY
    deaths: deque[float] = field(default_factory=deque)


class Supervisor:
    """Runs children until SIGTERM or SIGINT; each writes to `log_directory`/NAME.log.

        supervisor = Supervisor(directory)
        supervisor.start(children)
        if supervisor.wait_ready(timeout=60):
            print("ready")
        sys.exit(supervisor.run_until_signal())

    A child that dies is started again, after 0.5 s doubling to 10 s. One that dies more than `crash_limit` times
    within `crash_window` seconds ends everything. Use it in the main thread, one at a time: it takes over SIGTERM,
    SIGINT and SIGCHLD from `start` to `stop`.
    """

    def __init__(self, log_directory: Path, *, crash_limit: int = 8, crash_window: float = 60.0) -> None:
        self.failure: str | None = None  # why it gave up, for the person at the terminal
        self._log_directory = log_directory
        self._crash_limit = crash_limit
        self._crash_window = crash_window
        self._slots: list[_Slot] = []
        self._signals: _Signals | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the children that run now, by name."""
        return {slot.child.name: slot.process.pid for slot in self._slots if slot.process}

    def start(self, children: Sequence[Child]) -> None:
        """Start `children` in order. Raises StartError, with those before it stopped, when one cannot be executed."""
        self._log_directory.mkdir(parents=True, exist_ok=True)
        self._signals = _Signals()
        try:
            for child in children:
                slot = _Slot(child, self._log_directory / f"{child.name}.log")
                self._spawn(slot)
                self._slots.append(slot)
        except StartError:
            self.stop()
            raise

    def wait_ready(self, timeout: float, on_tick: Callable[[], None] | None = None) -> bool:
        """Wait up to `timeout` seconds until every child is ready. False: one was not, or a stop was asked for;
        then `run_until_signal` stops everything and returns the exit code."""
        deadline = time.monotonic() + timeout
        while not self._ending():
            self._tick(on_tick)
            waiting = [slot for slot in self._slots if not self._probe(slot)]
            if not waiting:
                return True
            if time.monotonic() > deadline:
                self._give_up(waiting[0], f"was not ready within {timeout:g} s")
            self._wait(PROBE_INTERVAL)
        return False

    def run_until_signal(self, on_tick: Callable[[], None] | None = None) -> int:
        """Keep the children running until SIGTERM or SIGINT, then stop them. Returns the exit code: 0, or 1 when it
        gave up (`failure` says why).

        `on_tick` is called every 0.5 s and after every signal, a child's death included. It may restart what the
        caller runs beside the children; a StartError it raises ends everything with 1.
        """
        try:
            while not self._ending():
                self._tick(on_tick)
                due = min((slot.restart_at for slot in self._slots if not slot.process), default=float("inf"))
                self._wait(min(TICK, max(0.0, due - time.monotonic())))
        finally:
            self.stop()
        return 1 if self.failure else 0

    def stop(self) -> None:
        """Stop the children, last started first: SIGTERM, after the child's `stop_timeout` SIGKILL. Harmless when
        repeated."""
        for slot in reversed(self._slots):
            if slot.process:
                in_time = terminate(slot.process, slot.child.stop_timeout)
                log.info("child stopped" if in_time else "child killed: it did not stop in time", child=slot.child.name)
        self._slots.clear()
        if self._signals:
            self._signals.close()
            self._signals = None

    def _ending(self) -> bool:
        assert self._signals is not None, "start comes first"
        return self._signals.stop_asked or self.failure is not None

    def _wait(self, seconds: float) -> None:
        if self._signals and not self._ending():
            self._signals.wait(seconds)

    def _tick(self, on_tick: Callable[[], None] | None) -> None:
        """Notice the dead, start those that are due, let the caller look after its own."""
        for slot in self._slots:
            if slot.process is None:
                if time.monotonic() >= slot.restart_at:
                    self._spawn(slot)
            elif slot.process.poll() is not None:
                self._bury(slot, slot.process.returncode)
        if on_tick:
            try:
                on_tick()
            except StartError as error:
                self.failure = str(error)
                log.error("giving up", reason=self.failure)

    def _spawn(self, slot: _Slot) -> None:
        slot.process = spawn(slot.child.argv, log=slot.log_path, env=slot.child.env)
        slot.started, slot.ready = time.monotonic(), False
        log.info("child started", child=slot.child.name, pid=slot.process.pid)

    def _bury(self, slot: _Slot, code: int) -> None:
        """Put a dead child down for its restart, or give up when it keeps dying. `code` < 0: killed by that signal."""
        now = time.monotonic()
        slot.process = None
        slot.deaths.append(now)
        while slot.deaths[0] < now - self._crash_window:
            slot.deaths.popleft()
        if len(slot.deaths) > self._crash_limit:
            self._give_up(slot, f"died {len(slot.deaths)} times within {self._crash_window:g} s")
            return
        delay = FIRST_DELAY if now - slot.started >= STEADY else slot.delay
        slot.restart_at, slot.delay = now + delay, min(2 * delay, LONGEST_DELAY)
        log.warning("child died", child=slot.child.name, code=code, restart_in=delay)

    def _give_up(self, slot: _Slot, what: str) -> None:
        self.failure = f"{slot.child.name} {what}; the end of {slot.log_path}:\n{tail(slot.log_path)}"
        log.error("giving up", child=slot.child.name, reason=self.failure)

    def _probe(self, slot: _Slot) -> bool:
        if slot.process and not slot.ready:
            slot.ready = slot.child.ready_url is None or _answers(slot.child.ready_url)
            if slot.ready:
                log.info("child ready", child=slot.child.name, seconds=round(time.monotonic() - slot.started, 2))
        return slot.process is not None and slot.ready


class _Signals:
    """Signals as something to wait for: Python writes a byte to a socket for each, so that none slips in between
    looking and sleeping. The earlier handlers are put back by `close`."""

    def __init__(self) -> None:
        self.stop_asked = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._earlier_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._earlier: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        }

    def wait(self, seconds: float) -> None:
        if select.select([self._reader], [], [], seconds)[0]:
            self._reader.recv(4096)

    def close(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_fd)
        self._reader.close()
        self._writer.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:  # a child's death only wakes the loop, which looks for itself
            self.stop_asked = True


def _answers(url: str) -> bool:
    try:
        with _loopback.open(url, timeout=1) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, http.client.HTTPException):  # refused, too slow, nonsense; another status is an OSError too
        return False
