"""Ids: the same on every replay, and telling of whom they are."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline import ids

NAMES = st.text(max_size=40)
SECONDS = st.integers(0, 0xFFFFFFFF)


@given(NAMES, NAMES, st.integers(0, 100), SECONDS, st.integers(0, 2**24 - 1))
def test_a_message_id_tells_its_batch_and_place(account, request, slice_number, seconds, index):
    batch = ids.batch_id(ids.request_hash(account, request), slice_number, seconds * 1000)
    message = ids.message_id(batch, index)
    assert len(message) == 24
    assert ids.split(message) == (batch, index)
    assert int(message[:8], 16) == seconds


@given(NAMES, NAMES, st.integers(0, 100), st.integers(0, 10**15), st.integers(0, 999))
def test_ids_are_deterministic_whatever_the_milliseconds(account, request, slice_number, at, later):
    once = ids.batch_id(ids.request_hash(account, request), slice_number, at - at % 1000)
    again = ids.batch_id(ids.request_hash(account, request), slice_number, at - at % 1000 + later)
    assert once == again


@given(st.lists(st.tuples(NAMES, NAMES, st.integers(0, 3)), unique=True, min_size=2, max_size=8))
def test_account_request_and_slice_tell_batches_apart(requests):
    made = {ids.batch_id(ids.request_hash(a, r), s, 1_790_000_000_000) for a, r, s in requests}
    assert len(made) == len(requests)


def test_a_record_without_request_id_is_named_by_its_place_time_and_bytes():
    places = [("t", 0, 0, 1), ("t", 0, 1, 1), ("t", 1, 0, 1), ("u", 0, 0, 1), ("t", 10, 0, 1), ("t", 0, 0, 2)]
    made = {ids.record_hash(*place, value) for place in places for value in (b"", b"x", b"\0")}
    assert len(made) == 3 * len(places)
    assert ids.record_hash("t", 3, 4, 5, b"x") == ids.record_hash("t", 3, 4, 5, b"x")


@given(st.integers(-(10**18), 10**18))
def test_any_timestamp_a_producer_may_set_makes_an_id(at):
    assert len(ids.batch_id(b"r" * 16, 0, at)) == ids.BATCH_BYTES


@given(st.text(max_size=30))
def test_split_never_raises(text):
    found = ids.split(text)
    if found is not None:
        assert ids.message_id(*found) == text.lower()


@given(st.binary(min_size=1, max_size=20), st.integers(1, 64))
def test_partitions_are_in_range_and_fixed(key, partitions):
    assert ids.partition_of(key, partitions) == ids.partition_of(key, partitions)
    assert 0 <= ids.partition_of(key, partitions) < partitions
