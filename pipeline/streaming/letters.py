"""What a dead letter is: a record that a stage could not read, its key and bytes untouched, on a topic of its own.

Its headers say why, and where it stood:

    reason, stage, stack                    what went wrong, in which stage
    topic, partition, offset, timestamp     the record's place, and its time (ms)
    attempt                                 how often it was tried, this time included
    origin-offset, origin-timestamp         its first place in that partition, where it is a replay

A replay puts it back into that topic and partition, with its first place in the same headers. What was done with a
letter is told by a mark: a record without a value, behind the letter in the same partition, so that the topic never
forgets the mark before the letter:

    mark        replayed, or dropped (it never will be)
    letter      partition:offset of the letter
    by          who did it

Whoever reads the topic tells marks from letters by the header `mark`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from aiokafka import ConsumerRecord

from pipeline.streaming.outbox import Headers

if TYPE_CHECKING:
    from pipeline.streaming.stage import Record

REPLAYED, DROPPED = "replayed", "dropped"

#: Characters kept: with them a letter of the largest record stays within what its topic takes.
_REASON, _STACK = 2000, 4000
#: Digits an offset or a time may have; in ms they last until the year 5138.
_DIGITS = 14


class Place(NamedTuple):
    """Where and when a record stood in its partition. `timestamp_ms`: Unix."""

    offset: int
    timestamp_ms: int


@dataclass(frozen=True)
class Letter:
    """A dead letter without its bytes. `at` and `place.timestamp_ms` in ms, `size` in bytes of the value."""

    partition: int
    offset: int
    at: int
    reason: str
    stage: str
    topic: str
    source: int | None
    place: Place | None
    origin: Place | None
    attempt: int
    size: int

    @property
    def id(self) -> str:
        """partition:offset, where the letter lies."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Mark:
    """What was done with a letter. `letter`: its id; `at` in ms."""

    done: str
    letter: str
    by: str
    at: int


def headers(record: "Record", *, stage: str, reason: str, stack: str = "") -> Headers:
    """The headers of the letter that a record becomes."""
    told = dict(record.headers)
    found = {
        "reason": reason[:_REASON], "stage": stage, "topic": record.topic, "partition": str(record.partition),
        "offset": str(record.offset), "timestamp": str(record.timestamp_ms), "attempt": str(_attempt(told)),
        "stack": stack[-_STACK:],
    }  # fmt: skip
    return [*_encoded(found), *((name, told[name]) for name in _ORIGIN if _origin(told))]


def first_place(record: "Record") -> Place:
    """Where a record stood first: elsewhere than now, where it was replayed.

    Any client can set the headers, so nothing may rest on them alone (see `ids.record_hash`), and none is believed that
    lies in the record's future: whoever could choose it would choose how long a message is valid.
    """
    origin = _origin(dict(record.headers))
    if origin is None or origin.timestamp_ms > record.timestamp_ms:
        return Place(record.offset, record.timestamp_ms)
    return origin


def read(record: ConsumerRecord) -> Letter | Mark:
    """What a record of the topic of dead letters is. A header that is missing or makes no sense is left empty."""
    told = dict(record.headers)
    if "mark" in told:
        return Mark(_text(told, "mark"), _text(told, "letter"), _text(told, "by"), record.timestamp)
    offset, timestamp = _number(told, "offset"), _number(told, "timestamp")
    # A letter without the record's time (of an earlier version) lends its own: it is the same at each replay.
    place = None if offset is None else Place(offset, record.timestamp if timestamp is None else timestamp)
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at=record.timestamp,
        reason=_text(told, "reason"),
        stage=_text(told, "stage"),
        topic=_text(told, "topic"),
        source=_number(told, "partition"),
        place=place,
        origin=_origin(told),
        attempt=_attempt(told),
        size=len(record.value or b""),
    )


def stack_of(record: ConsumerRecord) -> str:
    """The stack on a letter, "" where there is none."""
    return _text(dict(record.headers), "stack")


def replay_headers(letter: Letter, attempt: int) -> Headers:
    """The headers of the record that a letter becomes again, with its first place. `attempt`: how often it is tried."""
    places = zip(_ORIGIN, map(str, first_of(letter)), strict=True)
    return _encoded({**dict(places), "attempt": str(attempt)})


def first_of(letter: Letter) -> Place:
    """Where the letter's record stood first. Only of a letter that has a place."""
    first = letter.origin or letter.place
    assert first is not None
    return first


def mark_headers(letter: Letter, done: str, by: str) -> Headers:
    """The headers of a mark: REPLAYED or DROPPED."""
    return _encoded({"mark": done, "letter": letter.id, "by": by})


_ORIGIN = ("origin-offset", "origin-timestamp")


def _origin(told: Mapping[str, bytes | None]) -> Place | None:
    offset, timestamp = (_number(told, name) for name in _ORIGIN)
    return None if offset is None or timestamp is None else Place(offset, timestamp)


def _attempt(told: Mapping[str, bytes | None]) -> int:
    return _number(told, "attempt") or 1


def _encoded(told: dict[str, str]) -> Headers:
    return [(name, text.encode("utf-8", "replace")) for name, text in told.items()]


def _text(told: Mapping[str, bytes | None], name: str) -> str:
    return (told.get(name) or b"").decode("utf-8", "replace")


def _number(told: Mapping[str, bytes | None], name: str) -> int | None:
    digits = told.get(name) or b""
    return int(digits) if digits.isdigit() and len(digits) <= _DIGITS else None
