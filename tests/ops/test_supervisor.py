"""Starting again and giving up. `on_tick` is where a test looks at the running system."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from children import ANSWERING, CRASHING, NOTING, free_port, notes, python, stop_when, times

from pipeline.ops import supervisor as supervisor_module
from pipeline.ops.child import StartError
from pipeline.ops.metrics import CHILD_DEATHS
from pipeline.ops.supervisor import Child, Supervisor

Supervise = Callable[..., Supervisor]


def booms(log: Path) -> list[float]:
    return [float(line.split()[-1]) for line in log.read_text().splitlines() if line.startswith("boom")]


def deaths(child: str, cause: str) -> float:
    return CHILD_DEATHS.labels(child, cause)._value.get()


def test_a_killed_child_is_noticed_at_once_and_started_again(supervise: Supervise, tmp_path: Path) -> None:
    book = tmp_path / "book"
    killed: list[float] = []
    noticed: list[float] = []

    def look() -> bool:
        if notes(book) and not killed:
            os.kill(supervisor.pids["a"], signal.SIGKILL)
            killed.append(time.monotonic())
        elif killed and not noticed and "a" not in supervisor.pids:
            noticed.append(time.monotonic())
        return len(notes(book)) == 2

    supervisor = supervise()
    supervisor.start([Child("a", python(NOTING, book, "a"))])
    assert supervisor.run_until_signal(stop_when(look)) == 0
    assert noticed[0] - killed[0] < 0.5
    assert times(book, "started")[1] - killed[0] >= 0.5


def test_who_kills_a_child_again_and_again_never_wins(supervise: Supervise, tmp_path: Path) -> None:
    book, before = tmp_path / "book", deaths("often-killed", "SIGKILL")

    def kill() -> bool:
        pid = supervisor.pids.get("often-killed")
        if pid and len(notes(book)) > len(killed):
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        return len(killed) == 5

    supervisor = supervise(crash_limit=2)
    killed: list[int] = []
    supervisor.start([Child("often-killed", python(NOTING, book, "a"))])
    assert supervisor.run_until_signal(stop_when(kill)) == 0
    assert supervisor.failure is None
    assert len(set(killed)) == 5
    assert deaths("often-killed", "SIGKILL") - before >= 4  # nobody looked after the last


@pytest.mark.parametrize(("code", "cause"), [(3, "exit 3"), (-signal.SIGSEGV, "SIGSEGV"), (-signal.SIGABRT, "SIGABRT")])
def test_a_crash_loop_ends_everything(supervise: Supervise, tmp_path: Path, code: int, cause: str) -> None:
    book = tmp_path / "book"
    supervisor = supervise(crash_limit=2)
    supervisor.start([Child("good", python(NOTING, book, "good")), Child("bad", python(CRASHING, code))])
    assert supervisor.run_until_signal() == 1
    supervisor.stop()
    assert supervisor.failure
    assert f"bad died 3 times by its own fault, at last by {cause}" in supervisor.failure
    assert supervisor.failure.count("boom") == 3
    assert notes(book) == ["good started", "good asked", "good stopped"]


def test_who_never_was_ready_counts_as_its_own_fault_and_is_started_ever_later(
    supervise: Supervise, tmp_path: Path
) -> None:
    supervisor = supervise(crash_limit=2)
    supervisor.start([Child("bad", python(CRASHING, -signal.SIGKILL), ready_url="http://127.0.0.1:9/")])
    assert supervisor.run_until_signal() == 1
    first, second, third = booms(tmp_path / "logs" / "bad.log")
    assert 0.5 <= second - first < 1.0 <= third - second


def test_who_was_ready_once_may_be_killed_while_it_starts(supervise: Supervise, tmp_path: Path) -> None:
    port, status = free_port(), tmp_path / "status"
    status.write_text("200")

    def kill() -> bool:
        status.write_text("503")  # its next lives do not become ready
        pid = supervisor.pids.get("a")
        if pid and pid not in killed:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        return len(killed) == 3

    supervisor = supervise(crash_limit=1)
    killed: list[int] = []
    supervisor.start([Child("a", python(ANSWERING, port, 0, status), ready_url=f"http://127.0.0.1:{port}/")])
    assert supervisor.wait_ready(10)
    assert supervisor.run_until_signal(stop_when(kill)) == 0
    assert supervisor.failure is None


def test_who_was_steady_is_forgiven(supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STEADY", 0.0)
    supervisor = supervise(crash_limit=1)
    supervisor.start([Child("bad", python(CRASHING, 3))])
    assert supervisor.run_until_signal(stop_when(lambda: len(booms(tmp_path / "logs" / "bad.log")) == 4)) == 0


def test_a_child_that_ends_well_is_started_again(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(crash_limit=1)
    supervisor.start([Child("a", python(CRASHING, 0))])
    assert supervisor.run_until_signal(stop_when(lambda: len(booms(tmp_path / "logs" / "a.log")) == 4)) == 0


def test_a_failure_beside_the_children_ends_everything(supervise: Supervise) -> None:
    def broker_is_lost() -> None:
        raise StartError("the broker does not start again")

    supervisor = supervise()
    supervisor.start([Child("a", ["sleep", "60"])])
    assert supervisor.run_until_signal(broker_is_lost) == 1
    assert supervisor.failure == "the broker does not start again"


def test_a_child_that_cannot_be_executed_stops_those_before_it(supervise: Supervise) -> None:
    supervisor = supervise()
    with pytest.raises(StartError, match="no/such/program"):
        supervisor.start([Child("a", ["sleep", "60"]), Child("b", ["/no/such/program"])])
    assert supervisor.pids == {}


def test_children_join_and_leave_while_the_others_are_looked_after(supervise: Supervise, tmp_path: Path) -> None:
    book = tmp_path / "book"
    supervisor = supervise()
    supervisor.start([Child("a", python(NOTING, book, "a"))])
    for name in ("b", "c"):
        supervisor.add(Child(name, python(NOTING, book, name, 1)))
    with pytest.raises(ValueError, match="b is there already"):
        supervisor.add(Child("b", ["sleep", "60"]))
    assert list(supervisor.pids) == ["a", "b", "c"]
    _tick_until(supervisor, lambda: len(notes(book, "started")) == 3)
    os.kill(supervisor.pids["a"], signal.SIGKILL)
    supervisor.remove("b", "c")
    assert sorted(notes(book, "asked")) == sorted(notes(book, "stopped")) == ["b", "c"]
    assert max(times(book, "asked")) < min(times(book, "stopped"))
    assert list(supervisor.pids) == ["a"], "it was started again meanwhile"
    with pytest.raises(KeyError):
        supervisor.remove("b")


def test_a_child_that_does_not_leave_is_killed(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise()
    supervisor.start([Child("a", ["sleep", "60"])])
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True);"
    supervisor.add(Child("deaf", python(script + "time.sleep(60)"), stop_timeout=0.2))
    _tick_until(supervisor, (tmp_path / "logs" / "deaf.log").read_text)
    supervisor.remove("deaf")
    assert list(supervisor.pids) == ["a"]


def _tick_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    """As a program does that has a loop of its own."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        supervisor.tick()
        time.sleep(0.01)
