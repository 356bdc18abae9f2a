"""What carriers took, by the status topic, against what was captured: batch by batch."""

from functools import lru_cache

import msgspec

from pipeline.billing.audit import Difference, Held, Wrong
from pipeline.billing.money import format_amount, parse_amount

#: Told of a message that a carrier has: it is paid from then on.
_TAKEN = frozenset({"SUBMITTED", "BUFFERED", "ENROUTE", "DELIVERED"})
#: What is told first of a message whose money is reserved.
_ACCEPTED = frozenset({"ACCEPTED", "SCHEDULED"})
#: Hex digits of a message id that name its batch (pipeline/ids.py).
_BATCH_DIGITS = 18


class Told(msgspec.Struct, rename="camel", gc=False):
    """What of a status record the money depends on."""

    id: str
    index: int
    account: str
    detailed_state: str
    final: bool
    sequence: int
    total_price: str
    message_count: int
    dry_run: bool
    error: "ToldError | None" = None


class ToldError(msgspec.Struct, gc=False):
    message: str


class Heard(msgspec.Struct, gc=False):
    """What was told of a batch's messages. `accepted`, `taken`, `ended`: a bit a message, by its place in the request;
    `due`: micro-units of those taken, `lost`: of those that ended and were not delivered; `free`: parts of those
    taken that cost nothing, or that a bundle paid."""

    account: str
    accepted: int = 0
    taken: int = 0
    ended: int = 0
    due: int = 0
    lost: int = 0
    free: int = 0


class Carried:
    """Takes status records, in any order and with repeats. `receipt`: how the error of an end begins that a carrier's
    receipt told; whatever a receipt speaks of was taken, though its SUBMITTED may never have been told."""

    def __init__(self, receipt: str) -> None:
        self.records = 0
        self.batches: dict[bytes, Heard] = {}
        self._receipt = receipt

    def take(self, told: Told) -> None:
        """The next record. Raises ValueError where its id is none."""
        self.records += 1
        if told.dry_run or (told.final and told.sequence == 1):
            return  # nobody pays for a dry run, nor for what was refused before it was accepted
        batch = bytes.fromhex(told.id[:_BATCH_DIGITS])
        heard = self.batches.get(batch)
        if heard is None:
            heard = self.batches[batch] = Heard(told.account)
        bit = 1 << told.index
        if told.detailed_state in _ACCEPTED:
            heard.accepted |= bit
        receipt = told.error is not None and told.error.message.startswith(self._receipt)
        if (receipt or told.detailed_state in _TAKEN) and not heard.taken & bit:
            heard.taken |= bit
            price = _micros(told.total_price)
            heard.due += price
            heard.free += 0 if price else told.message_count
        if told.final and not heard.ended & bit:
            heard.ended |= bit
            if told.detailed_state != "DELIVERED":
                heard.lost += _micros(told.total_price)


def complete(held: Held, heard: Heard | None) -> bool:
    """Whether every message of the batch still has its records, so that it can be compared."""
    return heard is not None and heard.accepted.bit_count() >= held.messages


def difference(batch: bytes, held: Held | None, heard: Heard) -> Difference | None:
    """What does not hold of a batch that can be compared; None where all does. `held`: None where the ledger has never
    heard of it."""
    if held is None:
        what = f"carriers took {format_amount(heard.due)}, and nothing was ever reserved" if heard.due else None
    elif held.account != heard.account:
        what = f"its messages are {heard.account}'s"
    else:
        what = _money(held, heard) or _parts(held, heard)
    account = held.account if held else heard.account
    return None if what is None else Difference(Wrong.CARRIERS, what, account, batch=batch.hex())


def _money(held: Held, heard: Heard) -> str | None:
    if held.captured != heard.due:
        return f"captured is {format_amount(held.captured)}, carriers took {format_amount(heard.due)}"
    if held.refunded > heard.lost:
        return f"given back is {format_amount(held.refunded)}, not delivered was {format_amount(heard.lost)}"
    if held.open and heard.ended == heard.accepted:
        return f"{format_amount(held.open)} is still reserved, and every message has ended"
    return None


def _parts(held: Held, heard: Heard) -> str | None:
    """Messages that are paid for by nobody, and parts of bundles. What a bundle pays costs nothing in its records; so
    does what is free, for which there is no entry."""
    bundles = list((held.parts or {}).values())
    if not bundles and heard.accepted.bit_count() != held.messages:
        return f"{heard.accepted.bit_count()} messages were accepted, {held.messages} are reserved for"
    captured = sum(one.captured for one in bundles)
    all_prepaid = bool(bundles) and not held.reserved and heard.accepted.bit_count() == held.messages
    if captured > heard.free or (all_prepaid and captured < heard.free):
        return f"of bundles {captured} parts are captured, carriers took {heard.free}"
    if heard.ended == heard.accepted and (left := sum(one.open for one in bundles)):
        return f"of bundles {left} parts are still reserved, and every message has ended"
    return None


@lru_cache(maxsize=4096)
def _micros(price: str) -> int:
    found = parse_amount(price)
    if not isinstance(found, int):
        raise ValueError(f"{price!r} is no price")
    return found
