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
from dataclasses import dataclass

import msgspec
import structlog

from pipeline import ids
from pipeline.carriers import base
from pipeline.carriers.throughput import Throughput
from pipeline.config import HttpCarrier, Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Reference, Submitted, decode_batches, encode_one
from pipeline.stages.common import count_in
from pipeline.stages.route import retried, slice_of
from pipeline.streaming import pulse
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import LANES, PRIORITY, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

#: A window's calls end within this; what a throttling carrier has not taken by then is queued again behind others.
_WINDOW_SECONDS = 60.0
_BACKOFF_SECONDS = (0.25, 5.0)  # first and longest pause between attempts at one submission

OPEN, DECIDED, CLOSED = 0, 1, 2


class _Verdict(msgspec.Struct, array_like=True):
    """What becomes of one message: its state, the carrier's id or the error; or another try at routing."""

    state: int = 0
    reference: str = ""
    error: Error | None = None
    again: bool = False
    elsewhere: bool = False


class Attempt(msgspec.Struct, array_like=True):
    """The journal's entry for one batch and attempt: which record made it, and how far it is.

    OPEN: the carrier may be called. DECIDED: `verdicts` (in column order) are durable and are only told again.
    CLOSED: they are told.
    """

    topic: str
    offset: int
    state: int = OPEN
    verdicts: list[_Verdict] = []


