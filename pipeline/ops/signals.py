"""Signals as something to wait for."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any


class Signals:
    """Takes SIGTERM, SIGINT and SIGCHLD of this process until `close`, which puts the earlier handlers back.

    Python writes a byte to a socket for each, so that none slips in between looking and sleeping. `stop_asked`:
    SIGTERM or SIGINT came. `hurry` is called when one comes while it is set: the second of a user out of patience.
    It runs in the signal handler, whatever the main thread is at.
    """

    def __init__(self) -> None:
        self.stop_asked = False
        self.hurry: Callable[[], None] | None = None
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._earlier_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._earlier: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        }

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes or came since the last call, a child's death included."""
        self._reader.settimeout(max(0.0, seconds))
        try:
            self._reader.recv(4096)
        except (TimeoutError, BlockingIOError):
            return

    def close(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_fd)
        self._reader.close()
        self._writer.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGCHLD:  # it only wakes the sleeper, who looks for himself
            return
        self.stop_asked = True
        if self.hurry:
            self.hurry()
