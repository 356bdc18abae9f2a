"""The moderation's lists, kept up to date while the system runs: files of the configuration, and a compacted topic.

A change is in force within a second. A faulty file is refused as a whole, with its faults by line; what was in force
before stays.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from pipeline import lists
from pipeline.config import ConfigError, Settings
from pipeline.lists import Entry
from pipeline.moderation import Rules
from pipeline.ops import metrics
from pipeline.streaming.follow import Follower
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

#: How often the files are looked at, and the topic's news taken in.
_LOOK_SECONDS = 0.3

_decode = msgspec.json.Decoder(Entry).decode


class Lists:
    """What is in force: `rules`. As it stands, it never changes."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules


class WatchedLists(Lists):
    """The same, following the files and the topic. Raises ConfigError where a file is faulty at the start."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(lists.rules(settings))
        self._settings = settings
        self._entries: dict[bytes, Entry] = {}
        self._news = False
        self._seen = _stamps(settings.moderation.files)
        self._follower = Follower(settings.kafka, TopicNames(settings.kafka.topic_prefix).lists, self.take)
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when every entry of the topic is in force."""
        await self._follower.start()
        await self._renew()
        self._watching = asyncio.create_task(self._watch(), name="lists")

    async def stop(self) -> None:
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._follower.stop()

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        if value is None:
            self._entries.pop(key, None)
        else:
            try:
                self._entries[key] = _decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.error("lists.unreadable", key=key, error=str(error))
                return
        self._news = True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            stamps = _stamps(self._settings.moderation.files)
            if self._news or stamps != self._seen:
                self._seen = stamps
                await self._renew()

    async def _renew(self) -> None:
        """Build in a thread: a hundred thousand terms take a moment, and the stage works on meanwhile."""
        self._news = False
        entries = tuple(self._entries.values())
        try:
            self.rules = await asyncio.to_thread(lists.rules, self._settings, entries)
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            metrics.LIST_RELOADS.labels("refused").inc()
            log.error("lists.refused", error=str(error))
            return
        metrics.LIST_RELOADS.labels("taken").inc()
        log.info("lists.in_force", entries=len(self.rules), of_topic=len(entries))


def _stamps(files: Iterable[Path]) -> list[tuple[int, int, int]]:
    """What changes with a file: also one that another was moved over."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found
