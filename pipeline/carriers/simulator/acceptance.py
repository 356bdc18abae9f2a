"""What the simulated carrier does with a submission, before HTTP and after it: decide, write down, schedule receipts.

A known idempotency key is remembered by three numbers, not by its answer: fates and ids follow from hashes, so the
first answer can be made again from the repeated request.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from zlib import crc32

import msgspec
from msgspec import Meta

from pipeline.carriers.simulator.behaviour import Behaviour, Fate, Oracle, RequestFate
from pipeline.carriers.simulator.journal import Distinct, Entry, Journal
from pipeline.carriers.simulator.receipts import Receipts, line, now, rfc3339
from pipeline.carriers.simulator.stats import Stats

#: Idempotency keys remembered, oldest forgotten first: some 25 MB, and ten million messages in batches of 100.
KEYS = 100_000
#: Messages in one submission.
MAX_BATCH = 1000
#: By how much a duplicate receipt, or the one in disorder, follows the final one.
AFTER_SECONDS = 0.2
#: Receipts of what was accepted so long before a restart are sent again: which were taken is not written down.
RESUME_SECONDS = 60.0


class Message(msgspec.Struct, rename="camel", gc=False):
    """One message of a submission."""

    reference: Annotated[str, Meta(pattern="^[0-9A-Za-z_-]{1,64}$")]
    sender: Annotated[str, Meta(min_length=1)] = msgspec.field(name="from")
    number: Annotated[str, Meta(min_length=1)] = msgspec.field(name="to")
    text: str
    encoding: Literal["GSM-7", "UCS-2"]
    parts: Annotated[int, Meta(ge=1, le=255)]
    validity_seconds: Annotated[int, Meta(ge=0)]


class Submission(msgspec.Struct):
    """The body of `POST /messages`."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_BATCH)]


class Rejection(msgspec.Struct):
    code: str
    message: str
    permanent: bool


class Result(msgspec.Struct, omit_defaults=True, gc=False):
    """One message's answer."""

    reference: str
    status: Literal["accepted", "rejected"]
    id: str | None = None
    error: Rejection | None = None


class Answer(msgspec.Struct):
    """The body of the answer, results in the order of the messages."""

    results: list[Result]


class Decision(msgspec.Struct):
    """What to answer. `answer` is None where nothing was accepted; `early`: receipts to send before answering."""

    fate: RequestFate | Literal["conflict"]
    answer: Answer | None = None
    early: list[str] = []


class _Key(msgspec.Struct):
    """`count`: requests under the key; `accepted_in`: the one that was accepted, 0 for none; `content`: of that one
    (None: accepted by an earlier process, so not known)."""

    count: int = 0
    accepted_in: int = 0
    content: int | None = 0


_REFUSAL = Rejection("11", "invalid destination address", True)  # SMPP 3.4 section 5.1.3: ESME_RINVDSTADR is 0x0B


class Desk:
    """Takes submissions. One a process; not shared between threads."""

    def __init__(self, behaviour: Behaviour, journal: Journal, receipts: Receipts, stats: Stats) -> None:
        self._idempotent = behaviour.idempotent
        self._oracle = Oracle(behaviour)
        self._journal = journal
        self._receipts = receipts
        self._stats = stats
        self._distinct = Distinct()
        self._keys: dict[str, _Key] = {}

    def behave(self, behaviour: Behaviour) -> None:
        """Answer requests like this from now on (see `Behaviour.changed`)."""
        self._oracle = Oracle(behaviour)

    def resume(self, entries: Iterable[Entry]) -> None:
        """Know again what earlier processes accepted: their keys are repeats, their receipts are still owed."""
        since = rfc3339(datetime.now(UTC) - timedelta(seconds=RESUME_SECONDS))
        for entry in entries:
            known = self._remember(entry.idempotency_key)
            known.count = known.accepted_in = entry.times
            known.content = None
            fate = self._oracle.message(entry.reference)
            self._distinct.add(fate.fingerprint)
            if entry.accepted_at >= since and not fate.silent:
                self._schedule(fate, entry.id, entry.reference)

    def take(self, submission: Submission, key: str | None) -> Decision:
        """Decide on one submission; everything accepted is in the journal on return."""
        self._stats.requests += 1
        key = key or f"request {self._stats.requests}"
        known = self._remember(key)
        known.count += 1
        fate, name = self._oracle.request(key, known.count)
        if fate in ("throttle", "unavailable"):
            self._stats.throttled += 1
            return Decision(fate)
        messages = submission.messages
        fates = [self._oracle.message(message.reference) for message in messages]
        content = _content(messages)
        if self._idempotent and known.accepted_in:
            if known.content is not None and content != known.content:
                return Decision("conflict")
            self._stats.repeated_requests += 1
            _, name = self._oracle.request(key, known.accepted_in)
            return Decision(fate, _answer(messages, fates, name))
        known.accepted_in, known.content = known.count, content
        early = self._accept(messages, fates, name, key, known.count)
        return Decision(fate, _answer(messages, fates, name), early)

    def _remember(self, key: str) -> _Key:
        known = self._keys.get(key)
        if known is None:
            if len(self._keys) >= KEYS:
                del self._keys[next(iter(self._keys))]
            known = self._keys[key] = _Key()
        return known

    def _accept(self, messages: list[Message], fates: list[Fate], name: str, key: str, times: int) -> list[str]:
        """Write down and schedule what is not rejected; the receipts to be sent early are returned."""
        stats = self._stats
        at = now()
        entries: list[Entry] = []
        early: list[str] = []
        for place, (m, fate) in enumerate(zip(messages, fates, strict=True)):
            if fate.rejected:
                continue
            identity = f"{name}{place:x}"
            entries.append(Entry(m.reference, identity, m.sender, m.number, m.parts, m.text, key, at, times))
            stats.accepted_parts += m.parts
            stats.repeated_references += not self._distinct.add(fate.fingerprint)
            if not fate.silent:
                if fate.early:
                    early.append(_receipt(fate, identity, m.reference))
                self._schedule(fate, identity, m.reference, told=fate.early)
        stats.accepted += len(entries)
        stats.rejected += len(messages) - len(entries)
        stats.distinct_references = self._distinct.count
        if entries:
            self._journal.write(entries)
            stats.first_accepted_at = stats.first_accepted_at or at
            stats.last_accepted_at = at
        return early

    def _schedule(self, fate: Fate, identity: str, reference: str, *, told: bool = False) -> None:
        """Send the message's receipts when they are due. `told`: the first is on its way already."""
        if not told:
            self._receipts.schedule(fate.delay, _receipt(fate, identity, reference))
        if fate.duplicate:
            self._receipts.schedule(fate.delay + AFTER_SECONDS, _receipt(fate, identity, reference))
        if fate.disorder:
            self._receipts.schedule(fate.delay + AFTER_SECONDS, _receipt(fate, identity, reference, "ENROUTE"))


def _receipt(fate: Fate, identity: str, reference: str, status: str = "") -> str:
    return line(status or fate.status, identity, "" if fate.without_reference else reference)


def _answer(messages: list[Message], fates: list[Fate], name: str) -> Answer:
    return Answer(
        [
            Result(message.reference, "rejected", error=_REFUSAL)
            if fate.rejected
            else Result(message.reference, "accepted", f"{name}{place:x}")
            for place, (message, fate) in enumerate(zip(messages, fates, strict=True))
        ]
    )


def _content(messages: list[Message]) -> int:
    """A checksum by which another submission under the same key is told: ids are given by place and reference."""
    return crc32("\n".join([message.reference for message in messages]).encode())
