from hypothesis import given
from hypothesis import strategies as st
from stepping import batch

from pipeline.stages.common import split
from schemas.errors import Error
from schemas.states import Detailed

ERRORS = st.sampled_from([Error(1, "one"), Error(2, "two"), Error(3, "three", False)])


@given(st.integers(1, 12), st.data())
def test_every_recipient_goes_on_or_ends_here(recipients, data):
    wrong = data.draw(st.dictionaries(st.integers(0, recipients - 1), ERRORS))
    onward, rejected = split("encode", batch(recipients=recipients), wrong)
    on = onward.index if onward else []
    ended = dict(zip(rejected.batch.index, rejected.which, strict=True)) if rejected else {}
    assert sorted([*on, *ended]) == list(range(recipients))
    assert {place: rejected.errors[which] for place, which in ended.items()} == wrong if rejected else not wrong
    if rejected:
        assert len(set(rejected.errors)) == len(rejected.errors)
        assert rejected.state == Detailed.REJECTED
        assert rejected.batch.error is None
        assert rejected.batch.errors == {}
    if onward:
        assert onward.numbers == [batch(recipients=recipients).numbers[p] for p in on]
