"""Moderate: does the text or the sender hold something prohibited?

In: batches with contents (`sms.encoded`). Out: the allowed ones by account (`sms.moderated`), and rejections.
Matching is done once a distinct text, never once a recipient. No table.
"""

from pipeline import ids
from pipeline.config import Settings
from pipeline.moderation import TermList
from pipeline.records import Batch, decode_batches
from pipeline.stages.common import count_in, count_out, split
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed


def sources(settings: Settings, terms: TermList) -> list[Source]:
    """The stage's agents: one a lane."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [Source(names.encoded(lane), _agent(settings, names, terms, lane), exclusive=False) for lane in LANES]


def _agent(settings: Settings, names: TopicNames, terms: TermList, lane: str) -> Decide:
    partitions = settings.kafka.partitions

    def decide(record: Record, step: Step) -> None:
        for batch in decode_batches(record.value):
            count_in("moderate", lane, len(batch))
            onward, rejected = split("moderate", batch, prohibited(batch, terms), Detailed.BLOCKED)
            if rejected:
                step.outbox.pack(
                    names.outcomes(lane), ids.partition_of(batch.id, partitions), rejected, len(rejected.which)
                )
            if onward:
                count_out("moderate", lane, len(onward))
                account = ids.partition_of(batch.account.encode(), partitions)
                step.outbox.pack(names.moderated(lane), account, onward, len(onward))

    return decide


def prohibited(batch: Batch, terms: TermList) -> dict[int, Error]:
    """The error of every recipient (by position) whose text, or whose batch's sender, holds a term."""
    hit = next(iter(terms.find(batch.sender)), None)
    if hit:
        return dict.fromkeys(range(len(batch)), _error("sender", hit.term))
    by_content = [next(iter(terms.find(content.text)), None) for content in batch.contents]
    if not any(by_content):
        return {}
    found = {}
    for position in range(len(batch)):
        hit = by_content[batch.content[position] if batch.content else 0]
        if hit:
            found[position] = _error("message", hit.term)
    return found


def _error(field: str, term: str) -> Error:
    return Error(
        errors.PROHIBITED, f"The sent message does not comply with the legal requirements: {field} holds {term!r}."
    )
