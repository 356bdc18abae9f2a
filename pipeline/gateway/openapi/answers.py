"""The shapes of answers that handlers write as plain dictionaries. Nothing is encoded by these: they are what the
document tells of them, and the tests hold real answers against it, field by field.

A field is always there, unless it may be UNSET. What fields mean, and how their values are written, stands in
`glossary`, by their names.
"""

import msgspec
from msgspec import UNSET, UnsetType

from schemas.batch import BadLine


class Balance(msgspec.Struct, rename="camel"):
    balance: str
    reserved: str
    available: str
    currency: str


class Movement(msgspec.Struct, rename="camel"):
    sequence: int
    at: str
    kind: str
    amount: str
    balance: str
    reserved: str
    available: str
    currency: str
    batch: str | None
    request_id: str | None
    messages: int
    parts: int
    reference: str | None
    reason: str | None
    price_list: str | None
    bundle: str | None
    bundle_left: int | None


class Spend(msgspec.Struct, rename="camel", kw_only=True):
    day: str | UnsetType = UNSET
    country: str | UnsetType | None = UNSET
    operator: str | UnsetType | None = UNSET
    carrier: str | UnsetType | None = UNSET
    messages: int
    parts: int
    amount: str
    currency: str


class Price(msgspec.Struct, rename="camel"):
    country: str
    operator: str
    prefix: str
    price: str
    currency: str


class OptOut(msgspec.Struct, rename="camel"):
    recipient: str


class OptOutCounts(msgspec.Struct, rename="camel"):
    added: int
    known: int


class Verification(msgspec.Struct, rename="camel"):
    verified: bool
    attempts_left: int


class Cancellation(msgspec.Struct, rename="camel"):
    id: str
    state: str | None
    detailed_state: str | None


class RequestCancellation(msgspec.Struct, rename="camel"):
    request_id: str
    states: dict[str, int]


class DeliveryTime(msgspec.Struct, rename="camel"):
    deliveries: int
    p50: float | None
    p90: float | None
    p99: float | None


class Count(msgspec.Struct, rename="camel", kw_only=True):
    day: str | UnsetType = UNSET
    country: str | UnsetType | None = UNSET
    operator: str | UnsetType | None = UNSET
    carrier: str | UnsetType | None = UNSET
    state: str | UnsetType = UNSET
    detailed_state: str | UnsetType = UNSET
    messages: int
    parts: int
    states: dict[str, int] | UnsetType = UNSET
    delivery_time: DeliveryTime


class DraftSummary(msgspec.Struct, rename="camel"):
    id: str
    request_id: str
    created_at: str
    updated_at: str
    sent_at: str | None
    sender: str | None
    message: str
    recipients: int


class BatchSummary(msgspec.Struct, rename="camel"):
    """An upload as it was taken."""

    id: str
    request_id: str
    name: str | None
    created_at: str
    sender: str
    message: str
    dry_run: bool
    recipients: int
    repeats: int
    bad_line_count: int


class Upload(BatchSummary):
    bad_lines: list[BadLine]


class Progress(msgspec.Struct, rename="camel"):
    known: int
    final: int
    share: float


class Cost(msgspec.Struct, rename="camel"):
    spent: str
    reserved: str
    currency: str


class Batch(BatchSummary):
    progress: Progress
    states: dict[str, int]
    detailed_states: dict[str, int]
    cost: Cost


class SecretDates(msgspec.Struct, rename="camel"):
    created_at: str
    expires_at: str | None


class Endpoint(msgspec.Struct, rename="camel"):
    id: str
    url: str
    events: list[str]
    description: str
    batch: int
    batch_milliseconds: int
    enabled: bool
    secrets: list[SecretDates]
    created_at: str
    updated_at: str


class EndpointWithSecret(Endpoint):
    secret: str


class TestCall(msgspec.Struct, rename="camel"):
    id: str


class DeliveredEvent(msgspec.Struct, rename="camel"):
    id: str
    type: str
    message: str | None


class Delivery(msgspec.Struct, rename="camel"):
    id: str
    at: str
    endpoint: str | None
    url: str | None
    state: str
    attempt: int
    status: int | None
    error: str | None
    milliseconds: int | None
    next_attempt_at: str | None
    events: list[DeliveredEvent]


class Replay(msgspec.Struct, rename="camel"):
    events: int
    next_cursor: str | None


class Token(msgspec.Struct, rename="camel"):
    id: str
    name: str
    scopes: list[str]
    created_at: str | None
    expires_at: str | None


class NewToken(Token):
    token: str


class Health(msgspec.Struct, rename="camel"):
    status: str
    missing: list[str]


class AccountNews(msgspec.Struct, rename="camel", kw_only=True):
    """What an account's owner should know; which fields there are depends on `kind`."""

    account: str
    kind: str
    at: str
    limit: str | UnsetType = UNSET
    used: str | int | UnsetType = UNSET
    bound: str | int | UnsetType = UNSET
    code: int | UnsetType = UNSET
    message: str | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    available: str | UnsetType = UNSET
    mark: str | UnsetType = UNSET
    range: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    share: float | UnsetType = UNSET
    batch: str | UnsetType = UNSET
