"""Telling: what a window decided on messages, told once it is durable.

Track keeps every move in the batch's progress until it is told, and writes the progress before. So a worker that dies
in between tells it at its next start, whichever topic it reads first then; and as all news meets the moves that were
decided, no message is ever told two ends.

What its account, or the request itself, wants to be called back for goes to `sms.callbacks` beside the status records,
a batch's moves in one record: the status topic has a record a message and move, too many to be looked through by a
stage that seldom finds anything.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from pipeline import ids
from pipeline.records import Batch, Notice, Settlement
from pipeline.stages.fate import Progress, Sent, Teller, position_of, rfc3339
from pipeline.streaming.stage import Step
from pipeline.streaming.topics import BULK, PRIORITY, TopicNames
from schemas.intake import VALIDITY_SECONDS, WORLDWIDE
from schemas.states import STATE, TERMINAL, Detailed
from schemas.status import CALLBACK_HEADER, OPERATOR_HEADER, OPTIONS_HEADER, TEXT_HEADER

#: In `Sent.which`: through no carrier yet.
NONE = 255
_TEXT_CHARACTERS = 5_000
#: Hex digits of a message id that tell the recipient's place (pipeline/ids.py).
_INDEX_DIGITS = 6
#: What is told first of a message that is accepted.
_FIRST = (Detailed.ACCEPTED, Detailed.SCHEDULED)
#: The state that the answer to the request tells: it is not called back for.
_NEW = STATE[Detailed.ACCEPTED]

_json = msgspec.json.Encoder().encode


def nobody(account: str) -> bool:
    """No account wants to be told of its messages."""
    return False


class Telling:
    """The batches of one window of which something is to be told. An action of its step.

    `listens`: whether an account has endpoints that want to be called.
    """

    def __init__(self, names: TopicNames, partitions: int, listens: Callable[[str], bool] = nobody) -> None:
        self._names = names
        self._partitions = partitions
        self._listens = listens
        self._batches: dict[bytes, Batch] = {}
        self._notices: dict[bytes, Notice] = {}
        self._options: dict[bytes, bytes] = {}

    @classmethod
    def of(cls, step: Step, names: TopicNames, partitions: int, listens: Callable[[str], bool] = nobody) -> "Telling":
        """The step's own."""
        for action in step.acts:
            if isinstance(action, cls):
                return action
        telling = cls(names, partitions, listens)
        step.act(telling)
        return telling

    def add(self, batch: Batch) -> None:
        """Tell what is untold of this batch, from its progress as this window leaves it."""
        self._batches[batch.id] = batch

    async def __call__(self, step: Step) -> None:
        for batch in self._batches.values():
            self._tell(batch, step)
            await step.breathe()
        for notice in self._notices.values():
            home = ids.partition_of(notice.batch, self._partitions)
            step.outbox.pack(self._names.callbacks, home, notice, len(notice.statuses))

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
                first = told.state in _FIRST
                self.record(step, batch, record, teller.text(position), STATE[Detailed(told.state)], first=first)
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
        self,
        step: Step,
        batch: Batch,
        told: tuple[bytes, bytes, list[tuple[str, bytes]]],
        text: str,
        state: str,
        *,
        first: bool,
    ) -> None:
        """Put a status record in the step's outbox; the message's text, options and operator travel on its first.
        `state`: the contract's, whose changes are called back."""
        key, value, headers = told
        if first:
            headers.append((TEXT_HEADER, text[:_TEXT_CHARACTERS].encode("utf-8", "replace")))
            headers += _operator(batch, key)
            headers.append((OPTIONS_HEADER, self._options_of(batch)))
        if batch.callback:
            headers.append((CALLBACK_HEADER, batch.callback))
        partition = ids.partition_of(batch.id, self._partitions)
        step.outbox.record(self._names.status, partition, value, key=key, headers=headers)
        if state != _NEW and (batch.callback or self._listens(batch.account)):
            self._notice(batch, value, text[:_TEXT_CHARACTERS])

    def _notice(self, batch: Batch, status: bytes, text: str) -> None:
        notice = self._notices.get(batch.id)
        if notice is None:
            notice = Notice(batch.id, batch.account, batch.callback, self._options_of(batch), [], [], [])
            self._notices[batch.id] = notice
        if not notice.texts or notice.texts[-1] != text:
            notice.texts.append(text)
        notice.text.append(len(notice.texts) - 1)
        notice.statuses.append(status)

    def _options_of(self, batch: Batch) -> bytes:
        found = self._options.get(batch.id)
        if found is None:
            found = self._options[batch.id] = options_of(batch)
        return found


def options_of(batch: Batch) -> bytes:
    """The request's options that are not the default, as JSON under their public names."""
    asked = {
        "dryRun": (batch.dry_run, False),
        "failOnMultipleMessages": (batch.fail_on_multiple, False),
        "transliterate": (batch.transliterate, False),
        "validitySeconds": (batch.validity_seconds, VALIDITY_SECONDS),
        "tariff": (batch.tariff, WORLDWIDE),
        "otp": (batch.otp, False),
        "sendAt": (rfc3339(batch.send_at) if batch.send_at else None, None),
    }
    return _json({name: value for name, (value, default) in asked.items() if value != default})


def _operator(batch: Batch, message: bytes) -> Sequence[tuple[str, bytes]]:
    """The header that tells a message's operator (`message`: its id), where one is known."""
    if len(batch.destinations) == 1:
        return _operator_header(batch.destinations[0].operator)
    position = position_of(batch, int(message[-_INDEX_DIGITS:], 16))
    return () if position is None else _operator_header(batch.destinations[batch.where[position]].operator)


@lru_cache(maxsize=4096)  # more than libphonenumber names
def _operator_header(operator: str) -> Sequence[tuple[str, bytes]]:
    return ((OPERATOR_HEADER, operator.encode()),) if operator else ()
