"""Records are arrays that only ever grow at the end: a stage reads what its predecessor's version wrote."""

import msgspec
import pytest
from stepping import batch

from pipeline import records
from pipeline.records import Accepted, Batch, Rejected, Settlement, Submitted
from schemas.errors import Error

REQUIRED = 19  # fields of a batch that have no default


def test_a_batch_comes_back_as_it_was():
    sent = batch(parts=2, prices=[50_000], fields=[{"name": "Ada"}] * 3, errors={1: Error(2011, "bad")})
    assert records.decode_batches(records.encode([sent])) == [sent]


@pytest.mark.parametrize("kept", range(REQUIRED, len(Batch.__struct_fields__) + 1))
def test_a_batch_of_an_older_version_reads_with_defaults(kept):
    whole = msgspec.to_builtins(batch(tried=["sim"], attempt=3, currency="EUR"), builtin_types=(bytes,))
    (read,) = records.decode_batches(msgspec.msgpack.encode([whole[:kept]]))
    fresh = batch(tried=["sim"], attempt=3, currency="EUR")
    names = Batch.__struct_fields__
    assert [getattr(read, name) for name in names[:kept]] == [getattr(fresh, name) for name in names[:kept]]
    assert len(read) == 3


def test_a_batch_of_a_newer_version_reads_without_what_is_new():
    whole = msgspec.to_builtins(batch(), builtin_types=(bytes,))
    assert records.decode_batches(msgspec.msgpack.encode([[*whole, "news", 7]])) == [batch()]


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(batch()),
        Rejected("price", batch(), [0, 0, 0], [Error(3021, "no credit", False)], 50),
        Submitted(batch().id, "acme", "sim", 1, [0, 1], bytes([10, 9]), ["a", ""], {1: Error(3033, "?")}),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_outcomes_come_back_and_grow_at_the_end(outcome):
    assert records.decode_outcomes(records.encode([outcome])) == [outcome]
    longer = [*msgspec.to_builtins(outcome, builtin_types=(bytes,)), "news"]
    assert records.decode_outcomes(msgspec.msgpack.encode([longer])) == [outcome]


def test_a_submission_without_errors_is_an_older_one():
    whole = msgspec.to_builtins(Submitted(b"b" * 9, "a", "sim", 1, [0], b"\n", ["x"]), builtin_types=(bytes,))
    (read,) = records.decode_outcomes(msgspec.msgpack.encode([whole[:-1]]))
    assert read.errors == {}


def test_settlements_grow_at_the_end():
    assert records.decode_settlements(msgspec.msgpack.encode([[b"b" * 9, "acme", 5, 6, 7, {}, "news"]])) == [
        Settlement(b"b" * 9, "acme", 5, 6, 7)
    ]


def test_select_cuts_every_column():
    whole = batch(recipients=4, fields=[{"n": str(p)} for p in range(4)], content=[0, 1, 0, 1])
    part = whole.select([1, 3])
    assert (part.index, part.where, part.fields, part.content) == ([1, 3], [0, 0], [{"n": "1"}, {"n": "3"}], [1, 1])
    assert part.numbers == [whole.numbers[1], whole.numbers[3]]
    assert whole.select([0, 1, 2, 3]) is whole
