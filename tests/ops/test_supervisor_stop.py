"""Stopping: in order, in time, and at once for who is out of patience."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from children import DEAF, NOTING, gone, notes, python, stop_when, times

from pipeline.ops import supervisor as supervisor_module
from pipeline.ops.supervisor import Child, Supervisor

Supervise = Callable[..., Supervisor]


def test_groups_in_reverse_order_each_together_and_the_signal_handlers_back(
    supervise: Supervise, tmp_path: Path
) -> None:
    book, before = tmp_path / "book", signal.getsignal(signal.SIGTERM)
    supervisor = supervise()
    named = [("a-0", "a"), ("b-0", "b"), ("b-1", "b"), ("c", ""), ("a-1", "a")]
    supervisor.start([Child(name, python(NOTING, book, name, 0.3), group=group) for name, group in named])
    assert supervisor.run_until_signal(stop_when(lambda: len(notes(book)) == 5)) == 0
    supervisor.stop(last=lambda: book.open("a").write("kafka stopped 0\n") and None)
    stopped = notes(book, "stopped")
    assert [name[0] for name in stopped] == ["c", "b", "b", "a", "a", "k"]
    asked, ended = sorted(times(book, "asked")), times(book, "stopped")
    c, *b_and_a = ended[:5]  # those of a group note in any order
    assert c < asked[1] <= asked[2] < min(b_and_a[:2]) <= max(b_and_a[:2]) < asked[3] <= asked[4] < min(b_and_a[2:])
    assert (supervisor.failure, supervisor.pids) == (None, {})
    assert signal.getsignal(signal.SIGTERM) is before
    supervisor.stop()


def test_a_deaf_child_is_killed_after_its_deadline(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, pid = _running(
        supervise, tmp_path, Child("deaf", python(DEAF, tmp_path / "book", "a"), stop_timeout=0.3)
    )
    began = time.monotonic()
    supervisor.stop()
    assert 0.3 <= time.monotonic() - began < 5
    assert gone(pid)


def test_all_together_have_a_deadline(supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "DRAIN_SECONDS", 0.3)
    deaf = [Child(name, python(DEAF, tmp_path / "book", name)) for name in "abc"]
    supervisor, _ = _running(supervise, tmp_path, *deaf)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5


def test_a_child_that_was_stopped_hears_that_it_shall_end(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, pid = _running(supervise, tmp_path, Child("a", python(NOTING, tmp_path / "book", "a")))
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    assert notes(tmp_path / "book", "stopped") == ["a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(supervise: Supervise, tmp_path: Path, number: signal.Signals) -> None:
    book, hurried = tmp_path / "book", []

    def out_of_patience() -> None:
        deadline = time.monotonic() + 10
        while not notes(book, "asked") and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    deaf = [Child(name, python(DEAF, book, name), stop_timeout=60) for name in "ab"]
    supervisor, _ = _running(supervise, tmp_path, *deaf, on_hurry=lambda: hurried.append(True))
    thread = threading.Thread(target=out_of_patience)
    thread.start()
    began = time.monotonic()
    supervisor.stop()
    thread.join()
    assert time.monotonic() - began < 10
    assert hurried == [True]
    assert notes(book, "asked") == ["b"], "the other was killed before its turn"


def _running(supervise: Supervise, tmp_path: Path, *children: Child, **arguments: object) -> tuple[Supervisor, int]:
    """A supervisor that was told to stop once its children had noted their start, and the first child."""
    supervisor = supervise(**arguments)
    supervisor.start(children)
    pid = supervisor.pids[children[0].name]
    assert supervisor.run_until_signal(stop_when(lambda: len(notes(tmp_path / "book")) == len(children))) == 0
    return supervisor, pid
