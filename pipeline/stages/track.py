"""Track: what happened to each message in the end?

In: outcomes of every stage (`sms.outcomes`), carriers' receipts (`sms.receipts`), operators' word on messages in doubt
(`sms.resolutions`), cancellations (`sms.cancellations`), and the clock (`sms.ticks`). Out: one status record a message
and transition (`sms.status`), what of the reserved money is earned (`sms.settlements`), and what is sent again or at
its time (`sms.priced`; see scheduled.py). Table, by batch:

    b<batch>        the batch as accepted     p<batch>  how far its messages are      s<batch>  carriers and their ids
    k<batch>        what came before the news that the batch is accepted, parked
    x<batch><index> a rejection that was told t<due><batch>  when to give up waiting      w r c  see scheduled.py

News of one batch may come in any order and twice: states move forward only, so order and repeats change nothing.
Moves are written before they are told (see telling.py): of two topics that know different ends of a message, after a
crash as before, the one that was heard first has decided. The batch itself is written last: it is known from then on.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec
import structlog

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.optouts import OptOuts
from pipeline.records import (
    Accepted,
    Batch,
    Outcome,
    Rejected,
    Resolution,
    Submitted,
    Tick,
    decode_cancellation,
    decode_outcomes,
    decode_resolution,
    decode_ticks,
)
from pipeline.stages import doubt, fate
from pipeline.stages.fate import Change, Progress, Sent
from pipeline.stages.scheduled import Scheduled
from pipeline.stages.telling import NONE, Telling, nobody
from pipeline.streaming.stage import Record, Source, Step, Unreadable
from pipeline.streaming.topics import LANES, PRIORITY, TopicNames
from schemas.states import STATE, TERMINAL, Detailed

log = structlog.get_logger()

#: Stages that reject before a batch is accepted: their rejections need nothing that is known already.
_EARLY = frozenset({"validate", "encode", "moderate", "price"})
#: Decoded batches kept, so that each receipt does not decode its batch again.
_BATCHES_KEPT = 256
#: Batches given up on at one tick; after a long stop the rest waits for the next ticks.
_DUE_A_TICK = 200
#: How much longer than a receipt a word of dispatch is waited for.
_UNHEARD_SECONDS = 3600
#: Receipts parked for a batch, at most.
_PARKED_RECEIPTS = 5_000


#: A receipt: message index, status, code, received at, carrier, the carrier's id.
_Row = tuple[int, str, str | None, int, str, str]


class Parked(msgspec.Struct, array_like=True):
    """News that came before the batch: outcomes and receipts."""

    outcomes: list[Submitted | Rejected] = []
    receipts: list[_Row] = []


def sources(settings: Settings, tracker: "Tracker") -> list[Source]:
    """The stage's agents: outcomes by lane, receipts, operators' and accounts' words, the clock."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [
        *(Source(names.outcomes(lane), tracker.outcomes, max_records=16) for lane in LANES),
        Source(names.receipts, tracker.receipts, max_records=64),
        Source(names.resolutions, tracker.resolutions),
        Source(names.cancellations, tracker.cancellations),
        Source(names.ticks, tracker.ticks, max_records=1),  # what a tick releases is work enough for a window
    ]


