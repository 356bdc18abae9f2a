"""What travels between the stages: batches in columns, and what became of them.

Every internal record is a msgpack list of these (several share a record under load). They are arrays on the wire:
a field is only ever added at the end, with a default, so that a stage reads its predecessor's version too.
"""

from typing import Any

import msgspec

from pipeline.billing import Bundle
from schemas.errors import Error


class Destination(msgspec.Struct, array_like=True, frozen=True):
    """What recipients of a batch share: ISO country, calling code, original operator ("" where unknown).

    `quiet_until`: the end of their quiet hours (Unix ms), 0 where it is not in them that they would be sent to.
    """

    country: str
    prefix: str
    operator: str
    quiet_until: int = 0


class Part(msgspec.Struct, array_like=True, frozen=True):
    """One part's user data header ("" for a single part) and its payload octets."""

    udh: bytes
    payload: bytes


class Content(msgspec.Struct, array_like=True, frozen=True):
    """One distinct text and what it costs: `count` parts, `characters` in the encoding's units.

    `locking`, `single`: the national language whose shift tables it needs (3GPP 23.038), 0 for none. `parts` (octets)
    are what earlier versions wrote: a carrier that is sent octets makes them of the text, by its own settings.
    """

    text: str
    encoding: str
    characters: int
    count: int
    parts: list[Part] = []
    locking: int = 0
    single: int = 0


class Batch(msgspec.Struct, array_like=True):
    """Up to a few hundred recipients of one request, in columns of equal length (`index` … `fields`, `content`).

    `index`: each recipient's place in the request. `where`: its destination. `content`: its text (None: all the
    first). `prices`: micro-units a part, by destination. `custom` and `callback` are JSON, passed on unread.
    `received_at`: the intake record's timestamp, in ms. `tried`: carriers that refused what may succeed elsewhere.
    `error` (all) and `errors` (by position) are what validate found wrong, later what moderate found: the next stage
    with a table (encode, price) reports them, once it knows that the batch is no repeat. `funding`: by recipient, 0 for
    the wallet or n for the n-th of `bundles` (b"": all from the wallet). `otp`: what the template's fields hold is
    secret, so the text is told with them masked. `send_at`: when it is to be sent, in ms; 0 at once. Validity counts
    from then.
    """

    id: bytes
    request: bytes
    slice: int
    fingerprint: bytes
    account: str
    request_id: str | None
    sender: str
    message: str
    dry_run: bool
    fail_on_multiple: bool
    transliterate: bool
    validity_seconds: int
    received_at: int
    custom: bytes
    callback: bytes | None
    index: list[int]
    numbers: list[str]
    where: list[int]
    destinations: list[Destination]
    fields: list[dict[str, str]] | None = None
    contents: list[Content] = []
    content: list[int] | None = None
    prices: list[int] = []
    currency: str = ""
    tried: list[str] = []
    attempt: int = 0
    error: Error | None = None
    errors: dict[int, Error] = {}
    tariff: str = "WW"
    bundles: list[str] = []
    funding: bytes = b""
    otp: bool = False
    send_at: int = 0

    def __len__(self) -> int:
        return len(self.index)

    def content_of(self, position: int) -> Content:
        """The text of the recipient at `position`."""
        return self.contents[self.content[position] if self.content else 0]

    def price_of(self, position: int) -> int:
        """Micro-units a part for the recipient at `position`; 0 where a bundle pays, or none is known yet."""
        if self.funding and self.funding[position]:
            return 0
        return self.prices[self.where[position]] if self.prices else 0

    @property
    def scheduled(self) -> bool:
        """Whether any of its recipients may have to wait: then track, and nobody else, lets it go on."""
        return bool(self.send_at) or any(destination.quiet_until for destination in self.destinations)

    def send_time(self, position: int) -> int:
        """When the recipient at `position` is to be sent to (Unix ms); 0 at once."""
        return self.destinations[self.where[position]].quiet_until or self.send_at

    @property
    def begins_at(self) -> int:
        """From when on its messages are valid, in Unix ms. Of one that is scheduled, once it is let go."""
        return self.send_at or self.received_at

    def select(self, positions: list[int]) -> "Batch":
        """The same batch with only these recipients; itself where these are all."""
        if len(positions) == len(self.index):
            return self
        return msgspec.structs.replace(
            self,
            index=[self.index[p] for p in positions],
            numbers=[self.numbers[p] for p in positions],
            where=[self.where[p] for p in positions],
            fields=[self.fields[p] for p in positions] if self.fields else None,
            content=[self.content[p] for p in positions] if self.content else None,
            funding=bytes([self.funding[p] for p in positions]) if self.funding else b"",
        )


