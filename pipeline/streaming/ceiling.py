"""A ceiling on dead letters: a stage that fails on most of what it reads is broken, and must not empty its topic."""

from collections import deque
from collections.abc import Sequence

from pipeline.config import DeadLetters
from pipeline.streaming.stage import Record


class Halted(Exception):
    """A source reached its ceiling; its text says how. Of its window only what is in `done` is acknowledged."""

    done: Sequence[Record] = ()


class Ceiling:
    """Counts one source's last records. Since the process started: starting it again is the operator's go-ahead."""

    #: Records looked back upon.
    LAST = 1000

    def __init__(self, topic: str, limits: DeadLetters) -> None:
        self._topic = topic
        self._limits = limits
        self._last: deque[bool] = deque(maxlen=self.LAST)
        self._dead = 0

    def good(self, records: int) -> None:
        """These were read and done."""
        for _ in range(min(records, self.LAST)):
            self._add(False)

    def bad(self, reason: str) -> None:
        """One more is about to go to the dead letters. Raises Halted where it must not."""
        self._add(True)
        if self._dead >= self._limits.least and self._dead > self._limits.share * len(self._last):
            raise Halted(
                f"{self._dead} of the last {len(self._last)} records of {self._topic} were dead letters, the last "
                f"because of: {reason}. Nothing more is read from it; mend the cause and start this worker again "
                "(what went to the dead letters waits for `sms-pipeline dead-letters replay`)"
            )

    def _add(self, dead: bool) -> None:
        if len(self._last) == self.LAST:
            self._dead -= self._last[0]
        self._last.append(dead)
        self._dead += dead
