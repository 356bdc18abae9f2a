"""Replay: what was told or given up is told again, from the log of deliveries, under the ids it had."""

from collections.abc import Iterator

from pipeline import ids
from pipeline.callbacks.deliveries import Log, Wanted
from pipeline.callbacks.endpoints import Endpoint
from pipeline.callbacks.records import Again, Delivery, Event, Outcome
from pipeline.records import encode

#: Events of one replay; it tells where the next goes on.
MOST_EVENTS = 10_000
#: Events a record, so that it stays small.
_TOGETHER = 100


async def collect(log: Log, wanted: Wanted, after: int | None) -> tuple[list[Again], int | None]:
    """What is to be told again, in the order it was to be told, and where to go on (None: that is all).

    Each event once a target, whatever became of it how often. Where only what was given up is wanted, what was
    delivered later is not. Raises what the log raises.
    """
    found: dict[tuple[str, str], Again] = {}

    def take(delivery: Delivery) -> bool:
        batches = delivery.batches or [b""] * len(delivery.events)
        for event, batch in zip(delivery.events, batches, strict=True):
            name = event.id, delivery.endpoint
            if delivery.outcome == Outcome.RETRYING or (wanted.message and event.message != wanted.message):
                continue
            if wanted.outcome not in (None, delivery.outcome):
                found.pop(name, None)
            elif event.data:
                found[name] = Again(event, delivery.account, delivery.endpoint, batch, delivery.callback)
        return len(found) < MOST_EVENTS

    everything = Wanted(wanted.account, wanted.message, wanted.endpoint, None, wanted.since, wanted.until)
    more = await log.forward(everything, after, take)
    return list(found.values()), more


def test_event(endpoint: Endpoint, id_: str, at: str) -> Again:
    """An event that only this endpoint is told, whatever it chose."""
    data = b'{"endpoint":"%b"}' % endpoint.id.encode()
    return Again(Event(id_, "endpoint.test", at, "", data), endpoint.account, endpoint.id, b"")


def rows(events: list[Again], partitions: int) -> Iterator[tuple[int, bytes]]:
    """Partition and value of the records for `sms.callbacks`: an event goes where its message's moves go."""
    by_partition: dict[int, list[Again]] = {}
    for again in events:
        batch = ids.split(again.event.message)
        home = ids.partition_of(batch[0] if batch else again.account.encode(), partitions)
        by_partition.setdefault(home, []).append(again)
    for home, some in by_partition.items():
        for start in range(0, len(some), _TOGETHER):
            yield home, encode(some[start : start + _TOGETHER])
