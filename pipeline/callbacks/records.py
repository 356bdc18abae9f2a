"""What is kept of callbacks: events in queues, what came of a call, the log of deliveries. Arrays on the wire: a field
is only ever added at the end, with a default.
"""

from enum import IntEnum

import msgspec

from pipeline.records import Notice


class Event(msgspec.Struct, array_like=True, frozen=True):
    """Something to tell. `id`: the same however often it is told (header `webhook-id`); `at`: RFC 3339; `message`: the
    message's id, "" where it is about the account; `data`: JSON, the message or the account's news."""

    id: str
    type: str
    at: str
    message: str
    data: bytes


class Entry(msgspec.Struct, array_like=True):
    """An event on its way to one target: an endpoint's id, or "" for the callback of the request of `batch`.

    `since`: Unix ms when it was queued; `attempt`: calls that failed so far. `subject`: what it is in order with.
    """

    event: Event
    account: str
    target: str
    batch: bytes
    subject: bytes
    since: int
    attempt: int = 0


class Waiting(msgspec.Struct, array_like=True):
    """An entry behind an earlier one of its subject, and its place in the order of arrival."""

    place: bytes
    entry: Entry


class Subject(msgspec.Struct, array_like=True):
    """What one target has yet to be told of one message: `head` (an event's id) is in the queue, the others wait."""

    head: str
    waiting: list[Waiting] = []


class Known(msgspec.Struct, array_like=True):
    """A batch as far as it was told of: the request's callback (JSON), how far each message is told (0 not at all, 1
    that it is pending, 2 its end), when it was sent (RFC 3339); both by its index."""

    callback: bytes | None
    told: dict[int, int] = {}
    sent: dict[int, str] = {}


class Outcome(IntEnum):
    """What becomes of an entry after a call. Numbers are stored: never renumber."""

    DELIVERED = 1
    RETRYING = 2
    GIVEN_UP = 3


class Result(msgspec.Struct, array_like=True):
    """What came of one call (or of none, where `milliseconds` is negative) for the entries under `keys`.

    `at`: Unix ms of its begin; `due`: Unix ms of the next call, where there is one. `id`: its `webhook-id`; `url`: what
    was called, without its query.
    """

    keys: list[bytes]
    outcome: Outcome
    at: int
    due: int
    milliseconds: int
    status: int | None
    error: str
    id: str
    url: str


class Delivery(msgspec.Struct, array_like=True):
    """The log's record of one call, by account. `attempt` counts from 1. Where it was the last one `events` have their
    data, and `callback` (JSON) is the request's: enough to tell it again."""

    id: str
    account: str
    endpoint: str
    url: str
    outcome: Outcome
    attempt: int
    at: int
    milliseconds: int
    status: int | None
    error: str
    due: int
    events: list[Event]
    callback: bytes | None = None
    batches: list[bytes] = []


class Again(msgspec.Struct, array_like=True, tag="again"):
    """An event that was told or given up, to be told again. `callback`: JSON of the request's, where it goes there."""

    event: Event
    account: str
    target: str
    batch: bytes
    callback: bytes | None = None


#: One decoder a kind of record, made once.
decode_news = msgspec.msgpack.Decoder(list[Notice | Again]).decode
decode_results = msgspec.msgpack.Decoder(list[Result]).decode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
decode_entry = msgspec.msgpack.Decoder(Entry).decode