class Accepted(msgspec.Struct, array_like=True, tag="accepted"):
    """Every check is passed and the money reserved; the batch is on its way to a carrier (or was a dry run)."""

    batch: Batch


class Rejected(msgspec.Struct, array_like=True, tag="rejected"):
    """These recipients end here, before a carrier saw them. `errors[which[i]]` is the error of the i-th recipient.

    `state`: a schemas.states.Detailed.
    """

    stage: str
    batch: Batch
    which: list[int]
    errors: list[Error]
    state: int


class Submitted(msgspec.Struct, array_like=True, tag="submitted"):
    """What a carrier answered. Columns by recipient: `index` in the request, state, carrier's id, error or None."""

    batch: bytes
    account: str
    carrier: str
    at: int
    index: list[int]
    states: bytes
    references: list[str]
    errors: dict[int, Error] = {}


Outcome = Accepted | Rejected | Submitted


class Reference(msgspec.Struct, array_like=True, tag="reference"):
    """A carrier's ids and the messages (12 bytes) they name, to resolve receipts that carry only the carrier's id."""

    carrier: str
    ids: list[str]
    messages: list[bytes]


class Settlement(msgspec.Struct, array_like=True):
    """Money of one batch so far, in micro-units: earned, not needed, and given back of what was earned. `parts`: the
    same three of the parts of each bundle. Totals, not steps: a repeat changes nothing."""

    batch: bytes
    account: str
    captured: int
    released: int
    refunded: int = 0
    parts: dict[str, list[int]] = {}


class Credit(msgspec.Struct, array_like=True):
    """A top-up in micro-units, an operator's adjustment, which may be negative, or a bundle that is bought for so much.
    The same `reference` counts once."""

    account: str
    amount: int
    reference: str
    kind: str = "top-up"
    reason: str = ""
    bundle: Bundle | None = None


class Tick(msgspec.Struct, array_like=True):
    """Time has come to `at` (Unix seconds): what is due by then is due. `at` stands still while news wait to be read;
    `now` is the clock (0: as `at`), `after` what is released by it already."""

    at: int
    now: int = 0
    after: bytes = b""


class Resolution(msgspec.Struct, array_like=True):
    """An operator's word on messages in doubt (12 bytes each), all of one partition's batches.

    `action`: resend, or fail. `by`: the operator. `at`: Unix ms.
    """

    action: str
    messages: list[bytes]
    by: str
    at: int


class Cancellation(msgspec.Struct, array_like=True):
    """The word that messages are not to be sent: all of a `request` (its hash), or `messages` (12 bytes each, all of
    one partition's batches), as far as they are the account's ("": whosever). `by`: who says so. `at`: Unix ms."""

    account: str
    request: bytes
    messages: list[bytes]
    by: str
    at: int


class Notice(msgspec.Struct, array_like=True, tag="notice"):
    """Moves of some messages of a batch that somebody wants to be told of, in columns.

    `callback`: JSON of the request's callback; `options`: JSON of its options that are not the default. `statuses`: the
    status records as they stand on the public topic; `text`: which of `texts` is each message's.
    """

    batch: bytes
    account: str
    callback: bytes | None
    options: bytes
    texts: list[str]
    text: list[int]
    statuses: list[bytes]


_encoder = msgspec.msgpack.Encoder()


def encode(items: list[Any]) -> bytes:
    """The bytes of one record."""
    return _encoder.encode(items)


def encode_one(item: Any) -> bytes:
    """The bytes of a record that holds a single item and no list."""
    return _encoder.encode(item)


def join(items: list[bytes]) -> bytes:
    """The bytes of one record, of items already encoded: a msgpack array's header and its elements."""
    count = len(items)
    header = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return header + b"".join(items)


#: One decoder a kind of record, made once.
decode_batches = msgspec.msgpack.Decoder(list[Batch]).decode
decode_outcomes = msgspec.msgpack.Decoder(list[Outcome]).decode
decode_settlements = msgspec.msgpack.Decoder(list[Settlement]).decode
decode_credits = msgspec.msgpack.Decoder(list[Credit]).decode
decode_ticks = msgspec.msgpack.Decoder(list[Tick]).decode
decode_cancellation = msgspec.msgpack.Decoder(Cancellation).decode
decode_resolution = msgspec.msgpack.Decoder(Resolution).decode
