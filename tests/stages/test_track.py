"""Fates through the track stage: any order, any repetition, and deaths of the worker between any two writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import NOON_MS, SETTINGS, Log, Table, decides
from tracking import PRICE, RECEIPTS, RECIPIENTS, Stage, about, receipt, submitted

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.records import Accepted, Reference, Rejected, Tick, encode_one
from pipeline.stages import resolve
from pipeline.stages.fate import Progress
from pipeline.stages.route import retried
from schemas.errors import Error
from schemas.states import Detailed
from schemas.status import StatusRecord

#: What becomes of each message: the carrier's answer, then its receipts (at most one of them final).
FATES = st.tuples(
    st.sampled_from([Detailed.SUBMITTED, Detailed.SUBMITTED, Detailed.IN_DOUBT]),
    st.lists(st.sampled_from(["ENROUTE", "ACCEPTD", "UNKNOWN"]), max_size=2),
    st.sampled_from([None, "DELIVRD", "UNDELIV", "EXPIRED", "DELETED", "REJECTD"]),
) | st.tuples(st.sampled_from([Detailed.REJECTED, Detailed.EXPIRED]), st.just([]), st.none())


def outcome_of(table: Table, news: list[object], crashes: list[dict[str, object]]) -> Stage:
    table.clear()
    stage = Stage(table)
    for item, crash in zip(news, crashes, strict=False):
        stage.take(item, **crash)
    stage.check()
    return stage


@settings(max_examples=50, deadline=None)
@given(st.lists(FATES, min_size=RECIPIENTS, max_size=RECIPIENTS), st.data())
def test_any_order_ends_as_the_right_one(shared_table: Table, fates, data):
    answers = [submitted({i: answer}) for i, (answer, _, _) in enumerate(fates)]
    words = [receipt(i, word) for i, (_, some, last) in enumerate(fates) for word in [*some, *([last] if last else [])]]
    ordered = [Accepted(about()), *answers, *words]
    none = [{}] * (3 * len(ordered))
    right = outcome_of(shared_table, ordered, none)
    crash = st.sampled_from([{}, {}, {"first": 1}, {"first": 2}, {"sent": False}, {"later": False}])
    mixed = data.draw(st.permutations(ordered + data.draw(st.lists(st.sampled_from(ordered), max_size=5))))
    other = outcome_of(shared_table, mixed, [data.draw(crash) for _ in mixed])
    assert {i: r[-1].detailed_state for i, r in other.fates().items() if r[-1].final} == {
        i: r[-1].detailed_state for i, r in right.fates().items() if r[-1].final
    }
    assert other.settled() == right.settled()
    assert set(other.fates()) == set(range(RECIPIENTS))


@settings(max_examples=30, deadline=None)
@given(st.lists(FATES, min_size=RECIPIENTS, max_size=RECIPIENTS), st.data())
def test_the_clock_ends_what_is_open_and_settles_all(shared_table: Table, fates, data):
    news = [Accepted(about())]
    news += [submitted({i: answer}) for i, (answer, _, _) in enumerate(fates) if data.draw(st.booleans())]
    news += [receipt(i, last) for i, (_, _, last) in enumerate(fates) if last and data.draw(st.booleans())]
    stage = outcome_of(shared_table, news, [{}] * len(news))
    due = shared_table.get(b"p" + about().id, Progress).due
    stage.take(Tick(due))
    open_before = {i for i, records in stage.fates().items() if not records[-1].final}
    stage.take(Tick(due + 1), later=False)
    stage.take(Tick(due + 2))
    unheard = {i for i, records in stage.fates().items() if records[-1].detailed_state == "ACCEPTED"}
    assert {i for i, records in stage.fates().items() if not records[-1].final} == unheard
    stage.take(Tick(due + 3602))  # dispatch had its time to say what became of these
    stage.take(receipt(0, "DELIVRD"))  # late: kept nowhere, changes nothing
    stage.check()
    assert all(records[-1].final for records in stage.fates().values())
    assert {i for i, r in stage.fates().items() if r[-1].detailed_state == "NO_RECEIPT"} == open_before
    assert sum(stage.settled()) == RECIPIENTS * PRICE
    assert not shared_table.keys(b"t")


def test_a_reader_that_drops_repeats_sees_the_end_though_a_replay_comes_in_another_order(table: Table):
    """The worker dies after it told SUBMITTED. At its next start the receipt, on its own topic, is read first."""
    stage = Stage(table)
    stage.take(Accepted(about()))
    stage.die_over(submitted({0: Detailed.SUBMITTED}), later=False)
    stage.take(receipt(0, "DELIVRD"))
    stage.take(submitted({0: Detailed.SUBMITTED}))
    latest: dict[int, StatusRecord] = {}
    for told in stage.told:
        if told.index not in latest or told.sequence > latest[told.index].sequence:
            latest[told.index] = told
    assert latest[0].detailed_state == "DELIVERED"


def test_a_message_is_not_both_paid_and_given_back_though_a_replay_comes_in_another_order(table: Table):
    """As above, and the receipt says the message was refused."""
    stage = Stage(table)
    stage.take(Accepted(about()))
    stage.die_over(submitted({0: Detailed.SUBMITTED}), later=False)
    stage.take(receipt(0, "REJECTD"))
    stage.take(submitted({0: Detailed.SUBMITTED}))
    assert sum(stage.settled()) == PRICE


def test_in_the_usual_way_each_message_tells_three_records(table: Table):
    stage = Stage(table)
    for news in (Accepted(about()), submitted(dict.fromkeys(range(4), Detailed.SUBMITTED)), receipt(2, "DELIVRD")):
        stage.take(news)
    assert [r.detailed_state for r in stage.fates()[2]] == ["ACCEPTED", "SUBMITTED", "DELIVERED"]
    last = stage.fates()[2][-1]
    assert (last.carrier, last.carrier_reference, last.parts_delivered) == ("sim", "c2", 1)
    assert stage.settled() == (4 * PRICE, 0)


def test_a_dry_run_is_final_at_once_and_leaves_nothing_to_wait_for(table: Table):
    stage = Stage(table)
    stage.take(Accepted(about(dry_run=True)))
    assert [r.final for records in stage.fates().values() for r in records] == [True] * 4
    assert stage.settlements == []
    assert not table.keys(b"t")


@pytest.mark.parametrize("by", ["validate", "encode", "moderate", "price"])
def test_early_rejections_are_told_once(table: Table, by: str):
    stage = Stage(table)
    rejected = Rejected(by, about().select([1, 3]), [0, 1], [Error(2011, "one"), Error(3006, "two")], 50)
    for _ in range(2):
        stage.take(rejected)
    stage.take(Rejected("price", about().select([0]), [0], [Error(3021, "three", False)], 50))
    assert {r.index: (r.error.code, r.final, r.sequence) for r in stage.told} == {
        1: (2011, True, 1),
        3: (3006, True, 1),
        0: (3021, True, 1),
    }
    assert len(stage.told) == 3


def test_a_batch_split_between_rejection_and_acceptance_is_one_story_each(table: Table):
    stage = Stage(table)
    stage.take(Accepted(about().select([0, 2])))
    stage.take(Rejected("encode", about().select([1, 3]), [0, 0], [Error(3007, "no")], 50))
    stage.take(submitted({0: Detailed.SUBMITTED, 2: Detailed.SUBMITTED}))
    assert {i: r[-1].detailed_state for i, r in stage.fates().items()} == {
        0: "SUBMITTED", 1: "REJECTED", 2: "SUBMITTED", 3: "REJECTED",
    }  # fmt: skip


@pytest.mark.parametrize("parked", [False, True])
def test_what_routing_gives_up_ends_and_is_given_back(table: Table, parked: bool):
    stage = Stage(table)
    gone = Rejected("route", retried(about(), [1], "sim"), [0], [Error(3031, "nobody", False)], int(Detailed.FAILED))
    news = [Accepted(about()), gone]
    for item in reversed(news) if parked else news:
        stage.take(item)
    assert stage.fates()[1][-1].detailed_state == "FAILED"
    assert stage.settled() == (0, PRICE)


def test_receipts_of_nobody_change_nothing(table: Table):
    stage = Stage(table)
    stage.take(Accepted(about()))
    for reference in (None, "", "zz", "0" * 24, ids.message_id(about().id, 99)):
        stage.take(ReceiptBatch("sim", NOON_MS, [Receipt("x", reference, "DELIVRD", None, None)]))
    assert [r[-1].detailed_state for r in stage.fates().values()] == ["ACCEPTED"] * 4


REFERENCES = "t.references"


@pytest.mark.parametrize("order", ["reference first", "receipt first", "same window, receipt first"])
def test_receipts_with_only_the_carriers_id_find_their_message(table: Table, order: str):
    decide, log = decides(resolve.sources(SETTINGS))[REFERENCES], Log(REFERENCES)
    message = bytes.fromhex(ids.message_id(about().id, 2))
    learned = log.append(encode_one(Reference("sim", ["c2", "c9"], [message, message])))
    heard = log.append(receipts.encode(ReceiptBatch("sim", 77, [Receipt("c2", None, "DELIVRD", "000", None)])))
    other = log.append(receipts.encode(ReceiptBatch("telco", 77, [Receipt("c2", None, "UNDELIV", "000", None)])))
    windows = {
        "reference first": [[learned], [heard], [other]],
        "receipt first": [[heard], [other], [learned], [learned]],
        "same window, receipt first": [[other, heard, learned]],
    }[order]
    found = []
    for window in windows:
        found += [receipts.decode(row) for row in table.window(decide, window).rows.get(RECEIPTS, [])]
    (told,) = found
    assert (told.carrier, told.received_at_ms) == ("sim", 77)
    assert [(r.reference, r.status) for r in told.receipts] == [(message.hex(), "DELIVRD")]


def test_a_parked_receipt_survives_a_crash_of_its_answer(table: Table):
    decide, log = decides(resolve.sources(SETTINGS))[REFERENCES], Log(REFERENCES)
    message = bytes.fromhex(ids.message_id(about().id, 0))
    heard = log.append(receipts.encode(ReceiptBatch("sim", 77, [Receipt("c0", None, "DELIVRD", "000", None)])))
    learned = log.append(encode_one(Reference("sim", ["c0"], [message])))
    table.window(decide, [heard])
    assert table.window(decide, [learned], sent=False).rows == {}
    assert len(table.window(decide, [learned]).rows[RECEIPTS]) == 1
