"""Encode: was this request seen before? Which alphabet, how many parts, what exact bytes in each?

In: batches by request (`sms.validated`). Out: batches with their contents (`sms.encoded`), and rejections.
Table: requests seen. A client's repeat carries another timestamp, so other ids; it is recognised by the request's
hash, and what is missing of it (a crash between two slices) gets the ids of the first.
"""

import msgspec

from pipeline import ids
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Content, Part, Rejected, decode_batches
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.state import View
from pipeline.streaming.topics import LANES, TopicNames
from pipeline.text import Template, as_sent, encode
from schemas import errors
from schemas.errors import Error


class Seen(msgspec.Struct, array_like=True):
    """A request as first seen: what it said, the seconds of its ids, and which record brought each slice."""

    fingerprint: bytes
    seconds: bytes
    slices: dict[int, tuple[str, int]] = {}


def sources(settings: Settings) -> list[Source]:
    """The stage's agents: one a lane, sharing the table."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [Source(names.validated(lane), _agent(settings, names, lane)) for lane in LANES]


def _agent(settings: Settings, names: TopicNames, lane: str) -> Decide:
    partitions = settings.kafka.partitions

    def decide(record: Record, step: Step) -> None:
        here: set[tuple[bytes, int]] = set()
        for batch in decode_batches(record.value):
            count_in("encode", lane, len(batch))
            first = recognise(batch, record, step.view, here)
            if first is None:
                metrics.REPEATS.labels("encode").inc()
                continue
            onward, rejected = contents(first, settings.limits.parts)
            if rejected:
                step.outbox.pack(
                    names.outcomes(lane), ids.partition_of(first.id, partitions), rejected, len(rejected.which)
                )
            if onward:
                count_out("encode", lane, len(onward))
                step.outbox.pack(names.encoded(lane), ids.partition_of(first.id, partitions), onward, len(onward))

    return decide


def recognise(batch: Batch, record: Record, view: View, here: set[tuple[bytes, int]]) -> Batch | None:
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


#: Characters a text may have before it is looked at closely: those of its parts, and what normalising and
#: transliterating may yet take away.
_CHARACTERS_PER_PART = 20 * 153


def contents(batch: Batch, max_parts: int) -> tuple[Batch | None, Rejected | None]:
    """The recipients whose text can be sent, with it; and the rejection of the others (or None)."""
    if batch.error:
        return split("validate", batch, dict.fromkeys(range(len(batch)), batch.error))
    wrong = dict(batch.errors)
    template = Template.parse(batch.message)
    made: dict[str, int | Error] = {}
    found: list[Content] = []

    def place(text: str) -> int | Error:
        known = made.get(text)
        if known is None:
            content = _content(text, batch, max_parts)
            if isinstance(content, Error):
                known = content
            else:
                known = len(found)
                found.append(content)
            made[text] = known
        return known

    which: list[int] | None = None
    if not template.fields:
        text = template.render({}, max_parts * _CHARACTERS_PER_PART)
        common = text if isinstance(text, Error) else place(text)
        if isinstance(common, Error):
            wrong |= {p: common for p in range(len(batch)) if p not in wrong}
    else:
        which = [0] * len(batch)
        for position in range(len(batch)):
            if position in wrong:
                continue
            text = template.render(batch.fields[position] if batch.fields else {}, max_parts * _CHARACTERS_PER_PART)
            spot = text if isinstance(text, Error) else place(text)
            if isinstance(spot, Error):
                wrong[position] = spot
            else:
                which[position] = spot
    batch.contents, batch.content, batch.errors, batch.fields = found, which, {}, None
    return split("encode", batch, wrong)


def _content(text: str, batch: Batch, max_parts: int) -> Content | Error:
    text = as_sent(text, transliterated=batch.transliterate)
    encoded = encode(text, max_parts=max_parts)
    if isinstance(encoded, Error):
        return encoded
    count = len(encoded.parts)
    if count > 1 and batch.fail_on_multiple:
        return Error(
            errors.MULTIPLE_PARTS,
            f"ALERT: the text needs {count} parts ({encoded.characters} characters in {encoded.encoding}) and "
            "options.failOnMultipleMessages is set; shorten it or unset the option",
        )
    parts = [Part(part.udh, part.payload) for part in encoded.parts]
    return Content(text, encoded.encoding, encoded.characters, count, parts)
