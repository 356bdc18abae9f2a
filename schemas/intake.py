"""The intake record: what a producer puts on `sms.intake` and `sms.intake.priority` (plain JSON).

Unknown fields are refused with their names. One bad recipient never spoils the others: a recipient is only read
here, and judged one by one in the validate stage.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, model_validator
from pydantic.alias_generators import to_camel

#: Recipients a record may hold.
MAX_RECIPIENTS = 10_000
#: Bytes of `custom` as JSON: it comes back with every status of every recipient.
MAX_CUSTOM_BYTES = 4_096
#: Default and longest validity: 48 hours (HTTP contract).
VALIDITY_SECONDS = 172_800
#: Headers that a callback may bring.
_MOST_HEADERS = 32
#: RFC 9110 sections 5.6.2 and 5.5, without octets above ASCII.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}").fullmatch
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,2000}").fullmatch
#: Headers of the connection, of the body, and those by which we are known.
_OUR_HEADERS = frozenset(
    {
        "host", "content-length", "content-type", "content-encoding", "content-range", "transfer-encoding",
        "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "accept-encoding", "user-agent",
    }
)  # fmt: skip
_PLAIN_URL = re.compile(r"[^\x00-\x20\x7f\\]*").fullmatch
#: The tariff without a country of its own.
WORLDWIDE: Literal["WW"] = "WW"
#: Sender of a request that names none (HTTP contract).
DEFAULT_SENDER = "Openapi"


class _Public(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


def _small(custom: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(custom))
    except TypeError:
        raise ValueError("is nested too deeply") from None
    if size > MAX_CUSTOM_BYTES:
        raise ValueError(f"{size} bytes of JSON, at most {MAX_CUSTOM_BYTES}")
    return custom


Custom = Annotated[dict[str, Any], AfterValidator(_small)]


def _as_they_print(fields: dict[str, str | int | float]) -> dict[str, str | int | float]:
    """A number of more digits than a double holds would not be sent as it was written."""
    for name, value in fields.items():
        if isinstance(value, float) and not abs(value) < 2**53:
            raise ValueError(f"{name}: a number of more than 15 digits; write it as a text")
    return fields


class Recipient(_Public):
    """A number with the values of the template's fields; numbers as values are written as they print."""

    number: str = Field(max_length=64)
    fields: Annotated[dict[str, str | int | float], AfterValidator(_as_they_print)] = Field(default_factory=dict)


def _with_offset(written: Any) -> Any:
    """A time that says by which clock: what is read without an offset is an hour off somewhere."""
    if not isinstance(written, str):
        raise ValueError("write the time as text, such as 2030-01-31T09:00:00Z")
    try:
        found = datetime.fromisoformat(written.upper())  # RFC 3339 takes t and z as well
    except ValueError:
        raise ValueError("not a time of RFC 3339; write one such as 2030-01-31T09:00:00Z") from None
    if found.tzinfo is None:
        raise ValueError("no offset from UTC; write one such as 2030-01-31T09:00:00Z or 2030-01-31T10:00:00+01:00")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time of our calendar") from None


def _minute(written: str) -> str:
    if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", written):
        raise ValueError("not a time of the day; write it as 21:00")
    return written


TimeOfDay = Annotated[str, AfterValidator(_minute)]


class QuietHours(_Public):
    """From when on, and until when, nobody wants to be disturbed, by the recipient's own clock."""

    from_: TimeOfDay = Field(alias="from")
    to: TimeOfDay

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.from_ == self.to:
            raise ValueError("from and to are the same time, which leaves no hour of the day or all of them")
        return self


class Options(_Public):
    """How the request is handled. `validity_seconds`: how long delivery may be tried; `send_at`: not before, and the
    validity begins then; `quiet_hours`: nor in these.

    `tariff`: whose rules hold, those of worldwide sending or of the endpoint for Italy or Spain (HTTP contract): which
    countries may be sent to, the price, and what prohibited content costs. `otp`: the message is a template whose
    fields hold a secret: wherever the text is told afterwards, they are masked.
    """

    dry_run: bool = False
    fail_on_multiple_messages: bool = False
    transliterate: bool = False
    validity_seconds: int = Field(default=VALIDITY_SECONDS, ge=1, le=VALIDITY_SECONDS)
    send_at: Annotated[datetime, BeforeValidator(_with_offset)] | None = None
    quiet_hours: QuietHours | None = None
    tariff: Literal["WW", "IT", "ES"] = WORLDWIDE
    otp: bool = False


def _plain(url: Any) -> Any:
    """What parsers of URLs read differently is refused before one reads it."""
    if isinstance(url, str) and not _PLAIN_URL(url):
        raise ValueError("holds a space, a backslash or a control character")
    return url


def _callable(url: HttpUrl) -> HttpUrl:
    if url.username is not None or url.password is not None:
        raise ValueError("holds a user or a password; put them into a header")
    return url


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > _MOST_HEADERS:
        raise ValueError(f"{len(headers)} headers, at most {_MOST_HEADERS}")
    for name, value in headers.items():
        if not _HEADER_NAME(name):
            raise ValueError(f"{name[:32]!r} cannot name a header: letters, digits and !#$%&'*+-.^_`|~ only")
        if name.lower() in _OUR_HEADERS or name.lower().startswith(("webhook-", "proxy-")):
            raise ValueError(f"{name} is set by us; leave it out")
        if not _HEADER_VALUE(value):
            raise ValueError(f"{name}: printable ASCII only, at most 2000 characters")
    return headers


#: Where a callback may go: http and https, no user in it; which addresses may be called is seen when it is called.
CallableUrl = Annotated[HttpUrl, BeforeValidator(_plain), AfterValidator(_callable)]


class Callback(_Public):
    """Where each message's fate is told: `JSON` body, or form `POST` with the JSON in `field`."""

    method: Literal["JSON", "POST"] = "JSON"
    field: str = Field(default="data", min_length=1, max_length=64)
    url: CallableUrl = Field(strict=False)
    retry: int = Field(default=0, ge=0, le=5)
    headers: Annotated[dict[str, str], AfterValidator(_sendable)] = Field(default_factory=dict)
    custom: Custom = Field(default_factory=dict)


class Request(_Public):
    """One message to many recipients. `recipient` (one string) may stand for `recipients`."""

    request_id: str | None = Field(default=None, min_length=1, max_length=128)
    account: str = Field(min_length=1, max_length=64)
    sender: str | None = Field(default=None, max_length=64)
    recipients: list[str | Recipient] = Field(min_length=1, max_length=MAX_RECIPIENTS)
    message: str = Field(min_length=1)
    options: Options = Field(default_factory=Options)
    callback: Callback | None = None
    custom: Custom = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _recipient_stands_for_recipients(cls, data: Any) -> Any:
        if isinstance(data, dict) and "recipient" in data:
            if "recipients" in data:
                raise ValueError("give recipient or recipients, not both")
            data = {**data, "recipients": [data["recipient"]]}
            del data["recipient"]
        return data
