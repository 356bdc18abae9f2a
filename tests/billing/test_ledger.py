import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import MICROS, Account, affordable
from schemas.ledger import SIDES, Kind

AMOUNT = st.integers(0, 10)


def one_by_one(available: int, costs: list[int], minimums: list[int]) -> int:
    """What `affordable` answers, in the words of the contract."""
    for accepted, (cost, minimum) in enumerate(zip(costs, minimums, strict=True)):
        if available < minimum or available < cost:
            return accepted
        available -= cost
    return len(costs)


def test_reserve_then_capture_or_release() -> None:
    account = Account().after(Kind.TOP_UP, 100).after(Kind.RESERVE, 30)
    assert (account.balance, account.reserved, account.available) == (100, 30, 70)
    assert account.after(Kind.CAPTURE, 20).after(Kind.RELEASE, 10) == Account(80, 0)
    assert account.after(Kind.PENALTY, 80) == Account(20, 30)  # into debt, if anybody lets it
    assert account.after(Kind.CAPTURE, 30).after(Kind.REFUND, 5).after(Kind.CORRECTION, 5) == Account(70, 0)


@pytest.mark.parametrize("kind", Kind)
def test_negative_amounts_are_bugs(kind: Kind) -> None:
    with pytest.raises(ValueError, match="negative"):
        Account(10, 10).after(kind, -1)


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.RELEASE])
def test_more_than_reserved_is_a_bug(kind: Kind) -> None:
    with pytest.raises(ValueError, match="more than the 5 reserved"):
        Account(10, 5).after(kind, 6)


@given(st.lists(st.tuples(st.sampled_from(Kind), AMOUNT)))
def test_every_movement_changes_its_own_sides_and_nothing_else(steps: list[tuple[Kind, int]]) -> None:
    """Available and reserved are what the sides of the ledger say."""
    account = Account()
    sides: Counter[str] = Counter()
    for kind, amount in steps:
        if kind in (Kind.CAPTURE, Kind.RELEASE):
            amount = min(amount, account.reserved)
        account = account.after(kind, amount)
        source, target = SIDES[kind]
        sides[source] -= amount
        sides[target] += amount
        assert (account.available, account.reserved) == (sides["{}/available"], sides["{}/reserved"])
        assert sum(sides.values()) == 0


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
