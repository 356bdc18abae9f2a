"""An operator's word on messages in doubt: `fail` ends them and gives the money back, `resend` sends them once more."""

import msgspec
import pytest
from stepping import Log, Table
from tracking import PRICE, RESOLUTIONS, Stage, about, receipt, resolution, submitted

from pipeline.ops import metrics
from pipeline.records import Accepted, Resolution, Tick, encode_one
from pipeline.stages import dispatch, doubt, fate
from pipeline.stages.fate import Progress
from pipeline.streaming.stage import Unreadable
from schemas import errors
from schemas.states import Detailed

CRASHES = [{"first": 0}, {"learned": False}, {"sent": False}, {"later": False}]
ALL = range(4)
#: Messages 0 and 1 are in doubt, 2 was taken, 3 is still on its way.
DOUBTS = submitted({0: Detailed.IN_DOUBT, 1: Detailed.IN_DOUBT, 2: Detailed.SUBMITTED})


@pytest.fixture
def stage(table: Table) -> Stage:
    stage = Stage(table)
    stage.take(Accepted(about()))
    stage.take(DOUBTS)
    return stage


def test_money_of_messages_in_doubt_stays_reserved(stage: Stage):
    assert stage.settled() == (PRICE, 0)
    stage.take(submitted({0: Detailed.SUBMITTED}))
    stage.take(receipt(1, "UNDELIV"))
    assert stage.settled() == (3 * PRICE, 0)


def test_what_stays_in_doubt_is_given_back_when_its_time_is_over(stage: Stage):
    due = fate.begin(about()).due
    stage.take(Tick(due + 1))
    assert [stage.state(index) for index in ALL] == ["NO_RECEIPT"] * 3 + ["ACCEPTED"]
    stage.take(Tick(due + 3601))
    assert [stage.state(index) for index in ALL] == ["NO_RECEIPT"] * 4
    assert stage.settled() == (PRICE, 3 * PRICE)


@pytest.mark.parametrize("crash", [{}, *CRASHES], ids=str)
def test_fail_ends_what_is_in_doubt_and_nothing_else(stage: Stage, crash: dict[str, object]):
    before = len(stage.told)
    row = stage.take(resolution(doubt.FAIL, *ALL, 99), **crash)
    stage.read(row)
    stage.check()
    assert [stage.state(index) for index in ALL] == ["FAILED", "FAILED", "SUBMITTED", "ACCEPTED"]
    assert {told.error.code for told in stage.told[before:]} == {errors.FAILED_BY_OPERATOR}
    assert {told.state for told in stage.told[before:]} == {"UNDELIVERABLE"}
    assert stage.settled() == (PRICE, 2 * PRICE)
    assert stage.again == []


def test_a_receipt_after_fail_changes_nothing(stage: Stage):
    stage.take(resolution(doubt.FAIL, 0))
    stage.take(receipt(0, "DELIVRD"))
    assert stage.state(0) == "FAILED"
    assert stage.settled() == (PRICE, PRICE)


@pytest.mark.parametrize("crash", [{}, *CRASHES], ids=str)
def test_resend_sends_what_is_in_doubt_and_nothing_else(stage: Stage, crash: dict[str, object]):
    before = len(stage.told)
    row = stage.take(resolution(doubt.RESEND, *ALL, 99), **crash)
    stage.read(row)
    assert len(stage.told) == before
    assert stage.state(0) == "IN_DOUBT"
    assert {(again.attempt, *again.index) for again in stage.again} == {(doubt.ATTEMPTS_A_RESEND, 0, 1)}
    assert len(stage.again) == (2 if crash == {"later": False} else 1)
    (again, *_) = stage.again
    assert (again.id, again.numbers, again.validity_seconds, again.received_at, again.tried) == (
        about().id, about().numbers[:2], about().validity_seconds, about().received_at, [],
    )  # fmt: skip
    stage.take(submitted({0: Detailed.SUBMITTED, 1: Detailed.REJECTED}))
    assert [stage.state(index) for index in (0, 1)] == ["SUBMITTED", "REJECTED"]
    assert stage.settled() == (2 * PRICE, PRICE)


