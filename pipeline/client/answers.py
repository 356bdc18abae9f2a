"""What the gateway answers, typed. Members this version does not know are ignored; money is exactly as written."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

#: States that nothing follows.
FINAL = frozenset({"DELIVERED", "EXPIRED", "UNDELIVERABLE", "REJECTED"})


class Fault(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Why a message was not delivered. `permanent` is False where the same may succeed later."""

    code: int
    message: str
    permanent: bool = True


class Message(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A message; or, with `recipients` set, a request to several, under the id of its first message.

    What is not known yet is None, a price 0. `state` is one of NEW, PENDING, DELIVERED, EXPIRED, UNDELIVERABLE and
    REJECTED, `detailed_state` the exact one behind it.
    """

    id: str
    state: str
    detailed_state: str | None = None
    request_id: str | None = None
    username: str | None = None
    sender: str | None = None
    recipient: str | None = None
    recipients: int | None = None
    index: int | None = None
    international_prefix: str | None = None
    country_code: str | None = None
    message: str | None = None
    encoding: str | None = None
    characters_count: int | None = None
    message_count: int | None = None
    parts_delivered: int | None = None
    price: Decimal = Decimal(0)
    total_price: Decimal = Decimal(0)
    currency: str | None = None
    blocklisted: bool = False
    blocklisted_reason: str | None = None
    error: Fault | None = None
    carrier: str | None = None
    carrier_reference: str | None = None
    options: dict[str, Any] = {}
    custom: dict[str, Any] | None = {}
    created_at: datetime | None = None
    updated_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    is_otp: bool = False

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self.state in FINAL

    @property
    def delivered(self) -> bool:
        return self.state == "DELIVERED"


class Balance(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An account's money. `available` is `balance` less `reserved`."""

    balance: Decimal
    reserved: Decimal
    available: Decimal
    currency: str


class Movement(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A movement of an account's money; `balance`, `reserved` and `available` are those after it."""

    sequence: int
    at: datetime
    kind: str
    amount: Decimal
    balance: Decimal
    reserved: Decimal
    available: Decimal
    currency: str
    batch: str | None = None
    request_id: str | None = None
    messages: int = 0
    parts: int = 0
    reference: str | None = None
    reason: str | None = None
    price_list: str | None = None
    bundle: str | None = None
    bundle_left: int | None = None


class Spend(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What messages cost of one day, country or carrier: whichever was asked for is set."""

    day: str | None = None
    country: str | None = None
    carrier: str | None = None
    messages: int
    parts: int
    amount: Decimal
    currency: str


class Price(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What a part costs; an empty `operator` and `prefix` stand for the whole country."""

    country: str
    operator: str = ""
    prefix: str = ""
    price: Decimal
    currency: str


class OptOut(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A number that is not written to any more."""

    recipient: str


class OptedOut(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many of the given numbers are new, and how many had opted out before."""

    added: int
    known: int
