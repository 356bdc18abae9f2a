"""Dispatch: which answer did the carrier give? The one place where something leaves this system.

In: batches for one carrier (`sms.dispatch.<carrier>`). Out: the carrier's answers (`sms.outcomes`), its ids
(`sms.references`), and what must go elsewhere (`sms.priced`). Table: the journal of attempts.

No broker makes a call to a carrier exactly once. So an attempt is journalled before the call and closed after its
outcome is durable; a replay that finds it open calls again only a carrier that recognises the repeated key, and
otherwise leaves the messages IN_DOUBT: never sent again, settled by their receipt or their expiry. For a carrier that
recognises nothing every call is journalled by itself, so that no more is in doubt than was under way.

    d<batch><attempt><index>    an attempt at a batch's recipients        c<topic> NUL <offset><number>   one call
"""

import asyncio
import struct
import time
from collections.abc import Iterator

import msgspec
import structlog

from pipeline import ids
from pipeline.cancellations import CANCELED, Cancellations
from pipeline.carriers import base
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Reference, Submitted, decode_batches, encode_one
from pipeline.stages.common import count_in
from pipeline.stages.doubt import ATTEMPTS_A_RESEND
from pipeline.stages.route import expires_at, retried, slice_of
from pipeline.stages.submission import Line, Message, Verdict, doubt, submit
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, PRIORITY, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

OPEN, DECIDED, CLOSED = 0, 1, 2
_CANCELED = Verdict(Detailed.CANCELED, error=CANCELED)


class Call(msgspec.Struct, array_like=True):
    """The journal's entry for one call: under way, or (with `verdicts`, in the order of the messages called for)
    answered. Kept until the attempts it belongs to are closed."""

    verdicts: list[Verdict] = []


class Attempt(msgspec.Struct, array_like=True):
    """The journal's entry for one batch and attempt: which record made it, how far it is, and since when (Unix s).

    OPEN: the carrier may be called, but not for messages that have a verdict (they were cancelled). DECIDED: `verdicts`
    (in column order) are durable and are only told again. CLOSED: they are told.
    """

    topic: str
    offset: int
    state: int = OPEN
    verdicts: list[Verdict] = []
    since: float = 0.0


def sources(settings: Settings, lines: list[Line], canceled: Cancellations) -> list[Source]:
    """The stage's agents: one a carrier and lane, so that a slow carrier holds only its own queue. `canceled`: what is
    not to be sent any more."""
    names = TopicNames(settings.kafka.topic_prefix)
    found = []
    for line in lines:
        record = slice_of(line.config.throughput, line.config.batch)
        window = int(min(16, max(1, 2 * line.config.throughput / record)))
        for lane in LANES:
            decide = _agent(settings, names, line, lane, canceled)
            found.append(
                Source(names.dispatch(line.name, lane), decide, exclusive=False, max_records=window, waits_outside=True)
            )
    return found


def _agent(settings: Settings, names: TopicNames, line: Line, lane: str, canceled: Cancellations) -> Decide:
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
            verdicts = await _Calls(line, record, lane, step, now, canceled).make(attempted)
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
    attempt = batch.attempt.to_bytes(2 if batch.attempt < 1 << 16 else 4, "big")  # a resend's number is a large one
    return b"d" + batch.id + attempt + batch.index[0].to_bytes(3, "big")


