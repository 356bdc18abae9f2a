"""A process that stood still for as long as a session lasts must not go on: others own its partitions by now.

A stopped process (SIGSTOP, a paused machine) wakes with its work in its hands and its group membership gone. Its loop
notes the time twice a second; whoever is about to write, send or call a carrier checks that the last note is fresh, and
SIGCONT checks before anything else runs. Too old ends the process; the supervisor starts it anew.
"""

import asyncio
import os
import signal
import time

import structlog

log = structlog.get_logger()

#: Exit code of a process that found its own work unsafe to continue.
EXIT_UNSAFE = 70
#: Below the session timeout (streaming/app.py) by more than a beat and a heartbeat.
_LONGEST_SECONDS = 7.0
_BEAT_SECONDS = 0.5

_last = float("inf")


def check() -> None:
    """End the process if it stood still; returns where it did not (or where no pulse was started, as in tests)."""
    still = time.monotonic() - _last
    if still > _LONGEST_SECONDS:
        log.critical("process.stood_still", seconds=round(still, 1))
        os._exit(EXIT_UNSAFE)


def age() -> float:
    """Seconds since the last beat; minus infinity where no pulse was started."""
    return time.monotonic() - _last


async def keep() -> None:
    """Note the time until cancelled. Starts the watch."""
    global _last
    signal.signal(signal.SIGCONT, lambda *_: check())
    _last = time.monotonic()
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        check()
        _last = time.monotonic()
