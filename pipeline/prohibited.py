"""The moderation's lists, kept up to date while the system runs: files of the configuration, and a compacted topic.

A change is in force within a second. A faulty file is refused as a whole, with its faults by line; what was in force
before stays, over restarts too: what was read last without a fault is kept beside the tables.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable
from hashlib import sha256
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
    """The same, following the files and the topic. Raises ConfigError where a file is faulty at the start and none was
    ever read without a fault."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept = _Kept(settings)
        super().__init__(self._kept.rules(()))
        self._entries: dict[bytes, Entry] = {}
        self._news = False
        self._seen = self._stable = _stamps(settings.moderation.files)
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
            stamps, before = _stamps(self._settings.moderation.files), self._stable
            self._stable = stamps
            changed = stamps != self._seen and stamps == before  # and stays: nobody is writing it
            if self._news or changed:
                self._seen = stamps if changed else self._seen
                await self._renew()

    async def _renew(self) -> None:
        """Build in a thread: a hundred thousand terms take a moment, and the stage works on meanwhile."""
        self._news = False
        entries = tuple(self._entries.values())
        try:
            self.rules = await asyncio.to_thread(self._kept.rules, entries)
        except ConfigError:
            return  # said already; what is in force stays
        log.info("lists.in_force", entries=len(self.rules), of_topic=len(entries))


class _Kept:
    """The files as they were read last without a fault, kept in the storage directory for the next start."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.storage.directory / "lists"

    def rules(self, entries: Iterable[Entry]) -> Rules:
        """What is prohibited by the files as they are, or, where they are faulty, as they were."""
        try:
            found = lists.rules(self._settings, entries)
        except ConfigError as error:
            metrics.LIST_RELOADS.labels("refused").inc()
            log.error("lists.refused", error=str(error))
            if not self._directory.is_dir():
                raise
            return lists.rules(self._of_copies(), entries)
        metrics.LIST_RELOADS.labels("taken").inc()
        self._keep()
        return found

    def _of_copies(self) -> Settings:
        """The settings with the copies in place of the files."""
        moderation = self._settings.moderation
        named = {
            field: [self._copy(path) for path in getattr(moderation, field) if self._copy(path).is_file()]
            for field in ("terms", "blocked_domains", "allowed_domains", "protected_domains")
        }
        return self._settings.model_copy(update={"moderation": moderation.model_copy(update=named)})

    def _copy(self, path: Path) -> Path:
        return self._directory / f"{sha256(str(path).encode()).hexdigest()[:16]}-{path.name}"

    def _keep(self) -> None:
        """Several workers may do this at once, so each file is moved into its place whole."""
        with contextlib.suppress(OSError):  # a full disk: the next change tries again
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in self._settings.moderation.files:
                copy = self._copy(path)
                passing = copy.with_name(f"{copy.name}.{os.getpid()}")
                passing.write_bytes(path.read_bytes())
                passing.replace(copy)


def _stamps(files: Iterable[Path]) -> list[tuple[int, int, int]]:
    """What changes with a file: also one that another was moved over."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found
