"""What is scheduled: told, kept back, let go at its time, stopped by a cancellation or an opt-out."""

import time

import pytest
from scheduling import AT, cancel, released, scheduled, states, tick
from stepping import NOON_MS, SETTINGS, Table, batch, decides, record
from tracking import PRICE, RECIPIENTS, Stage, about, submitted

from pipeline import optouts
from pipeline.cancellations import Cancellations, of_messages, of_request
from pipeline.ops import metrics
from pipeline.records import Accepted, Destination, Tick, decode_batches, decode_ticks, encode
from pipeline.stages import scheduled as scheduled_stage
from pipeline.stages import track
from pipeline.stages.route import expires_at
from schemas import errors
from schemas.states import Detailed


def test_it_is_told_and_waits_for_its_second(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled(send_at=AT * 1000 - 400)))
    assert states(stage) == ["SCHEDULED"] * RECIPIENTS
    assert {(told.state, told.final, told.sequence, told.send_at) for told in stage.told} == {
        ("NEW", False, 1, "2096-10-02T07:06:39.600Z")
    }
    stage.take(tick(AT - 1))
    assert released(stage) == []
    stage.take(tick(AT))
    assert released(stage) == list(range(RECIPIENTS)) and stage.again_priority == []
    (part,) = stage.again
    assert expires_at(part) == AT - 0.4 + part.validity_seconds
    stage.take(tick(AT + 5))
    assert len(stage.again) == 1
    stage.take(submitted({0: Detailed.SUBMITTED}))
    assert states(stage) == ["SUBMITTED", *["SCHEDULED"] * 3]


def test_its_lane_is_kept(table: Table):
    stage = Stage(table)
    stage.read(stage.put(Accepted(scheduled()), urgent=True))
    stage.take(tick(AT))
    assert len(stage.again_priority) == 1 and stage.again == []


def test_what_is_due_when_it_is_accepted_goes_at_once(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled(send_at=NOON_MS)))
    assert states(stage) == ["ACCEPTED"] * RECIPIENTS
    assert released(stage) == list(range(RECIPIENTS))


def test_a_dry_run_waits_for_nothing(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled(dry_run=True)))
    stage.take(tick(AT))
    assert [told.final for told in stage.told] == [True] * RECIPIENTS and released(stage) == []


def test_recipients_in_quiet_hours_wait_and_the_others_go(table: Table):
    places = [
        Destination("IT", "39", ""),
        Destination("US", "1", "", AT * 1000),
        Destination("NZ", "64", "", AT * 1000 + 60_000),
    ]
    stage = Stage(table)
    stage.take(Accepted(about(where=[0, 1, 2, 0], destinations=places, prices=[PRICE] * 3)))
    assert states(stage) == ["ACCEPTED", "SCHEDULED", "SCHEDULED", "ACCEPTED"]
    assert released(stage) == [0, 3]
    stage.take(tick(AT))
    assert released(stage) == [0, 1, 3]
    stage.take(tick(AT + 60))
    assert [(part.index, part.send_at) for part in stage.again] == [
        ([0, 3], 0),
        ([1], AT * 1000),
        ([2], AT * 1000 + 60_000),
    ]


def test_each_is_given_up_on_at_its_own_time(table: Table):
    later = AT + 24 * 3600
    places = [Destination("IT", "39", "", AT * 1000), Destination("US", "1", "", later * 1000)]
    stage = Stage(table)
    stage.take(Accepted(about(where=[0, 0, 1, 1], destinations=places, prices=[PRICE] * 2, validity_seconds=3600)))
    stage.take(tick(AT))
    stage.take(submitted({0: Detailed.SUBMITTED, 1: Detailed.SUBMITTED}))
    stage.take(Tick(AT + 3600 + 62))
    assert states(stage) == ["NO_RECEIPT"] * 2 + ["SCHEDULED"] * 2
    stage.take(tick(later))
    stage.take(submitted({2: Detailed.SUBMITTED}))
    stage.take(Tick(later + 3600 + 62))
    assert states(stage) == ["NO_RECEIPT"] * 3 + ["SCHEDULED"]  # dispatch has an hour more to say what became of it
    stage.take(Tick(later + 3600 + 60 + 3602))
    assert states(stage) == ["NO_RECEIPT"] * 4
    assert stage.settled() == (3 * PRICE, PRICE)


def test_who_opts_out_meanwhile_is_not_written_to(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled()))
    stage.opt_outs.take(optouts.key("acme", about().numbers[1]), b"{}")
    stage.opt_outs.take(optouts.key("globex", about().numbers[2]), b"{}")
    stage.take(tick(AT))
    assert released(stage) == [0, 2, 3]
    assert states(stage) == ["SCHEDULED", "BLOCKED", "SCHEDULED", "SCHEDULED"]
    (told,) = [told for told in stage.told if told.final]
    assert told.error and told.error.code == errors.OPTED_OUT
    assert stage.settled() == (0, PRICE)


