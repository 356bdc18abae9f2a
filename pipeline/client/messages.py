"""Operations on messages that were sent, as pure functions from their arguments to calls."""

import time
from collections.abc import Mapping, Sequence
from datetime import date
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from pipeline.client.answers import Cancellation, Count, Message
from pipeline.client.calls import Call, Page, data, json_body, segment
from pipeline.client.errors import ApiError, StillOpen
from pipeline.client.exchange import Pause, Script
from pipeline.client.requests import period

#: Of waiting: the first pause, by how much each is longer than the one before, and the longest, in seconds.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.1, 1.5, 5.0
#: Greater than any id (hex digits).
_PAST_EVERY_ID = "~"

_read_message = data(Message)
_read_messages = data(list[Message])
_read_cancellation = data(Cancellation)
_read_counts = data(list[Count])


class _Listed(msgspec.Struct, rename="camel"):
    """`next_cursor`: absent where the gateway pages by skip alone."""

    data: list[Message]
    next_cursor: str | UnsetType | None = UNSET


_read_listed = msgspec.json.Decoder(_Listed).decode


def get(id: str) -> Call[Message]:
    """One message of the account. ApiError 404: no such message, or not yet in the read model."""
    return Call("GET", f"/messages/{segment(id)}", _read_message)


def page(skip: int = 0, limit: int = 100) -> Call[list[Message]]:
    """`limit` messages of the account behind the newest `skip`, newest first."""
    return Call("GET", "/messages", _read_messages, query={"skip": skip, "limit": limit})


def every(
    *,
    state: str | Sequence[str] | None = None,
    recipient: str | None = None,
    request_id: str | Sequence[str] | None = None,
    batch: str | None = None,
    country: str | None = None,
    sender: str | None = None,
    custom: Mapping[str, str] | None = None,
    since: date | str | None = None,
    until: date | str | None = None,
    page_size: int = 100,
) -> Call[Page[Message]]:
    """The account's messages, newest first, each once: all, or those that match everything that is given. Those sent
    meanwhile are not among them."""
    members = {f"custom.{name}": value for name, value in (custom or {}).items()}
    filters = {"state": state, "recipient": recipient, "requestId": request_id, "batch": batch}
    filters |= {"countryCode": country, "sender": sender, **members, **period(since, until)}

    def ask(oldest: str, **where: Any) -> Call[Page[Message]]:
        def read(body: bytes) -> Page[Message]:
            found = _read_listed(body)
            # Ids grow. Where pages go by skip, what was sent meanwhile pushes messages of the last page into this one.
            new = [one for one in found.data if one.id < oldest]
            last = new[-1].id if new else oldest
            if isinstance(found.next_cursor, str):
                return Page(new, ask(last, cursor=found.next_cursor))
            if found.next_cursor is UNSET and len(found.data) == page_size:
                return Page(new, ask(last, skip=where.get("skip", 0) + page_size))
            return Page(new, None)

        return Call("GET", "/messages", read, query={**filters, **where, "limit": page_size})

    return ask(_PAST_EVERY_ID)


def wait(id: str, timeout: float = 60.0) -> Script[Message]:
    """The message once it is final, asked for again and again. StillOpen: it is not within `timeout` seconds;
    ApiError 404: it has not even appeared."""
    found: Message = yield from until(get(id), lambda message: message.final, timeout, f"message {id}")
    return found


def until(call: Call[Any], done: Any, timeout: float, what: str) -> Script[Any]:
    """What a call gives once that is `done`; the read model follows the pipeline within moments, so what is not found
    may yet appear."""
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        missing: ApiError | None = None
        last: Any = None
        try:
            last = yield call
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            missing = error
        if last is not None and done(last):
            return last
        left = deadline - time.monotonic()
        if left <= 0:
            raise missing or StillOpen(f"{what} is not final after {timeout:g} s", last)
        yield Pause(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE)


def cancel(id: str) -> Call[Cancellation]:
    """Do not send a message after all; the state it had. Its fate tells whether this came in time: `wait` for it.
    ApiError 409: it is known to be too late."""
    return Call("DELETE", f"/messages/{segment(id)}", _read_cancellation)


def cancel_request(request_id: str) -> Call[Cancellation]:
    """The same of every message of a request; they are told by `states`, as far as they are known."""
    return Call("POST", "/messages/cancel", _read_cancellation, **json_body({"requestId": request_id}))


def statistics(
    *by: Literal["day", "country", "operator", "carrier", "state"],
    since: date | str | None = None,
    until: date | str | None = None,
) -> Call[list[Count]]:
    """Messages and parts by up to three of these, by day if nothing is said, of whole days: the last 30 if nothing else
    is said."""
    query = {"by": list(by) or ["day"], **period(since, until)}
    return Call("GET", "/statistics", _read_counts, query=query)
