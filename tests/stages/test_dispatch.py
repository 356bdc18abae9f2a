"""The journal of attempts, and what dispatch makes of every answer a carrier can give."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest
from stepping import SETTINGS, Sent, Table, batch, record

from pipeline import ids
from pipeline.cancellations import Cancellations
from pipeline.carriers import base
from pipeline.carriers.base import Answered, NotSent, Outbound, Outcome, Refused, SlowDown, Unanswered, Unknown
from pipeline.config import HttpCarrier, Settings
from pipeline.records import Batch, Reference, Submitted, decode_batches, decode_outcomes, encode
from pipeline.stages import dispatch
from pipeline.stages.dispatch import CLOSED, DECIDED, OPEN, Attempt
from pipeline.stages.submission import Line
from pipeline.streaming.stage import Abandoned
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

TOPIC, PRIORITY = "t.dispatch.sim", "t.dispatch.sim.priority"
ERROR = Error(errors.CARRIER_UNAVAILABLE, "away", permanent=False)
REJECTED = base.Rejected(Error(errors.CARRIER_REJECTED, "no"))
LATER = base.Rejected(Error(errors.CARRIER_REJECTED, "not now", permanent=False))
_reference = msgspec.msgpack.Decoder(Reference).decode


def about(number: int = 1, recipients: int = 3, **more: object) -> Batch:
    """A batch of now, so that its validity has not ended."""
    return batch(number, recipients, **({"received_at": int(time.time() * 1000)} | more))


class Script:
    """A carrier in this process: it answers in turn what it was told to, and keeps what it was asked."""

    def __init__(self, *answers: Outcome | Callable[[Sequence[Outbound]], Outcome]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, list[str]]] = []

    async def submit(self, messages: Sequence[Outbound], key: str) -> Outcome:
        self.calls.append((key, [message.reference for message in messages]))
        answer = self.answers.pop(0) if self.answers else accept
        return answer(messages) if callable(answer) else answer

    async def close(self) -> None:
        pass


class Killed(SystemExit):
    """The worker dies while a call is under way."""


def die(messages: Sequence[Outbound]) -> Outcome:
    raise Killed


def accept(messages: Sequence[Outbound]) -> Outcome:
    return Answered([base.Accepted(f"c{message.reference[-6:]}") for message in messages])


class Window:
    """One window of the dispatch stage in a process of its own."""

    def __init__(self, table: Table, carrier: Script, *, idempotent: bool = True, **config: object) -> None:
        told = {"url": "http://sim.invalid", "throughput": 100_000, "patience": 0.6, "idempotent": idempotent}
        self._config = HttpCarrier(**(told | config))
        self._settings = Settings(kafka=SETTINGS.kafka, carriers={"sim": self._config})
        self._table, self._carrier = table, carrier
        self.canceled = Cancellations()

    def __call__(self, *batches: Batch, topic: str = TOPIC, offset: int = 0, **crash: object) -> Sent:
        def decide(row: object, step: object) -> None:
            line = Line("sim", self._config, self._carrier)  # made inside the loop, as a worker does
            sources = dispatch.sources(self._settings, [line], self.canceled)
            return next(s for s in sources if s.topic == topic).decide(row, step)

        return self._table.window(decide, [record(topic, encode(list(batches)), offset)], **crash)


def told(sent: Sent) -> dict[int, tuple[Detailed, str]]:
    """State and reference by index."""
    found = {}
    for outcome in sent.items("t.outcomes", decode_outcomes):
        assert isinstance(outcome, Submitted)
        for index, state, reference in zip(outcome.index, outcome.states, outcome.references, strict=True):
            assert index not in found
            found[index] = (Detailed(state), reference)
    return found


def journal(table: Table, of: Batch) -> int | None:
    entry = table.get(dispatch._journal_key(of), Attempt)
    return entry.state if entry else None


def test_an_answer_is_told_and_its_ids_are_learned(table: Table):
    carrier = Script()
    sent = Window(table, carrier)(about())
    assert told(sent) == {i: (Detailed.SUBMITTED, f"c00000{i}") for i in range(3)}
    (learned,) = map(_reference, sent.rows["t.references"])
    assert dict(zip(learned.ids, learned.messages, strict=True)) == {
        f"c00000{i}": bytes.fromhex(ids.message_id(about().id, i)) for i in range(3)
    }
    assert journal(table, about()) == CLOSED


def test_a_closed_attempt_is_passed_over_whoever_brings_it(table: Table):
    carrier = Script()
    window = Window(table, carrier)
    window(about())
    assert window(about()).rows == {}
    assert window(about(), offset=5).rows == {}
    assert len(carrier.calls) == 1


def test_an_attempt_of_a_later_round_is_another(table: Table):
    carrier = Script()
    window = Window(table, carrier)
    window(about())
    window(about(attempt=1), offset=1)
    assert len(carrier.calls) == 2


def test_an_open_attempt_is_repeated_under_its_key_where_the_carrier_knows_it(table: Table):
    carrier = Script()
    window = Window(table, carrier, batch=2)
    asked = [about(1, 3), about(2, 2)]
    window(*asked, learned=False)
    assert journal(table, asked[0]) == OPEN
    sent = window(*asked)
    assert carrier.calls[:3] == carrier.calls[3:]
    assert {outcome.batch for outcome in sent.items("t.outcomes", decode_outcomes)} == {b.id for b in asked}
    assert [journal(table, b) for b in asked] == [CLOSED, CLOSED]


def test_an_open_call_is_left_in_doubt_where_the_carrier_does_not(table: Table):
    carrier = Script(die)
    window = Window(table, carrier, idempotent=False)
    with pytest.raises(Killed):
        window(about())
    sent = window(about())
    assert len(carrier.calls) == 1
    assert told(sent) == dict.fromkeys(range(3), (Detailed.IN_DOUBT, ""))
    assert window(about()).rows == {}
    assert table.keys(b"c") == []


def test_of_several_calls_only_the_one_under_way_is_in_doubt(table: Table):
    """One connection: the first call was answered, the second is under way, the third has not begun."""
    carrier = Script(accept, die)
    window = Window(table, carrier, idempotent=False, connections=1, batch=2)
    with pytest.raises(Killed):
        window(about(1, 3), about(2, 3))
    sent = window(about(1, 3), about(2, 3))
    states = {o.batch: list(o.states) for o in sent.items("t.outcomes", decode_outcomes)}
    taken, doubt = Detailed.SUBMITTED, Detailed.IN_DOUBT
    assert states == {about(1).id: [taken, taken, doubt], about(2).id: [doubt, taken, taken]}
    assert len(carrier.calls) == 3
    assert len({reference for _, asked in carrier.calls for reference in asked}) == 6
    assert table.keys(b"c") == []


def test_a_torn_journal_calls_the_whole_of_a_key_again(table: Table):
    """The verdicts of one batch are durable, of its neighbour in the same call not yet: a key stands for the same
    messages always, and a verdict stays."""
    carrier = Script(accept, Answered([REJECTED] * 5))
    window = Window(table, carrier)
    asked = [about(1, 3), about(2, 2)]
    window(*asked, learned=1)
    assert [journal(table, b) for b in asked] == [DECIDED, OPEN]
    sent = window(*asked)
    assert carrier.calls[0] == carrier.calls[1]
    states = {o.batch: set(o.states) for o in sent.items("t.outcomes", decode_outcomes)}
    assert states == {asked[0].id: {Detailed.SUBMITTED}, asked[1].id: {Detailed.REJECTED}}


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("crash", [{"sent": False}, {"later": False}], ids=["before it is told", "after"])
def test_a_verdict_that_is_durable_is_only_told_again(table: Table, crash, idempotent):
    carrier = Script(Answered([base.Accepted("a"), REJECTED, LATER]))
    window = Window(table, carrier, idempotent=idempotent)
    once = window(about(), **crash)
    assert journal(table, about()) == DECIDED
    sent = window(about())
    assert len(carrier.calls) == 1
    assert {i: s for i, (s, _) in told(sent).items()} == {0: Detailed.SUBMITTED, 1: Detailed.REJECTED}
    assert [b.index for b in sent.items("t.priced", decode_batches)] == [[2]]
    if once.rows:
        assert told(once) == told(sent)


def test_an_open_attempt_of_another_record_is_left_to_that_record(table: Table):
    carrier = Script()
    window = Window(table, carrier)
    window(about(), learned=False)
    assert window(about(), offset=7).rows == {}
    assert len(carrier.calls) == 1
    assert len(told(window(about()))) == 3


def test_an_open_attempt_whose_validity_has_ended_is_in_doubt_not_expired(table: Table):
    """The carrier may have taken it in the first life: that it is over now says nothing of then."""
    carrier = Script()
    window = Window(table, carrier)
    asked = about(received_at=int(time.time() * 1000) - 1_000, validity_seconds=3)
    window(asked, learned=False)
    while time.time() < asked.received_at / 1000 + asked.validity_seconds:
        time.sleep(0.05)
    states = {state for state, _ in told(window(asked)).values()}
    assert len(carrier.calls[0][1]) == 3
    assert Detailed.EXPIRED not in states


def test_what_is_over_before_it_is_sent_expires_unsent(table: Table):
    carrier = Script()
    sent = Window(table, carrier)(about(received_at=0))
    assert told(sent) == dict.fromkeys(range(3), (Detailed.EXPIRED, ""))
    assert carrier.calls == []


@pytest.mark.parametrize(
    ("answers", "idempotent", "state", "calls"),
    [
        ([accept], True, Detailed.SUBMITTED, 1),
        ([Answered([REJECTED])], True, Detailed.REJECTED, 1),
        ([Answered([LATER])], True, "elsewhere", 1),
        ([Answered([Unanswered()])], True, Detailed.IN_DOUBT, 1),
        ([Refused(Error(errors.CARRIER_REJECTED, "all wrong"))], True, Detailed.REJECTED, 1),
        ([SlowDown(0.01), SlowDown(0.01), accept], True, Detailed.SUBMITTED, 3),
        ([SlowDown(0.01), accept], False, Detailed.SUBMITTED, 2),
        ([SlowDown(3600)], True, "again", 1),
        ([NotSent(ERROR), accept], True, Detailed.SUBMITTED, 2),
        ([NotSent(ERROR), accept], False, Detailed.SUBMITTED, 2),
        ([NotSent(ERROR)] * 9, True, "elsewhere", None),
        ([Unknown(ERROR), accept], True, Detailed.SUBMITTED, 2),
        ([Unknown(ERROR)] * 9, True, Detailed.IN_DOUBT, None),
        ([Unknown(ERROR)], False, Detailed.IN_DOUBT, 1),
    ],
)
def test_every_answer_has_its_verdict(table: Table, answers, idempotent, state, calls):
    carrier = Script(*answers)
    sent = Window(table, carrier, idempotent=idempotent)(about(recipients=1))
    back = sent.items("t.priced", decode_batches)
    if isinstance(state, Detailed):
        assert {s for s, _ in told(sent).values()} == {state}
        assert back == []
    else:
        assert told(sent) == {}
        ((tried, attempt),) = [(b.tried, b.attempt) for b in back]
        assert (tried, attempt) == (["sim"] if state == "elsewhere" else [], 1)
    assert calls is None or len(carrier.calls) == calls
    assert len({key for key, _ in carrier.calls}) == 1
    assert journal(table, about(recipients=1)) == CLOSED


@pytest.mark.parametrize(
    "then", [[NotSent(ERROR)] * 9, [SlowDown(3600)], [Refused(ERROR)]], ids=["not sent", "slow down", "refused"]
)
def test_a_submission_in_doubt_stays_so_until_it_is_answered(table: Table, then: list[Outcome]):
    """The first call may have been taken: whatever is no answer to it must not send the message elsewhere."""
    carrier = Script(Unknown(ERROR), *then)
    sent = Window(table, carrier)(about(recipients=1))
    assert sent.items("t.priced", decode_batches) == []
    assert {s for s, _ in told(sent).values()} == {Detailed.IN_DOUBT}


def test_an_open_attempt_that_cannot_be_repeated_stays_in_doubt(table: Table):
    """The carrier is away at the next start: another one must not get what this one may have."""
    carrier = Script(accept, *[NotSent(ERROR)] * 9)
    window = Window(table, carrier)
    window(about(), learned=False)
    sent = window(about())
    assert sent.items("t.priced", decode_batches) == []
    assert {s for s, _ in told(sent).values()} == {Detailed.IN_DOUBT}


def test_one_answer_may_part_the_messages(table: Table):
    carrier = Script(Answered([base.Accepted("a"), REJECTED, LATER, Unanswered(), base.Accepted("")]))
    sent = Window(table, carrier)(about(recipients=5))
    assert {i: s for i, (s, _) in told(sent).items()} == {
        0: Detailed.SUBMITTED, 1: Detailed.REJECTED, 3: Detailed.IN_DOUBT, 4: Detailed.SUBMITTED,
    }  # fmt: skip
    (back,) = sent.items("t.priced", decode_batches)
    assert (back.index, back.tried, back.attempt) == ([2], ["sim"], 1)
    (learned,) = map(_reference, sent.rows["t.references"])
    assert learned.ids == ["a"]


def test_lanes_answer_in_their_own_topics(table: Table):
    sent = Window(table, Script())(about(), topic=PRIORITY)
    assert "t.outcomes.priority" in sent.rows
    assert "t.outcomes" not in sent.rows


class Draining(Script):
    """A carrier during whose first call the worker begins to give up its partitions."""

    def __init__(self, *answers: Outcome | Callable[[Sequence[Outbound]], Outcome]) -> None:
        super().__init__(*answers)
        self.event = asyncio.Event()

    async def submit(self, messages: Sequence[Outbound], key: str) -> Outcome:
        self.event.set()
        return await super().submit(messages, key)


def test_a_draining_worker_waits_for_answers_and_calls_no_more(table: Table):
    """One connection: the second call has not begun when the worker is asked to stop."""
    carrier = Draining()
    sent = Window(table, carrier, connections=1, batch=2)(about(), draining=carrier.event)
    assert len(carrier.calls) == 1
    assert told(sent) == {i: (Detailed.SUBMITTED, f"c00000{i}") for i in range(2)}
    (back,) = sent.items("t.priced", decode_batches)
    assert (back.index, back.tried, back.attempt) == ([2], [], 1)


@pytest.mark.parametrize("answer", [SlowDown(30), NotSent(ERROR)], ids=["slow down", "not sent"])
def test_a_draining_worker_does_not_wait_for_a_better_moment(table: Table, answer: Outcome):
    carrier = Draining(answer)
    began = time.monotonic()
    sent = Window(table, carrier, patience=20)(about(), draining=carrier.event)
    assert time.monotonic() - began < 1
    assert [b.index for b in sent.items("t.priced", decode_batches)] == [[0, 1, 2]]
    assert told(sent) == {}


def test_what_may_have_been_taken_is_left_to_the_next_worker_under_its_key(table: Table):
    carrier = Draining(Unknown(ERROR))
    window = Window(table, carrier, patience=20)
    with pytest.raises(ExceptionGroup) as raised:
        window(about(), draining=carrier.event)
    assert raised.group_contains(Abandoned)
    assert journal(table, about()) == OPEN
    assert {s for s, _ in told(window(about())).values()} == {Detailed.SUBMITTED}
    assert carrier.calls[0] == carrier.calls[1]


def test_at_a_carrier_that_knows_no_repeats_it_is_in_doubt_at_once(table: Table):
    carrier = Draining(Unknown(ERROR))
    sent = Window(table, carrier, idempotent=False, patience=20)(about(), draining=carrier.event)
    assert {s for s, _ in told(sent).values()} == {Detailed.IN_DOUBT}