class Tracker:
    """The messages of the partitions this process owns. `listens`: whether an account wants to be called."""

    def __init__(self, settings: Settings, opt_outs: OptOuts, listens: Callable[[str], bool] = nobody) -> None:
        self._names = TopicNames(settings.kafka.topic_prefix)
        self._listens = listens
        self._scheduled = Scheduled(self._names, opt_outs)
        self._partitions = settings.kafka.partitions
        self._grace = settings.limits.receipt_grace_seconds
        self._refunds = frozenset(Detailed[name] for name in settings.billing.refund)
        self._batches: OrderedDict[bytes, Batch] = OrderedDict()

    def outcomes(self, record: Record, step: Step) -> None:
        """News from our own stages."""
        now = int(time.time() * 1000)
        priority = record.topic.endswith(PRIORITY)
        for outcome in decode_outcomes(record.value):
            self._outcome(outcome, step, now, priority)

    def receipts(self, record: Record, step: Step) -> None:
        """News from carriers: receipts with our reference, of any batches of this partition."""
        found = receipts.decode(record.value)
        by_batch: dict[bytes, list[_Row]] = {}
        for receipt in found.receipts:
            known = ids.split(receipt.reference or "")
            metrics.RECEIPTS.labels(found.carrier, receipt.status[:16]).inc()
            if known:
                row = (known[1], receipt.status, receipt.error, found.received_at_ms, found.carrier, receipt.id)
                by_batch.setdefault(known[0], []).append(row)
        for batch_id, rows in by_batch.items():
            batch = self._batch(step, batch_id)
            if batch is None:
                parked = self._parked(step, batch_id)
                parked.receipts = list(dict.fromkeys([*parked.receipts, *rows]))[:_PARKED_RECEIPTS]
                step.view.put(b"k" + batch_id, parked)
                metrics.RECEIPTS_UNMATCHED.labels(found.carrier).inc(len(rows))
            else:
                progress = self._progress(step, batch)
                late = self._apply(step, batch, progress, self._receipt_changes(step, batch, progress, rows))
                metrics.RECEIPTS_LATE.labels(found.carrier).inc(late)

    def resolutions(self, record: Record, step: Step) -> None:
        """An operator's word on messages in doubt. The same record again does nothing more."""
        resolution = decode_resolution(record.value)
        if resolution.action not in (doubt.RESEND, doubt.FAIL):
            raise Unreadable(f"nobody knows how to {resolution.action[:32]!r} a message")
        by_batch: dict[bytes, list[int]] = {}
        for message in resolution.messages:
            index = int.from_bytes(message[ids.BATCH_BYTES :], "big")
            by_batch.setdefault(message[: ids.BATCH_BYTES], []).append(index)
        for batch_id, indexes in by_batch.items():
            batch = self._batch(step, batch_id)
            if batch is None:
                self._audit(resolution, batch_id, {doubt.UNKNOWN: indexes})
                continue
            progress = self._progress(step, batch)
            changes: list[Change] = []
            if record.offset > progress.resolved:
                changes, results = doubt.resolve(batch, progress, resolution, indexes)
                progress.resolved = record.offset
                self._audit(resolution, batch_id, results)
            self._apply(step, batch, progress, changes)

    def cancellations(self, record: Record, step: Step) -> None:
        """The word that messages are not to be sent: what waits for its time ends here, the rest is dispatch's."""
        said = decode_cancellation(record.value)
        for batch_id, indexes in self._scheduled.named(step, said).items():
            batch = self._batch(step, batch_id)
            if batch is None:
                self._scheduled.remember(step, said, batch_id, indexes or [])
            elif said.account in ("", batch.account):
                progress = self._progress(step, batch)
                self._apply(step, batch, progress, self._scheduled.cancel(step, batch, progress, said.at, indexes))

    def ticks(self, record: Record, step: Step) -> None:
        """Let go what has waited for its time, and give up on what has none left."""
        tick = decode_ticks(record.value)[-1]
        for batch_id in self._scheduled.due(step, tick):
            if batch := self._batch(step, batch_id):
                progress = self._progress(step, batch)
                changes = self._scheduled.release(step, batch, progress, (tick.now or tick.at) * 1000)
                self._apply(step, batch, progress, changes)
        self._give_up(tick, step)

    def owned(self, partitions: Sequence[int]) -> None:
        """This process has these partitions now."""
        self._scheduled.owned(partitions)

    def _give_up(self, tick: Tick, step: Step) -> None:
        """Give up on messages whose validity and grace are over.

        Those that dispatch has not said a word of have longer: what of them was sent it will tell yet, and what was not
        it lets expire itself.
        """
        due = step.view.keys(b"t", b"t" + tick.at.to_bytes(8, "big"))
        for key in list(islice(due, _DUE_A_TICK)):
            step.view.delete(key)
            batch = self._batch(step, key[9:])
            if batch is None:
                continue
            progress = self._progress(step, batch)
            waiting = [
                position
                for position, state in enumerate(progress.state)
                if state < TERMINAL and fate.due(batch, position, self._grace) < tick.at
            ]
            later = progress.due + _UNHEARD_SECONDS
            if tick.at < later and min(progress.state) < Detailed.IN_DOUBT:
                waiting = [p for p in waiting if progress.state[p] >= Detailed.IN_DOUBT]
                step.view.put(b"t" + later.to_bytes(8, "big") + batch.id, b"")
            log.info("batch.due", batch=batch.id.hex(), without_receipt=len(waiting))
            self._apply(step, batch, progress, [fate.no_receipt(position, tick.at * 1000) for position in waiting])

    def _outcome(self, outcome: Outcome, step: Step, now: int, priority: bool) -> None:
        match outcome:
            case Accepted(batch):
                self._accepted(batch, step, now, priority)
            case Rejected() if outcome.stage in _EARLY:
                self._rejected_early(outcome, step, now)
            case Rejected() | Submitted():
                batch_id = outcome.batch if isinstance(outcome, Submitted) else outcome.batch.id
                batch_known = self._batch(step, batch_id)
                if batch_known is None:
                    parked = self._parked(step, batch_id)
                    parked.outcomes.append(outcome)
                    step.view.put(b"k" + batch_id, parked)
                else:
                    self._heard(step, batch_known, self._progress(step, batch_known), outcome, now)

    def _accepted(self, batch: Batch, step: Step, now: int, priority: bool) -> None:
        progress = self._progress(step, batch)
        parked = step.view.get(b"k" + batch.id, Parked)
        if parked:
            step.view.delete(b"k" + batch.id)
        if step.view.get(b"b" + batch.id, bytes) is not None:
            metrics.REPEATS.labels("track").inc()
            self._apply(step, batch, progress, [])
            return
        progress.priority = priority
        if not batch.dry_run:
            for due in fate.dues(batch, self._grace):
                step.view.put_first(b"t" + due.to_bytes(8, "big") + batch.id, b"")
        changes = self._scheduled.accept(step, batch, now)
        step.view.put_first(b"b" + batch.id, batch)
        self._apply(step, batch, progress, changes)
        if batch.scheduled and not batch.dry_run:
            self._apply(step, batch, progress, self._scheduled.said_before(step, batch, progress))
            self._apply(step, batch, progress, self._scheduled.release(step, batch, progress, now))
        if parked:
            for outcome in parked.outcomes:
                self._heard(step, batch, progress, outcome, now)
            self._apply(step, batch, progress, self._receipt_changes(step, batch, progress, parked.receipts))

    def _rejected_early(self, rejected: Rejected, step: Step, now: int) -> None:
        """These recipients never became part of an accepted batch: their one and final record is told here."""
        batch = rejected.batch
        key = b"x" + batch.id + batch.index[0].to_bytes(3, "big")
        if step.view.get(key, bytes) is not None:
            metrics.REPEATS.labels("track").inc()
            return
        step.view.put(key, b"1")
        teller = fate.Teller(batch)
        telling = self._telling(step)
        for position, which in enumerate(rejected.which):
            told = teller.tell(position, rejected.state, now, sequence=1, error=rejected.errors[which])
            telling.record(step, batch, told, teller.text(position), STATE[Detailed(rejected.state)], first=True)
        metrics.TRANSITIONS.labels(Detailed(rejected.state).name).inc(len(batch))

    def _heard(self, step: Step, batch: Batch, progress: Progress, outcome: Submitted | Rejected, now: int) -> None:
        """A carrier's answer, or a rejection after acceptance."""
        if isinstance(outcome, Submitted):
            changes = self._answer_changes(step, batch, progress, outcome)
        else:
            changes = [
                Change(position, outcome.state, now, error=outcome.errors[which])
                for index, which in zip(outcome.batch.index, outcome.which, strict=True)
                if (position := fate.position_of(batch, index)) is not None
            ]
        self._apply(step, batch, progress, changes)

    def _answer_changes(self, step: Step, batch: Batch, progress: Progress, answer: Submitted) -> list[Change]:
        sent = self._sent(step, batch)
        carrier = sent.place(answer.carrier)
        changes = []
        for index, state, reference in zip(answer.index, answer.states, answer.references, strict=True):
            position = fate.position_of(batch, index)
            if position is None or progress.state[position] >= TERMINAL:  # an end stays as it was told
                continue
            if state > progress.state[position] or not sent.references[position]:
                sent.which[position] = carrier
                sent.references[position] = reference
            changes.append(Change(position, state, answer.at, error=answer.errors.get(index)))
        step.view.put_first(b"s" + batch.id, sent)
        return changes

    def _receipt_changes(self, step: Step, batch: Batch, progress: Progress, rows: list[_Row]) -> list[Change]:
        sent, learned = self._sent(step, batch), False
        changes = []
        for index, status, code, at, carrier, reference in rows:
            position = fate.position_of(batch, index)
            if position is None:
                continue
            if reference and not sent.references[position] and progress.state[position] < TERMINAL:
                learned = True  # the receipt is here before the carrier's answer, or there was none
                sent.which[position] = sent.place(carrier)
                sent.references[position] = reference
            change = fate.receipt_change(position, status, code, at)
            if change:
                changes.append(change)
        if learned:
            step.view.put_first(b"s" + batch.id, sent)
        return changes

    def _apply(self, step: Step, batch: Batch, progress: Progress, changes: Iterable[Change]) -> int:
        """Move messages and tell what is untold; the number of changes that were none (late or repeated).

        Written in this order: what telling needs (`s`), the progress, and a new batch behind it.
        """
        moved: Counter[int] = Counter()
        late = 0
        for change in changes:
            if not fate.move(batch, progress, change, self._refunds):
                late += 1
                continue
            moved[change.state] += 1
            if change.state >= TERMINAL:
                begun = max(batch.received_at, batch.send_time(change.position))
                metrics.FINAL_LATENCY.observe(max(change.at - begun, 0) / 1000)
        for state, count in moved.items():
            metrics.TRANSITIONS.labels(Detailed(state).name).inc(count)
        if moved or progress.again or progress.resolved >= 0:
            step.view.put_first(b"p" + batch.id, progress, last=True)
            if step.view.wrote(b"b" + batch.id):
                step.view.put_first(b"b" + batch.id, batch, last=True)
        if progress.untold or progress.again:
            self._telling(step).add(batch)
        return late

    def _telling(self, step: Step) -> Telling:
        return Telling.of(step, self._names, self._partitions, self._listens)

    def _audit(self, resolution: Resolution, batch_id: bytes, results: dict[str, list[int]]) -> None:
        for result, indexes in results.items():
            metrics.RESOLUTIONS.labels(resolution.action, result).inc(len(indexes))
            named = [ids.message_id(batch_id, index) for index in indexes]
            log.warning("message.resolved", action=resolution.action, result=result, by=resolution.by, messages=named)

    def _batch(self, step: Step, batch_id: bytes) -> Batch | None:
        known = self._batches.get(batch_id)
        if known is None:
            known = step.view.get(b"b" + batch_id, Batch)
            if known and not step.view.wrote(b"b" + batch_id):  # what may yet be undone is not kept
                self._batches[batch_id] = known
                if len(self._batches) > _BATCHES_KEPT:
                    self._batches.popitem(last=False)
        return known

    def _progress(self, step: Step, batch: Batch) -> Progress:
        return step.view.get(b"p" + batch.id, Progress) or fate.begin(batch, self._grace)

    def _sent(self, step: Step, batch: Batch) -> Sent:
        found = step.view.get(b"s" + batch.id, Sent)
        return found or Sent([], bytearray([NONE]) * len(batch), [""] * len(batch))

    def _parked(self, step: Step, batch_id: bytes) -> Parked:
        return step.view.get(b"k" + batch_id, Parked) or Parked()
