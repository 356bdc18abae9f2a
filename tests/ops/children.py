"""Tiny Python programs for a supervisor to run, and how a test follows them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Notes its start and its end in the file given first. After SIGTERM it takes the seconds given third.
NOTING = """
import signal, sys, time
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0
def note(what):
    with open(sys.argv[1], "a") as file: file.write(f"{sys.argv[2]} {what} {time.monotonic()}\\n")
def stop(*_):
    note("asked")
    time.sleep(seconds)
    note("stopped")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
note("started")
while True: signal.pause()
"""
DEAF = """
import signal, sys, time
def note(what):
    with open(sys.argv[1], "a") as file: file.write(f"{sys.argv[2]} {what} {time.monotonic()}\\n")
signal.signal(signal.SIGTERM, lambda *_: note("asked"))
note("started")
while True: signal.pause()
"""
# Ends as told: with an exit code, or by a signal where it is below 0.
CRASHING = """
import os, sys, time
print("boom at", time.monotonic(), flush=True)
code = int(sys.argv[1])
if code < 0: os.kill(os.getpid(), -code)
sys.exit(code)
"""
# Answers GET on the port given first, after the seconds given second, with the status in the file given third. A
# server of one thread: who is slow with one answer is slow with all.
ANSWERING = """
import http.server, pathlib, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        self.send_response(int(pathlib.Path(sys.argv[3]).read_text()))
        self.end_headers()
    def log_message(self, *_): print("asked", self.path, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", script, *map(str, arguments)]


def notes(path: Path, what: str | None = None) -> list[str]:
    """What was noted, in order: "NAME WHAT", or the names alone of those who noted `what`."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [f"{who} {noted}" if what is None else who for who, noted, _ in lines if what in (None, noted)]


def times(path: Path, what: str) -> list[float]:
    """When it was noted, in monotonic seconds."""
    return [float(at) for _, noted, at in map(str.split, path.read_text().splitlines()) if noted == what]


def stop_when(condition: Callable[[], object], seconds: float = 20) -> Callable[[], None]:
    """An on_tick that sends this process SIGTERM once the condition holds, as an operator would."""
    deadline = time.monotonic() + seconds

    def tick() -> None:
        assert time.monotonic() < deadline, "waited in vain"
        if condition():
            os.kill(os.getpid(), signal.SIGTERM)

    return tick


def gone(pid: int) -> bool:
    """True when no such process runs; one that ended and waits to be reaped is gone too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
