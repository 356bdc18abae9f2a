"""What is to be told survives the client's failures and our own."""

import time

import outage
from calling import DELIVERED, PENDING, Stage, batch, message, notice
from receiving import Heard, Receiver
from working import wait_for


def test_a_client_that_was_away_hears_everything_in_order(stage: Stage, receiver: Receiver) -> None:
    figures = outage.run(stage, receiver, 4, 60)
    assert figures["failedCalls"] < 100  # circuits: far fewer than events and repeats


def test_a_killed_worker_loses_nothing(stage: Stage, receiver: Receiver) -> None:
    """Killed in the middle of calls; what was under way is repeated under its id."""

    def answer(heard: Heard, number: int) -> int:
        time.sleep(0.05)
        return 200

    receiver.answer = answer
    abouts = [batch(10, callback={"url": receiver.url(), "retry": 1}) for _ in range(12)]
    stage.tell(*(notice(about, PENDING) for about in abouts), *(notice(about, DELIVERED) for about in abouts))
    wait_for(lambda: len(receiver.heard) > 60)
    assert stage.worker
    stage.worker.kill()
    stage.start()
    wanted = {message(about, place): ["PENDING", "DELIVERED"] for about in abouts for place in range(10)}
    wait_for(lambda: receiver.told() == wanted, 60, lambda: f"{len(receiver.taken)} taken")
    repeats = len(receiver.heard) - 2 * len(wanted)
    assert repeats < 120


def test_partitions_move_between_workers_and_nothing_is_lost(stage: Stage, receiver: Receiver) -> None:
    """A second worker comes in the middle of calls, then the first one goes."""

    def answer(heard: Heard, number: int) -> int:
        time.sleep(0.05)
        return 200

    receiver.answer = answer
    abouts = [batch(10, callback={"url": receiver.url("/moved"), "retry": 1}) for _ in range(15)]
    stage.tell(*(notice(about, PENDING) for about in abouts), *(notice(about, DELIVERED) for about in abouts))
    wait_for(lambda: len(receiver.heard) > 40)
    first = stage.worker
    assert first
    stage.start("two").wait_ready()
    first.stop()
    wanted = {message(about, place): ["PENDING", "DELIVERED"] for about in abouts for place in range(10)}
    wait_for(lambda: receiver.told() == wanted, 60, lambda: f"{len(receiver.taken)} taken")
    assert len(receiver.heard) - 2 * len(wanted) < 60
