"""Limits as the contract of an account: what they leave room for, and when their owner is told."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import Limits, Usage, near, within
from schemas import errors

DAY_MS = 24 * 3600 * 1000
MOMENT = 20_000 * DAY_MS + 1_500


def one_by_one(limits: Limits, usage: Usage, costs: list[int]) -> int:
    """How many messages fit, in the words of the limits."""
    for count, cost in enumerate(costs):
        usage = usage.plus(1, cost)
        if limits.messages_a_second is not None and usage.in_second > limits.messages_a_second:
            return count
        if limits.messages_a_day is not None and usage.in_day > limits.messages_a_day:
            return count
        if limits.spend_a_day is not None and usage.spent > limits.spend_a_day:
            return count
    return len(costs)


@given(
    st.builds(
        Limits,
        spend_a_day=st.none() | st.integers(0, 60),
        messages_a_day=st.none() | st.integers(0, 12),
        messages_a_second=st.none() | st.integers(0, 12),
    ),
    st.lists(st.integers(0, 10), max_size=12),
    st.integers(0, 6),
    st.integers(0, 30),
)
def test_as_many_as_fit_and_no_more(limits: Limits, costs: list[int], messages: int, spent: int) -> None:
    usage = Usage().at(MOMENT).plus(messages, spent)
    count, why = within(limits, usage, costs)
    assert count == one_by_one(limits, usage, costs)
    assert (why is None) == (count == len(costs))


def test_a_new_second_and_a_new_day_begin_at_nothing() -> None:
    limits = Limits(messages_a_second=2, messages_a_day=3)
    usage = Usage().at(MOMENT).plus(2, 0)
    assert within(limits, usage, [1])[0] == 0
    assert within(limits, usage, [1])[1].code == errors.RATE_LIMIT
    assert within(limits, usage.at(MOMENT + 1000), [1, 1])[0] == 1
    assert within(limits, usage.at(MOMENT + 1000), [1, 1])[1].code == errors.DAILY_LIMIT
    assert within(limits, usage.at(MOMENT + DAY_MS), [1, 1]) == (2, None)
    assert usage.at(MOMENT - DAY_MS) == usage  # what comes late counts to the day that is


def test_a_message_may_be_too_expensive_or_go_where_it_must_not() -> None:
    limits = Limits(countries=("IT", "ES"), price=100_000)
    assert limits.shuts_out("IT", 100_000) is None
    assert limits.shuts_out("IT", 100_001).code == errors.TOO_EXPENSIVE
    assert limits.shuts_out("FR", 1).code == errors.COUNTRY_NOT_ALLOWED


def test_a_limit_that_is_nearly_used_is_told_once() -> None:
    limits = Limits(spend_a_day=100, messages_a_day=1000)
    assert near(limits, Usage(spent=79)) == []
    assert near(limits, Usage(spent=80, in_day=5)) == [("spendADay", 80, 100)]
    assert near(limits, Usage(spent=80, warned=("spendADay",))) == []
