"""Dispatch: which answer did the carrier give? The one place where something leaves this system.

In: batches for one carrier (`sms.dispatch.<carrier>`). Out: the carrier's answers (`sms.outcomes`), its ids
(`sms.references`), and what must go elsewhere (`sms.priced`). Table: the journal of attempts.

No broker makes a call to a carrier exactly once. So an attempt is journalled before the call and closed after its
outcome is durable; a replay that finds it open calls again only a carrier that recognises the repeated key, and
otherwise leaves the messages IN_DOUBT: never sent again, settled by their receipt or their expiry.
"""

import asyncio
import time
from collections.abc import Iterator

import msgspec
import structlog

from pipeline import ids
from pipeline.carriers import base
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Reference, Submitted, decode_batches, encode_one
from pipeline.stages.common import count_in
from pipeline.stages.route import expires_at, retried, slice_of
from pipeline.stages.submission import Line, Message, Verdict, doubt, submit
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, PRIORITY, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

OPEN, DECIDED, CLOSED = 0, 1, 2


class Attempt(msgspec.Struct, array_like=True):
    """The journal's entry for one batch and attempt: which record made it, how far it is, and since when (Unix s).

    OPEN: the carrier may be called. DECIDED: `verdicts` (in column order) are durable and are only told again.
    CLOSED: they are told.
    """

    topic: str
    offset: int
    state: int = OPEN
    verdicts: list[Verdict] = []
    since: float = 0.0


def sources(settings: Settings, lines: list[Line]) -> list[Source]:
    """The stage's agents: one a carrier and lane, so that a slow carrier holds only its own queue."""
    names = TopicNames(settings.kafka.topic_prefix)
    found = []
    for line in lines:
        record = slice_of(line.config.throughput, line.config.batch)
        window = int(min(16, max(1, 2 * line.config.throughput / record)))
        for lane in LANES:
            decide = _agent(settings, names, line, lane)
            found.append(
                Source(names.dispatch(line.name, lane), decide, exclusive=False, max_records=window, waits_outside=True)
            )
    return found


def _agent(settings: Settings, names: TopicNames, line: Line, lane: str) -> Decide:
    def decide(record: Record, step: Step) -> None:
        attempted: list[tuple[Batch, Attempt | None]] = []
        now = time.time()
        here: set[bytes] = set()
        for batch in decode_batches(record.value):
            key = _journal_key(batch)
            entry = step.view.get(key, Attempt)
            if key in here or (
                entry is not None
                and (entry.state == CLOSED or (entry.topic, entry.offset) != (record.topic, record.offset))
            ):
                metrics.REPEATS.labels("dispatch").inc()
                continue
            count_in("dispatch", lane, len(batch))
            here.add(key)
            attempted.append((batch, entry))
            if entry is None:
                step.view.put_first(key, Attempt(record.topic, record.offset, since=now))
            step.view.put(key, Attempt(record.topic, record.offset, CLOSED))

        async def act(step: Step) -> None:
            verdicts = await _submit_all(line, record, attempted, lane, now, step.draining)
            report = _Report(settings, names, line.name, lane, step)
            for batch, _ in attempted:
                found = verdicts[id(batch)]
                step.view.put_first(_journal_key(batch), Attempt(record.topic, record.offset, DECIDED, found))
                report.add(batch, found)
            report.close()

        if attempted:
            step.act(act)

    return decide


def _journal_key(batch: Batch) -> bytes:
    return b"d" + batch.id + batch.attempt.to_bytes(4, "big") + batch.index[0].to_bytes(3, "big")


async def _submit_all(
    line: Line,
    record: Record,
    attempted: list[tuple[Batch, Attempt | None]],
    lane: str,
    now: float,
    draining: asyncio.Event,
) -> dict[int, list[Verdict]]:
    """Every message of a record to the carrier, `batch` messages a call; the verdicts by batch, in column order.

    Calls are cut from the whole record, which a replay reads again as it was: so a repeated call repeats its key and
    its messages, to the octet. What a crashed attempt may have sent (`entry` OPEN) is called again only where the
    carrier recognises the repeat.
    """
    verdicts: dict[int, list[Verdict]] = {}
    doubtful: set[int] = set()
    messages: list[Message] = []
    for batch, entry in attempted:
        verdicts[id(batch)] = list(entry.verdicts) if entry and entry.state == DECIDED else [Verdict()] * len(batch)
        if entry is not None and entry.state == OPEN:
            doubtful.add(id(batch))
            if not line.config.idempotent:
                unknown = Verdict(Detailed.IN_DOUBT, error=doubt(line.name, "the worker stopped during the call"))
                verdicts[id(batch)] = [unknown] * len(batch)
        messages += _messages(batch, entry.since if entry and entry.since else now)

    async def call(chunk: list[Message]) -> None:
        key = f"{record.topic}-{record.partition}-{record.offset}-{chunk[0].outbound.reference}"
        in_doubt = any(id(message.batch) in doubtful for message in chunk)
        due = [m for m in chunk if not verdicts[id(m.batch)][m.position].decided]
        if not in_doubt:
            for message in due:
                if message.outbound.validity_seconds <= 0:
                    expired = Error(errors.EXPIRED, "the message's validity ended before a carrier took it")
                    verdicts[id(message.batch)][message.position] = Verdict(Detailed.EXPIRED, error=expired)
            due = [m for m in due if m.outbound.validity_seconds > 0]
        if due:
            async with line.connection(lane):
                found = await submit(line, due, key, lane == PRIORITY, in_doubt, draining)
            for message, verdict in zip(due, found, strict=True):
                verdicts[id(message.batch)][message.position] = verdict

    size = line.config.batch
    async with asyncio.TaskGroup() as calls:
        for start in range(0, len(messages), size):
            calls.create_task(call(messages[start : start + size]))
    return verdicts


