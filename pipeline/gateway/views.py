"""The contract's MessageResponse: from a request just taken, or from a row of the read model."""

from decimal import Decimal
from typing import Any

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType

from pipeline.billing import format_price
from pipeline.gateway.messages.preview import Preview
from pipeline.stages.fate import rfc3339
from pipeline.store.stored import StoredMessage
from schemas import intake
from schemas.states import STATE, Detailed

#: Money is kept exactly and written as a JSON number, as the contract has it.
_encoder = msgspec.json.Encoder(decimal_format="number")
_MASK = "***"
_NEW = STATE[Detailed.ACCEPTED]
_CALLBACK = intake.Callback(url="https://example.com/").model_dump(mode="json", by_alias=True)  # its defaults
_DEFAULTS = intake.Options().model_dump(mode="json", by_alias=True, exclude_none=True)


class Refused(msgspec.Struct, rename="camel"):
    """A recipient who would not be sent to; `index`: the place in the request."""

    index: int
    recipient: str
    code: int
    message: str
    permanent: bool


class MessageResponse(msgspec.Struct, rename="camel", kw_only=True):
    """A message, or (`recipients` set) a request to several. What is not known yet is left out."""

    id: str
    request_id: str | None
    username: str
    state: str
    detailed_state: str
    sender: str | None
    recipient: str | UnsetType = UNSET
    recipients: int | UnsetType = UNSET
    index: int | UnsetType = UNSET
    international_prefix: str | UnsetType = UNSET
    country_code: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    encoding: str | UnsetType = UNSET
    characters_count: int | UnsetType = UNSET
    message_count: int | UnsetType = UNSET
    parts_delivered: int | UnsetType = UNSET
    price: Decimal = Decimal(0)
    total_price: Decimal = Decimal(0)
    currency: str
    blocklisted: bool = False
    blocklisted_reason: str | UnsetType = UNSET
    error: Raw | None = None
    carrier: str | None = None
    carrier_reference: str | None = None
    options: dict[str, Any]
    callback: dict[str, Any] | Raw | UnsetType = UNSET
    custom: Any
    created_at: str
    updated_at: str
    sent_at: str | None = None
    delivered_at: str | None = None
    send_at: str | UnsetType = UNSET
    is_otp: bool = False
    otp: str | UnsetType = UNSET
    otp_options: dict[str, Any] | UnsetType = UNSET
    accepted: int | UnsetType = UNSET
    refused: list[Refused] | UnsetType = UNSET


def encode(data: Any) -> bytes:
    """The body of an answer: everything is wrapped in `data`."""
    return _encoder.encode({"data": data})


def money(micros: int) -> Decimal:
    """Micro-units as they are written: exactly."""
    return Decimal(format_price(micros)) if micros else Decimal(0)


def taken(id_: str, request: intake.Request, seen: Preview, price: int, currency: str) -> MessageResponse:
    """A request that is durable and not yet looked at; a repeat has the same. `price`: micro-units a part, 0 where it
    is not known until a carrier took it (HTTP contract)."""
    several = len(request.recipients) > 1
    only = request.recipients[0]
    view = MessageResponse(
        id=id_,
        request_id=request.request_id,
        username=request.account,
        state=STATE[Detailed.ACCEPTED],
        detailed_state=Detailed.ACCEPTED.name,
        sender=request.sender,
        recipient=UNSET if several else only if isinstance(only, str) else only.number,
        recipients=len(request.recipients) if several else UNSET,
        message=request.message if seen.text is None else seen.text,
        price=money(price),
        currency=currency,
        options=_told(request.options) if request.options.model_fields_set else _DEFAULTS,
        callback=request.callback.model_dump(mode="json", by_alias=True) if request.callback else UNSET,
        custom=request.custom,
        created_at=(created_at := _created_at(id_)),
        updated_at=created_at,
        is_otp=request.options.otp,
    )
    if seen.recipient:
        view.international_prefix, view.country_code = seen.recipient.prefix, seen.recipient.country
    if seen.measured:
        view.encoding, view.characters_count = seen.measured.encoding, seen.measured.characters
        view.message_count = seen.measured.count
        view.total_price = money(price * seen.measured.count)
    return view


def encode_page(data: list[Any], next_cursor: str | None) -> bytes:
    """A page, and beside it where the next one begins."""
    return _encoder.encode({"data": data, "nextCursor": next_cursor})


def masked(callback: dict[str, Any]) -> dict[str, Any]:
    """A callback as JSON, without what its headers hold: often credentials."""
    headers = callback.get("headers")
    return callback | {"headers": dict.fromkeys(headers, _MASK)} if headers else callback


def masked_answer(answer: bytes) -> bytes:
    """The answer about a message or a draft, the same done to its callback."""
    told = orjson.loads(answer)
    holder = told["data"].get("request", told["data"])
    if holder.get("callback"):
        holder["callback"] = masked(holder["callback"])
    return orjson.dumps(told)


def stored(row: StoredMessage, *, secrets: bool) -> MessageResponse:
    """A message as of its latest status record; `secrets`: with what its callback's headers hold. A worldwide one has
    no price before a carrier took it (HTTP contract); what is reserved for it is told on the status topic."""
    options = {**_DEFAULTS, **(msgspec.json.decode(row.options) if row.options else {}), "dryRun": row.dry_run}
    unpriced = row.state == _NEW and options["tariff"] == intake.WORLDWIDE and not row.dry_run
    blocked = row.detailed_state == Detailed.BLOCKED.name
    reason = msgspec.json.decode(row.error)["message"] if blocked and row.error else UNSET
    return MessageResponse(
        id=row.id,
        request_id=row.request_id,
        username=row.account,
        state=row.state,
        detailed_state=row.detailed_state,
        sender=row.sender,
        recipient=row.recipient,
        index=row.index,
        message=UNSET if row.message is None else row.message,
        international_prefix=row.international_prefix or UNSET,
        country_code=row.country_code or UNSET,
        encoding=row.encoding or UNSET,
        characters_count=row.characters_count,
        message_count=row.message_count,
        parts_delivered=row.parts_delivered,
        price=Decimal(0 if unpriced else row.price),
        total_price=Decimal(0 if unpriced else row.total_price),
        currency=row.currency,
        blocklisted=blocked,
        blocklisted_reason=reason,
        error=Raw(row.error) if row.error else None,
        carrier=row.carrier,
        carrier_reference=row.carrier_reference,
        options=options,
        callback=_callback(row.callback, secrets) if row.callback else UNSET,
        custom=Raw(row.custom),
        created_at=_created_at(row.id),
        updated_at=row.updated_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        send_at=row.send_at or UNSET,
        is_otp=bool(options["otp"]),
    )


def _callback(told: str, secrets: bool) -> dict[str, Any]:
    """A request's callback, which is kept without what is the default."""
    whole = _CALLBACK | orjson.loads(told)
    return whole if secrets else masked(whole)


def _told(options: intake.Options) -> dict[str, Any]:
    return options.model_dump(mode="json", by_alias=True, exclude_none=True)


def _created_at(id_: str) -> str:
    """The request's time, to the second: the id's first 4 bytes."""
    return rfc3339(int(id_[:8], 16) * 1000)
