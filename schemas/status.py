"""The status record: one message, one transition, on `sms.status` (plain JSON, key = message id).

Written through `StatusRecord` (msgspec, the hot path) and read back with the same type: unknown fields are ignored.
`sequence` grows by transition, so a reader drops repeats and late records by it.
"""

from typing import Any

import msgspec


class StatusError(msgspec.Struct, frozen=True):
    """The error as it stands on the wire."""

    code: int
    message: str
    permanent: bool


class StatusRecord(msgspec.Struct, rename="camel", kw_only=True):
    """Money: decimal strings; times: RFC 3339 UTC with milliseconds; `index`: the recipient's place in the request."""

    id: str
    request_id: str | None
    index: int
    account: str
    sender: str | None
    recipient: str
    international_prefix: str | None
    country_code: str | None
    state: str
    detailed_state: str
    final: bool
    sequence: int
    error: StatusError | None
    encoding: str | None
    characters_count: int
    message_count: int
    parts_delivered: int
    price: str
    total_price: str
    currency: str
    carrier: str | None
    carrier_reference: str | None
    dry_run: bool
    custom: Any
    at: str


#: CloudEvents 1.0, binary mode (the Kafka protocol binding): attribute headers beside the untouched value.
CLOUDEVENT_TYPE = b"sms.message.status"
CLOUDEVENT_SOURCE = b"sms-pipeline"

#: Header of a message's first status record: its text as sent, in UTF-8, for the read model. No CloudEvents attribute.
TEXT_HEADER = "sms_text"
#: Beside it, where it is known: the operator that the recipient's number range was given to.
OPERATOR_HEADER = "sms_operator"
#: Header of a message's first status record: its request's options that are not the default, as JSON.
OPTIONS_HEADER = "sms_options"
#: Header of every status record of a request with a callback: the callback as the request has it, as JSON.
CALLBACK_HEADER = "sms_callback"
