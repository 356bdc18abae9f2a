"""What a request to send is made of, alike for one recipient, ten thousand and a file of them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Literal, NotRequired, TypedDict, cast


class Recipient(TypedDict):
    """A number with the values of the template's fields."""

    number: str
    fields: NotRequired[Mapping[str, str | int | float]]


class Callback(TypedDict):
    """Where the fate of each message is told."""

    url: str
    method: NotRequired[Literal["JSON", "POST"]]
    field: NotRequired[str]
    retry: NotRequired[int]
    headers: NotRequired[Mapping[str, str]]
    custom: NotRequired[Mapping[str, Any]]


class Options(TypedDict, total=False):
    """Arguments that `send`, `estimate` and `upload_batch` share, each with the gateway's default.

    `send_at`: a datetime with its zone, or RFC 3339. `quiet_hours`: from when, until when nobody is disturbed, by the
    recipient's clock: ("21:00", "08:00"). `callback`: a URL, or more of it. `custom`: comes back with everything that
    is told of the messages.
    """

    sender: str | None
    dry_run: bool
    fail_on_multiple_messages: bool
    transliterate: bool
    validity_seconds: int | None
    send_at: datetime | str | None
    quiet_hours: tuple[str, str] | None
    callback: str | Callback | None
    custom: Mapping[str, Any] | None


def body(message: str, options: Options, **more: Any) -> dict[str, Any]:
    """The request as JSON has it, without what was not given. TypeError: an option that there is not."""
    for name in options:
        if name not in Options.__annotations__:
            near = get_close_matches(name, Options.__annotations__, 1)
            raise TypeError(f"unknown option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    send_at, quiet, callback = options.get("send_at"), options.get("quiet_hours"), options.get("callback")
    handling = {
        "dryRun": options.get("dry_run") or None,
        "failOnMultipleMessages": options.get("fail_on_multiple_messages") or None,
        "transliterate": options.get("transliterate") or None,
        "validitySeconds": options.get("validity_seconds"),
        "sendAt": None if send_at is None else _moment("send_at", send_at),
        "quietHours": None if quiet is None else dict(zip(("from", "to"), quiet, strict=True)),
    }
    return given(
        {
            "sender": options.get("sender"),
            "message": message,
            "options": given(handling) or None,
            "callback": {"url": callback} if isinstance(callback, str) else callback,
            "custom": options.get("custom"),
            **more,
        }
    )


def period(since: date | str | None, until: date | str | None) -> dict[str, str | None]:
    """A stretch of time as routes take it: `since` is inclusive, `until` exclusive; a date is its midnight UTC, a text
    is a date or a time of RFC 3339."""
    return {
        "from": None if since is None else _day_or_moment("since", since),
        "to": None if until is None else _day_or_moment("until", until),
    }


def given(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that were given."""
    return {name: value for name, value in members.items() if value is not None}


def text(name: str, value: str) -> str:
    """A number or a code as it was given. TypeError: as an int it has lost its plus or its leading zeros."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: digits are given as a str, not as {type(value).__name__}")
    return value


def texts(recipients: Iterable[Any]) -> Iterator[str | Recipient]:
    """Recipients as they were given; TypeError as above."""
    for one in recipients:
        yield cast(Recipient, one) if isinstance(one, Mapping) else text("recipient", one)


def _day_or_moment(name: str, at: date | str) -> str:
    return at.isoformat() if isinstance(at, date) and not isinstance(at, datetime) else _moment(name, at)


def _moment(name: str, at: object) -> str:
    """A time as the gateway reads it (RFC 3339); a text is the gateway's to judge."""
    if isinstance(at, str):
        return at
    if not isinstance(at, datetime):
        raise TypeError(f"{name}: a datetime or a text such as 2026-11-22T10:00:00Z, not {type(at).__name__}")
    if at.tzinfo is None:
        raise ValueError(f"{name}: {at} is a time without its zone; use datetime.now(UTC) or astimezone()")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
