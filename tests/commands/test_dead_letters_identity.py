"""A replayed record is who it was, and nobody else can be it."""

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import ids
from pipeline.stages import validate
from pipeline.streaming import letters
from pipeline.streaming.letters import Letter, Place
from pipeline.streaming.stage import Record

NOON_MS = 1_790_000_000_000
VALUE = orjson.dumps({"account": "acme", "recipients": ["+393331234567"], "message": "Hello"})
NAMES = st.text(max_size=20)


def letter(place: Place, origin: Place | None = None, attempt: int = 1) -> Letter:
    return Letter(0, 0, NOON_MS, "", "validate", "sms.intake", 0, place, origin, attempt, 0)


def batch_of(record: Record) -> tuple[bytes, bytes, int]:
    (batch,) = validate.batches(orjson.loads(record.value), record, None, {})
    return batch.id, batch.request, batch.received_at


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 10**13), st.integers(0, 10**6))
def test_a_replay_has_the_ids_and_the_time_of_the_first_place(offset, at, later):
    first = Record("sms.intake", 3, offset, at, None, VALUE)
    headers = letters.replay_headers(letter(Place(offset, at)), 2)
    again = Record("sms.intake", 3, offset + 1 + later, at + later, None, VALUE, headers)
    assert batch_of(again) == batch_of(first)
    assert batch_of(Record("sms.intake", 3, again.offset, again.timestamp_ms, None, VALUE)) != batch_of(first)


def test_the_first_place_stays_however_often_a_replay_fails():
    record = Record("sms.intake", 3, 7, NOON_MS, None, b"x")
    for attempt in (2, 3, 4):
        told = {name: value.decode() for name, value in letters.headers(record, stage="validate", reason="r")}
        assert told["attempt"] == str(attempt - 1)
        origin = Place(7, NOON_MS) if attempt > 2 else None
        assert {"origin-offset", "origin-timestamp"}.isdisjoint(told) == (origin is None)
        made = letter(Place(int(told["offset"]), int(told["timestamp"])), origin, int(told["attempt"]))
        headers = letters.replay_headers(made, attempt)
        record = Record("sms.intake", 3, 100 + attempt, NOON_MS + attempt, None, b"x", headers)
        assert letters.first_place(record) == Place(7, NOON_MS)


def test_whoever_claims_anothers_place_is_its_repeat_only_with_its_bytes():
    first = Record("sms.intake", 3, 7, NOON_MS, None, VALUE)
    claim = letters.replay_headers(letter(Place(7, NOON_MS)), 2)
    other = orjson.dumps(orjson.loads(VALUE) | {"message": "Another"})
    assert batch_of(Record("sms.intake", 3, 9, NOON_MS + 5, None, other, claim))[1] != batch_of(first)[1]
    assert batch_of(Record("sms.intake", 2, 9, NOON_MS + 5, None, VALUE, claim))[1] != batch_of(first)[1]
    assert batch_of(Record("sms.intake", 3, 9, NOON_MS + 5, None, VALUE, claim)) == batch_of(first)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"x", b"\xd9\xa1", b"9" * 15, b"9" * 9000, None])
@pytest.mark.parametrize("name", ["origin-offset", "origin-timestamp"])
def test_headers_that_make_no_sense_are_no_first_place(name, value):
    headers = [("origin-offset", b"7"), ("origin-timestamp", b"8"), ("attempt", value), (name, value)]
    record = Record("sms.intake", 3, 9, NOON_MS, None, VALUE, headers)
    assert letters.first_place(record) == Place(9, NOON_MS)
    told = dict(letters.headers(record, stage="validate", reason="r"))
    assert (told["attempt"], told["offset"], "origin-offset" in told) == (b"1", b"9", False)


def test_a_first_place_in_the_future_is_not_believed():
    """It would make the message valid for as long as its sender likes."""
    told = letters.replay_headers(letter(Place(7, NOON_MS + 1)), 2)
    assert letters.first_place(Record("sms.intake", 3, 9, NOON_MS, None, VALUE, told)) == Place(9, NOON_MS)
    assert letters.first_place(Record("sms.intake", 3, 9, NOON_MS + 1, None, VALUE, told)) == Place(7, NOON_MS + 1)


def test_headers_stay_small_and_are_text():
    record = Record("sms.intake", 3, 9, NOON_MS, None, VALUE)
    told = letters.headers(record, stage="validate", reason="é\ud800" * 10**6, stack="x" * 10**6)
    assert sum(len(value) for _, value in told) < 16_000


@given(st.lists(st.tuples(NAMES, NAMES), unique=True, min_size=2, max_size=6))
@example([("a\0b", "c"), ("a", "b\0c")])
@example([("a", "1\0b"), ("a1", "\0b"), ("", "1\0a1\0b")])
def test_no_two_requests_are_named_alike(requests):
    assert len({ids.request_hash(account, request) for account, request in requests}) == len(requests)
