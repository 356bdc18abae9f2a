"""Bulk gives way to the priority lane, in all stages of a process, between one piece of work and the next."""

import asyncio
import contextlib


class Courtesy:
    """Never waits for longer than a moment, so that a stream of login codes slows a campaign and does not stop it."""

    LONGEST_SECONDS = 0.05

    def __init__(self) -> None:
        self._busy = 0
        self._idle = asyncio.Event()

    def begin(self) -> None:
        """A priority record came in."""
        self._busy += 1
        self._idle.clear()

    def end(self, records: int) -> None:
        """Priority records are done."""
        self._busy -= records
        if not self._busy:
            self._idle.set()

    async def breathe(self) -> None:
        """Let others run; while there are priority records, wait for them."""
        await asyncio.sleep(0)
        if self._busy:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.LONGEST_SECONDS):
                    await self._idle.wait()


#: One for all stages of this process: they share its loop.
courtesy = Courtesy()
