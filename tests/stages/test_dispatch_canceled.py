"""What is cancelled on its way to the carrier: stopped before the call or not at all, whatever crashes."""

import pytest
from stepping import Table
from test_dispatch import TOPIC, Killed, Script, Window, about, accept, die, told

from pipeline import ids
from pipeline.cancellations import of_messages, of_request
from pipeline.carriers.base import NotSent
from pipeline.records import Batch, decode_batches, decode_outcomes
from pipeline.stages.doubt import ATTEMPTS_A_RESEND
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

CANCELED, SUBMITTED = (Detailed.CANCELED, ""), Detailed.SUBMITTED


def cancel(window: Window, of: Batch, *indexes: int) -> None:
    named = [ids.message_id(of.id, index) for index in indexes]
    for row in of_messages(of.account, named, "ada", 1):
        window.canceled.take(row.key, row.value)


def called(carrier: Script) -> set[str]:
    return {reference for _, asked in carrier.calls for reference in asked}


def test_the_carrier_never_hears_of_it(table: Table):
    carrier = Script()
    window, of = Window(table, carrier), about()
    cancel(window, of, 1)
    sent = window(of)
    assert told(sent) == {0: (SUBMITTED, "c000000"), 1: CANCELED, 2: (SUBMITTED, "c000002")}
    assert called(carrier) == {ids.message_id(of.id, index) for index in (0, 2)}
    (outcome,) = sent.items("t.outcomes", decode_outcomes)
    assert outcome.errors[1].code == errors.CANCELED


def test_a_whole_request_needs_no_call(table: Table):
    carrier = Script()
    window, of = Window(table, carrier), about()
    (row,) = of_request("acme", "x", "ada", 1)
    window.canceled.take(row.key, row.value)
    of.request = row.key
    assert told(window(of)) == dict.fromkeys(range(3), CANCELED)
    assert carrier.calls == []


@pytest.mark.parametrize("idempotent", [True, False])
def test_what_the_first_try_left_out_stays_out(table: Table, idempotent: bool):
    """And what comes after its call is too late: the repeat is the same to the octet."""
    carrier = Script(die, accept)
    window, of = Window(table, carrier, idempotent=idempotent), about()
    cancel(window, of, 0)
    with pytest.raises(Killed):
        window(of)
    again = Window(
        table, carrier, idempotent=idempotent
    )  # a process that has forgotten the first word, and heard another
    cancel(again, of, 2)
    sent = again(of)
    after = {i: (SUBMITTED, f"c00000{i}") if idempotent else (Detailed.IN_DOUBT, "") for i in (1, 2)}
    assert told(sent) == {0: CANCELED} | after
    assert len({(key, tuple(asked)) for key, asked in carrier.calls}) == 1
    assert ids.message_id(of.id, 0) not in called(carrier)


@pytest.mark.parametrize("crash", [{"first": 0}, {"first": 1}, {"learned": False}, {"sent": False}, {"later": False}])
def test_it_is_told_one_end_wherever_the_worker_died(table: Table, crash: dict[str, object]):
    carrier = Script()
    window, of = Window(table, carrier), about()
    cancel(window, of, 1)
    first = told(window(of, **crash))
    second = told(window(of))
    assert second[0] == (SUBMITTED, "c000000")
    assert first in ({}, second)
    assert (ids.message_id(of.id, 1) in called(carrier)) == (second[1] != CANCELED)
    # Where only the attempt is known to have begun, its calls may have been made: then it is too late.
    assert (second[1] == CANCELED) == (crash != {"first": 1})


def test_what_was_not_taken_may_be_cancelled_before_its_next_try(table: Table):
    carrier = Script(NotSent(Error(errors.CARRIER_UNAVAILABLE, "away", permanent=False)))
    window, of = Window(table, carrier, patience=0.01), about()
    (back,) = window(of).items("t.priced", decode_batches)
    assert back.attempt == 1
    cancel(window, of, 0, 1, 2)
    assert told(window(back, offset=1)) == dict.fromkeys(range(3), CANCELED)


def test_a_resend_of_what_is_in_doubt_is_not_stopped(table: Table):
    """The carrier may have the message already, so it must not end as one that was never sent."""
    window, of = Window(table, Script()), about(attempt=ATTEMPTS_A_RESEND)
    cancel(window, of, 0)
    assert told(window(of, topic=TOPIC))[0] == (SUBMITTED, "c000000")


def test_the_word_of_another_account_neither_stops_it_nor_stands_in_the_place_of_ours(table: Table):
    carrier = Script()
    window, of = Window(table, carrier), about()
    named = [ids.message_id(of.id, index) for index in range(3)]
    for account, messages in (("acme", named[:1]), ("evil", named[:2])):
        for row in of_messages(account, messages, "ada", 1):
            window.canceled.take(row.key, row.value)
    assert {index for index, end in told(window(of)).items() if end == CANCELED} == {0}
