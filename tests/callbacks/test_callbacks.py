"""Callbacks of requests, by a worker process, to real servers."""

import random
import socket
import threading
import time
import urllib.parse
from collections import defaultdict

from calling import DELIVERED, PENDING, REJECTED, Stage, batch, message, notice
from receiving import Heard, Receiver
from working import wait_for

from pipeline.callbacks.records import Outcome


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


def test_a_failed_call_is_repeated_so_often_and_no_more(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = lambda heard, number: 503
    stubborn = batch(callback={"url": receiver.url("/stubborn"), "retry": 2})
    once = batch(callback={"url": receiver.url("/once")})
    stage.tell(notice(stubborn, PENDING), notice(once, PENDING))
    mine = receiver.url("/")
    wait_for(lambda: [d for d in stage.deliveries() if d.url.startswith(mine) and d.outcome == Outcome.GIVEN_UP][1:])
    assert sorted(heard.path for heard in receiver.heard) == ["/once", *["/stubborn"] * 3]
    assert len({heard.id for heard in receiver.heard if heard.path == "/stubborn"}) == 1
    tries = [d for d in stage.deliveries() if d.url == receiver.url("/stubborn")]
    assert [(d.outcome, d.attempt, d.status) for d in tries] == [
        (Outcome.RETRYING, 1, 503), (Outcome.RETRYING, 2, 503), (Outcome.GIVEN_UP, 3, 503)
    ]  # fmt: skip


def test_what_the_receiver_refuses_for_good_is_not_repeated(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = lambda heard, number: 404
    about = batch(callback={"url": receiver.url("/gone"), "retry": 5})
    stage.tell(notice(about, PENDING), notice(about, DELIVERED))
    wait_for(lambda: len(receiver.heard) == 2)
    wait_for(lambda: [d for d in stage.deliveries() if d.url == receiver.url("/gone")][1:])
    assert [heard.json["state"] for heard in receiver.heard] == ["PENDING", "DELIVERED"]


def test_each_message_is_told_in_order_whatever_fails(stage: Stage, receiver: Receiver) -> None:
    """Each event fails up to two times, some calls take a while; every message hears of its moves in order."""
    chance = random.Random(7)
    failing: defaultdict[str, int] = defaultdict(lambda: chance.choice([0, 1, 2]))

    def answer(heard: Heard, number: int) -> int:
        time.sleep(chance.choice([0, 0, 0.02]))
        failing[heard.id] -= 1
        return 503 if failing[heard.id] >= 0 else 200

    receiver.answer = answer
    abouts = [batch(5, callback={"url": receiver.url("/order"), "retry": 5}) for _ in range(6)]
    stage.tell(*(notice(about, PENDING) for about in abouts))
    stage.tell(*(notice(about, DELIVERED) for about in abouts))
    wanted = {message(about, place): ["PENDING", "DELIVERED"] for about in abouts for place in range(5)}
    wait_for(lambda: receiver.told() == wanted, 60, lambda: str(len(receiver.taken)))
    calls: dict[str, list[str]] = {}
    for heard in receiver.heard:
        calls.setdefault(heard.json["id"], []).append(heard.json["state"])
    assert all(states == sorted(states, reverse=True) for states in calls.values())  # PENDING before DELIVERED
    assert receiver.most_at_once <= 8


def test_a_dead_and_a_slow_client_delay_nobody(stage: Stage, receiver: Receiver) -> None:
    """One host takes no connection, one never answers: what goes elsewhere is told at once."""
    done = threading.Event()
    with Receiver(lambda heard, number: 200 if done.wait(20) else 500) as slow, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # nobody listens
        callbacks = [{"url": f"http://127.0.0.1:{dead.getsockname()[1]}/"}, {"url": slow.url()}]
        stage.tell(*(notice(batch(20, callback=callback), PENDING) for callback in callbacks * 5))
        wait_for(lambda: slow.heard)
        about = batch(50, callback={"url": receiver.url()})
        began = time.monotonic()
        stage.tell(notice(about, PENDING))
        wait_for(lambda: len(receiver.taken) == 50)
        assert receiver.heard[-1].at - began < 2
        assert slow.most_at_once <= 2  # it has not answered well yet
        done.set()


def test_one_account_cannot_stop_the_calls_of_another(stage: Stage, receiver: Receiver) -> None:
    """The same host answers one account's calls only with failures: its circuit is that account's."""
    receiver.answer = lambda heard, number: 500 if heard.path == "/fails" else 200
    stage.tell(notice(batch(40, account="globex", callback={"url": receiver.url("/fails"), "retry": 5}), PENDING))
    wait_for(lambda: len(receiver.heard) >= 5)
    stage.tell(notice(batch(20, callback={"url": receiver.url("/fine")}), PENDING))
    wait_for(lambda: len(receiver.taken) == 20, 5)
    assert len([heard for heard in receiver.heard if heard.path == "/fails"]) < 40