def test_cancelled_by_message_and_by_request(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled()))
    stage.take(cancel(1, 3, account="globex"))  # another's
    stage.take(cancel(1))
    assert states(stage) == ["SCHEDULED", "CANCELED", "SCHEDULED", "SCHEDULED"]
    (told,) = [told for told in stage.told if told.final]
    assert (told.state, told.error.code, told.carrier) == ("REJECTED", errors.CANCELED, None)
    assert stage.settled() == (0, PRICE)
    stage.take(cancel(by_request=True))
    assert states(stage) == ["CANCELED"] * RECIPIENTS and stage.settled() == (0, RECIPIENTS * PRICE)
    stage.take(tick(AT))
    assert released(stage) == [] and table.keys(b"w") == []


@pytest.mark.parametrize("word", [cancel(0, 1, 2, 3), cancel(0, 1, 2, 3, account=""), cancel(by_request=True)])
def test_cancelled_before_it_is_known(table: Table, word: object):
    stage = Stage(table)
    stage.take(cancel(0, account="globex"))
    stage.take(word)
    stage.take(Accepted(scheduled()))
    assert states(stage) == ["CANCELED"] * RECIPIENTS
    stage.take(tick(AT))
    assert released(stage) == []


def test_a_requests_cancellation_is_for_what_was_requested_until_then(table: Table):
    stage = Stage(table)
    stage.take(cancel(by_request=True, at=NOON_MS - 61_000))
    stage.take(Accepted(scheduled()))
    assert states(stage) == ["SCHEDULED"] * RECIPIENTS


def test_what_is_let_go_is_not_tracks_to_cancel(table: Table):
    stage = Stage(table)
    stage.take(Accepted(scheduled()))
    stage.take(tick(AT))
    stage.take(submitted({0: Detailed.SUBMITTED}))
    stage.take(cancel(by_request=True))
    assert states(stage) == ["SUBMITTED", *["SCHEDULED"] * 3] and stage.settled() == (PRICE, 0)


def test_what_is_due_at_once_goes_in_pieces(table: Table, monkeypatch: pytest.MonkeyPatch):
    """So that other topics have their turn, and each piece begins where the last ended."""
    monkeypatch.setattr(scheduled_stage, "_A_WINDOW", 50)
    decide = decides(track.sources(SETTINGS, track.Tracker(SETTINGS, optouts.OptOuts())))
    made = [batch(number, 20, send_at=AT * 1000, prices=[PRICE]) for number in range(7)]
    table.window(decide["t.outcomes"], [record("t.outcomes", encode([Accepted(one) for one in made]))])
    waiting, sizes = [tick(AT)], []
    while waiting:
        sent = table.window(decide["t.ticks"], [record("t.ticks", encode([waiting.pop()]))])
        sizes.append(sum(map(len, sent.items("t.priced", decode_batches))))
        waiting += sent.items("t.ticks", decode_ticks)
    assert sizes == [60, 60, 20]


def test_what_waits_is_counted_also_by_the_next_process(table: Table):
    stage = Stage(table)
    stage.take(tick(AT - 10))
    stage.take(Accepted(scheduled()))
    assert metrics.SCHEDULED._value.get() == RECIPIENTS
    stage.take(cancel(2))
    assert metrics.SCHEDULED._value.get() == RECIPIENTS - 1
    stage.restart()
    stage.take(tick(AT - 5))
    stage.take(cancel(0))
    assert metrics.SCHEDULED._value.get() == RECIPIENTS - 2
    stage.take(tick(AT))
    assert metrics.SCHEDULED._value.get() == 0


def among(canceled: Cancellations, **more: object) -> list[int]:
    of = about(**({"received_at": int(time.time() * 1000)} | more))
    return [position for position in range(RECIPIENTS) if canceled.holds(of, position)]


def test_what_dispatch_knows_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch):
    canceled, about_now = Cancellations(), about()
    rows = of_messages("acme", [(about_now.id + b"\0\0\2").hex()], "ada", 1) + of_messages(
        "", [(about_now.id + b"\0\0\3").hex()], "ada", 1
    )
    for row in rows:
        canceled.take(row.key, row.value)
    assert among(canceled) == [2, 3] and among(canceled, account="globex") == [3]
    (row,) = of_request("acme", "request-1", "ada", 1)
    canceled.take(row.key, row.value)
    assert among(canceled) == [2, 3]
    assert among(canceled, request=row.key) == [0, 1, 2, 3]
    assert among(canceled, request=row.key, received_at=int(time.time() * 1000) + 100_000) == [2, 3]
    canceled.take(b"", b"nonsense")
    later = time.time_ns() + 101 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    canceled.take(b"", of_messages("acme", ["00" * 12], "ada", 1)[0].value)
    assert among(canceled, request=row.key) == []
    canceled.take(rows[0].key, rows[0].value)
    assert among(canceled) == []