def _messages(batch: Batch, now: float) -> Iterator[Message]:
    left = int(expires_at(batch) - now)
    for position, index in enumerate(batch.index):
        content = batch.content_of(position)
        yield Message(
            batch,
            position,
            base.Outbound(
                reference=ids.message_id(batch.id, index),
                sender=batch.sender,
                number=batch.numbers[position],
                text=content.text,
                encoding=content.encoding,
                parts=content.count,
                validity_seconds=left,
            ),
        )


class _Report:
    """A batch's verdicts, told to track, to the references and, where another try is due, to routing."""

    def __init__(self, settings: Settings, names: TopicNames, carrier: str, lane: str, step: Step) -> None:
        self._partitions = settings.kafka.partitions
        self._names, self._carrier, self._lane, self._step = names, carrier, lane, step
        self._references: dict[int, Reference] = {}

    def add(self, batch: Batch, verdicts: list[Verdict]) -> None:
        home = ids.partition_of(batch.id, self._partitions)
        told = [p for p, verdict in enumerate(verdicts) if not (verdict.again or verdict.elsewhere)]
        for again, carrier in ((True, None), (False, self._carrier)):
            back = [p for p, v in enumerate(verdicts) if (v.again or v.elsewhere) and v.again == again]
            if back:
                metrics.DISPATCH_MESSAGES.labels(self._carrier, "queued_again" if again else "sent_elsewhere").inc(
                    len(back)
                )
                priced = self._names.priced(self._lane)
                self._step.outbox.pack(priced, home, retried(batch, back, carrier), len(back))
        if told:
            self._submitted(batch, home, told, verdicts)

    def _submitted(self, batch: Batch, home: int, told: list[int], verdicts: list[Verdict]) -> None:
        index = [batch.index[p] for p in told]
        submitted = Submitted(
            batch=batch.id,
            account=batch.account,
            carrier=self._carrier,
            at=int(time.time() * 1000),
            index=index,
            states=bytes(verdicts[p].state for p in told),
            references=[verdicts[p].reference for p in told],
            errors={batch.index[p]: error for p in told if (error := verdicts[p].error)},
        )
        self._step.outbox.pack(self._names.outcomes(self._lane), home, submitted, len(told))
        self._count(submitted, self._lane, batch.received_at)
        for index_in_request, reference in zip(index, submitted.references, strict=True):
            if reference:
                partition = ids.partition_of(f"{self._carrier}\0{reference}".encode(), self._partitions)
                found = self._references.get(partition)
                if found is None:
                    found = self._references[partition] = Reference(self._carrier, [], [])
                found.ids.append(reference)
                found.messages.append(batch.id + index_in_request.to_bytes(3, "big"))

    def close(self) -> None:
        """Send the references, one record a partition."""
        for partition, found in self._references.items():
            self._step.outbox.record(self._names.references, partition, encode_one(found))

    def _count(self, submitted: Submitted, lane: str, received_at: int) -> None:
        for state in set(submitted.states):
            name, count = Detailed(state).name, submitted.states.count(state)
            metrics.DISPATCH_MESSAGES.labels(self._carrier, name.lower()).inc(count)
            if state == Detailed.IN_DOUBT:
                metrics.IN_DOUBT.labels(self._carrier).inc(count)
                log.warning("message.in_doubt", carrier=self._carrier, batch=submitted.batch.hex(), messages=count)
            if state == Detailed.SUBMITTED:
                label = lane.lstrip(".") or "bulk"
                metrics.SUBMIT_LATENCY.labels(label).observe((submitted.at - received_at) / 1000)
