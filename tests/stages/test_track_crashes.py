"""One story each, though the worker dies between any two writes and goes on with whichever topic it likes: what one
source decided and another would contradict, in every order that topics can be read in."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import Record, Table
from tracking import PRICE, RECIPIENTS, Stage, about, receipt, resolution, submitted

from pipeline.records import Accepted, Rejected, Tick
from pipeline.stages import doubt, fate
from pipeline.stages.route import retried
from schemas.errors import Error
from schemas.states import Detailed

#: Every place where a window can be cut short; of the first writes any number may have reached the changelog.
CRASHES = [
    {"first": 0},
    {"first": 1},
    {"first": 2},
    {"first": 3},
    {"learned": False},
    {"sent": False},
    {"later": False},
]
#: When the clock ends a message, whether dispatch said a word of it or not: an hour more.
DUE = fate.begin(about()).due
LATE = Tick(DUE + 3601)

#: What may end message 0, each by another topic; of some the carrier may say both.
ENDS = {
    "delivered": receipt(0, "DELIVRD"),
    "undeliverable": receipt(0, "UNDELIV"),
    "time is over": LATE,
    "failed by an operator": resolution(doubt.FAIL, 0),
    "rejected by the carrier": submitted({0: Detailed.REJECTED}),
    "expired in dispatch": submitted({0: Detailed.EXPIRED}),
    "given up by routing": Rejected(
        "route", retried(about(), [0], "sim"), [0], [Error(3031, "nobody", False)], int(Detailed.FAILED)
    ),
}
PAIRS = list(permutations(ENDS, 2))


def finals(stage: Stage, index: int = 0) -> set[tuple[str, str | None]]:
    return {
        (told.detailed_state, told.error and told.error.message)
        for told in stage.told
        if told.index == index and told.final
    }


@pytest.mark.parametrize("before", [Detailed.ACCEPTED, Detailed.IN_DOUBT, Detailed.SUBMITTED], ids=lambda s: s.name)
def test_of_two_ends_one_is_told_wherever_the_worker_died_and_whatever_it_reads_first(table: Table, before: Detailed):
    for crash in CRASHES:
        for one, other in PAIRS:
            table.clear()
            stage = Stage(table)
            stage.take(Accepted(about()))
            if before != Detailed.ACCEPTED:
                stage.take(submitted({0: before}))
            cut = stage.die_over(ENDS[one], **crash)
            stage.take(ENDS[other])
            stage.read(cut)
            stage.check()
            assert len(finals(stage)) == 1, (crash, one, other)
            assert sum(stage.settled()) <= RECIPIENTS * PRICE


@pytest.mark.parametrize("crash", CRASHES, ids=str)
def test_parked_news_ends_a_message_once(table: Table, crash: dict[str, object]):
    """The batch comes last; the worker dies over it, and what else there is to know comes before it comes again."""
    for first, then in PAIRS:
        table.clear()
        stage = Stage(table)
        stage.take(ENDS[first])
        cut = stage.die_over(Accepted(about()), **crash)
        stage.take(ENDS[then])
        stage.read(cut)
        stage.take(Tick(DUE + 3602))
        stage.check()
        assert len(finals(stage)) == 1, (first, then)
        assert {told.index for told in stage.told} == set(range(RECIPIENTS))
        assert [told[0].detailed_state for told in stage.fates().values()] == ["ACCEPTED"] * RECIPIENTS
        assert sum(stage.settled()) == RECIPIENTS * PRICE
        assert not table.keys(b"t")
        assert not table.keys(b"k")


def test_what_was_decided_is_told_again_by_whatever_comes_first(table: Table):
    """The decision is written and nobody was told. Any other news of the batch brings it to light."""
    for news in (receipt(1, "DELIVRD"), submitted({2: Detailed.SUBMITTED}), resolution(doubt.FAIL, 3), LATE):
        table.clear()
        stage = Stage(table)
        stage.take(Accepted(about()))
        stage.take(submitted(dict.fromkeys(range(RECIPIENTS), Detailed.SUBMITTED)))
        cut = stage.die_over(receipt(0, "DELIVRD"), sent=False)
        assert stage.state(0) == "SUBMITTED"
        stage.take(news)
        assert stage.state(0) == "DELIVERED"
        told = len(stage.told)
        stage.read(cut)
        assert len(stage.told) == told


def test_what_is_told_is_not_told_again(table: Table):
    stage = Stage(table)
    stage.take(Accepted(about()))
    stage.take(submitted({0: Detailed.SUBMITTED}))
    stage.restart()
    told = len(stage.told)
    stage.take(receipt(0, "DELIVRD"))
    assert [record.detailed_state for record in stage.told[told:]] == ["DELIVERED"]


NEWS = [
    Accepted(about()),
    submitted(dict.fromkeys(range(RECIPIENTS), Detailed.IN_DOUBT)),
    submitted({0: Detailed.SUBMITTED, 1: Detailed.REJECTED}),
    receipt(0, "ENROUTE"),
    receipt(0, "DELIVRD"),
    receipt(1, "UNDELIV"),
    receipt(2, "DELIVRD"),
    resolution(doubt.RESEND, 0, 1, 2),
    resolution(doubt.FAIL, 1, 2, 3),
    resolution(doubt.FAIL, 2, 3),
    LATE,
]


@settings(max_examples=150, deadline=None)
@given(st.permutations(NEWS), st.data())
def test_topics_are_read_in_any_order_by_workers_that_die(shared_table: Table, news, data):
    shared_table.clear()
    stage = Stage(shared_table)
    topics: dict[str, list[Record]] = {}
    for item in news:
        row = stage.put(item)
        topics.setdefault(row.topic, []).append(row)
    while topics:
        topic = data.draw(st.sampled_from(sorted(topics)))
        rows = topics[topic][: data.draw(st.integers(1, 3))]
        crash = data.draw(st.sampled_from([{}, {}, *CRASHES]))
        stage.read(*rows, **crash)
        stage.check()
        if not crash:
            del topics[topic][: len(rows)]
            if not topics[topic]:
                del topics[topic]
    stage.take(Tick(DUE + 3602))
    stage.check()
    assert all(records[-1].final for records in stage.fates().values())
    assert sum(stage.settled()) == RECIPIENTS * PRICE
    batches = {(again.attempt, again.index[0]): tuple(again.index) for again in stage.again}
    assert {(again.attempt, again.index[0], tuple(again.index)) for again in stage.again} == {
        (*key, index) for key, index in batches.items()
    }
