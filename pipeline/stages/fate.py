"""A message's fate, as pure functions: which state follows which, what it means for the money, how it is told.

States move forward only and a terminal one stays. Everything here works on one batch: its recipients in columns,
their progress beside them (one byte a recipient and column).
"""

from bisect import bisect_left
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from pipeline import ids
from pipeline.billing import format_price
from pipeline.records import Batch
from pipeline.text import Template
from schemas import errors
from schemas.errors import Error
from schemas.states import RECEIPT_STATES, STATE, TERMINAL, Detailed
from schemas.status import CLOUDEVENT_SOURCE, CLOUDEVENT_TYPE, StatusError, StatusRecord


def sequence_of(state: int) -> int:
    """The place of a state on the way, as status records tell it.

    Taken from the state and not counted: after a crash a message may be told again in another order, and a reader who
    drops what is not newer must still see its end.
    """
    return next(place for limit, place in _SEQUENCE if state <= limit)


#: Every move a message can make takes it to a higher place.
_SEQUENCE = (
    (Detailed.QUEUED, 1),
    (Detailed.IN_DOUBT, 2),
    (Detailed.SUBMITTED, 3),
    (Detailed.BUFFERED, 4),
    (Detailed.ENROUTE, 5),
    (max(Detailed), 6),
)


#: How the error of an end begins that a carrier's receipt told, and only such a one's.
BY_RECEIPT = "the carrier's receipt says"


class Told(msgspec.Struct, array_like=True):
    """One move of some messages (positions), as the world is told of it: to what, when (Unix ms), and why."""

    state: int
    at: int
    error: Error | None
    positions: list[int]


class Again(msgspec.Struct, array_like=True):
    """Messages (positions) that go back to routing, and the attempt that this is."""

    attempt: int
    positions: list[int]


class Progress(msgspec.Struct, array_like=True):
    """How far a batch's messages are: state and parts delivered by recipient; micro-units in totals; when due.

    `due`: Unix seconds after which messages without a final state have none coming. `untold` and `again`: what is
    decided and not yet known to be told or sent (again, or as what was scheduled); `parts`: of each bundle captured,
    released and refunded; `settled`: how much of all this price has been told. `priority`: the batch's lane. Of
    messages in doubt: how often each was `resent`, whose resends are `unanswered`, and up to which offset operators'
    resolutions are in here.
    """

    state: bytearray
    delivered: bytearray
    due: int
    captured: int = 0
    released: int = 0
    untold: list[Told] = []
    again: list[Again] = []
    settled: int = 0
    priority: bool = False
    resent: dict[int, int] = {}
    unanswered: set[int] = set()
    resolved: int = -1
    refunded: int = 0
    parts: dict[str, list[int]] = {}

    def note(self, change: "Change") -> None:
        """Remember to tell a move."""
        last = self.untold[-1] if self.untold else None
        if last and (last.state, last.at, last.error) == (change.state, change.at, change.error):
            last.positions.append(change.position)
        else:
            self.untold.append(Told(change.state, change.at, change.error, [change.position]))

    def told(self) -> "Progress":
        """The same, once everything in it is told."""
        return msgspec.structs.replace(self, untold=[], again=[], settled=self.to_settle)

    @property
    def to_settle(self) -> int:
        """Grows with everything that price must be told of."""
        return self.captured + self.released + self.refunded + sum(map(sum, self.parts.values()))


class Sent(msgspec.Struct, array_like=True):
    """Through which carrier each recipient's message went (index into `carriers`, 255: none yet), and its id there."""

    carriers: list[str]
    which: bytearray
    references: list[str]

    def place(self, carrier: str) -> int:
        """The carrier's index, added where it is new."""
        if carrier not in self.carriers:
            self.carriers.append(carrier)
        return self.carriers.index(carrier)


class Change(msgspec.Struct):
    """One message's news: what to, why, when (Unix ms), and from whom."""

    position: int
    state: int
    at: int
    by_receipt: bool = False
    error: Error | None = None


def begin(batch: Batch, grace_seconds: int = 60) -> Progress:
    """An accepted batch, before anything was told of it."""
    return Progress(bytearray(len(batch)), bytearray(len(batch)), max(dues(batch, grace_seconds)))


def due(batch: Batch, position: int, grace_seconds: int) -> int:
    """Unix seconds after which the message at `position` has no news coming."""
    begin = max(batch.send_time(position), batch.received_at)
    return begin // 1000 + batch.validity_seconds + grace_seconds


def dues(batch: Batch, grace_seconds: int) -> set[int]:
    """The same of all its messages, each time once."""
    if not batch.scheduled:
        return {due(batch, 0, grace_seconds)}
    return {due(batch, position, grace_seconds) for position in range(len(batch))}


def position_of(batch: Batch, index: int) -> int | None:
    """The column position of the recipient at `index` of the request; None where the batch has none such."""
    guess = index - batch.index[0]
    if 0 <= guess < len(batch.index) and batch.index[guess] == index:
        return guess
    guess = bisect_left(batch.index, index)
    return guess if guess < len(batch.index) and batch.index[guess] == index else None


