"""Scheduled: what waits for its time, and what of it is cancelled. A part of the track stage, in its table:

    w<time><batch>          messages of a batch that wait for that second (its value: how many)
    r<request><batch>       the batches of a request that wait
    c<request>, c<batch>    a cancellation, for what track does not know yet

Whether a message still waits says its state: SCHEDULED. Whoever moves it on decides, release or cancellation, and the
move is durable before anything comes of it (see telling.py). So it is let go once, or cancelled, never both.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from pipeline import ids
from pipeline.cancellations import CANCELED, covers
from pipeline.ops import metrics
from pipeline.optouts import OptOuts
from pipeline.records import Batch, Cancellation, Tick, encode
from pipeline.stages.fate import Again, Change, Progress, position_of
from pipeline.streaming.stage import Step
from pipeline.streaming.topics import PRIORITY, TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.states import Detailed

log = structlog.get_logger()

#: What one window lets go: so many messages, of which a batch counts for `_A_BATCH` at least. The rest follows in
#: windows of its own, so that other topics have their turn in between.
_A_WINDOW = 10_000
_A_BATCH = 20

_WAITING = (Detailed.ACCEPTED, Detailed.SCHEDULED)
_OPTED_OUT = Error(errors.OPTED_OUT, "recipient: has opted out since the message was scheduled")


class Word(msgspec.Struct, array_like=True):
    """A cancellation that came before its batch: of all (a request's), or of `messages`, indexes by account."""

    at: int
    messages: dict[str, list[int]] = {}


class Scheduled:
    """What waits in the partitions of this process."""

    def __init__(self, names: TopicNames, opt_outs: OptOuts) -> None:
        self._names = names
        self._opt_outs = opt_outs
        self._waiting: dict[int, int] = {}
        self._room = 0

    def accept(self, step: Step, batch: Batch, now: int) -> list[Change]:
        """What is told of a new batch's messages: that they are accepted, or scheduled. `now`: Unix ms."""
        later: Counter[int] = Counter()
        changes = []
        for position in range(len(batch)):
            at = 0 if batch.dry_run else batch.send_time(position)
            if at > now:
                later[_second(at)] += 1
            changes.append(Change(position, Detailed.SCHEDULED if at > now else Detailed.ACCEPTED, now))
        if later:
            for second, count in later.items():
                step.view.put_first(_key(second, batch), count.to_bytes(4, "big"))
            step.view.put_first(b"r" + batch.request + batch.id, b"")
            self._count(step, later.total())
            log.debug("batch.scheduled", batch=batch.id.hex(), account=batch.account, messages=later.total())
        return changes

    def due(self, step: Step, tick: Tick) -> Iterator[bytes]:
        """The batches of which something's time has come, as far as this window has room (see `release`); for the rest
        another tick follows."""
        self._survey(step)
        self._room = _A_WINDOW
        now = tick.now or tick.at
        for key in step.view.keys(max(b"w", tick.after), b"w" + (now + 1).to_bytes(8, "big")):
            if self._room <= 0:
                # From here on: what is deleted is slow to pass over.
                rest = encode([Tick(tick.at, now, key)])
                step.outbox.record(self._names.ticks, step.view.partition, rest)
                return
            step.view.delete(key)
            yield key[9:]

    def release(self, step: Step, batch: Batch, progress: Progress, now: int) -> list[Change]:
        """Let go what is due (`now`: Unix ms), but not to those who do not want it any more: the changes that end
        these. Noted in `progress`."""
        due = [p for p, state in enumerate(progress.state) if state in _WAITING and batch.send_time(p) <= now]
        self._room -= max(len(due), _A_BATCH)
        if not due:
            return []
        unwanted = {due[place] for place in self._opt_outs.among(batch.account, [batch.numbers[p] for p in due])}
        onward = [position for position in due if position not in unwanted]
        held = [position for position in due if progress.state[position] == Detailed.SCHEDULED]
        self._count(step, -len(held))
        for at in {batch.send_time(position) for position in held}:
            metrics.RELEASE_LATENESS.observe((now - at) / 1000)
        for position in onward:
            progress.state[position] = Detailed.QUEUED
        if onward:
            progress.again.append(Again(0, onward))
            metrics.RELEASED.labels(PRIORITY.lstrip(".") if progress.priority else "bulk").inc(len(onward))
        if unwanted:
            log.info("batch.opted_out", batch=batch.id.hex(), account=batch.account, messages=len(unwanted))
        log.debug("batch.released", batch=batch.id.hex(), account=batch.account, messages=len(onward))
        return [Change(position, Detailed.BLOCKED, now, error=_OPTED_OUT) for position in sorted(unwanted)]

    def named(self, step: Step, said: Cancellation) -> dict[bytes, list[int] | None]:
        """The batches that a cancellation is for, and which indexes of each (None: all). What it says is kept for
        batches of the request that come yet."""
        if said.request:
            known = step.view.get(b"c" + said.request, Word)
            step.view.put(b"c" + said.request, Word(max(said.at, known.at if known else 0)))
            begin = b"r" + said.request
            keys = step.view.keys(begin, begin + b"\xff" * (ids.BATCH_BYTES + 1))
            return {key[len(begin) :]: None for key in keys}
        found: dict[bytes, list[int] | None] = {}
        for message in said.messages:
            indexes = found.setdefault(message[: ids.BATCH_BYTES], [])
            assert indexes is not None
            indexes.append(int.from_bytes(message[ids.BATCH_BYTES :], "big"))
        return found

    def remember(self, step: Step, said: Cancellation, batch_id: bytes, indexes: Sequence[int]) -> None:
        """Keep what a cancellation says of a batch that is not known yet."""
        word = step.view.get(b"c" + batch_id, Word) or Word(said.at)
        known = word.messages.get(said.account, [])
        word.messages[said.account] = list(dict.fromkeys([*known, *indexes]))
        step.view.put(b"c" + batch_id, word)
        metrics.CANCELLATIONS.labels("unknown").inc(len(indexes))

    def said_before(self, step: Step, batch: Batch, progress: Progress) -> list[Change]:
        """The changes of cancellations that came before a new batch."""
        word = step.view.get(b"c" + batch.request, Word)
        if word and covers(batch, word.at):
            return self.cancel(step, batch, progress, word.at, None)
        word = step.view.get(b"c" + batch.id, Word)
        if word is None:
            return []
        indexes = [index for account in {"", batch.account} for index in word.messages.get(account, ())]
        return self.cancel(step, batch, progress, word.at, indexes)

    def cancel(
        self, step: Step, batch: Batch, progress: Progress, at: int, indexes: Sequence[int] | None
    ) -> list[Change]:
        """The changes that cancel what still waits of these messages (None: of all). `at`: Unix ms."""
        if indexes is None:
            positions = list(range(len(batch)))
        else:
            asked = (position_of(batch, index) for index in dict.fromkeys(indexes))
            positions = [position for position in asked if position is not None]
        by_result: dict[str, list[int]] = {}
        for position in positions:
            by_result.setdefault(_look(progress.state[position]), []).append(position)
        for result, some in by_result.items():
            metrics.CANCELLATIONS.labels(result).inc(len(some))
        gone = by_result.get("canceled", [])
        log.info("batch.canceled", batch=batch.id.hex(), account=batch.account, request_id=batch.request_id,
                 **{result: len(some) for result, some in by_result.items()})  # fmt: skip
        self._count(step, -len(gone))
        self._keep_others(step, batch, progress, set(gone))
        return [Change(position, Detailed.CANCELED, at, error=CANCELED) for position in gone]

    def _keep_others(self, step: Step, batch: Batch, progress: Progress, gone: set[int]) -> None:
        """Bring the keys of what waits in line with what is left of it."""
        left = {_second(batch.send_time(position)): 0 for position in gone}
        for position, state in enumerate(progress.state):
            second = _second(batch.send_time(position))
            if state == Detailed.SCHEDULED and position not in gone and second in left:
                left[second] += 1
        for second, count in left.items():
            step.view.put(_key(second, batch), count.to_bytes(4, "big") if count else None)

    def owned(self, partitions: Sequence[int]) -> None:
        """This process has these partitions now; what waits in others is no more its."""
        self._waiting = {partition: count for partition, count in self._waiting.items() if partition in partitions}
        metrics.SCHEDULED.set(sum(self._waiting.values()))

    def _survey(self, step: Step) -> None:
        """Count what waits in a partition that is new here."""
        if step.view.partition not in self._waiting:
            counts = (step.view.get(key, bytes) for key in step.view.keys(b"w", b"x"))
            self._waiting[step.view.partition] = sum(int.from_bytes(count or b"", "big") for count in counts)

    def _count(self, step: Step, more: int) -> None:
        if step.view.partition in self._waiting:
            self._waiting[step.view.partition] += more
            metrics.SCHEDULED.set(sum(self._waiting.values()))


def _second(at: int) -> int:
    """The first full second at which it is not too early (`at`: Unix ms)."""
    return math.ceil(at / 1000)


def _key(second: int, batch: Batch) -> bytes:
    return b"w" + second.to_bytes(8, "big") + batch.id


def _look(state: int) -> str:
    """What a cancellation does to a message that track has in this state."""
    if state == Detailed.SCHEDULED:
        return "canceled"
    return "left_to_dispatch" if state < Detailed.IN_DOUBT else "too_late"