class _Calls:
    """The calls of one record, `batch` messages each.

    They are cut from the whole record, which a replay reads again as it was: so a repeated call repeats its key and its
    messages, to the octet.
    """

    def __init__(self, line: Line, record: Record, lane: str, step: Step, now: float, canceled: Cancellations) -> None:
        self._line, self._record, self._lane, self._step, self._now = line, record, lane, step, now
        self._canceled = canceled
        self._place = f"{record.topic}-{record.partition}-{record.offset}"
        self._verdicts: dict[int, list[Verdict]] = {}
        self._since: dict[int, float] = {}
        self._doubtful: set[int] = set()
        error = doubt(line.name, "the worker stopped during the call")
        self._unknown = Verdict(Detailed.IN_DOUBT, error=error)

    async def make(self, attempted: list[tuple[Batch, Attempt | None]]) -> dict[int, list[Verdict]]:
        """Every message's verdict, by batch and in column order."""
        messages: list[Message] = []
        for batch, entry in attempted:
            self._verdicts[id(batch)] = list((entry and entry.verdicts) or [Verdict()] * len(batch))
            if entry is not None and entry.state == OPEN:
                self._doubtful.add(id(batch))
                if not (entry.since or self._line.config.idempotent):  # of a version that did not journal each call
                    self._verdicts[id(batch)] = [self._unknown] * len(batch)
            since = self._since[id(batch)] = entry.since if entry and entry.since else self._now
            messages += _messages(batch, since)
        size = self._line.config.batch
        async with asyncio.TaskGroup() as calls:
            for number, start in enumerate(range(0, len(messages), size)):
                calls.create_task(self._call(number, messages[start : start + size]))
        return self._verdicts

    async def _call(self, number: int, chunk: list[Message]) -> None:
        """One call, unless every message has its verdict. What a crashed one may have sent is called for again only
        where the carrier recognises the repeat, and then as a whole: a key stands for the same messages always."""
        journalled = not self._line.config.idempotent
        entry = f"c{self._record.topic}\0".encode() + struct.pack(">QI", self._record.offset, number)
        valid = self._valid(chunk)
        called = self._wanted(valid)
        if not all(self._verdict_of(message).decided for message in called):
            known = self._step.view.get(entry, Call) if journalled else None
            if known is None:
                in_doubt = not journalled and any(id(message.batch) in self._doubtful for message in chunk)
                key = f"{self._place}-{valid[0].outbound.reference}"
                found = await self._submit(called, key, in_doubt, entry if journalled else None)
            else:
                found = known.verdicts or [self._unknown] * len(called)
            for message, verdict in zip(self._wanted(called), found, strict=True):
                self._decide(message, verdict)
        if journalled:
            self._step.view.delete(entry)

    def _verdict_of(self, message: Message) -> Verdict:
        return self._verdicts[id(message.batch)][message.position]

    def _decide(self, message: Message, verdict: Verdict) -> None:
        if not self._verdict_of(message).decided:
            self._verdicts[id(message.batch)][message.position] = verdict

    def _valid(self, chunk: list[Message]) -> list[Message]:
        """The messages that were valid when the attempt began; the others expire."""
        expired = Error(errors.EXPIRED, "the message's validity ended before a carrier took it")
        for message in chunk:
            if message.outbound.validity_seconds <= 0:
                self._decide(message, Verdict(Detailed.EXPIRED, error=expired))
        return [message for message in chunk if message.outbound.validity_seconds > 0]

    def _wanted(self, some: list[Message]) -> list[Message]:
        """Those that are not stopped."""
        return [message for message in some if self._verdict_of(message).state != Detailed.CANCELED]

    async def _stop(self, called: list[Message]) -> list[Message]:
        """Stop what is cancelled by now; the others. It is durable, so that a replay calls for the same. An operator's
        resend is not stopped: the carrier may have the message already."""
        gone = [message for message in called if self._canceled.holds(message.batch, message.position)]
        gone = [message for message in gone if message.batch.attempt < ATTEMPTS_A_RESEND]
        if not gone:
            return called
        for message in gone:
            self._decide(message, _CANCELED)
        for batch in {id(message.batch): message.batch for message in gone}.values():
            stopped = [v if v.state == Detailed.CANCELED else Verdict() for v in self._verdicts[id(batch)]]
            opened = Attempt(self._record.topic, self._record.offset, OPEN, stopped, self._since[id(batch)])
            self._step.view.put_first(_journal_key(batch), opened)
        await self._step.save()
        metrics.CANCELLATIONS.labels("canceled").inc(len(gone))
        log.info("messages.canceled", carrier=self._line.name, messages=[one.outbound.reference for one in gone])
        return self._wanted(called)

    async def _submit(self, called: list[Message], key: str, in_doubt: bool, entry: bytes | None) -> list[Verdict]:
        """The verdicts of those that were not stopped before the call."""

        async def journal(verdicts: list[Verdict]) -> None:
            if entry is not None:
                self._step.view.put_first(entry, Call(verdicts))
                await self._step.save()

        async def opening() -> list[Message]:
            left = called if in_doubt else await self._stop(called)
            if left:
                await journal([])
            return left

        async with self._line.connection(self._lane):
            found = await submit(
                self._line, called, key, priority=self._lane == PRIORITY, doubtful=in_doubt,
                draining=self._step.draining, opening=opening,
            )  # fmt: skip
        if found:
            await journal(found)
        return found


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
        self._count(submitted, self._lane, batch.begins_at)
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

    def _count(self, submitted: Submitted, lane: str, begun_at: int) -> None:
        for state in set(submitted.states):
            name, count = Detailed(state).name, submitted.states.count(state)
            metrics.DISPATCH_MESSAGES.labels(self._carrier, name.lower()).inc(count)
            if state == Detailed.IN_DOUBT:
                metrics.IN_DOUBT.labels(self._carrier).inc(count)
                log.warning("message.in_doubt", carrier=self._carrier, batch=submitted.batch.hex(), messages=count)
            if state == Detailed.SUBMITTED:
                label = lane.lstrip(".") or "bulk"
                metrics.SUBMIT_LATENCY.labels(label).observe((submitted.at - begun_at) / 1000)
