"""Telling: what a window decided on messages, told once it is durable.

Track keeps every move in the batch's progress until it is told, and writes the progress before. So a worker that dies
in between tells it at its next start, whichever topic it reads first then; and as all news meets the moves that were
decided, no message is ever told two ends.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from pipeline import ids
from pipeline.records import Batch, Settlement
from pipeline.stages.fate import Progress, Sent, Teller, position_of
from pipeline.streaming.stage import Step
from pipeline.streaming.topics import BULK, PRIORITY, TopicNames
from schemas.states import TERMINAL, Detailed
from schemas.status import OPERATOR_HEADER, TEXT_HEADER

#: In `Sent.which`: through no carrier yet.
NONE = 255
_TEXT_CHARACTERS = 5_000
#: Hex digits of a message id that tell the recipient's place (pipeline/ids.py).
_INDEX_DIGITS = 6
#: What is told first of a message that is accepted.
_FIRST = (Detailed.ACCEPTED, Detailed.SCHEDULED)


class Telling:
    """The batches of one window of which something is to be told. An action of its step."""

    def __init__(self, names: TopicNames, partitions: int) -> None:
        self._names = names
        self._partitions = partitions
        self._batches: dict[bytes, Batch] = {}

    @classmethod
    def of(cls, step: Step, names: TopicNames, partitions: int) -> "Telling":
        """The step's own."""
        for action in step.acts:
            if isinstance(action, cls):
                return action
        telling = cls(names, partitions)
        step.act(telling)
        return telling

    def add(self, batch: Batch) -> None:
        """Tell what is untold of this batch, from its progress as this window leaves it."""
        self._batches[batch.id] = batch

    async def __call__(self, step: Step) -> None:
        for batch in self._batches.values():
            self._tell(batch, step)
            await step.breathe()

    def _tell(self, batch: Batch, step: Step) -> None:
        progress = step.view.get(b"p" + batch.id, Progress)
        assert progress is not None
        sent = step.view.get(b"s" + batch.id, Sent)
        teller = Teller(batch)
        for told in progress.untold:
            gone = sent if told.state >= Detailed.IN_DOUBT else None
            for position in told.positions:
                which = gone.which[position] if gone else NONE
                record = teller.tell(
                    position, told.state, told.at,
                    error=told.error,
                    delivered=progress.delivered[position] if told.state >= TERMINAL else 0,
                    carrier=gone.carriers[which] if gone and which != NONE else None,
                    reference=gone.references[position] if gone and told.state > Detailed.IN_DOUBT else None,
                )  # fmt: skip
                self.record(step, batch, record, teller.text(position) if told.state in _FIRST else None)
        self._send_again(batch, progress, step)
        if progress.to_settle != progress.settled:
            totals = progress.captured, progress.released, progress.refunded
            settlement = Settlement(batch.id, batch.account, *totals, progress.parts)
            account = ids.partition_of(batch.account.encode(), self._partitions)
            step.outbox.pack(self._names.settlements, account, settlement)
        step.view.put(b"p" + batch.id, progress.told())
        if min(progress.state) >= TERMINAL:
            step.view.delete(b"t" + progress.due.to_bytes(8, "big") + batch.id)

    def _send_again(self, batch: Batch, progress: Progress, step: Step) -> None:
        """To routing: back there, or for the first time, because the time has come. Under the time that was theirs."""
        home = ids.partition_of(batch.id, self._partitions)
        priced = self._names.priced(PRIORITY if progress.priority else BULK)
        for again in progress.again:
            by_time: dict[int, list[int]] = {}
            for position in again.positions:
                by_time.setdefault(batch.send_time(position), []).append(position)
            for send_at, positions in by_time.items():
                part = msgspec.structs.replace(batch.select(positions), attempt=again.attempt, send_at=send_at)
                step.outbox.pack(priced, home, part, len(part))

    def record(
        self, step: Step, batch: Batch, told: tuple[bytes, bytes, list[tuple[str, bytes]]], text: str | None
    ) -> None:
        """Put a status record in the step's outbox; the message's text and operator travel on its first."""
        key, value, headers = told
        if text is not None:
            headers.append((TEXT_HEADER, text[:_TEXT_CHARACTERS].encode("utf-8", "replace")))
            headers += _operator(batch, key)
        partition = ids.partition_of(batch.id, self._partitions)
        step.outbox.record(self._names.status, partition, value, key=key, headers=headers)


def _operator(batch: Batch, message: bytes) -> Sequence[tuple[str, bytes]]:
    """The header that tells a message's operator (`message`: its id), where one is known."""
    if len(batch.destinations) == 1:
        return _operator_header(batch.destinations[0].operator)
    position = position_of(batch, int(message[-_INDEX_DIGITS:], 16))
    return () if position is None else _operator_header(batch.destinations[batch.where[position]].operator)


@lru_cache(maxsize=4096)  # more than libphonenumber names
def _operator_header(operator: str) -> Sequence[tuple[str, bytes]]:
    return ((OPERATOR_HEADER, operator.encode()),) if operator else ()