def move(batch: Batch, progress: Progress, change: Change, refunds: Collection[int] = ()) -> bool:
    """Move one message, if that is forward, settle its money, and note the move. False where there is none.

    A message in doubt keeps its reservation: it is paid once it is known to be taken, and given back where its end
    comes without that. `refunds`: ends, told by a receipt, at which what was paid is given back.
    """
    old, new = progress.state[change.position], change.state
    if not change.by_receipt:
        progress.unanswered.discard(change.position)
    if old >= TERMINAL or new <= old:
        return False
    progress.state[change.position] = new
    progress.note(change)
    if new == Detailed.DELIVERED:
        progress.delivered[change.position] = batch.content_of(change.position).count
    if new >= Detailed.SUBMITTED and not batch.dry_run:
        taken = _was_taken(new, change.by_receipt)
        if old < Detailed.SUBMITTED:
            _settle(batch, progress, change.position, _CAPTURED if taken else _RELEASED)
        if taken and new in refunds and change.by_receipt:
            _settle(batch, progress, change.position, _REFUNDED)
    return True


_CAPTURED, _RELEASED, _REFUNDED = range(3)


def _settle(batch: Batch, progress: Progress, position: int, how: int) -> None:
    """Add a message to one of the totals: its money, or its parts where a bundle pays."""
    count = batch.content_of(position).count
    if batch.funding and (bundle := batch.funding[position]):
        progress.parts.setdefault(batch.bundles[bundle - 1], [0, 0, 0])[how] += count
    elif how == _CAPTURED:
        progress.captured += batch.price_of(position) * count
    elif how == _RELEASED:
        progress.released += batch.price_of(position) * count
    else:
        progress.refunded += batch.price_of(position) * count


def _was_taken(state: int, by_receipt: bool) -> bool:
    """Whether a message that leaves our hands in `state` was taken by the carrier, and so is paid for.

    Whatever a receipt speaks of was taken; so it makes no difference whether the receipt or the answer comes first.
    """
    return by_receipt or state < TERMINAL or state == Detailed.DELIVERED


def receipt_change(position: int, status: str, code: str | None, at: int) -> Change | None:
    """What a receipt says of a message (SMPP 3.4 appendix B words); None where it says nothing."""
    state = RECEIPT_STATES.get(status.upper())
    if state is None:
        return None
    error = None
    if state >= TERMINAL and state != Detailed.DELIVERED:
        kind = errors.EXPIRED if state == Detailed.EXPIRED else errors.UNDELIVERABLE
        if state == Detailed.REJECTED:
            kind = errors.CARRIER_REJECTED
        error = Error(kind, f"{BY_RECEIPT} {status}" + (f", error {code}" if code else ""))
    return Change(position, state, at, by_receipt=True, error=error)


def no_receipt(position: int, at: int) -> Change:
    """Validity and grace are over and no receipt came."""
    return Change(
        position, Detailed.NO_RECEIPT, at, error=Error(errors.NO_RECEIPT, "no receipt came within the validity")
    )


_sequences = {state: sequence_of(state) for state in Detailed}
_json = msgspec.json.Encoder().encode
#: A batch has few distinct prices and moments, and a record for each of its messages tells them.
_money = lru_cache(maxsize=4096)(format_price)


class Teller:
    """Makes the status records of one batch: what its messages share is worked out once."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._custom = msgspec.Raw(batch.custom)

    def tell(
        self,
        position: int,
        state: int,
        at: int,
        *,
        sequence: int | None = None,
        error: Error | None = None,
        delivered: int = 0,
        carrier: str | None = None,
        reference: str | None = None,
    ) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Key, value and headers of the status record (CloudEvents 1.0, Kafka binding, binary mode)."""
        batch = self._batch
        detailed = Detailed(state)
        sequence = sequence or _sequences[detailed]
        content = batch.content_of(position) if batch.contents else None
        destination = batch.destinations[batch.where[position]]
        count = content.count if content else 0
        price = batch.price_of(position)
        identity = ids.message_id(batch.id, batch.index[position])
        when = rfc3339(at)
        record = StatusRecord(
            id=identity,
            request_id=batch.request_id,
            index=batch.index[position],
            account=batch.account,
            sender=batch.sender,
            recipient=batch.numbers[position],
            international_prefix=destination.prefix or None,
            country_code=destination.country or None,
            state=STATE[detailed],
            detailed_state=detailed.name,
            final=state >= TERMINAL or (batch.dry_run and state == Detailed.ACCEPTED),
            sequence=sequence,
            error=StatusError(error.code, error.message, error.permanent) if error else None,
            encoding=(content.encoding or None) if content else None,
            characters_count=content.characters if content else 0,
            message_count=count,
            parts_delivered=delivered,
            price=_money(price),
            total_price=_money(price * count),
            currency=batch.currency,
            carrier=carrier,
            carrier_reference=reference or None,
            dry_run=batch.dry_run,
            custom=self._custom,
            at=when,
            send_at=rfc3339(later) if (later := batch.send_time(position)) else msgspec.UNSET,
        )
        key = identity.encode()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_type", CLOUDEVENT_TYPE),
            ("ce_source", CLOUDEVENT_SOURCE),
            ("ce_id", key + b":" + str(sequence).encode()),
            ("ce_time", when.encode()),
            ("content-type", b"application/json"),
        ]
        return key, _json(record), headers

    def text(self, position: int) -> str:
        """The message's text as it is sent (or as asked, where it never got that far); secrets masked."""
        if self._batch.otp:
            return Template.parse(self._batch.message).masked()
        made = self._batch.content_of(position).text if self._batch.contents else ""
        return made or self._batch.message


@lru_cache(maxsize=4096)
def rfc3339(milliseconds: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC, with milliseconds."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
    )
