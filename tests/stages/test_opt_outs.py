import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import optouts
from pipeline.optouts import EVERYBODY, OptOut, OptOuts, key, read

ADA, BOB, CYD = "+393331111111", "+393332222222", "+4915123456789"


def told(*who: tuple[str, str]) -> OptOuts:
    """Opt-outs that have read these records."""
    known = OptOuts()
    for account, recipient in who:
        known.take(key(account, recipient), b"{}")
    return known


def test_only_those_who_opted_out_of_the_account_or_of_all_are_among_them() -> None:
    known = told(("acme", ADA), ("globex", BOB), (EVERYBODY, CYD))
    assert known.among("acme", [BOB, ADA, CYD, ADA]) == [1, 2, 3]
    assert known.among("globex", [BOB, ADA, CYD]) == [0, 2]
    assert known.among("other", [ADA, BOB]) == []
    assert OptOuts().among("acme", [ADA]) == []
    assert not known.holds("acme", CYD), "it is not this account's own"


def test_a_tombstone_takes_it_back_and_repeats_change_nothing() -> None:
    known = told(("acme", ADA), ("acme", ADA), ("acme", BOB))
    assert len(known) == 2
    for _ in range(2):
        known.take(key("acme", ADA), None)
    known.take(key("nobody", ADA), None)
    assert (len(known), known.among("acme", [ADA, BOB])) == (1, [1])


@pytest.mark.parametrize("wrong", [b"", b"acme", b"acme/", b"acme/393331111111", b"acme/\xff", "acme/+٣٩٣".encode()])
def test_a_key_that_names_nobody_is_passed_over(wrong: bytes) -> None:
    known = OptOuts()
    known.take(wrong, b"{}")
    assert len(known) == 0
    assert read(wrong, b"{}") is None


def test_a_record_tells_when_and_whence_and_its_key_alone_suffices() -> None:
    one = OptOut("acme", ADA, "2026-11-22T10:00:00.000Z", "STOP")
    assert read(one.key, one.value) == one
    for value in (b"", b"{", b"[]", b'{"at": 1}', b"\xff"):
        assert read(one.key, value) == OptOut("acme", ADA, None, None)


@pytest.mark.parametrize(
    ("number", "word"),
    [("39333 111", "+"), ("+39 333 111 1111", f"write it as {ADA}"), ("+39abc", "letters"), ("+0", "0"), ("", "empty")],
)
def test_what_is_no_number_is_told(number: str, word: str) -> None:
    assert not optouts.is_number(number)
    assert word in (optouts.fault(number) or "")


def test_a_number_need_not_be_in_use_to_opt_out() -> None:
    for number in (ADA, "+12", "+999999999999999"):
        assert optouts.fault(number) is None


numbers = st.integers(0, 1200).map(lambda n: f"+39{n:04d}")
change = st.tuples(st.booleans(), numbers)
#: What happens to an account: single changes, many at once, and pages asked for.
steps = st.lists(
    st.one_of(st.lists(change, max_size=5), st.integers(0, 1000), st.tuples(numbers, st.integers(1, 700))), max_size=12
)


@given(steps)
def test_pages_are_in_order_and_complete_whatever_changes_between(steps) -> None:
    known, model = OptOuts(), set[str]()
    for step in steps:
        if isinstance(step, tuple):
            after, limit = step
            assert known.page("acme", after, limit) == [n for n in sorted(model) if n > after][:limit]
            continue
        changes = [(True, f"+39{n:04d}") for n in range(step)] if isinstance(step, int) else step
        for there, number in changes:
            known.take(key("acme", number), b"{}" if there else None)
            model = model | {number} if there else model - {number}
    assert known.page("acme", "", 10_000) == sorted(model)
    assert len(known) == len(model)
    assert known.page("globex", "", 10) == []
