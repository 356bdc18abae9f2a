"""Every kind of fault in a ledger is found, one line for one fault, and an honest ledger has none."""

import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from entries import UNIT, Books, batch, ordinary

from pipeline.billing import Account
from pipeline.billing.audit import Audit, Wrong
from schemas.ledger import Kind, LedgerEntry

replace = msgspec.structs.replace
Entries = list[LedgerEntry]


def audited(entries: Entries) -> Audit:
    audit = Audit()
    for entry in entries:
        audit.take(entry)
    return audit


def found(entries: Entries) -> list[Wrong]:
    return [one.wrong for one in audited(entries).differences]


def test_an_honest_ledger_has_no_difference_and_adds_up() -> None:
    audit = audited(ordinary())
    assert (audit.differences, audit.entries, audit.repeats, audit.total) == ([], 12, 0, 0)
    assert audit.accounts == {
        "acme": Account(7 * UNIT, UNIT),
        "globex": Account(5 * UNIT, UNIT),
    }
    assert audit.sides == {"bank": -15 * UNIT, "revenue": 2 * UNIT, "penalties": UNIT, "adjustments": 0}
    held = audit.batches[bytes.fromhex(batch(1))]
    assert (held.messages, held.reserved, held.captured, held.released, held.refunded) == (
        3,
        *(3 * UNIT, 2 * UNIT, UNIT, UNIT),
    )
    assert held.settled and not audit.batches[bytes.fromhex(batch(3))].settled


def test_what_a_crash_repeats_is_dropped() -> None:
    entries = ordinary()
    audit = audited([*entries[:6], *entries[3:6], *entries[3:], *entries[-2:]])
    assert (audit.differences, audit.entries, audit.repeats, audit.total) == ([], 12, 8, 0)


def altered(place: int, **fields: object) -> Callable[[Entries], Entries]:
    return lambda entries: [*entries[:place], replace(entries[place], **fields), *entries[place + 1 :]]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        pytest.param(lambda e: [*e[:4], *e[5:]], [Wrong.GAP], id="missing"),
        pytest.param(altered(3, amount="1.50"), [Wrong.BALANCE], id="amount"),
        pytest.param(altered(3, balance="9.00"), [Wrong.BALANCE], id="balance"),
        pytest.param(altered(3, reserved="0.50"), [Wrong.BALANCE], id="reserved"),
        pytest.param(altered(11, balance="9.00"), [Wrong.BALANCE], id="the last balance"),
        pytest.param(altered(3, amount="-2.00"), [Wrong.UNREADABLE, Wrong.GAP, Wrong.BATCH], id="negative"),
        pytest.param(altered(3, amount="2e0"), [Wrong.UNREADABLE, Wrong.GAP, Wrong.BATCH], id="exponent"),
        pytest.param(altered(3, source="acme/available"), [Wrong.SIDES], id="side"),
        pytest.param(altered(0, target="globex/available"), [Wrong.SIDES], id="another's side"),
        pytest.param(altered(3, currency="USD"), [Wrong.CURRENCY], id="currency"),
        pytest.param(altered(3, batch="no batch"), [Wrong.UNREADABLE, Wrong.BATCH], id="batch"),
        pytest.param(altered(3, batch=batch(9)), [Wrong.BATCH, Wrong.BATCH], id="never reserved"),
        pytest.param(altered(3, batch=batch(4)), [Wrong.BATCH] * 3, id="another's batch"),
        pytest.param(altered(9, batch=batch(1)), [Wrong.BATCH, Wrong.BATCH], id="reserved twice"),
        pytest.param(altered(8, reference="A1"), [Wrong.REFERENCE], id="the same reference"),
        pytest.param(lambda e: [*e, replace(e[11], amount="0.50")], [Wrong.REPEAT], id="repeated but different"),
        pytest.param(lambda e: [*e, replace(e[0], reason="x")], [Wrong.REPEAT], id="repeated with another reason"),
        pytest.param(lambda e: [*e[:3], e[4], e[3], *e[5:]], [Wrong.GAP, Wrong.REPEAT, Wrong.BATCH], id="order"),
    ],
)  # fmt: skip
def test_a_fault_is_found(tamper: Callable[[Entries], Entries], expected: list[Wrong]) -> None:
    differences = audited(tamper(ordinary())).differences
    assert sorted(one.wrong for one in differences) == sorted(expected), differences
    assert all(one.account in ("acme", "globex") and one.sequence and one.what for one in differences)


def test_one_altered_entry_is_one_line_and_shows_in_the_sum() -> None:
    """What stands behind it follows from what is true: the balances, where the amount was altered."""
    books = Books()
    books.move(Kind.TOP_UP, UNIT)
    for _ in range(50):
        books.move(Kind.PENALTY, 1000)
    entries = books.entries
    for fields, total in (({"amount": "0.002"}, 1000), ({"balance": "2.00"}, 0)):
        audit = audited([*entries[:20], replace(entries[20], **fields), *entries[21:]])
        assert [(one.wrong, one.sequence) for one in audit.differences] == [(Wrong.BALANCE, 21)]
        assert audit.total == total


