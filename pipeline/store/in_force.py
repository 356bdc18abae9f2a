"""The versions of the price list, as the projector follows them."""

import threading
import time

from pipeline.billing import PriceList
from pipeline.config import Settings
from pipeline.prices import AHEAD_MS, PriceDirectory

#: A version is announced AHEAD_MS before it is in force. Half of that is left for the import itself, and for clocks.
_COMPLETE_MS = AHEAD_MS // 2


class InForce(PriceDirectory):
    """Asked by the writer's thread while the loop's reads the topic."""

    def __init__(self, settings: Settings) -> None:
        self._changing = threading.Lock()
        self._complete_until = 0
        super().__init__(settings)

    def take(self, key: bytes, value: bytes | None) -> None:
        with self._changing:
            super().take(key, value)

    def at(self, unix_ms: int) -> PriceList:
        """The list in force at a moment."""
        with self._changing:
            return self.book.at(unix_ms)

    async def refresh(self) -> None:
        """Know every version that is in force by now. The topic is asked for its end only where what was read before
        does not say so already. Raises KafkaError; bound it."""
        now = time.time_ns() // 1_000_000
        if now >= self._complete_until:
            await super().refresh()
            self._complete_until = now + _COMPLETE_MS