class Line:
    """A carrier as dispatch uses it: its throughput, and its connections, of which a campaign never takes the last."""

    def __init__(self, name: str, config: HttpCarrier, carrier: base.Carrier) -> None:
        self.name = name
        self.config = config
        self.carrier = carrier
        self.throughput = Throughput(config.throughput)
        kept = max(1, config.connections // 4)
        self._bulk = asyncio.Semaphore(max(1, config.connections - kept))
        self._priority = asyncio.Semaphore(kept) if config.connections > 1 else self._bulk

    def connection(self, lane: str) -> asyncio.Semaphore:
        """What a submission of this lane holds while it is under way."""
        return self._priority if lane == PRIORITY else self._bulk


@dataclass
class _Message:
    """One message of a submission: where it stands in which batch, and as the carrier sees it."""

    batch: Batch
    position: int
    outbound: base.Outbound


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
                step.view.put_first(key, Attempt(record.topic, record.offset))
            step.view.put(key, Attempt(record.topic, record.offset, CLOSED))

        async def act(step: Step) -> None:
            verdicts = await _submit_all(line, record, attempted, lane)
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
    return b"d" + batch.id + batch.attempt.to_bytes(2, "big") + batch.index[0].to_bytes(3, "big")


async def _submit_all(
    line: Line, record: Record, attempted: list[tuple[Batch, Attempt | None]], lane: str
) -> dict[int, list[_Verdict]]:
    """Every message of a record to the carrier, `batch` messages a call; the verdicts by batch, in column order.

    Calls are cut from the whole record, which a replay reads again as it was: so a repeated call repeats its key and
    its messages. What a crashed attempt may have sent (`entry` OPEN) is called again only where the carrier
    recognises the repeat.
    """
    verdicts: dict[int, list[_Verdict]] = {}
    doubtful: set[int] = set()
    messages: list[_Message] = []
    for batch, entry in attempted:
        verdicts[id(batch)] = list(entry.verdicts) if entry and entry.state == DECIDED else [_Verdict()] * len(batch)
        if entry is not None and entry.state == OPEN:
            doubtful.add(id(batch))
            if not line.config.idempotent:
                doubt = _Verdict(Detailed.IN_DOUBT, error=_doubt(line.name, "the worker stopped during the call"))
                verdicts[id(batch)] = [doubt] * len(batch)
        messages += _messages(batch, time.time())
    deadline = time.monotonic() + _WINDOW_SECONDS

    async def call(chunk: list[_Message]) -> None:
        key = f"{record.topic}-{record.partition}-{record.offset}-{chunk[0].outbound.reference}"
        in_doubt = any(id(message.batch) in doubtful for message in chunk)
        due = [m for m in chunk if not verdicts[id(m.batch)][m.position].state and not _routed(verdicts, m)]
        if not in_doubt:
            for message in due:
                if message.outbound.validity_seconds <= 0:
                    expired = Error(errors.EXPIRED, "the message's validity ended before a carrier took it")
                    verdicts[id(message.batch)][message.position] = _Verdict(Detailed.EXPIRED, error=expired)
            due = [m for m in due if m.outbound.validity_seconds > 0]
        if due:
            async with line.connection(lane):
                found = await _submit(line, due, key, lane == PRIORITY, deadline, in_doubt)
            for message, verdict in zip(due, found, strict=True):
                verdicts[id(message.batch)][message.position] = verdict

    size = line.config.batch
    await asyncio.gather(*(call(messages[start : start + size]) for start in range(0, len(messages), size)))
    return verdicts


def _routed(verdicts: dict[int, list[_Verdict]], message: _Message) -> bool:
    verdict = verdicts[id(message.batch)][message.position]
    return verdict.again or verdict.elsewhere


def _messages(batch: Batch, now: float) -> Iterator[_Message]:
    left = int(batch.received_at / 1000 + batch.validity_seconds - now)
    for position, index in enumerate(batch.index):
        content = batch.content_of(position)
        yield _Message(
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


async def _submit(
    line: Line, chunk: list[_Message], key: str, priority: bool, deadline: float, doubtful: bool
) -> list[_Verdict]:
    """One submission, repeated as far as that is safe and sensible; the verdict of each message.

    `doubtful`: an earlier call under this key may have been taken. From then on only an answer settles it: a refused
    connection or request says nothing of the call before.
    """
    outbound = [message.outbound for message in chunk]
    parts = sum(message.parts for message in outbound)
    impatient = time.monotonic() + line.config.patience
    pause, longest = _BACKOFF_SECONDS
    error = Error(errors.CARRIER_UNAVAILABLE, f"{line.name} was never free to take it", permanent=False)

    def give_up(otherwise: _Verdict) -> list[_Verdict]:
        doubt = _Verdict(Detailed.IN_DOUBT, error=_doubt(line.name, error.message))
        return [doubt if doubtful else otherwise] * len(chunk)

    while True:
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await line.throughput.take(parts, priority)
        except TimeoutError:
            return give_up(_Verdict(again=True))
        pulse.check()
        started = time.perf_counter()
        outcome = await line.carrier.submit(outbound, key)
        metrics.DISPATCH_SECONDS.labels(line.name).observe(time.perf_counter() - started)
        metrics.DISPATCH_ATTEMPTS.labels(line.name, type(outcome).__name__).inc()
        match outcome:
            case base.Answered(results):
                return [_verdict(line, result) for result in results]
            case base.Refused(error):
                return give_up(_Verdict(Detailed.REJECTED, error=error))
            case base.SlowDown(seconds):
                line.throughput.slow_down(seconds)
                if time.monotonic() + seconds > deadline:
                    return give_up(_Verdict(again=True))
                continue
            case base.NotSent(error):
                if time.monotonic() + pause > impatient:
                    return give_up(_Verdict(elsewhere=True, error=error))
            case base.Unknown(error):
                doubtful = True
                if not line.config.idempotent or time.monotonic() + pause > impatient:
                    return give_up(_Verdict())
        log.warning("carrier.retry", carrier=line.name, key=key, messages=len(chunk), error=error.message, pause=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


def _verdict(line: Line, result: base.Result) -> _Verdict:
    match result:
        case base.Accepted(reference):
            return _Verdict(Detailed.SUBMITTED, reference)
        case base.Rejected(error):
            return _Verdict(Detailed.REJECTED, error=error, elsewhere=not error.permanent)
        case base.Unanswered():
            return _Verdict(Detailed.IN_DOUBT, error=_doubt(line.name, "the carrier's answer leaves it out"))


def _doubt(carrier: str, why: str) -> Error:
    return Error(errors.IN_DOUBT, f"unknown whether {carrier} took the message ({why}); it is not sent again", False)


class _Report:
    """A batch's verdicts, told to track, to the references and, where another try is due, to routing."""

    def __init__(self, settings: Settings, names: TopicNames, carrier: str, lane: str, step: Step) -> None:
        self._partitions = settings.kafka.partitions
        self._names, self._carrier, self._lane, self._step = names, carrier, lane, step
        self._references: dict[int, Reference] = {}

    def add(self, batch: Batch, verdicts: list[_Verdict]) -> None:
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

    def _submitted(self, batch: Batch, home: int, told: list[int], verdicts: list[_Verdict]) -> None:
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
