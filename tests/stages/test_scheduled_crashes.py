"""What waits for its time, by workers that die between any two writes and read their topics in any order: every message
is let go once, or ends, never both; and its money is settled."""

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scheduling import AT, cancel, released, scheduled, tick
from stepping import Record, Table
from test_track_crashes import CRASHES
from tracking import OUTCOMES, PRICE, RECIPIENTS, Stage, about, submitted

from pipeline import optouts
from pipeline.records import Accepted, Destination, Tick
from schemas.states import Detailed

LATER = AT + 60
PLACES = [Destination("IT", "39", ""), Destination("US", "1", "", AT * 1000), Destination("NZ", "64", "", LATER * 1000)]
BATCHES = [
    scheduled(),
    about(where=[0, 1, 2, 1], destinations=PLACES, prices=[PRICE] * 3),
    scheduled(where=[0, 0, 2, 2], destinations=PLACES, prices=[PRICE] * 3),
]


def ended(stage: Stage) -> set[int]:
    return {told.index for told in stage.told if told.final}


@pytest.mark.parametrize("of", BATCHES, ids=["at a time", "quiet hours", "both"])
def test_it_is_let_go_once_wherever_the_worker_died(table: Table, of: Any):
    for accepting, going in itertools.product(CRASHES, CRASHES):
        table.clear()
        stage = Stage(table)
        stage.take(Accepted(of), **accepting)
        stage.take(tick(AT), **going)
        stage.take(tick(LATER), **going)
        assert released(stage) == list(range(RECIPIENTS))
        assert ended(stage) == set()


@pytest.mark.parametrize("word", [cancel(0, 1, 2, 3), cancel(by_request=True)], ids=["by message", "by request"])
def test_it_is_let_go_or_cancelled_whichever_is_read_first(table: Table, word: Any):
    """A window dies after any write, and the other topic is read before its record comes again."""
    for crash in CRASHES:
        for first, second in itertools.permutations([tick(AT), word]):
            table.clear()
            stage = Stage(table)
            stage.take(Accepted(scheduled()))
            cut = stage.die_over(first, **crash)
            stage.take(second)
            stage.read(cut)
            stage.take(tick(AT + 5))
            gone = released(stage)
            assert (gone, ended(stage)) in [([], set(range(RECIPIENTS))), (list(range(RECIPIENTS)), set())]
            assert stage.settled() == (0, 0 if gone else RECIPIENTS * PRICE)


class Waiting(RuleBasedStateMachine):
    """News of one batch on all of track's topics, read in any order, a worker that may die in each window; carriers
    answer for what was let go."""

    table: Table

    @initialize(of=st.sampled_from(BATCHES), early=st.booleans())
    def begin(self, of: Any, early: bool) -> None:
        self.table.clear()
        self.stage = Stage(self.table)
        self.topics: dict[str, list[Record]] = {}
        self.answered: set[int] = set()
        self.reached = 0
        if early:
            self.put(cancel(1))
        self.put(Accepted(of))

    def put(self, news: object) -> None:
        row = self.stage.put(news)
        self.topics.setdefault(row.topic, []).append(row)

    @rule(now=st.sampled_from([AT - 1, AT, LATER - 1, LATER]))
    def time_passes(self, now: int) -> None:
        self.reached = max(self.reached, now)
        self.put(tick(self.reached))

    @rule(indexes=st.sets(st.integers(0, RECIPIENTS - 1), min_size=1))
    def cancel_messages(self, indexes: set[int]) -> None:
        self.put(cancel(*indexes))

    @rule()
    def cancel_request(self) -> None:
        self.put(cancel(by_request=True))

    @rule(index=st.integers(0, RECIPIENTS - 1))
    def opt_out(self, index: int) -> None:
        self.stage.opt_outs.take(optouts.key("acme", about().numbers[index]), b"{}")

    @rule(state=st.sampled_from([Detailed.SUBMITTED, Detailed.REJECTED, Detailed.CANCELED]), data=st.data())
    @precondition(lambda self: self.open())
    def a_carrier_answers(self, state: Detailed, data: Any) -> None:
        """Or dispatch, which was told in time to stop it."""
        index = data.draw(st.sampled_from(sorted(self.open())))
        self.answered.add(index)
        self.put(submitted({index: state}))

    def open(self) -> set[int]:
        return set(released(self.stage)) - self.answered

    @rule(data=st.data(), crash=st.sampled_from([{}, {}, *CRASHES]))
    @precondition(lambda self: self.topics)
    def read(self, data: Any, crash: dict[str, object]) -> None:
        topic = data.draw(st.sampled_from(sorted(self.topics)))
        rows = self.topics[topic][:1] if topic.endswith("ticks") else self.topics[topic][:3]
        self.stage.read(*rows, **crash)
        if not crash:
            del self.topics[topic][: len(rows)]
            if not self.topics[topic]:
                del self.topics[topic]

    @invariant()
    def let_go_or_ended(self) -> None:
        if hasattr(self, "stage"):
            self.stage.check()
            gone = set(released(self.stage))
            by_track = ended(self.stage) - self.answered
            assert gone.isdisjoint(by_track)

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        if OUTCOMES in self.topics or not self.stage.told:
            self.drain()
        self.put(tick(LATER))
        self.drain()
        while self.open():
            self.answered |= (some := self.open())
            self.put(submitted(dict.fromkeys(some, Detailed.REJECTED)))
            self.drain()
        self.let_go_or_ended()
        assert set(released(self.stage)) | ended(self.stage) == set(range(RECIPIENTS))
        self.put(Tick(LATER + 200_000))  # no receipt comes
        self.drain()
        assert ended(self.stage) == set(range(RECIPIENTS))
        assert sum(self.stage.settled()) == RECIPIENTS * PRICE

    def drain(self) -> None:
        for rows in self.topics.values():
            for row in rows:
                self.stage.read(row)
        self.topics.clear()


def test_whatever_happens(shared_table: Table):
    Waiting.table = shared_table
    run_state_machine_as_test(Waiting, settings=settings(max_examples=300, stateful_step_count=25, deadline=None))
