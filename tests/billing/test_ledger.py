import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import MICROS, Account, affordable
from schemas.errors import INSUFFICIENT_CREDIT, Error

AMOUNT = st.integers(0, 10)


def one_by_one(available: int, costs: list[int], minimums: list[int]) -> int:
    """What `affordable` answers, in the words of the contract."""
    for accepted, (cost, minimum) in enumerate(zip(costs, minimums, strict=True)):
        if available < minimum or available < cost:
            return accepted
        available -= cost
    return len(costs)


def test_reserve_then_capture_or_release() -> None:
    account = Account().credit(100)
    reserved = account.reserve(30)
    assert isinstance(reserved, Account)
    assert (reserved.balance, reserved.reserved, reserved.available) == (100, 30, 70)
    assert reserved.capture(20).release(10) == Account(80, 0)


def test_no_more_is_reserved_than_available() -> None:
    error = Account(100 * MICROS, 60 * MICROS).reserve(41 * MICROS)
    assert error == Error(INSUFFICIENT_CREDIT, "41.00 needed, 40.00 available: add credit", permanent=False)


@pytest.mark.parametrize("step", ["credit", "reserve", "capture", "release"])
def test_negative_amounts_are_bugs(step: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        getattr(Account(10, 10), step)(-1)


@pytest.mark.parametrize("step", ["capture", "release"])
def test_more_than_reserved_is_a_bug(step: str) -> None:
    with pytest.raises(ValueError, match="more than the 5 reserved"):
        getattr(Account(10, 5), step)(6)


@given(st.lists(st.tuples(st.sampled_from(["credit", "reserve", "capture", "release"]), AMOUNT)))
def test_whatever_happens_nothing_is_lost(steps: list[tuple[str, int]]) -> None:
    account, credited, captured = Account(), 0, 0
    for step, amount in steps:
        if step in ("capture", "release"):
            amount = min(amount, account.reserved)
        after = getattr(account, step)(amount)
        if isinstance(after, Error):
            assert amount > account.available
            continue
        account = after
        credited += amount if step == "credit" else 0
        captured += amount if step == "capture" else 0
        assert account.balance == credited - captured
        assert 0 <= account.reserved <= account.balance
        assert account.available == account.balance - account.reserved


@given(st.integers(0, 40), st.lists(st.tuples(AMOUNT, AMOUNT)))
def test_affordable_messages_of_any_kind(available: int, messages: list[tuple[int, int]]) -> None:
    costs, minimums = [cost for cost, _ in messages], [minimum for _, minimum in messages]
    assert affordable(available, costs, minimums) == one_by_one(available, costs, minimums)


@given(st.integers(0, 100), AMOUNT, AMOUNT, st.integers(0, 30))
def test_affordable_messages_that_are_alike(available: int, cost: int, minimum: int, count: int) -> None:
    costs, minimums = [cost] * count, [minimum] * count
    assert affordable(available, costs, minimums) == one_by_one(available, costs, minimums)


def test_one_unit_a_part_must_be_there_before_each_message() -> None:
    costs, minimums = [50_000] * 10_000, [MICROS] * 10_000
    assert affordable(MICROS - 1, costs, minimums) == 0
    assert affordable(MICROS, costs, minimums) == 1
    assert affordable(2 * MICROS, costs, minimums) == 21


def test_a_message_dearer_than_the_minimum_must_be_paid_in_full() -> None:
    assert affordable(MICROS, [2 * MICROS], [MICROS]) == 0


def test_lists_of_different_lengths_are_a_bug() -> None:
    with pytest.raises(ValueError, match="2 costs, 1 minimums"):
        affordable(10, [1, 1], [1])


def test_ten_thousand_alike_take_no_loop() -> None:
    costs, minimums = [50_000] * 10_000, [MICROS] * 10_000
    started = time.perf_counter()
    affordable(400 * MICROS, costs, minimums)
    assert time.perf_counter() - started < 0.005
