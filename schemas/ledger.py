"""The ledger entry: one movement of an account's money, on `sms.ledger` (plain JSON, key = account).

Double entry: each movement takes from one side and gives to another, so the sum over all sides is zero at all times.
An account's entries are in one partition, in the order of their `sequence`, which has no gaps; an entry may stand there
more than once (after a crash), always the same, so a reader drops a sequence that it has seen.
"""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What moves money. `available` is balance less reserved."""

    TOP_UP = "top-up"  # comes in
    RESERVE = "reserve"  # is promised to messages on their way
    CAPTURE = "capture"  # is earned: a carrier took the message
    RELEASE = "release"  # is promised no more
    REFUND = "refund"  # was earned and is given back
    PENALTY = "penalty"  # for prohibited content
    ADJUSTMENT = "adjustment"  # an operator's correction, to the account's good
    CORRECTION = "correction"  # the same, against it
    BUNDLE = "bundle"  # prepaid parts are bought


#: From which side to which; {} is the account.
SIDES = {
    Kind.TOP_UP: ("bank", "{}/available"),
    Kind.RESERVE: ("{}/available", "{}/reserved"),
    Kind.CAPTURE: ("{}/reserved", "revenue"),
    Kind.RELEASE: ("{}/reserved", "{}/available"),
    Kind.REFUND: ("revenue", "{}/available"),
    Kind.PENALTY: ("{}/available", "penalties"),
    Kind.ADJUSTMENT: ("adjustments", "{}/available"),
    Kind.CORRECTION: ("{}/available", "adjustments"),
    Kind.BUNDLE: ("{}/available", "revenue"),
}


class LedgerEntry(msgspec.Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """One movement. Amounts are decimal strings; `balance` and `reserved` are the account's after it.

    `source`, `target`: the sides, named `from` and `to` on the wire. `batch`, `messages`, `parts`: what it is for;
    `reference`: a top-up's; `price_list`: the version of the list that set the prices. Where a bundle pays, the amount
    is nothing, `parts` are those of the movement, and `bundle_left` those that the bundle has left after it. `at`: RFC
    3339.
    """

    account: str
    sequence: int
    kind: Kind
    amount: str
    currency: str
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    balance: str
    reserved: str
    at: str
    batch: str | None = None
    request_id: str | None = None
    messages: int = 0
    parts: int = 0
    reason: str | None = None
    reference: str | None = None
    price_list: str | None = None
    bundle: str | None = None
    bundle_left: int | None = None
