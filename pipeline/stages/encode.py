"""Encode: was this request seen before? Which alphabet, how many parts?

In: batches by request (`sms.validated`). Out: batches with their contents (`sms.encoded`), and rejections.
Table: requests seen. A client's repeat carries another timestamp, so other ids; it is recognised by the request's
hash, and what is missing of it (a crash between two slices) gets the ids of the first.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pipeline import ids
from pipeline.carriers.routing import Router
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Content, Rejected, decode_batches
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from pipeline.text import Template, Wire, fill, several
from schemas import errors
from schemas.errors import Error

if TYPE_CHECKING:
    from pipeline.streaming.state import View


class Seen(msgspec.Struct, array_like=True):
    """A request as first seen: what it said, the seconds of its ids, and which record brought each slice."""

    fingerprint: bytes
    seconds: bytes
    slices: dict[int, tuple[str, int]] = {}


def sources(settings: Settings, router: Router) -> list[Source]:
    """The stage's agents: one a lane, sharing the table."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [Source(names.validated(lane), _agent(settings, names, router, lane)) for lane in LANES]


def _agent(settings: Settings, names: TopicNames, router: Router, lane: str) -> Decide:
    partitions = settings.kafka.partitions
    by_carrier = {name: carrier.wire for name, carrier in settings.carriers.items()}

    def wires(numbers: Sequence[str]) -> Sequence[Wire]:
        return router.wires(numbers, by_carrier)

    def decide(record: Record, step: Step) -> None:
        here: set[tuple[bytes, int]] = set()
        for batch in decode_batches(record.value):
            count_in("encode", lane, len(batch))
            first = recognise(batch, record, step.view, here)
            if first is None:
                metrics.REPEATS.labels("encode").inc()
                continue
            onward, rejected = contents(first, settings.limits.parts, wires)
            if rejected:
                step.outbox.pack(
                    names.outcomes(lane), ids.partition_of(first.id, partitions), rejected, len(rejected.which)
                )
            if onward:
                count_out("encode", lane, len(onward))
                step.outbox.pack(names.encoded(lane), ids.partition_of(first.id, partitions), onward, len(onward))

    return decide


def recognise(batch: Batch, record: Record, view: "View", here: set[tuple[bytes, int]]) -> Batch | None:
    """The batch under its true id, noted as seen; None where another record brought it, or this one (`here`) before.

    Noted before it goes on: were it the other way round, a repeat in the other lane could slip in between a crash and
    the replay, under other ids. So a replay of the same record passes again, and the next stage recognises it.
    """
    key = b"r" + batch.request
    seen = view.get(key, Seen)
    if seen is not None and seen.fingerprint != batch.fingerprint:
        # The id was used for something else. The refusal gets ids of its own, and is itself said only once.
        batch.error = batch.error or Error(
            errors.REQUEST_ID_REUSED,
            f"requestId: {batch.request_id!r} was used before for a request with other content; use a new id",
        )
        key += batch.fingerprint
        other = ids.batch_id(batch.request + batch.fingerprint, batch.slice, 0)
        batch.id = batch.id[:4] + other[4:]
        seen = view.get(key, Seen)
    if seen is None:
        seen = Seen(batch.fingerprint, batch.id[:4])
    origin = record.topic, record.offset
    if seen.slices.setdefault(batch.slice, origin) != origin or (key, batch.slice) in here:
        return None
    here.add((key, batch.slice))
    view.put_first(key, seen)
    batch.id = seen.seconds + batch.id[4:]
    return batch


_NOTHING = Content("", "", 0, 0)
Wires = Callable[[Sequence[str]], Sequence[Wire]]


def contents(batch: Batch, max_parts: int, wires: Wires) -> tuple[Batch | None, Rejected | None]:
    """The recipients whose text can be sent, with it; and the rejection of the others (or None).

    `wires`: what can be sent to each number, by whichever carrier takes it in the end.
    """
    if batch.error:
        return split("validate", batch, dict.fromkeys(range(len(batch)), batch.error))
    return split("encode", batch, make(batch, max_parts, wires))


def make(batch: Batch, max_parts: int, wires: Wires) -> dict[int, Error]:
    """Give the batch its contents; the recipients (by position) whose text cannot be sent, those with an error
    already among them."""
    wrong = dict(batch.errors)
    template = Template.parse(batch.message)
    found: list[Content] = []
    which = [0] * len(batch)
    for wire, positions in _by_wire(batch, wires).items():
        rows = [batch.fields[p] for p in positions] if batch.fields else [{}] * len(positions)
        filled = fill(template, rows, transliterated=batch.transliterate, wire=wire, max_parts=max_parts)
        for row, position in enumerate(positions):
            which[position] = len(found) + filled.which[row]
        wrong |= {positions[row]: error.of("message") for row, error in filled.errors.items()}
        found += [
            Content(text, cost.encoding, cost.characters, cost.count, [], cost.locking, cost.single)
            for text, cost in zip(filled.texts, filled.measured, strict=True)
        ]
    cut: dict[int, Error] = {}
    if batch.fail_on_multiple:
        long = {place: several(content.text, content) for place, content in enumerate(found) if content.count > 1}
        cut = {p: long[place] for p, place in enumerate(which) if place in long and p not in wrong}
        wrong |= cut
    unmade = [p for p in wrong if p not in cut]
    if unmade:  # nothing is told of a text that there is not
        which = [len(found) if p in wrong and p not in cut else place for p, place in enumerate(which)]
        found.append(_NOTHING)
    batch.contents, batch.content, batch.errors, batch.fields = found, which if len(found) > 1 else None, {}, None
    return wrong


def _by_wire(batch: Batch, wires: Wires) -> dict[Wire, list[int]]:
    """Positions that have no error yet, by what can be sent to them."""
    positions = [p for p in range(len(batch)) if p not in batch.errors]
    found: dict[Wire, list[int]] = {}
    for position, wire in zip(positions, wires([batch.numbers[p] for p in positions]), strict=True):
        found.setdefault(wire, []).append(position)
    return found
