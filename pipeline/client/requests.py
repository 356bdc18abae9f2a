"""What a request to send is made of, alike for one recipient, ten thousand and a file of them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal, NotRequired, TypedDict


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

    `quiet_hours`: from when, until when nobody is disturbed, by the recipient's clock: ("21:00", "08:00"). `callback`:
    a URL, or more of it. `custom`: comes back with everything that is told of the messages.
    """

    sender: str | None
    dry_run: bool
    fail_on_multiple_messages: bool
    transliterate: bool
    validity_seconds: int | None
    send_at: datetime | None
    quiet_hours: tuple[str, str] | None
    callback: str | Callback | None
    custom: Mapping[str, Any] | None


def body(message: str, options: Options, **more: Any) -> dict[str, Any]:
    """The request as JSON has it, without what was not given."""
    send_at, quiet, callback = (options.get(name) for name in ("send_at", "quiet_hours", "callback"))
    handling = {
        "dryRun": options.get("dry_run") or None,
        "failOnMultipleMessages": options.get("fail_on_multiple_messages") or None,
        "transliterate": options.get("transliterate") or None,
        "validitySeconds": options.get("validity_seconds"),
        "sendAt": moment(send_at) if isinstance(send_at, datetime) else None,
        "quietHours": dict(zip(("from", "to"), quiet, strict=True)) if isinstance(quiet, tuple) else None,
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


def period(since: date | None, until: date | None) -> dict[str, str | None]:
    """A stretch of time as routes take it: `since` is inclusive, `until` exclusive; a date is its midnight UTC."""
    return {"from": _day_or_moment(since), "to": _day_or_moment(until)}


def moment(at: datetime) -> str:
    """A time as the gateway reads it (RFC 3339)."""
    if at.tzinfo is None:
        raise ValueError(f"{at}: a time without its zone; use datetime.now(UTC) or astimezone()")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def given(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that were given."""
    return {name: value for name, value in members.items() if value is not None}


def _day_or_moment(at: date | None) -> str | None:
    if isinstance(at, datetime):
        return moment(at)
    return at.isoformat() if at else None
