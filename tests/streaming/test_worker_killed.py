"""SIGKILL in the middle of the work: every recipient is answered once, and the money is what the answers say."""

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import broker
import orjson
from working import STAGES, Worker, balance, names, number, open_account, request, statuses, wait_for

from pipeline import ids
from pipeline.config import Settings
from pipeline.streaming import client

SINGLES, BULKS, BULK_RECIPIENTS = 2_000, 10, 120
PRICE = Decimal("0.05")
BAD = "+390612345678"  # no mobile number


def expected(settings: Settings) -> dict[str, str]:
    """The id of every recipient on the intake, and what must become of it."""
    found = {}
    topics = [names(settings).intake(), names(settings).intake(".priority")]
    for record in [r for topic in topics for r in broker.read(settings, topic)]:
        body = orjson.loads(record.value)
        batch = ids.batch_id(ids.request_hash("acme", body["requestId"]), 0, record.timestamp)
        for index, recipient in enumerate(body["recipients"]):
            found[ids.message_id(batch, index)] = "REJECTED" if recipient == BAD else "ACCEPTED"
    return found


def told_so_far(settings: Settings) -> int:
    """Records on the status topic, repeats included."""

    async def ends() -> int:
        consumer = client.consumer(settings.kafka, names(settings).status)
        await consumer.start()
        try:
            return sum((await consumer.end_offsets(consumer.assignment())).values())
        finally:
            await consumer.stop()

    return asyncio.run(ends())


def answered(settings: Settings) -> int:
    """Messages with a status."""
    return len({record.key for record in broker.read(settings, names(settings).status)})


def test_every_recipient_is_answered_once_whoever_is_killed(settings: Settings, start: Callable[..., Worker]):
    first = start(settings, STAGES, "one").wait_ready()
    open_account(settings)
    wait_for(lambda: balance(settings))
    singles = [(None, request(f"s{n}", BAD if n % 50 == 7 else number(n)), None) for n in range(SINGLES)]
    bulks = [
        (None, request(f"b{b}", *(number(10_000 + BULK_RECIPIENTS * b + n) for n in range(BULK_RECIPIENTS))), None)
        for b in range(BULKS)
    ]
    for place, bulk in enumerate(bulks):
        singles.insert(place * SINGLES // BULKS, bulk)
    broker.produce(settings, names(settings).intake(), singles)
    everybody = expected(settings)
    assert len(everybody) == SINGLES + BULKS * BULK_RECIPIENTS

    wait_for(lambda: told_so_far(settings) > 100)
    first.kill()
    assert answered(settings) < len(everybody), "the kill came too late to prove anything"
    again = start(settings, STAGES, "one").wait_ready()
    wait_for(lambda: told_so_far(settings) > len(everybody) // 2)
    again.kill()
    other = start(settings, STAGES, "two").wait_ready()  # its tables come from the changelogs
    wait_for(lambda: told_so_far(settings) >= len(everybody) and answered(settings) >= len(everybody), 60)

    told: dict[str, str] = {}
    for status in statuses(settings):
        assert told.setdefault(status["id"], status["detailedState"]) == status["detailedState"]
        assert (status["sequence"], status["final"]) == (1, status["state"] == "REJECTED")
    assert told == everybody
    reserved = PRICE * Counter(told.values())["ACCEPTED"]
    wait_for(lambda: Decimal(balance(settings)["reserved"]) == reserved, 10, lambda: f"{balance(settings)}, {reserved}")
    assert broker.read(settings, names(settings).dead_letters) == []

    # What is repeated now, by the same clients, is recognised by the tables that were recovered.
    before = len(statuses(settings))
    broker.produce(settings, names(settings).intake(), [*singles[:300], (None, request("last", number(5)), None)])
    wait_for(lambda: any(s["requestId"] == "last" for s in statuses(settings)))
    assert len(statuses(settings)) == before + 1
    other.stop()
    assert other.process.returncode == 0
