"""The versions of the price list: each a record on a compacted topic, known to every process that prices.

A version is in force from its validFrom, by the time of the record that is priced: a replay finds the same list. So a
version is announced some seconds ahead, before anybody prices by it, and never for a time that is past.
"""

import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer

from pipeline.billing.price_book import PriceBook, Version
from pipeline.billing.price_format import Document, to_document
from pipeline.billing.price_rows import format_time, parse_time
from pipeline.billing.prices import PriceList
from pipeline.config import Settings
from pipeline.lists import price_list
from pipeline.streaming import client
from pipeline.streaming.client import MAX_RECORD_BYTES
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from schemas.errors import MALFORMED_REQUEST, Error

log = structlog.get_logger()

#: So far ahead a version is announced at least: a follower has it within a second.
AHEAD_MS = 5_000
# What a record holds beside its value, and the batch around it.
_OVERHEAD = 1024


class PriceRecord(msgspec.Struct, rename="camel", frozen=True):
    """A version as it stands on the topic, under its name as key. Times in RFC 3339, UTC. `list`: as a JSON list is
    imported. `valid_from` null: never in force by this record; a configured file, kept for the trace."""

    version: str
    name: str
    valid_from: str | None
    imported_at: str
    imported_by: str
    list: msgspec.Raw

    @property
    def key(self) -> bytes:
        return self.version.encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


_decode = msgspec.json.Decoder(PriceRecord).decode


def imported(prices: PriceList, name: str, valid_from: int, now: int, by: str) -> PriceRecord | Error:
    """The record of a list that is to be in force from `valid_from`, `now` (Unix ms) being imported.

    The same list from the same moment is the same version. Error 3001: less than AHEAD_MS ahead, or too large.
    """
    if valid_from < now + AHEAD_MS:
        earliest = format_time(now + AHEAD_MS)
        words = f"valid from {format_time(valid_from)} is not after {earliest}: what is priced already stays so"
        return Error(MALFORMED_REQUEST, words)
    moment = format_time(valid_from)
    digest = hashlib.sha256(f"{prices.digest} {moment}".encode()).hexdigest()[:10]
    version = f"{moment[:10].replace('-', '')}-{digest}"
    return _record(prices, version, name, moment, now, by)


def configured(prices: PriceList, now: int, by: str) -> PriceRecord | Error:
    """The record of a configured file, so that prices can be traced to it when the file is another. Error 3001: too
    large."""
    return _record(prices, prices.version, prices.name, None, now, by)


def _record(
    prices: PriceList, version: str, name: str, valid_from: str | None, now: int, by: str
) -> PriceRecord | Error:
    content: dict[str, Any] = to_document(Document("", 0, prices.rows))
    raw = msgspec.Raw(msgspec.json.encode(content))
    record = PriceRecord(version, name, valid_from, format_time(now), by, raw)
    size = len(record.value) + _OVERHEAD
    if size > MAX_RECORD_BYTES:
        return Error(
            MALFORMED_REQUEST,
            f"the list takes {size:,} bytes as a record, {MAX_RECORD_BYTES:,} are possible: "
            f"{sum(map(len, prices.rows)):,} rows are too many",
        )
    return record


async def put(producer: AIOKafkaProducer, topic: str, record: PriceRecord) -> None:
    """Have a version on the topic; returns once it is durable. Raises KafkaError."""
    await producer.send_and_wait(topic, key=record.key, value=record.value)


class Register:
    """What the topic tells, as a book that begins with the configured list."""

    def __init__(self, prices: PriceList) -> None:
        self.book = PriceBook(prices)

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        if value is None:
            self.book.remove(key.decode("utf-8", "replace"))
            return
        try:
            record = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("prices.unreadable", key=key, error=str(error))
            return
        version = _version(record)
        if version is None or record.key != key:
            log.error("prices.unreadable", key=key, error="its times, or a version that is not its key")
            return
        self.book.add(version, _loader(version, bytes(record.list)))


def _version(record: PriceRecord) -> Version | None:
    imported_at = parse_time(record.imported_at)
    valid_from = None if record.valid_from is None else parse_time(record.valid_from)
    if isinstance(imported_at, Error) or isinstance(valid_from, Error):
        return None
    if valid_from is not None and valid_from < imported_at:
        return None  # it would change what was priced already
    return Version(record.version, record.name, valid_from, imported_at, record.imported_by)


def _loader(version: Version, content: bytes) -> Callable[[], PriceList | None]:
    """How the list of a version is made. Few are needed at a time: the others wait compressed, a tenth as large."""
    packed = zlib.compress(content, 1)

    def load() -> PriceList | None:
        found = PriceList.read(zlib.decompress(packed).decode("utf-8", "replace"))
        if isinstance(found, list):
            log.error("prices.refused", version=version.version, faults=found[:10])
            return None
        return PriceList(
            found.rows, name=version.name, version=version.version, valid_from=version.valid_from or found.valid_from
        )

    return load


class PriceDirectory(Register, Directory):
    """Every version, in memory and up to date; before the first of them the configured list or the sample is in
    force. Start it before use. Raises ConfigError where the configured list is faulty."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(price_list(settings))
        self._settings = settings
        self._topic = TopicNames(settings.kafka.topic_prefix).prices
        self.follow(settings.kafka, self._topic)

    async def keep_configured(self, now: int, by: str) -> None:
        """Have the configured list on the topic, for the trace; whoever sets prices by it does this once started.
        Raises KafkaError."""
        if self.book.version(self.book.configured.version):
            return
        record = configured(self.book.configured, now, by)
        if isinstance(record, Error):
            log.warning("prices.not_kept", version=self.book.configured.version, reason=record.message)
            return
        producer = client.producer(self._settings.kafka)
        try:
            await producer.start()
            await put(producer, self._topic, record)
        finally:
            await producer.stop()
