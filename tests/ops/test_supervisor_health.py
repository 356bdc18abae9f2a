"""Who is ready, and who hangs: asked over HTTP, of real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from children import ANSWERING, free_port, python, stop_when

from pipeline.ops import health as health_module
from pipeline.ops.health import Health
from pipeline.ops.supervisor import Child, Supervisor

Supervise = Callable[..., Supervisor]


class Web:
    """A child that answers over HTTP with `status`, each time after `seconds`."""

    def __init__(self, directory: Path, seconds: float = 0.0) -> None:
        self.port, self._status = free_port(), directory / "status"
        self.answer(200)
        url = f"http://127.0.0.1:{self.port}"
        argv = python(ANSWERING, self.port, seconds, self._status)
        self.child = Child("web", argv, ready_url=f"{url}/ready", live_url=f"{url}/live")

    def answer(self, status: int) -> None:
        whole = self._status.with_suffix(".new")
        whole.write_text(str(status))
        whole.rename(self._status)


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def test_waits_until_all_are_ready(supervise: Supervise, web: Web, tmp_path: Path) -> None:
    def soon() -> None:
        if (tmp_path / "logs" / "web.log").read_text().count("asked /ready") == 3:
            web.answer(200)

    web.answer(503)
    supervisor = supervise()
    supervisor.start([Child("plain", ["sleep", "60"]), web.child])
    assert supervisor.wait_ready(10, soon)
    assert "asked /ready\nasked /ready\nasked /ready" in (tmp_path / "logs" / "web.log").read_text()


def test_waits_again_for_who_was_killed(supervise: Supervise, web: Web) -> None:
    supervisor = supervise()
    supervisor.start([web.child])
    assert supervisor.wait_ready(10)
    before = supervisor.pids["web"]
    os.kill(before, signal.SIGKILL)
    assert supervisor.wait_ready(10)
    assert supervisor.pids["web"] != before


def test_a_child_never_ready_ends_everything(supervise: Supervise) -> None:
    supervisor = supervise()
    script = "import time; print('still thinking', flush=True); time.sleep(60)"
    supervisor.start([Child("slow", python(script), ready_url="http://127.0.0.1:9/")])
    assert not supervisor.wait_ready(0.5)
    assert supervisor.run_until_signal() == 1
    assert supervisor.failure
    assert "slow was not ready within 0.5 s" in supervisor.failure
    assert "still thinking" in supervisor.failure


def test_a_stop_while_waiting_for_readiness_is_heard(supervise: Supervise) -> None:
    supervisor = supervise()
    supervisor.start([Child("slow", ["sleep", "60"], ready_url="http://127.0.0.1:9/")])
    assert not supervisor.wait_ready(20, stop_when(lambda: True))
    assert supervisor.stop_asked
    assert supervisor.run_until_signal() == 0


def test_who_stands_still_for_too_long_is_killed_and_replaced(
    supervise: Supervise, web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = supervise(silence=1.0)
    supervisor.start([web.child])
    assert supervisor.wait_ready(10)
    before = supervisor.pids["web"]
    os.kill(before, signal.SIGSTOP)
    stopped = time.monotonic()
    assert supervisor.run_until_signal(stop_when(lambda: supervisor.pids.get("web") not in (None, before))) == 0
    assert time.monotonic() - stopped >= 1.0
    assert "child hangs" in capsys.readouterr().out


def test_who_says_that_its_loop_stands_still_is_killed(supervise: Supervise, web: Web) -> None:
    supervisor = supervise(silence=0.5)
    supervisor.start([web.child])
    assert supervisor.wait_ready(10)
    before = supervisor.pids["web"]
    web.answer(503)
    assert supervisor.run_until_signal(stop_when(lambda: supervisor.pids.get("web") not in (None, before))) == 0


def test_who_is_only_slow_is_left_alone(supervise: Supervise, tmp_path: Path) -> None:
    """It takes a tenth of its time for an answer, and once stands still for most of it."""
    web = Web(tmp_path, seconds=0.4)
    supervisor = supervise(silence=4.0)
    supervisor.start([web.child])
    assert supervisor.wait_ready(10)
    before, began = supervisor.pids["web"], time.monotonic()

    def look() -> bool:
        lived = time.monotonic() - began
        os.kill(before, signal.SIGSTOP if 1.0 < lived < 3.0 else signal.SIGCONT)
        return lived > 6.0

    assert supervisor.run_until_signal(stop_when(look)) == 0
    assert supervisor.pids["web"] == before


def test_the_time_when_nobody_looked_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now)
    health = Health(None, "http://127.0.0.1:9/", patience=60.0)  # nobody answers there
    now += 3600.0
    health.look()
    assert health.silent == 1.0
    for _ in range(120):  # twice its patience: it never said a word
        assert not health.hangs
        now += 1.0
        health.look()
    assert health.hangs
    health.close()
