"""Moderate: does the text or the sender hold something prohibited, and does the recipient want to be written to?

In: batches with contents (`sms.encoded`). Out: the same by account (`sms.moderated`), with what is wrong at the
positions it is wrong for; and what the lists found (`sms.findings`). Matching is done once a distinct text, all texts
of a batch in one pass. No table: the lists change while the system runs, so a replay may find otherwise than the first
time. The price stage has a table, decides by what it hears first, and tells of it.
"""

from collections import Counter

import msgspec
import structlog

from pipeline import ids
from pipeline.config import Settings
from pipeline.moderation import Hit
from pipeline.ops import metrics
from pipeline.optouts import OptOuts
from pipeline.prohibited import Lists
from pipeline.records import Batch, decode_batches
from pipeline.stages.common import count_in, count_out
from pipeline.stages.fate import rfc3339
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.findings import Finding
from schemas.intake import WORLDWIDE

log = structlog.get_logger()

_OPTED_OUT = Error(errors.OPTED_OUT, "recipient: has opted out; see `opt-outs`, and write again once it has opted in")


def sources(settings: Settings, lists: Lists, opt_outs: OptOuts) -> list[Source]:
    """The stage's agents: one a lane."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [
        Source(names.encoded(lane), _agent(settings, names, lists, opt_outs, lane), exclusive=False) for lane in LANES
    ]


def _agent(settings: Settings, names: TopicNames, lists: Lists, opt_outs: OptOuts, lane: str) -> Decide:
    partitions = settings.kafka.partitions

    def decide(record: Record, step: Step) -> None:
        for batch in decode_batches(record.value):
            count_in("moderate", lane, len(batch))
            account = ids.partition_of(batch.account.encode(), partitions)
            batch.errors, findings = moderate(batch, lists, opt_outs, record.timestamp_ms)
            for finding in findings:
                _tell(finding)
                step.outbox.record(names.findings, account, msgspec.json.encode(finding), key=batch.account.encode())
            count_out("moderate", lane, len(batch))
            step.outbox.pack(names.moderated(lane), account, batch, len(batch))

    return decide


def moderate(batch: Batch, lists: Lists, opt_outs: OptOuts, at: int) -> tuple[dict[int, Error], list[Finding]]:
    """The error of every recipient (by position) to whom the message must not go, and all that was found, each thing
    once with the number of messages. `at`: Unix ms."""
    unwanted = dict.fromkeys(opt_outs.among(batch.account, batch.numbers), _OPTED_OUT)
    by_sender = lists.rules.find(batch.sender, batch.account)
    by_content = lists.rules.find_all([content.text for content in batch.contents], batch.account)
    if not by_sender and not any(by_content):
        return unwanted, []
    wrong: dict[int, Error] = {}
    found: Counter[tuple[str, Hit]] = Counter()
    for position in range(len(batch)):
        country = batch.destinations[batch.where[position]].country
        in_text = by_content[batch.content[position] if batch.content else 0]
        for field, hits in (("sender", by_sender), ("message", in_text)):
            for hit in (hit for hit in hits if not hit.countries or country in hit.countries):
                found[field, hit] += 1
                if hit.severity == "block":
                    wrong.setdefault(position, refusal(field, hit, batch.tariff, batch.dry_run))
    return unwanted | wrong, _findings(batch, found, at)


def refusal(field: str, hit: Hit, tariff: str, dry_run: bool) -> Error:
    """Code 2050 for the tariffs of Italy and Spain, 2044 worldwide and in a dry run (HTTP contract)."""
    regional = tariff != WORLDWIDE and not dry_run
    code = errors.PROHIBITED_REGIONAL if regional else errors.PROHIBITED
    text = f"{field} holds {hit.term!r} at {hit.start} to {hit.end} ({hit.kind}, {hit.folding})"
    return Error(code, f"The sent message does not comply with the legal requirements: {text}.")


def _findings(batch: Batch, found: Counter[tuple[str, Hit]], at: int) -> list[Finding]:
    """Where texts are each recipient's own, the same thing stands at many places: it is told once."""
    told: Counter[tuple[str, str, str, str, str]] = Counter()
    for (field, hit), messages in found.items():
        told[field, hit.term, hit.kind, hit.severity, hit.folding] += messages
    return [
        Finding(batch.account, batch.request_id, batch.id.hex(), *what, messages, batch.dry_run, rfc3339(at))
        for what, messages in told.items()
    ]


def _tell(finding: Finding) -> None:
    metrics.PROHIBITED.labels(finding.severity, finding.kind).inc()
    log.info("moderate.found", **msgspec.structs.asdict(finding))
