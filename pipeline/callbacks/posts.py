"""What is posted: a callback as the HTTP contract has it, an endpoint's events as Standard Webhooks has them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec

from pipeline.callbacks.endpoints import Endpoint
from pipeline.callbacks.records import Entry, Event

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_AGENT = "sms-pipeline"


class Callback(msgspec.Struct, frozen=True):
    """The callback of a request, as the intake took it."""

    url: str
    method: str = "JSON"
    field: str = "data"
    retry: int = 0
    headers: dict[str, str] = {}
    custom: dict[str, Any] = {}


class Post(msgspec.Struct, frozen=True):
    """One call to make. `id`: its `webhook-id`."""

    id: str
    url: str
    content: bytes
    headers: Mapping[str, str]


read_callback = msgspec.json.Decoder(Callback).decode


def of_callback(callback: Callback, entry: Entry) -> Post:
    """The message itself, as JSON or as a form's field."""
    event = entry.event
    form = callback.method == "POST"
    content = urlencode({callback.field: event.data}).encode() if form else event.data
    ours = _headers(event.id, datetime.now(UTC), _FORM if form else _JSON)
    theirs = {name: value for name, value in callback.headers.items() if name.lower() not in ours}
    return Post(event.id, callback.url, content, theirs | ours)


def of_endpoint(endpoint: Endpoint, entries: Sequence[Entry]) -> Post:
    """One event, or several as a batch; signed with every valid secret.

    A batch's id is made of those of its events: the same for the same events.
    """
    now = datetime.now(UTC)
    if len(entries) == 1 and endpoint.batch == 1:
        id_, content = entries[0].event.id, _told(entries[0].event)
    else:
        ids = "\0".join(entry.event.id for entry in entries)
        id_ = f"batch_{blake2b(ids.encode(), digest_size=12).hexdigest()}"
        events = b",".join(_told(entry.event, with_id=True) for entry in entries)
        content = b'{"type":"batch","timestamp":"%b","data":[%b]}' % (_rfc3339(now), events)
    headers = _headers(id_, now, _JSON) | {"webhook-signature": endpoint.signature(id_, now, content)}
    return Post(id_, endpoint.url, content, headers)


def _told(event: Event, *, with_id: bool = False) -> bytes:
    identity = b'"id":"%b",' % event.id.encode() if with_id else b""
    return b'{%b"type":"%b","timestamp":"%b","data":%b}' % (
        identity, event.type.encode(), event.at.encode(), event.data
    )  # fmt: skip


def _headers(id_: str, now: datetime, media_type: str) -> dict[str, str]:
    return {
        "content-type": media_type,
        "accept-encoding": "identity",
        "user-agent": _AGENT,
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
    }


def _rfc3339(now: datetime) -> bytes:
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
