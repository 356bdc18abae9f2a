"""The supervisor with tiny Python children. `on_tick` is where a test looks at the running system."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ops.child import StartError
from pipeline.ops.supervisor import Child, Supervisor

# notes its starts and its SIGTERM in the file given as first argument
NOTING = """
import signal, sys, time
def note(what):
    with open(sys.argv[1], "a") as file: file.write(f"{sys.argv[2]} {what} {time.monotonic()}\\n")
def stop(*_): note("stopped"); sys.exit()
signal.signal(signal.SIGTERM, stop)
note("started")
while True: signal.pause()
"""
DEAF = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w').close(); signal.pause()"
)
CRASHING = "import sys, time; print('boom at', time.monotonic()); sys.exit(3)"
SLOWLY_READY = """
import http.server, sys
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        self.send_response(200 if asked > 2 else 503)
        self.end_headers()
    def log_message(self, *_): print("asked", asked, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", script, *map(str, arguments)]


def notes(path: Path) -> list[tuple[str, str, float]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [(who, what, float(at)) for who, what, at in map(str.split, lines)]


def stop_when(condition: Callable[[], object], seconds: float = 20) -> Callable[[], None]:
    """An on_tick that sends this process SIGTERM once the condition holds, as an operator would."""
    deadline = time.monotonic() + seconds

    def tick() -> None:
        assert time.monotonic() < deadline, "waited in vain"
        if condition():
            os.kill(os.getpid(), signal.SIGTERM)

    return tick


def test_stops_in_reverse_order_and_puts_the_signal_handlers_back(tmp_path: Path) -> None:
    book, before = tmp_path / "book", signal.getsignal(signal.SIGTERM)
    supervisor = Supervisor(tmp_path)
    supervisor.start([Child(name, python(NOTING, book, name)) for name in "abc"])
    assert list(supervisor.pids) == ["a", "b", "c"]
    assert supervisor.run_until_signal(stop_when(lambda: len(notes(book)) == 3)) == 0
    assert [who for who, what, _ in notes(book) if what == "stopped"] == ["c", "b", "a"]
    assert supervisor.failure is None
    assert supervisor.pids == {}
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_deaf_child_is_killed_after_its_deadline(tmp_path: Path) -> None:
    up = tmp_path / "up"
    supervisor = Supervisor(tmp_path)
    supervisor.start([Child("deaf", python(DEAF, up), stop_timeout=0.3)])
    pid = supervisor.pids["deaf"]
    began = time.monotonic()
    assert supervisor.run_until_signal(stop_when(up.exists)) == 0
    assert time.monotonic() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_killed_child_is_noticed_at_once_and_started_again(tmp_path: Path) -> None:
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

    supervisor = Supervisor(tmp_path)
    supervisor.start([Child("a", python(NOTING, book, "a"))])
    assert supervisor.run_until_signal(stop_when(look)) == 0
    assert noticed[0] - killed[0] < 0.5
    (_, _, first), (_, _, second), _ = notes(book)
    assert second - killed[0] >= 0.5 > 0 < first


def test_a_crash_loop_backs_off_then_ends_everything(tmp_path: Path) -> None:
    book = tmp_path / "book"
    supervisor = Supervisor(tmp_path, crash_limit=2)
    supervisor.start([Child("good", python(NOTING, book, "good")), Child("bad", python(CRASHING))])
    assert supervisor.run_until_signal() == 1
    assert supervisor.failure
    assert "bad died 3 times within 60 s" in supervisor.failure
    booms = [float(line.split()[-1]) for line in supervisor.failure.splitlines() if line.startswith("boom")]
    assert len(booms) == 3
    assert 0.5 <= booms[1] - booms[0] < 1.0 <= booms[2] - booms[1] < 2.0
    assert [what for _, what, _ in notes(book)] == ["started", "stopped"]


def test_old_deaths_are_forgiven(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, crash_limit=1, crash_window=0.1)
    supervisor.start([Child("bad", python(CRASHING))])
    assert supervisor.run_until_signal(stop_when(lambda: (tmp_path / "bad.log").read_text().count("boom") == 3)) == 0


def test_waits_for_readiness_over_http(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    supervisor = Supervisor(tmp_path)
    try:
        supervisor.start(
            [
                Child("plain", ["sleep", "60"]),
                Child("web", python(SLOWLY_READY, port), ready_url=f"http://127.0.0.1:{port}/ready"),
            ]
        )
        assert supervisor.wait_ready(10)
        assert "asked 3" in (tmp_path / "web.log").read_text()
    finally:
        supervisor.stop()


def test_a_child_never_ready_ends_everything(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    script = "import time; print('still thinking', flush=True); time.sleep(60)"
    supervisor.start([Child("slow", python(script), ready_url="http://127.0.0.1:9/")])
    assert not supervisor.wait_ready(0.5)
    assert supervisor.run_until_signal() == 1
    assert supervisor.failure
    assert "slow was not ready within 0.5 s" in supervisor.failure
    assert "still thinking" in supervisor.failure


def test_a_stop_while_waiting_for_readiness_is_heard(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor.start([Child("slow", ["sleep", "60"], ready_url="http://127.0.0.1:9/")])
    assert not supervisor.wait_ready(20, stop_when(lambda: True))
    assert supervisor.run_until_signal() == 0


def test_a_failure_beside_the_children_ends_everything(tmp_path: Path) -> None:
    def broker_is_lost() -> None:
        raise StartError("the broker does not start again")

    supervisor = Supervisor(tmp_path)
    supervisor.start([Child("a", ["sleep", "60"])])
    assert supervisor.run_until_signal(broker_is_lost) == 1
    assert supervisor.failure == "the broker does not start again"


def test_a_child_that_cannot_be_executed_stops_those_before_it(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    with pytest.raises(StartError, match="no/such/program"):
        supervisor.start([Child("a", ["sleep", "60"]), Child("b", ["/no/such/program"])])
    assert supervisor.pids == {}
