"""Operations on messages, as pure functions from their arguments to calls."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from pipeline.client.answers import Message
from pipeline.client.calls import Call, Page, data, json_body, new_request_id, segment
from pipeline.client.errors import ApiError, StillOpen
from pipeline.client.exchange import Pause, Script

#: Of `wait`: the first pause, by how much each is longer than the one before, and the longest, in seconds.
_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.1, 1.5, 5.0

#: Greater than any id (hex digits).
_PAST_EVERY_ID = "~"

_read_message = data(Message)
_read_messages = data(list[Message])


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


def send(
    recipient: str | Recipient | Iterable[str | Recipient],
    message: str,
    *,
    sender: str | None = None,
    region: Literal["WW", "IT", "ES"] | None = None,
    dry_run: bool = False,
    fail_on_multiple_messages: bool = False,
    transliterate: bool = False,
    validity_seconds: int | None = None,
    send_at: datetime | None = None,
    callback: str | Callback | None = None,
    custom: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> Call[Message]:
    """Send a text to one recipient or up to 10,000; returns once it is durable, mostly in the state NEW.

    `message` may hold {{fields}}, filled for each recipient. `region`: the endpoint whose rules and prices hold. The
    same `request_id` again sends nothing again; without one it is made here, so that repeats of this call are harmless.
    """
    id_ = request_id or new_request_id()
    single = isinstance(recipient, str | Mapping)
    options = {
        "dryRun": dry_run or None,
        "failOnMultipleMessages": fail_on_multiple_messages or None,
        "transliterate": transliterate or None,
        "validitySeconds": validity_seconds,
        "sendAt": send_at and moment(send_at),
    }
    request = {
        "requestId": id_,
        "sender": sender,
        "recipients": [recipient] if single else list(recipient),
        "message": message,
        "options": given(options) or None,
        "callback": {"url": callback} if isinstance(callback, str) else callback,
        "custom": custom,
    }
    path = f"/{region}-messages" if region else "/messages"
    return Call("POST", path, _read_message, **json_body(given(request)), request_id=id_)


def get(id: str) -> Call[Message]:
    """One message of the account. ApiError 404: no such message, or not yet in the read model."""
    return Call("GET", f"/messages/{segment(id)}", _read_message)


def page(skip: int = 0, limit: int = 100) -> Call[list[Message]]:
    """`limit` messages of the account behind the newest `skip`, newest first."""
    return Call("GET", "/messages", _read_messages, query={"skip": skip, "limit": limit})


def every(*, page_size: int = 100) -> Call[Page[Message]]:
    """The account's messages, newest first, each once; those sent meanwhile are not among them."""

    def ask(skip: int, oldest: str) -> Call[Page[Message]]:
        def read(body: bytes) -> Page[Message]:
            found = _read_messages(body)
            # Ids grow. What was sent meanwhile pushes messages of the last page into this one.
            new = [one for one in found if one.id < oldest]
            last = new[-1].id if new else oldest
            return Page(new, ask(skip + page_size, last) if len(found) == page_size else None)

        return Call("GET", "/messages", read, query={"skip": skip, "limit": page_size})

    return ask(0, _PAST_EVERY_ID)


def wait(id: str, timeout: float = 60.0) -> Script[Message]:
    """The message once it is final, asked for again and again. StillOpen: it is not within `timeout` seconds;
    ApiError 404: it has not even appeared."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        missing: ApiError | None = None
        last: Message | None = None
        try:
            last = yield get(id)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            missing = error  # the read model follows the pipeline within moments
        if last is not None and last.final:
            return last
        left = deadline - time.monotonic()
        if left <= 0:
            raise missing or StillOpen(f"message {id} has no final state after {timeout:g} s", last)
        yield Pause(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def moment(at: datetime) -> str:
    """A time as the gateway reads it (RFC 3339)."""
    if at.tzinfo is None:
        raise ValueError(f"{at}: a time without its zone; use datetime.now(UTC) or astimezone()")
    return msgspec.to_builtins(at)  # type: ignore[no-any-return]


def given(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that were given."""
    return {name: value for name, value in members.items() if value is not None}
