"""Uploads that were taken: who asks again with the same id hears of the first."""

from collections import OrderedDict
from typing import NamedTuple

import msgspec
import structlog

from pipeline.config import Settings
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from schemas import batch
from schemas.batch import BatchRecord

log = structlog.get_logger()

#: Whole records kept, the newest: those that the read model may not have yet.
_RECENT = 1_000


class Taken(NamedTuple):
    """What is kept of every upload that the topic holds."""

    digest: str
    created_at: str


class Register:
    """What the topic tells."""

    def __init__(self) -> None:
        self._taken: dict[bytes, Taken] = {}
        self._recent: OrderedDict[bytes, BatchRecord] = OrderedDict()

    def taken(self, record: BatchRecord) -> Taken | None:
        """The upload of this account and id that was taken before."""
        return self._taken.get(record.key)

    def recent(self, account: str, id_: str) -> BatchRecord | None:
        """A batch that was taken a moment ago."""
        return self._recent.get(f"{account}/{id_}".encode())

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        if value is None:
            self._taken.pop(key, None)
            self._recent.pop(key, None)
            return
        try:
            record = batch.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("batch.unreadable", key=key, error=str(error))
            return
        self._taken[key] = Taken(record.digest, record.created_at)
        self._recent[key] = record
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)


class BatchDirectory(Register, Directory):
    """The register, up to date. It reads to the end of what is committed, so behind an open transaction it waits for
    nobody."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).batches)
