from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from children import gone

from pipeline.ops.child import StartError, spawn, tail, terminate


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_output_environment_and_directory(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    script = "import os; print(os.environ['GREETING'], os.environ['PATH'] != '', os.getcwd())"
    for greeting in ("hello", "again"):
        child = spawn([sys.executable, "-c", script], log=log, env={"GREETING": greeting}, directory=tmp_path)
        assert child.wait(10) == 0
    assert log.read_text() == f"hello True {tmp_path}\nagain True {tmp_path}\n"


def test_a_child_has_a_session_of_its_own(tmp_path: Path) -> None:
    child = spawn(["sleep", "60"], log=None)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        assert terminate(child, 5)


def test_terminate_kills_after_the_deadline(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = spawn([sys.executable, "-c", script], log=log)
    wait_for(lambda: "deaf" in tail(log))
    assert not terminate(child, 0.2)
    assert child.returncode == -signal.SIGKILL


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot start /no/such/program: No such file"):
        spawn(["/no/such/program"], log=tmp_path / "log")


def test_spawning_in_another_thread_is_refused() -> None:
    refused = []

    def try_it() -> None:
        with pytest.raises(RuntimeError, match="main thread") as caught:
            spawn(["true"], log=None)
        refused.append(caught)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert refused


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    script = "from pipeline.ops.child import spawn\nprint(spawn(['sleep', '60'], log=None).pid, flush=True)\ninput()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin and parent.stdout
    with parent.stdin, parent.stdout:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
        parent.wait()
    wait_for(lambda: gone(pid), 5)


def test_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert tail(log, 2) == "line 4998\nline 4999"
