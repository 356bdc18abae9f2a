"""Track: what happened to each message in the end?

In: outcomes of every stage (`sms.outcomes`), carriers' receipts (`sms.receipts`), and the clock (`sms.ticks`). Out:
one status record a message and transition (`sms.status`), and what of the reserved money is earned (`sms.settlements`).
Table, by batch:

    b<batch>        the batch as accepted     p<batch>  how far its messages are      s<batch>  carriers and their ids
    k<batch>        what came before the news that the batch is accepted, parked
    x<batch><index> a rejection that was told t<due><batch>  when to give up waiting

News of one batch may come in any order and twice: states move forward only, so order and repeats change nothing.
"""

import time
from collections import Counter, OrderedDict
from itertools import islice

import msgspec
import structlog

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Accepted, Batch, Outcome, Rejected, Settlement, Submitted, decode_outcomes, decode_ticks
from pipeline.stages import fate
from pipeline.stages.fate import Change, Progress, Sent
from pipeline.streaming.stage import Record, Source, Step
from pipeline.streaming.topics import LANES, TopicNames
from schemas.states import TERMINAL, Detailed
from schemas.status import TEXT_HEADER

log = structlog.get_logger()

#: Stages that reject before a batch is accepted: their rejections need nothing that is known already.
_EARLY = frozenset({"validate", "encode", "moderate", "price"})
#: Decoded batches kept, so that each receipt does not decode its batch again.
_BATCHES_KEPT = 256
_NONE = 255
#: Batches given up on at one tick; after a long stop the rest waits for the next ticks.
_DUE_A_TICK = 200
#: News parked for a batch, or kept of a message's text, at most.
_PARKED_RECEIPTS = 5_000
_TEXT_CHARACTERS = 5_000


#: A receipt: message index, status, code, received at, carrier, the carrier's id.
_Row = tuple[int, str, str | None, int, str, str]


class Parked(msgspec.Struct, array_like=True):
    """News that came before the batch: outcomes and receipts."""

    outcomes: list[Submitted | Rejected] = []
    receipts: list[_Row] = []


def sources(settings: Settings) -> list[Source]:
    """The stage's agents: outcomes by lane, receipts, the clock."""
    names = TopicNames(settings.kafka.topic_prefix)
    tracker = Tracker(settings, names)
    return [
        *(Source(names.outcomes(lane), tracker.outcomes, max_records=16) for lane in LANES),
        Source(names.receipts, tracker.receipts, max_records=64),
        Source(names.ticks, tracker.ticks),
    ]


