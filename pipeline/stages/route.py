"""Route: which carrier, for each recipient?

In: paid batches, and those that come back because their carrier could not take them (`sms.priced`). Out: batches cut
by carrier (`sms.dispatch.<carrier>`), and rejections where nothing leads. What every carrier of its route failed to
take is parked (`sms.waiting`) and tried again with all of them, as long as it is valid. Hosted by the dispatch stage;
no table.
"""

from collections.abc import Iterator

import msgspec
import structlog

from pipeline import ids
from pipeline.carriers.routing import Router
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, decode_batches
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import BULK, LANES, PRIORITY, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

#: Seconds until all carriers are tried again, by lane.
RETRY_SECONDS = {BULK: 30.0, PRIORITY: 5.0}


def sources(settings: Settings, router: Router) -> list[Source]:
    """The agents: for each lane, what is to be routed and what waits for another try."""
    names = TopicNames(settings.kafka.topic_prefix)
    found = []
    for lane in LANES:
        decide = _agent(settings, names, router, lane)
        found.append(Source(names.priced(lane), decide, exclusive=False))
        found.append(Source(names.waiting(lane), decide, exclusive=False, delay_seconds=RETRY_SECONDS[lane]))
    return found


def _agent(settings: Settings, names: TopicNames, router: Router, lane: str) -> Decide:
    partitions = settings.kafka.partitions
    slices = {name: slice_of(c.throughput, c.batch) for name, c in settings.http_carriers.items()}

    def decide(record: Record, step: Step) -> None:
        for batch in decode_batches(record.value):
            count_in("route", lane, len(batch))
            home = ids.partition_of(batch.id, partitions)
            by_carrier, left = by_route(batch, router)
            # by the record's time and not by the clock: a replay must not say otherwise than the first time
            if left and batch.tried and record.timestamp_ms / 1000 + RETRY_SECONDS[lane] < expires_at(batch):
                metrics.PARKED.labels(lane.lstrip(".") or "bulk").inc(len(left))
                log.warning("batch.parked", batch=batch.id.hex(), messages=len(left), tried=batch.tried)
                parked = msgspec.structs.replace(retried(batch, left, None), tried=[])
                step.outbox.pack(names.waiting(lane), home, parked, len(left))
            elif left:
                state = Detailed.EXPIRED if batch.tried else Detailed.REJECTED
                _, rejected = split("route", batch, dict(_errors(batch, left)), state)
                assert rejected is not None
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


def by_route(batch: Batch, router: Router) -> tuple[dict[str, list[int]], list[int]]:
    """Positions by carrier, and those that no (untried) carrier serves."""
    found: dict[str, list[int]] = {}
    left: list[int] = []
    for position, carrier in enumerate(_carriers(batch, router)):
        if carrier is not None:
            found.setdefault(carrier, []).append(position)
        else:
            left.append(position)
    return found, left


def _errors(batch: Batch, positions: list[int]) -> Iterator[tuple[int, Error]]:
    for position in positions:
        if batch.tried:
            tried = ", ".join(batch.tried)
            yield position, Error(errors.EXPIRED, f"no carrier took it while it was valid; tried last: {tried}")
        else:
            yield position, Error(errors.NO_ROUTE, f"no route leads to {batch.numbers[position]}; add one to routes")


def expires_at(batch: Batch) -> float:
    """When the batch's messages are not to be sent any more, in Unix seconds."""
    return batch.begins_at / 1000 + batch.validity_seconds


def _carriers(batch: Batch, router: Router) -> list[str | None]:
    if not batch.tried:
        return router.group(batch.numbers)
    return [router.route(number, batch.tried) for number in batch.numbers]


def retried(batch: Batch, positions: list[int], carrier: str | None) -> Batch:
    """Recipients that go back to routing; `carrier` is not tried again, None means any may be."""
    part = batch.select(positions)
    tried = [*batch.tried, carrier] if carrier else batch.tried
    return msgspec.structs.replace(part, tried=tried, attempt=batch.attempt + 1)