def test_a_reader_that_drops_what_is_not_newer_sees_a_late_answer(stage: Stage):
    stage.take(submitted({0: Detailed.SUBMITTED}))
    sequences = [told.sequence for told in stage.told if told.index == 0]
    assert sequences == sorted(set(sequences))


def test_a_word_counts_for_the_moment_it_came(stage: Stage):
    """What was not in doubt then is not touched when the same record comes again and it is."""
    early = stage.take(resolution(doubt.FAIL, 3))
    stage.take(submitted({3: Detailed.IN_DOUBT}))
    stage.read(early)
    assert stage.state(3) == "IN_DOUBT"


def test_a_message_on_its_way_is_not_resent_again_nor_given_up(stage: Stage):
    stage.take(resolution(doubt.RESEND, 0))
    stage.take(resolution(doubt.RESEND, 0, 1))
    stage.take(resolution(doubt.FAIL, 0))
    assert [again.index for again in stage.again] == [[0], [1]]
    assert stage.state(0) == "IN_DOUBT"


def test_a_resend_that_ends_in_doubt_too_may_be_resolved_again(stage: Stage):
    first = stage.take(resolution(doubt.RESEND, 0))
    stage.take(submitted({0: Detailed.IN_DOUBT}))
    stage.read(first)  # the same word comes again: it was acted upon
    assert len(stage.again) == 1
    stage.take(resolution(doubt.RESEND, 0, 1))
    assert [(again.attempt, again.index) for again in stage.again[1:]] == [
        (2 * doubt.ATTEMPTS_A_RESEND, [0]),
        (doubt.ATTEMPTS_A_RESEND, [1]),
    ]
    stage.take(submitted({0: Detailed.IN_DOUBT, 1: Detailed.IN_DOUBT}))
    stage.take(resolution(doubt.FAIL, 0, 1))
    assert [stage.state(index) for index in (0, 1)] == ["FAILED", "FAILED"]


def test_the_journal_of_dispatch_takes_no_resend_for_an_attempt_it_knows(stage: Stage):
    stage.take(resolution(doubt.RESEND, 0, 1))
    stage.take(submitted({0: Detailed.IN_DOUBT}))
    stage.take(resolution(doubt.RESEND, 0))
    keys = {dispatch._journal_key(known) for known in [about(), *stage.again]}
    assert len(keys) == 3


def test_a_login_code_is_resent_on_its_lane(table: Table):
    stage = Stage(table)
    stage.read(stage.put(Accepted(about()), urgent=True))
    stage.take(DOUBTS)
    stage.take(resolution(doubt.RESEND, 0))
    assert [again.index for again in stage.again_priority] == [[0]]
    assert stage.again == []


def test_resolutions_are_counted_by_what_came_of_them(stage: Stage):
    def counted(result: str) -> float:
        return metrics.RESOLUTIONS.labels(doubt.RESEND, result)._value.get()

    results = [doubt.DONE, doubt.NOT_IN_DOUBT, doubt.UNANSWERED, doubt.UNKNOWN]
    before = [counted(result) for result in results]
    stage.take(resolution(doubt.RESEND, 0))
    row = stage.take(resolution(doubt.RESEND, 0, 1, 2, 99))
    stage.read(row)
    stage.take(Resolution(doubt.RESEND, [b"nobody's" + bytes(4)], "ada", 0))
    assert [counted(result) - was for result, was in zip(results, before, strict=True)] == [2, 1, 1, 2]


def test_a_word_nobody_knows_is_for_the_dead_letters(stage: Stage):
    row = Log(RESOLUTIONS).append(encode_one(Resolution("forget", [], "ada", 0)))
    with pytest.raises(Unreadable, match="forget"):
        stage.read(row)


def test_progress_of_an_older_version_goes_on(stage: Stage):
    """Stored before there was anything to tell again: five columns."""
    key = b"p" + about().id
    whole = msgspec.to_builtins(stage.table.get(key, Progress), builtin_types=(bytes, bytearray))
    stage.table.write({key: msgspec.msgpack.encode(whole[:5])})
    stage.take(receipt(2, "DELIVRD"))
    stage.take(resolution(doubt.FAIL, 0))
    stage.check()
    assert [stage.state(index) for index in ALL] == ["FAILED", "IN_DOUBT", "DELIVERED", "ACCEPTED"]
    assert stage.settled() == (PRICE, PRICE)
