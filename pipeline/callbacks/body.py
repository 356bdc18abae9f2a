"""A message as `GET /messages/{id}` shows it, made of a status record."""

from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pipeline.callbacks.posts import Callback
from pipeline.stages.fate import rfc3339
from schemas import intake
from schemas.states import Detailed
from schemas.status import StatusError, StatusRecord


class Status(StatusRecord):
    """The status record with its free JSON left unread."""

    custom: msgspec.Raw


read_status = msgspec.json.Decoder(Status).decode
#: Money is kept exactly and written as a JSON number, as the contract has it.
_encode = msgspec.json.Encoder(decimal_format="number").encode
_options = msgspec.json.Decoder(dict[str, Any]).decode
_DEFAULTS = intake.Options().model_dump(mode="json", by_alias=True, exclude_none=True)


class ShownCallback(msgspec.Struct):
    """The request's callback as it is shown: without headers, which often are credentials."""

    method: str
    field: str
    url: str
    retry: int
    custom: dict[str, Any]


class CallbackMessage(msgspec.Struct, rename="camel", kw_only=True):
    """The contract's MessageResponse and what this platform adds."""

    id: str
    request_id: str | None
    username: str
    state: str
    detailed_state: str
    sender: str | None
    recipient: str
    index: int
    international_prefix: str | None
    country_code: str | None
    message: str
    encoding: str | None
    characters_count: int
    message_count: int
    parts_delivered: int
    price: Decimal
    total_price: Decimal
    currency: str
    blocklisted: bool
    blocklisted_reason: str | UnsetType
    error: StatusError | None
    carrier: str | None
    carrier_reference: str | None
    options: dict[str, Any]
    callback: ShownCallback | UnsetType
    custom: Any
    created_at: str
    updated_at: str
    sent_at: str | None
    delivered_at: str | None
    send_at: str | UnsetType
    is_otp: bool


@lru_cache(maxsize=256)
def options_of(told: bytes) -> dict[str, Any]:
    """A request's options as they are shown. `told`: those that are not the default, as JSON."""
    return _DEFAULTS | _options(told)


def message(
    status: Status, text: str, sent_at: str | None, options: dict[str, Any], callback: Callback | None
) -> bytes:
    """The message as JSON. For the request's `callback` it names it, and holds its `custom` where it has one."""
    blocked = status.detailed_state == Detailed.BLOCKED.name
    shown: ShownCallback | UnsetType = UNSET
    custom: Any = status.custom
    if callback:
        shown = ShownCallback(callback.method, callback.field, callback.url, callback.retry, callback.custom)
        custom = callback.custom or status.custom
    return _encode(
        CallbackMessage(
            id=status.id,
            request_id=status.request_id,
            username=status.account,
            state=status.state,
            detailed_state=status.detailed_state,
            sender=status.sender,
            recipient=status.recipient,
            index=status.index,
            international_prefix=status.international_prefix,
            country_code=status.country_code,
            message=text,
            encoding=status.encoding,
            characters_count=status.characters_count,
            message_count=status.message_count,
            parts_delivered=status.parts_delivered,
            price=Decimal(status.price),
            total_price=Decimal(status.total_price),
            currency=status.currency,
            blocklisted=blocked,
            blocklisted_reason=status.error.message if blocked and status.error else UNSET,
            error=status.error,
            carrier=status.carrier,
            carrier_reference=status.carrier_reference,
            options=options,
            callback=shown,
            custom=custom,
            created_at=rfc3339(int(status.id[:8], 16) * 1000),
            updated_at=status.at,
            sent_at=sent_at,
            delivered_at=status.at if status.detailed_state == Detailed.DELIVERED.name else None,
            send_at=status.send_at,
            is_otp=bool(options.get("otp")),
        )
    )
