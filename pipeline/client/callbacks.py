"""Operations on callback endpoints, as pure functions from their arguments to calls. Those that would do something
twice are not repeated by themselves where an answer is lost."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal

from pipeline.client.answers import Delivery, Endpoint, Replay
from pipeline.client.calls import Call, Page, data, json_body, nothing, paged, segment
from pipeline.client.requests import given, period

_PATH = "/callbacks/endpoints"
_read_endpoint = data(Endpoint)
_read_endpoints = data(list[Endpoint])
_read_id = data(dict[str, str])
_read_replay = data(Replay)


def endpoints() -> Call[list[Endpoint]]:
    """The account's callback endpoints, oldest first."""
    return Call("GET", _PATH, _read_endpoints)


def endpoint(id: str) -> Call[Endpoint]:
    """One callback endpoint."""
    return Call("GET", _at(id), _read_endpoint)


def create_endpoint(
    url: str,
    events: str | Iterable[str],
    *,
    description: str = "",
    batch: int = 1,
    batch_milliseconds: int = 0,
    enabled: bool = True,
) -> Call[Endpoint]:
    """Have events told to a URL; the answer's `secret` is shown this once. `events`: such as "message.final".
    `batch`: most events a call, each waiting `batch_milliseconds` at most for others."""
    body = _described(url, events, description, batch, batch_milliseconds, enabled)
    return Call("POST", _PATH, _read_endpoint, **json_body(body), repeatable=False)


def change_endpoint(
    id: str,
    url: str,
    events: str | Iterable[str],
    *,
    description: str = "",
    batch: int = 1,
    batch_milliseconds: int = 0,
    enabled: bool = True,
) -> Call[Endpoint]:
    """Make an endpoint anew, all but its secrets; what is left out is as by default."""
    body = _described(url, events, description, batch, batch_milliseconds, enabled)
    return Call("PUT", _at(id), _read_endpoint, **json_body(body))


def remove_endpoint(id: str) -> Call[None]:
    """Tell it nothing more; what waits for it is given up."""
    return Call("DELETE", _at(id), nothing)


def rotate_secret(id: str, *, keep_hours: float | None = None) -> Call[Endpoint]:
    """A new secret, shown in the answer this once; for `keep_hours` calls are signed with the old one as well."""
    body = json_body(given({"keepHours": keep_hours}))
    return Call("POST", _at(id, "/secrets"), _read_endpoint, **body, repeatable=False)


def test_endpoint(id: str) -> Call[dict[str, str]]:
    """Have it told an event of type endpoint.test, whose `id` is given; `deliveries` tells what became of it."""
    return Call("POST", _at(id, "/test"), _read_id, repeatable=False)


def deliveries(
    *,
    message: str | None = None,
    endpoint: str | None = None,
    state: Literal["delivered", "retrying", "given-up"] | None = None,
    since: date | str | None = None,
    until: date | str | None = None,
    page_size: int = 100,
) -> Call[Page[Delivery]]:
    """Attempts at the account's callbacks, newest first."""
    query = {"message": message, "endpoint": endpoint, "state": state, **period(since, until), "limit": page_size}
    return paged("/callbacks/deliveries", Delivery, query)


def replay(
    *,
    message: str | None = None,
    endpoint: str | None = None,
    state: Literal["given-up", "delivered", "all"] | None = None,
    since: date | str | None = None,
    until: date | str | None = None,
    cursor: str | None = None,
) -> Call[Replay]:
    """Have events told again: those given up if nothing else is said, of the last 24 hours or of a message."""
    body = {"message": message, "endpoint": endpoint, "state": state, **period(since, until), "cursor": cursor}
    return Call("POST", "/callbacks/replay", _read_replay, **json_body(given(body)), repeatable=False)


def _described(
    url: str, events: str | Iterable[str], description: str, batch: int, batch_milliseconds: int, enabled: bool
) -> dict[str, Any]:
    return {
        "url": url,
        "events": [events] if isinstance(events, str) else list(events),
        "description": description,
        "batch": batch,
        "batchMilliseconds": batch_milliseconds,
        "enabled": enabled,
    }


def _at(id: str, more: str = "") -> str:
    return f"{_PATH}/{segment(id)}{more}"
