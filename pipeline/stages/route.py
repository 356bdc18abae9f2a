"""Route: which carrier, for each recipient?

In: paid batches, and those that come back because their carrier could not take them (`sms.priced`). Out: batches cut
by carrier (`sms.dispatch.<carrier>`), and rejections where nothing leads. Hosted by the dispatch stage; no table.
"""

import msgspec

from pipeline import ids
from pipeline.carriers.routing import Router
from pipeline.config import Settings
from pipeline.records import Batch, decode_batches
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed


def sources(settings: Settings, router: Router) -> list[Source]:
    """The agents: one a lane."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [Source(names.priced(lane), _agent(settings, names, router, lane), exclusive=False) for lane in LANES]


def _agent(settings: Settings, names: TopicNames, router: Router, lane: str) -> Decide:
    partitions = settings.kafka.partitions
    slices = {name: slice_of(c.throughput, c.batch) for name, c in settings.http_carriers.items()}

    def decide(record: Record, step: Step) -> None:
        for batch in decode_batches(record.value):
            count_in("route", lane, len(batch))
            home = ids.partition_of(batch.id, partitions)
            by_carrier, unrouted = by_route(batch, router)
            _, rejected = split("route", batch, unrouted, Detailed.FAILED if batch.tried else Detailed.REJECTED)
            if rejected:
                step.outbox.pack(names.outcomes(lane), home, rejected, len(rejected.which))
            for carrier, positions in by_carrier.items():
                size = slices[carrier]
                for start in range(0, len(positions), size):
                    part = batch.select(positions[start : start + size])
                    count_out("route", lane, len(part))
                    step.outbox.pack(names.dispatch(carrier, lane), home, part, len(part))

    return decide


def slice_of(throughput: float, batch: int) -> int:
    """Recipients a dispatch record: about a second of the carrier's throughput, so a slow one's record is short."""
    return int(min(500, max(batch, throughput)))


def by_route(batch: Batch, router: Router) -> tuple[dict[str, list[int]], dict[int, Error]]:
    """Positions by carrier, and the error of those that no untried carrier serves."""
    found: dict[str, list[int]] = {}
    unrouted: dict[int, Error] = {}
    for position, carrier in enumerate(_carriers(batch, router)):
        if carrier is not None:
            found.setdefault(carrier, []).append(position)
        elif batch.tried:
            unrouted[position] = Error(
                errors.CARRIER_UNAVAILABLE, f"no carrier could take it; tried {', '.join(batch.tried)}", permanent=False
            )
        else:
            unrouted[position] = Error(
                errors.NO_ROUTE, f"no route leads to {batch.numbers[position]}; add one to routes"
            )
    return found, unrouted


def _carriers(batch: Batch, router: Router) -> list[str | None]:
    if not batch.tried:
        return router.group(batch.numbers)
    return [router.route(number, batch.tried) for number in batch.numbers]


def retried(batch: Batch, positions: list[int], carrier: str | None) -> Batch:
    """Recipients that go back to routing; `carrier` is not tried again, None means any may be."""
    part = batch.select(positions)
    tried = [*batch.tried, carrier] if carrier else batch.tried
    return msgspec.structs.replace(part, tried=tried, attempt=batch.attempt + 1)
