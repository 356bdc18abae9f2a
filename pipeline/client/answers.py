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


class Refused(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A recipient who would not be sent to; `index`: the place in the request."""

    index: int
    recipient: str
    code: int
    message: str
    permanent: bool = True


class Message(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A message; or, with `recipients` set, a request to several, under the id of its first message.

    What is not known yet is None, a price 0. `state` is one of NEW, PENDING, DELIVERED, EXPIRED, UNDELIVERABLE and
    REJECTED, `detailed_state` the exact one behind it. `otp`: the code, in the answer to a request for one. `accepted`
    and `refused`: of a dry run to several.
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
    send_at: datetime | None = None
    is_otp: bool = False
    otp: str | None = None
    otp_options: dict[str, Any] | None = None
    accepted: int | None = None
    refused: list[Refused] = []

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, recipient={self.recipient!r}, state={self.state!r}, error={self.error!r})"

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
    """What messages cost of one day, country, operator or carrier: whichever was asked for is set."""

    day: str | None = None
    country: str | None = None
    operator: str | None = None
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


class EstimatedGroup(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Recipients alike in destination and price. `price`: of a part, nothing where a `bundle` pays."""

    country_code: str
    operator: str = ""
    recipients: int
    parts: int
    price: Decimal
    total_price: Decimal
    bundle: str | None = None


class Estimate(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What a request would cost. `accepted` of its `recipients` would be sent to if the money is `sufficient`;
    `shortage`: why it is not."""

    recipients: int
    accepted: int
    parts: int
    groups: list[EstimatedGroup] = []
    total_price: Decimal
    currency: str
    available: Decimal
    sufficient: bool
    shortage: str | None = None
    refused: list[Refused] = []


class Verification(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Whether a login code was the right one; after so many more attempts nothing verifies."""

    verified: bool
    attempts_left: int


class Cancellation(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What is to be cancelled: a message (`id`) with the state it had, None where it was not known yet; or a request's
    messages by detailed state."""

    id: str | None = None
    state: str | None = None
    detailed_state: str | None = None
    request_id: str | None = None
    states: dict[str, int] = {}


class DeliveryTime(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Seconds from the carrier's taking to the delivery, by percentile, of so many deliveries."""

    deliveries: int
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Count(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Messages that have something in common: what they were counted by is set."""

    day: str | None = None
    country: str | None = None
    operator: str | None = None
    carrier: str | None = None
    state: str | None = None
    detailed_state: str | None = None
    messages: int
    parts: int
    states: dict[str, int] = {}
    delivery_time: DeliveryTime | None = None


class BadLine(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A line of an upload that gave no recipient; the first is 1."""

    line: int
    reason: str


class Progress(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How far a batch is: messages that are `known`, those of them that are `final`, and their `share` of all."""

    known: int
    final: int
    share: float


class Cost(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What a batch cost, and what is reserved for its messages on their way."""

    spent: Decimal
    reserved: Decimal
    currency: str


class Batch(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An upload of recipients, or a request to several. `progress`, `states` and `cost`: of one that is asked after by
    its id; `bad_lines`: the first, in the answer to an upload. `repeats`: numbers left out, they stand earlier."""

    id: str
    request_id: str | None = None
    name: str | None = None
    created_at: datetime | None = None
    sender: str | None = None
    message: str | None = None
    dry_run: bool = False
    recipients: int
    repeats: int = 0
    bad_line_count: int = 0
    bad_lines: list[BadLine] = []
    progress: Progress | None = None
    states: dict[str, int] = {}
    detailed_states: dict[str, int] = {}
    cost: Cost | None = None

    @property
    def final(self) -> bool:
        """Whether every message has come to its end."""
        return self.progress is not None and self.progress.final >= self.recipients


class SecretDates(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Since when and until when a secret signs."""

    created_at: datetime
    expires_at: datetime | None = None


class Endpoint(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Where the account is told of events. `secret`: what its calls are signed with, in the answer that made it."""

    id: str
    url: str
    events: list[str]
    description: str = ""
    batch: int = 1
    batch_milliseconds: int = 0
    enabled: bool = True
    secrets: list[SecretDates] = []
    secret: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, url={self.url!r}, events={self.events!r}, enabled={self.enabled!r})"


class DeliveredEvent(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An event that a call told; `message`: the id of the message that it is about."""

    id: str
    type: str
    message: str | None = None


class Delivery(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """An attempt at a callback. `endpoint`: None of a request's own. `state`: delivered, retrying or given-up."""

    id: str
    at: datetime
    endpoint: str | None = None
    url: str | None = None
    state: str
    attempt: int = 1
    status: int | None = None
    error: str | None = None
    milliseconds: int | None = None
    next_attempt_at: datetime | None = None
    events: list[DeliveredEvent] = []


class Replay(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """How many events are told again; `next_cursor` goes on where these are not all."""

    events: int
    next_cursor: str | None = None