def test_more_captured_than_reserved() -> None:
    books = Books()
    books.move(Kind.TOP_UP, 10 * UNIT)
    books.move(Kind.RESERVE, UNIT, batch=batch(1))
    books.move(Kind.RESERVE, 5 * UNIT, batch=batch(2))
    books.move(Kind.CAPTURE, 2 * UNIT, batch=batch(1))
    assert found(books.entries) == [Wrong.BATCH]
    alone = Books()
    alone.move(Kind.TOP_UP, UNIT)
    entry = alone.move(Kind.RESERVE, UNIT, batch=batch(1))
    taken = replace(entry, sequence=3, kind=Kind.CAPTURE, amount="2.00", balance="-1.00", reserved="-1.00")
    sides = {"source": "acme/reserved", "target": "revenue"}
    assert found([*alone.entries, replace(taken, **sides)]) == [Wrong.BALANCE, Wrong.BATCH]


def test_an_account_from_before_the_ledger_brings_its_balance() -> None:
    audit = audited(ordinary()[3:])  # acme's third
    assert (audit.brought, audit.sides["before"]) == (2, -15 * UNIT)
    assert (audit.differences, audit.total) == ([], 0)  # and what it had reserved by then


def test_bundles_have_left_what_is_not_used() -> None:
    books = Books()
    books.move(Kind.TOP_UP, 10 * UNIT)
    books.move(Kind.BUNDLE, 5 * UNIT, bundle="summer", parts=100, bundle_left=100, reference="B1")
    books.move(Kind.RESERVE, UNIT, batch=batch(1), messages=2, parts=2)
    books.move(Kind.RESERVE, 0, batch=batch(1), bundle="summer", messages=10, parts=10, bundle_left=90)
    books.move(Kind.CAPTURE, UNIT, batch=batch(1))
    books.move(Kind.CAPTURE, 0, batch=batch(1), bundle="summer", parts=7, bundle_left=90)
    books.move(Kind.RELEASE, 0, batch=batch(1), bundle="summer", parts=3, bundle_left=93)
    books.move(Kind.REFUND, 0, batch=batch(1), bundle="summer", parts=1, bundle_left=94)
    books.move(Kind.BUNDLE, 0, bundle="summer", parts=50, bundle_left=50, reference="B2")  # expired meanwhile
    audit = audited(books.entries)
    assert (audit.differences, audit.total) == ([], 0)
    held = audit.batches[bytes.fromhex(batch(1))]
    assert (held.messages, held.settled) == (12, True)
    for place, fields, expected in (
        (3, {"bundle_left": 91}, [Wrong.BUNDLE, Wrong.BUNDLE]),
        (5, {"parts": 8}, [Wrong.BATCH]),
        (7, {"parts": 8, "bundle_left": 101}, [Wrong.BATCH]),
    ):
        assert found(altered(place, **fields)(books.entries)) == expected


def test_what_others_say_is_compared_at_its_very_sequence() -> None:
    entries = ordinary()
    audit = Audit()
    audit.expect(Wrong.TABLE, "acme", 4, Account(8 * UNIT, 0))  # right, and the ledger goes on
    audit.expect(Wrong.BALANCES, "acme", 5, Account(8 * UNIT, 0))  # wrong: a refund is in it
    audit.expect(Wrong.TABLE, "globex", 3, Account())
    audit.expect(Wrong.TABLE, "ghost", 1, Account())
    for entry in entries:
        audit.take(entry)
    assert [(one.wrong, one.sequence) for one in audit.differences] == [(Wrong.BALANCES, 5)]
    assert sorted((one.wrong, one.account) for one in audit.missing()) == [
        (Wrong.TABLE, "ghost"),
        (Wrong.TABLE, "globex"),
    ]
    audit.expect(Wrong.BALANCES, "acme", 10, Account(7 * UNIT, 0))
    assert [one.sequence for one in audit.differences] == [5, 10]


def test_differences_read_well() -> None:
    (one,) = audited(altered(3, amount="1.50")(ordinary())).differences
    assert str(one) == (
        f"balance: acme #3 batch {batch(1)}: capture of 1.50 on 10.00 and 3.00 reserved: it says 8.00 and 1.00 "
        "reserved, computed is 8.50 and 1.50 reserved"
    )


@given(st.data())
def test_any_honest_ledger_with_any_repeats_of_its_end_is_clean(data: st.DataObject) -> None:
    books, random_ = Books(), random.Random(data.draw(st.integers()))
    entries: Entries = []
    for number in range(data.draw(st.integers(1, 60))):
        account = random_.choice(["a", "b"])
        reserved = books.money.get(account, Account()).reserved
        if reserved and random_.random() < 0.5:
            kind, amount = random_.choice([Kind.CAPTURE, Kind.RELEASE]), random_.randint(0, reserved)
            entries.append(books.move(kind, amount, account))
        else:
            kind = random_.choice([Kind.TOP_UP, Kind.RESERVE, Kind.PENALTY, Kind.ADJUSTMENT, Kind.CORRECTION])
            entries.append(books.move(kind, random_.randint(0, 9_999_999), account, reference=f"{number}"))
        if random_.random() < 0.2:
            entries += [entry for entry in entries[-5:] if entry.account == account]
    audit = audited(entries)
    assert (audit.differences, audit.total) == ([], 0)


def test_an_entry_costs_little_memory_for_good() -> None:
    audit = Audit()
    books = Books()
    audit.take(books.move(Kind.TOP_UP, 10**12))
    tracemalloc.start()
    for _ in range(20_000):
        audit.take(books.move(Kind.PENALTY, 1))
        books.entries.clear()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 20_000 < 250  # a mark; of the last half a million entries, no more
