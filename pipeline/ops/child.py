"""Child processes that never outlive their parent.

On Linux the kernel itself sends SIGKILL to the child when its parent ends, however it ends (prctl(2),
PR_SET_PDEATHSIG). Everything started here survives that: Kafka recovers its log at the next start, and a stage picks
up at its last commit. On other systems a parent that is killed by SIGKILL leaves its children running; every
ordinary way to end (SIGTERM, Ctrl-C, an exception) still stops them through the owner's `stop`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StartError(Exception):
    """A process could not be started; the message tells the operator what is wrong and what to do."""


def spawn(
    argv: Sequence[str], *, log: Path | None, env: Mapping[str, str] | None = None, directory: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `argv` as a child that dies with this process.

    Output is appended to `log` (None: this process's own output). `env` is added to this process's environment.
    `directory` is the child's working directory (None: this process's). The child leads a session of its own, so that
    Ctrl-C in a terminal reaches only its parent, which drains it. Call it from the main thread: the kernel's death
    signal follows the *thread* that forked.
    Raises StartError when the program cannot be executed.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("spawn belongs in the main thread: a child dies with the thread that started it")
    output = open(log, "ab") if log else None  # noqa: SIM115 - closed below, once the child holds it
    try:
        return subprocess.Popen(  # noqa: S603 - argv comes from this project, never from a request
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env={**os.environ, **env} if env else None,
            cwd=directory,
            start_new_session=True,
            preexec_fn=_dying_with_parent(),
        )
    except OSError as error:
        raise StartError(f"cannot start {argv[0]}: {error.strerror}") from error
    finally:
        if output:
            output.close()


def terminate(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Send SIGTERM, wait up to `timeout` seconds, then SIGKILL. True when the child ended by itself in time."""
    process.terminate()
    try:
        process.wait(timeout)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def tail(path: Path, lines: int = 20) -> str:
    """Return the last `lines` lines of a log, at most its last 16 KiB; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _dying_with_parent() -> Callable[[], None] | None:
    """Return what the forked child runs before exec. All look-ups happen here, before the fork."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the signal was armed
            os.kill(os.getpid(), signal.SIGKILL)

    return arm
