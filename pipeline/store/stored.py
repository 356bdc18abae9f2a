"""A message as the read model has it."""

import msgspec
import sqlalchemy as sql

from pipeline.store.tables import BATCH_DIGITS, messages, requests


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as of its latest status record. `error` and `custom` are JSON, money decimal strings; `sent_at` is
    when a carrier took it; `message` its text as sent; `send_at` when it was to be sent, None at once. `options` (those
    that are not the default) and `callback` are its request's, as JSON; None where it had none.
    """

    account: str
    id: str
    request_id: str | None
    index: int
    sender: str | None
    recipient: str
    international_prefix: str | None
    country_code: str | None
    state: str
    detailed_state: str
    sequence: int
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
    message: str | None
    error: str | None
    custom: str
    updated_at: str
    sent_at: str | None
    delivered_at: str | None
    send_at: str | None = None
    options: str | None = None
    callback: str | None = None


_SAID = ("options", "callback")
_own = [messages.c[field] for field in StoredMessage.__struct_fields__ if field not in _SAID]
_its_request = sql.and_(
    requests.c.account == messages.c.account, requests.c.batch == sql.func.substr(messages.c.id, 1, BATCH_DIGITS)
)
#: Selects what `StoredMessage(*row)` takes.
select_stored = sql.select(*_own, *(requests.c[field] for field in _SAID)).select_from(
    messages.outerjoin(requests, _its_request)
)
