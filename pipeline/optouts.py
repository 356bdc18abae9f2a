"""Opt-outs: who has asked an account, or everybody here, not to write any more.

One record each on a compacted topic, known whole to every process that moderates or answers for them.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec
import structlog

from pipeline.config import Settings
from pipeline.numbers import classify
from pipeline.ops import metrics
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

log = structlog.get_logger()

#: The account of those who do not want to hear from any account.
EVERYBODY = "*"
_NUMBER = re.compile(r"\+[1-9][0-9]{1,14}").fullmatch  # E.164; an opt-out need not be a number that exists
#: From so many changes on, sorting an account's numbers anew costs less than putting each in its place.
_MANY = 500


class OptOut(msgspec.Struct, rename="camel", frozen=True):
    """One opt-out. `at`: RFC 3339, UTC. `source`: where it came from, such as "api", "command" or "STOP".

    Both are None where the record does not tell: its key alone makes it an opt-out.
    """

    account: str
    recipient: str
    at: str | None
    source: str | None

    @property
    def key(self) -> bytes:
        """Its key on the topic; a tombstone there takes it back."""
        return key(self.account, self.recipient)

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


def key(account: str, recipient: str) -> bytes:
    """The topic's key of an opt-out: no account's name and no number holds a slash."""
    return f"{account}/{recipient}".encode()


class _Told(msgspec.Struct):
    at: str | None = None
    source: str | None = None


_decode = msgspec.json.Decoder(_Told).decode


def read(key: bytes, value: bytes) -> OptOut | None:
    """A record of the topic that is no tombstone; None where its key names nobody."""
    who = _who(key)
    if who is None:
        return None
    try:
        told = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = _Told()
    return OptOut(*who, told.at, told.source)


def _who(key: bytes) -> tuple[str, str] | None:
    """Account and recipient of a key."""
    account, slash, recipient = key.decode("utf-8", "replace").rpartition("/")
    return (account, recipient) if slash and is_number(recipient) else None


def is_number(recipient: str) -> bool:
    """Whether `recipient` can stand in an opt-out: E.164 with the plus."""
    return _NUMBER(recipient) is not None


def fault(recipient: str) -> str | None:
    """What keeps `recipient` from standing in an opt-out, and how to write it where that is plain; None if nothing."""
    if is_number(recipient):
        return None
    wrong = classify(recipient)
    assert isinstance(wrong, Error), "it holds to E.164 at least as strictly"
    return wrong.message


class OptOuts:
    """All of them, by account. A number costs some 110 bytes."""

    def __init__(self) -> None:
        self._by_account: dict[str, set[str]] = {}
        self._count = 0
        self._ordered: dict[str, tuple[list[str], set[str]]] = {}  # as last asked for, and what changed since

    def __len__(self) -> int:
        return self._count

    def among(self, account: str, numbers: Sequence[str]) -> list[int]:
        """Positions of the numbers that opted out of this account, or of all. Costs nothing where nobody has."""
        lists = [known for name in (account, EVERYBODY) if (known := self._by_account.get(name))]
        if all(known.isdisjoint(numbers) for known in lists):
            return []
        return [place for place, number in enumerate(numbers) if any(number in known for known in lists)]

    def holds(self, account: str, recipient: str) -> bool:
        """Whether this very opt-out is there."""
        return recipient in self._by_account.get(account, ())

    def page(self, account: str, after: str, limit: int) -> list[str]:
        """The first `limit` numbers behind `after` that opted out of an account, in order ("" is before all)."""
        known = self._by_account.get(account, set())
        order, changed = self._ordered.get(account) or ([], known)
        if len(changed) > _MANY:
            order = sorted(known)
        else:
            for number in changed:
                place = bisect_left(order, number)
                if order[place : place + 1] == [number]:
                    del order[place]
                if number in known:
                    order.insert(place, number)
        self._ordered[account] = order, set()
        start = bisect_right(order, after)
        return order[start : start + limit]

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        who = _who(key)
        if who is None:
            log.error("opt_out.unreadable", key=key)
            return
        account, recipient = who
        known = self._by_account.setdefault(account, set())
        self._count -= len(known)
        if value is None:
            known.discard(recipient)
        else:
            known.add(recipient)
        self._count += len(known)
        self._note_change(account, recipient)
        if not known:
            del self._by_account[account]
        metrics.OPT_OUTS.set(self._count)

    def _note_change(self, account: str, recipient: str) -> None:
        """An order that was asked for is mended when it is asked for again, or forgotten."""
        if ordered := self._ordered.get(account):
            ordered[1].add(recipient)
            if len(ordered[1]) > _MANY:
                del self._ordered[account]


class OptOutDirectory(OptOuts, Directory):
    """Every opt-out, in memory and up to date. Start it before use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).opt_outs)