class Tracker:
    """The messages of the partitions this process owns."""

    def __init__(self, settings: Settings, names: TopicNames) -> None:
        self._names = names
        self._partitions = settings.kafka.partitions
        self._batches: OrderedDict[bytes, Batch] = OrderedDict()

    def outcomes(self, record: Record, step: Step) -> None:
        """News from our own stages."""
        now = int(time.time() * 1000)
        for outcome in decode_outcomes(record.value):
            self._outcome(outcome, step, now)

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
                late = self._apply(step, batch, self._receipt_changes(step, batch, rows))
                metrics.RECEIPTS_LATE.labels(found.carrier).inc(late)

    def ticks(self, record: Record, step: Step) -> None:
        """Give up on messages whose validity and grace are over."""
        tick = decode_ticks(record.value)[-1]
        due = step.view.keys(b"t", b"t" + tick.at.to_bytes(8, "big"))
        for key in list(islice(due, _DUE_A_TICK)):
            step.view.delete(key)
            batch = self._batch(step, key[9:])
            if batch is None:
                continue
            progress = self._progress(step, batch)
            waiting = [p for p, state in enumerate(progress.state) if state < TERMINAL]
            log.info("batch.due", batch=batch.id.hex(), without_receipt=len(waiting))
            self._apply(step, batch, [fate.no_receipt(position, tick.at * 1000) for position in waiting])

    def _outcome(self, outcome: Outcome, step: Step, now: int) -> None:
        match outcome:
            case Accepted(batch):
                self._accepted(batch, step, now)
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
                    self._apply(step, batch_known, self._outcome_changes(step, batch_known, outcome, now))

    def _accepted(self, batch: Batch, step: Step, now: int) -> None:
        if step.view.get(b"b" + batch.id, bytes) is not None:
            metrics.REPEATS.labels("track").inc()
            return
        step.view.put(b"b" + batch.id, batch)
        progress = fate.begin(batch)
        step.view.put(b"p" + batch.id, progress)
        self._apply(step, batch, [Change(position, Detailed.ACCEPTED, now) for position in range(len(batch))])
        if batch.dry_run:
            return
        step.view.put(b"t" + progress.due.to_bytes(8, "big") + batch.id, b"")
        parked = step.view.get(b"k" + batch.id, Parked)
        if parked:
            step.view.delete(b"k" + batch.id)
            for outcome in parked.outcomes:
                self._apply(step, batch, self._outcome_changes(step, batch, outcome, now))
            self._apply(step, batch, self._receipt_changes(step, batch, parked.receipts))

    def _rejected_early(self, rejected: Rejected, step: Step, now: int) -> None:
        """These recipients never became part of an accepted batch: their one and final record is told here."""
        batch = rejected.batch
        key = b"x" + batch.id + batch.index[0].to_bytes(3, "big")
        if step.view.get(key, bytes) is not None:
            metrics.REPEATS.labels("track").inc()
            return
        step.view.put(key, b"1")
        teller = fate.Teller(batch)
        for position, which in enumerate(rejected.which):
            told = teller.tell(position, rejected.state, now, sequence=1, error=rejected.errors[which])
            self._tell(step, batch, told, teller.text(position))
        metrics.TRANSITIONS.labels(Detailed(rejected.state).name).inc(len(batch))

    def _outcome_changes(self, step: Step, batch: Batch, outcome: Submitted | Rejected, now: int) -> list[Change]:
        if isinstance(outcome, Rejected):
            rejected = outcome.batch
            return [
                Change(position, outcome.state, now, error=outcome.errors[which])
                for index, which in zip(rejected.index, outcome.which, strict=True)
                if (position := fate.position_of(batch, index)) is not None
            ]
        sent = self._sent(step, batch)
        carrier = sent.place(outcome.carrier)
        changes = []
        for index, state, reference in zip(outcome.index, outcome.states, outcome.references, strict=True):
            position = fate.position_of(batch, index)
            if position is not None:
                sent.which[position] = carrier
                sent.references[position] = reference
                changes.append(Change(position, state, outcome.at, error=outcome.errors.get(index)))
        step.view.put(b"s" + batch.id, sent)
        return changes

    def _receipt_changes(self, step: Step, batch: Batch, rows: list[_Row]) -> list[Change]:
        sent, learned = self._sent(step, batch), False
        changes = []
        for index, status, code, at, carrier, reference in rows:
            position = fate.position_of(batch, index)
            if position is None:
                continue
            if sent.which[position] == _NONE and reference:  # the receipt is here before the carrier's answer
                learned = True
                sent.which[position] = sent.place(carrier)
                sent.references[position] = reference
            change = fate.receipt_change(position, status, code, at)
            if change:
                changes.append(change)
        if learned:
            step.view.put(b"s" + batch.id, sent)
        return changes

    def _apply(self, step: Step, batch: Batch, changes: list[Change]) -> int:
        """Move messages, tell each move, settle; the number of changes that were none (late or repeated)."""
        progress = self._progress(step, batch)
        settled = progress.captured + progress.released
        sent = step.view.get(b"s" + batch.id, Sent)
        teller = fate.Teller(batch)
        moved: Counter[int] = Counter()
        for change in changes:
            if not fate.move(batch, progress, change):
                continue
            moved[change.state] += 1
            position = change.position
            which = sent.which[position] if sent else _NONE
            told = teller.tell(
                position, change.state, change.at,
                error=change.error,
                delivered=progress.delivered[position],
                carrier=sent.carriers[which] if sent and which != _NONE else None,
                reference=sent.references[position] if sent else None,
            )  # fmt: skip
            self._tell(step, batch, told, teller.text(position) if change.state == Detailed.ACCEPTED else None)
            if change.state >= TERMINAL:
                metrics.FINAL_LATENCY.observe((change.at - batch.received_at) / 1000)
        for state, count in moved.items():
            metrics.TRANSITIONS.labels(Detailed(state).name).inc(count)
        if moved:
            step.view.put(b"p" + batch.id, progress)
            if min(progress.state) >= TERMINAL:
                step.view.delete(b"t" + progress.due.to_bytes(8, "big") + batch.id)
        if progress.captured + progress.released != settled:
            settlement = Settlement(batch.id, batch.account, progress.captured, progress.released)
            account = ids.partition_of(batch.account.encode(), self._partitions)
            step.outbox.pack(self._names.settlements, account, settlement)
        return len(changes) - moved.total()

    def _tell(
        self, step: Step, batch: Batch, told: tuple[bytes, bytes, list[tuple[str, bytes]]], text: str | None
    ) -> None:
        key, value, headers = told
        if text is not None:
            headers.append((TEXT_HEADER, text[:_TEXT_CHARACTERS].encode("utf-8", "replace")))
        partition = ids.partition_of(batch.id, self._partitions)
        step.outbox.record(self._names.status, partition, value, key=key, headers=headers)

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
        return step.view.get(b"p" + batch.id, Progress) or fate.begin(batch)

    def _sent(self, step: Step, batch: Batch) -> Sent:
        found = step.view.get(b"s" + batch.id, Sent)
        return found or Sent([], bytearray([_NONE]) * len(batch), [""] * len(batch))

    def _parked(self, step: Step, batch_id: bytes) -> Parked:
        return step.view.get(b"k" + batch_id, Parked) or Parked()
