"""Callbacks of requests, by a worker process, to real servers."""

import urllib.parse

from calling import DELIVERED, PENDING, REJECTED, Stage, batch, message, notice
from receiving import Receiver
from working import wait_for


def test_a_message_is_told_at_each_change_of_its_state(stage: Stage, receiver: Receiver) -> None:
    callback = {"url": receiver.url(), "headers": {"session_id": "9834"}, "custom": {"mine": 1}}
    about = batch(2, callback=callback)
    stage.tell(notice(about, PENDING), notice(about, DELIVERED, [1]), notice(about, REJECTED, [0]))
    wait_for(lambda: len(receiver.taken) == 4)
    assert receiver.told() == {message(about, 0): ["PENDING", "REJECTED"], message(about, 1): ["PENDING", "DELIVERED"]}
    last = next(heard for heard in receiver.heard if heard.json["state"] == "DELIVERED")
    assert last.id == f"{message(about, 1)}:6"
    assert last.headers["session_id"] == "9834"
    assert last.headers["content-type"] == "application/json"
    assert last.json["custom"] == {"mine": 1}
    assert last.json["message"] == "Hello"
    assert last.json["sentAt"] <= last.json["deliveredAt"]


def test_a_form_has_the_json_in_its_field(stage: Stage, receiver: Receiver) -> None:
    about = batch(callback={"url": receiver.url(), "method": "POST", "field": "päy load"})
    stage.tell(notice(about, PENDING))
    wait_for(lambda: receiver.taken)
    heard = receiver.heard[0]
    assert heard.headers["content-type"] == "application/x-www-form-urlencoded"
    ((name, value),) = urllib.parse.parse_qsl(heard.body.decode(), strict_parsing=True)
    assert name == "päy load"
    assert f'"id":"{message(about)}"' in value
