"""Workers that join and leave under load: every recipient is answered, in the order of its batch, and paid for once."""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import broker
from working import STAGES, Worker, balance, names, number, open_account, request, statuses, wait_for

from pipeline.config import Settings
from pipeline.streaming import client

RECIPIENTS = 20
PRICE = Decimal("0.05")
#: Stages whose records lie in all partitions (one account's money lies in one).
SPREAD = {"validate", "encode", "moderate", "track"}


@contextmanager
def steady_load(settings: Settings, pause: float) -> Iterator[list[str]]:
    """Requests of RECIPIENTS each, one every `pause` seconds until the end of the block; their ids so far."""
    sent: list[str] = []
    over = threading.Event()

    async def produce() -> None:
        async with client.producer(settings.kafka) as producer:
            while not over.is_set():
                place = len(sent)
                recipients = [number(place * RECIPIENTS + n) for n in range(RECIPIENTS)]
                body = request(f"r{place}", *recipients)
                await producer.send_and_wait(names(settings).intake(), body)
                sent.append(f"r{place}")
                await asyncio.sleep(pause)

    thread = threading.Thread(target=asyncio.run, args=(produce(),))
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def answered(settings: Settings) -> int:
    return len({record.key for record in broker.read(settings, names(settings).status)})


def owned(worker: Worker) -> dict[str, float]:
    """Stages that finished records in this worker."""
    lines = [line for line in worker.metrics().splitlines() if line.startswith("sms_stage_records_total{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_workers_join_and_leave_under_load(settings: Settings, start: Callable[..., Worker]) -> None:
    first = start(settings, STAGES, "one").wait_ready()
    open_account(settings, micros=10**12)
    wait_for(lambda: balance(settings))
    with steady_load(settings, 0.05) as sent:
        wait_for(lambda: answered(settings) > 200)
        second = start(settings, STAGES, "two").wait_ready()
        wait_for(lambda: owned(second).keys() >= SPREAD, 60, lambda: f"{owned(second)}")
        first.stop()  # its partitions go to the second
        assert first.process.returncode == 0
        reached = len(sent)
        wait_for(lambda: answered(settings) > reached * RECIPIENTS, 60)
        third = start(settings, STAGES, "three").wait_ready()
        wait_for(lambda: owned(third).keys() >= SPREAD, 60, lambda: f"{owned(third)}")
        second.kill()
        reached = len(sent)
        wait_for(lambda: answered(settings) > reached * RECIPIENTS, 60)
    due = len(sent) * RECIPIENTS
    wait_for(lambda: answered(settings) >= due, 60, lambda: f"{answered(settings)} of {due}")

    places: dict[str, list[int]] = defaultdict(list)
    states: dict[str, set[str]] = defaultdict(set)
    for told in statuses(settings):
        states[told["id"]].add(told["detailedState"])
        if told["index"] not in places[told["requestId"]]:
            places[told["requestId"]].append(told["index"])
    assert Counter(map(frozenset, states.values())) == {frozenset({"ACCEPTED"}): due}
    assert dict(places) == {request_id: list(range(RECIPIENTS)) for request_id in sent}
    wait_for(lambda: Decimal(balance(settings)["reserved"]) == PRICE * due, 10, lambda: f"{balance(settings)}")
    assert broker.read(settings, names(settings).dead_letters) == []
