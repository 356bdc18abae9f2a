"""The oracle itself: a sound story passes, and every wrong is seen. An oracle that cannot fail is worth nothing."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from pipeline import ids
from pipeline.billing import Account, format_amount
from pipeline.carriers.simulator.journal import Entry
from schemas.ledger import SIDES, Kind, LedgerEntry

from . import faults, load
from .oracle import SLICE, Asked, Balance, Evidence, Told, Wrong, judge

AT = 1_800_000_000_000
SIZE = SLICE + 2
POISON = ("sms.intake", 1, 7)


def name(index: int, request: str = "r1", at: int = AT) -> str:
    return ids.message_id(ids.batch_id(ids.request_hash("acme", request), index // SLICE, at), index)


def tell(index: int, state: str, sequence: int, *, final: bool = False, request: str = "r1") -> Told:
    return Told(name(index, request), request, index, "acme", state, final, sequence, "0.0500", "sure")


def entry(index: int, key: str = "k1", request: str = "r1") -> Entry:
    return Entry(
        name(index, request), f"id{index}", "ACME", "+393331234567", 1, "Hello", key, "2027-01-15T08:00:00Z", 1
    )


def story(index: int, request: str = "r1") -> list[Told]:
    return [
        tell(index, "ACCEPTED", 1, request=request),
        tell(index, "SUBMITTED", 3, request=request),
        tell(index, "DELIVERED", 6, final=True, request=request),
    ]


def movements(*steps: tuple[Kind, str]) -> list[LedgerEntry]:
    """The ledger of acme."""
    account, made = Account(), []
    for sequence, (kind, amount) in enumerate(steps, 1):
        account = account.after(kind, int(Decimal(amount) * 10**6))
        source, target = (side.format("acme") for side in SIDES[kind])
        money = {"balance": format_amount(account.balance), "reserved": format_amount(account.reserved)}
        made.append(
            LedgerEntry(
                account="acme", sequence=sequence, kind=kind, amount=amount, currency="EUR", source=source,
                target=target, at="2027-01-15T08:00:00.000Z", **money,
            )
        )  # fmt: skip
    return made


def spent(cost: Decimal) -> list[LedgerEntry]:
    """The ledger of an account that had 100 and paid so much."""
    return movements((Kind.TOP_UP, "100"), (Kind.RESERVE, str(cost)), (Kind.CAPTURE, str(cost)))


@pytest.fixture
def evidence() -> Evidence:
    """A request for 502 that was told twice, all delivered but the last, which was rejected; and a poison record."""
    told = {name(index): story(index) for index in range(SIZE - 1)}
    told[name(SIZE - 1)] = [tell(SIZE - 1, "REJECTED", 1, final=True)]
    asked = [Asked(("sms.intake", 0, 3), AT, ("acme", "r1"), SIZE), Asked(POISON, AT, None)]
    return Evidence(
        asked=[*asked, replace(asked[0], place=("sms.intake", 2, 0), timestamp_ms=AT + 5_000)],
        acknowledged={("acme", "r1")},
        told=told,
        taken={"sure": [entry(index) for index in range(SIZE - 1)], "blind": []},
        ends={name(index): "DELIVRD" for index in range(SIZE - 1)},
        credit={"acme": Decimal(100)},
        balances={"acme": Balance(Decimal(100) - Decimal("0.05") * (SIZE - 1), Decimal(0))},
        ledger=spent(Decimal("0.05") * (SIZE - 1)),
        stored={name(index): ("DELIVERED", 6) for index in range(SIZE - 1)} | {name(SIZE - 1): ("REJECTED", 1)},
        dead_letters={POISON},
    )


def found(evidence: Evidence) -> dict[Wrong, list[str]]:
    kinds: dict[Wrong, list[str]] = {}
    for finding in judge(evidence).findings:
        kinds.setdefault(finding.kind, []).append(finding.about)
    return kinds


def test_a_sound_story_passes(evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert (verdict.findings, verdict.messages, verdict.in_doubt, verdict.dead_letters) == ([], SIZE, 0, 1)


def test_records_told_again_are_no_wrong(evidence: Evidence) -> None:
    evidence.told[name(3)] = [*story(3)[:2], *story(3)[:2], *story(3), *story(3)]
    assert found(evidence) == {}


def lose_everything_told(evidence: Evidence) -> None:
    del evidence.told[name(4)], evidence.stored[name(4)]


def lose_the_end(evidence: Evidence) -> None:
    evidence.told[name(4)].pop()
    evidence.stored[name(4)] = ("SUBMITTED", 3)


def lose_a_request(evidence: Evidence) -> None:
    evidence.acknowledged.add(("acme", "r2"))


def lose_a_slice_of_a_request_that_came_twice(evidence: Evidence) -> None:
    for index in range(SLICE, SIZE):
        del evidence.told[name(index)], evidence.stored[name(index)]


def lose_a_poison_record(evidence: Evidence) -> None:
    evidence.dead_letters.clear()


def end_twice(evidence: Evidence) -> None:
    evidence.told[name(4)].append(tell(4, "EXPIRED", 6, final=True))


def tell_after_the_end(evidence: Evidence) -> None:
    evidence.told[name(4)].append(tell(4, "ENROUTE", 7))
    evidence.stored[name(4)] = ("ENROUTE", 7)


def hide_the_end(evidence: Evidence) -> None:
    evidence.told[name(4)][2].sequence = 2
    evidence.stored[name(4)] = ("SUBMITTED", 3)


def give_a_recipient_two_messages(evidence: Evidence) -> None:
    other = name(4, at=AT + 5_000)
    evidence.told[other] = [Told(other, "r1", 4, "acme", "REJECTED", True, 1, "0.0500")]
    evidence.stored[other] = ("REJECTED", 1)


def send_twice_under_another_key(evidence: Evidence) -> None:
    evidence.taken["sure"].append(entry(4, "k2"))


def send_to_both_carriers(evidence: Evidence) -> None:
    evidence.taken["blind"].append(entry(4, "k3"))


def charge_twice(evidence: Evidence) -> None:
    evidence.balances["acme"] = Balance(evidence.balances["acme"].balance - Decimal("0.05"), Decimal(0))


def charge_nothing_for_one(evidence: Evidence) -> None:
    evidence.balances["acme"] = Balance(evidence.balances["acme"].balance + Decimal("0.05"), Decimal(0))


def keep_money_reserved(evidence: Evidence) -> None:
    evidence.balances["acme"] = Balance(evidence.balances["acme"].balance, Decimal("0.05"))


def forget_the_balance(evidence: Evidence) -> None:
    evidence.balances.clear()


def tell_of_an_id_from_nowhere(evidence: Evidence) -> None:
    other = name(4, at=AT + 60_000)
    evidence.told[other] = [replace_id(told, other) for told in evidence.told.pop(name(4))]
    evidence.stored[other] = evidence.stored.pop(name(4))


def tell_of_an_unknown_request(evidence: Evidence) -> None:
    evidence.told[name(0, "r9")] = [tell(0, "REJECTED", 1, final=True, request="r9")]
    evidence.stored[name(0, "r9")] = ("REJECTED", 1)


def send_what_nobody_asked_for(evidence: Evidence) -> None:
    evidence.taken["sure"].append(entry(0, request="r9"))


def say_sent_what_was_not(evidence: Evidence) -> None:
    last = SIZE - 1
    evidence.told[name(last)].insert(0, tell(last, "SUBMITTED", 0))


def say_failed_what_was_sent(evidence: Evidence) -> None:
    evidence.told[name(4)] = [tell(4, "ACCEPTED", 1), tell(4, "FAILED", 6, final=True)]
    evidence.stored[name(4)] = ("FAILED", 6)


def give_up_what_a_receipt_spoke_of(evidence: Evidence) -> None:
    evidence.told[name(4)] = [tell(4, "ACCEPTED", 1), tell(4, "SUBMITTED", 3), tell(4, "NO_RECEIPT", 6, final=True)]
    evidence.stored[name(4)] = ("NO_RECEIPT", 6)


def fail_without_a_doubt_what_nobody_spoke_of(evidence: Evidence) -> None:
    evidence.ends[name(4)] = ""
    say_failed_what_was_sent(evidence)


def say_another_end_than_the_carrier(evidence: Evidence) -> None:
    evidence.ends[name(4)] = "UNDELIV"


def doubt_without_a_reason(evidence: Evidence) -> None:
    evidence.told[name(4)].insert(1, tell(4, "IN_DOUBT", 2))


def store_an_earlier_state(evidence: Evidence) -> None:
    evidence.stored[name(4)] = ("SUBMITTED", 3)


def store_nothing(evidence: Evidence) -> None:
    del evidence.stored[name(4)]


def change_an_entry(evidence: Evidence) -> None:
    evidence.ledger.append(msgspec.structs.replace(evidence.ledger[1], reason="another"))


def lose_an_entry(evidence: Evidence) -> None:
    del evidence.ledger[1]


def make_money(evidence: Evidence) -> None:
    evidence.ledger[0] = msgspec.structs.replace(evidence.ledger[0], source="nowhere")


def throw_a_good_record_away(evidence: Evidence) -> None:
    evidence.dead_letters.add(("sms.encoded", 0, 0))


def replace_id(told: Told, other: str) -> Told:
    return Told(
        other, told.request_id, told.index, told.account, told.detailed_state, told.final, told.sequence, "0.0500"
    )


@pytest.mark.parametrize(
    ("wrong", "kinds"),
    [
        (lose_everything_told, {Wrong.LOST, Wrong.UNKNOWN, Wrong.CHARGED}),
        (lose_the_end, {Wrong.LOST}),
        (lose_a_request, {Wrong.LOST}),
        (lose_a_slice_of_a_request_that_came_twice, {Wrong.LOST, Wrong.UNKNOWN, Wrong.CHARGED}),
        (lose_a_poison_record, {Wrong.LOST}),
        (end_twice, {Wrong.CONFLICT}),
        (tell_after_the_end, {Wrong.CONFLICT}),
        (hide_the_end, {Wrong.CONFLICT}),
        (give_a_recipient_two_messages, {Wrong.CONFLICT}),
        (send_twice_under_another_key, {Wrong.SENT_TWICE}),
        (send_to_both_carriers, {Wrong.SENT_TWICE}),
        (charge_twice, {Wrong.CHARGED, Wrong.LEDGER}),
        (charge_nothing_for_one, {Wrong.CHARGED, Wrong.LEDGER}),
        (keep_money_reserved, {Wrong.CHARGED, Wrong.LEDGER}),
        (change_an_entry, {Wrong.LEDGER}),
        (lose_an_entry, {Wrong.LEDGER}),
        (make_money, {Wrong.LEDGER}),
        (forget_the_balance, {Wrong.CHARGED}),
        (tell_of_an_id_from_nowhere, {Wrong.UNKNOWN, Wrong.MISREPORTED, Wrong.CHARGED}),
        (tell_of_an_unknown_request, {Wrong.UNKNOWN}),
        (send_what_nobody_asked_for, {Wrong.UNKNOWN}),
        (say_sent_what_was_not, {Wrong.MISREPORTED}),
        (say_failed_what_was_sent, {Wrong.MISREPORTED}),
        (give_up_what_a_receipt_spoke_of, {Wrong.MISREPORTED}),
        (fail_without_a_doubt_what_nobody_spoke_of, {Wrong.MISREPORTED}),
        (say_another_end_than_the_carrier, {Wrong.MISREPORTED}),
        (doubt_without_a_reason, {Wrong.IN_DOUBT}),
        (store_an_earlier_state, {Wrong.STORE}),
        (store_nothing, {Wrong.STORE}),
        (throw_a_good_record_away, {Wrong.DEAD_LETTER}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_is_seen(evidence: Evidence, wrong: Callable[[Evidence], None], kinds: set[Wrong]) -> None:
    wrong(evidence)
    assert set(found(evidence)) == kinds


def test_doubt_is_explained_by_withheld_answers_and_deaths(evidence: Evidence) -> None:
    for index in (4, 5, 6):
        evidence.told[name(index)].insert(1, tell(index, "IN_DOUBT", 2))
    evidence.withheld = {name(4)}
    evidence.doubt_bound = 2
    assert found(evidence) == {} and judge(evidence).in_doubt == 3
    evidence.doubt_bound = 1
    assert found(evidence) == {Wrong.IN_DOUBT: ["all"]}


@pytest.mark.parametrize("end", ["NO_RECEIPT", "FAILED"])
def test_what_stayed_in_doubt_to_the_end_is_not_paid(evidence: Evidence, end: str) -> None:
    evidence.told[name(4)][1:] = [tell(4, "IN_DOUBT", 2), tell(4, end, 6, final=True)]
    evidence.stored[name(4)] = (end, 6)
    evidence.ends[name(4)] = ""
    evidence.doubt_bound = 1
    assert found(evidence) == {Wrong.CHARGED: ["acme"]}
    evidence.balances["acme"] = Balance(evidence.balances["acme"].balance + Decimal("0.05"), Decimal(0))
    evidence.ledger = spent(Decimal("0.05") * (SIZE - 2))
    assert found(evidence) == {}
    evidence.told[name(4)].insert(2, tell(4, "SUBMITTED", 3))  # an operator's resend was answered: that is paid
    assert found(evidence) == {Wrong.CHARGED: ["acme"]}


def test_a_load_is_the_seed_s_and_of_the_size_asked_for() -> None:
    first, again, other = (load.plan(seed, 3_000, 4) for seed in (5, 5, 6))
    assert first == again != other
    assert sum(first.sizes.values()) == 3_000
    assert first.sendings == sorted(first.sendings, key=lambda sending: sending.at)
    assert len(first.sendings) > len(first.sizes) + len(first.poison) == len(first.sizes) + 3


def test_strikes_are_the_seed_s_and_as_many_as_asked_for() -> None:
    names = list(faults.FAULTS)
    drawn = [[(at, fault.name) for at, fault, _ in faults.schedule(seed, names, 10)] for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sum(faults.FAULTS[fault].kills for _, fault in drawn[0]) == 10
    assert all(0 <= at < 1 for at, _ in drawn[0]) and len(drawn[0]) == 15
    assert {fault.name for _, fault, _ in faults.schedule(1, ["scale"], 10)} == {"scale"}
