"""Operations that send, as pure functions from their arguments to calls."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Unpack

from pipeline.client import requests
from pipeline.client.answers import Estimate, Message, Verification
from pipeline.client.calls import Call, data, json_body, new_request_id
from pipeline.client.requests import Callback, Options, Recipient, given, text, texts

_REGIONS = ("WW", "IT", "ES")

_read_message = data(Message)
_read_estimate = data(Estimate)
_read_verification = data(Verification)


def send(
    recipient: str | Recipient | Iterable[str | Recipient],
    message: str,
    *,
    region: Literal["WW", "IT", "ES"] | None = None,
    request_id: str | None = None,
    **options: Unpack[Options],
) -> Call[Message]:
    """Send a text to one recipient or up to 10,000; returns once it is durable, mostly in the state NEW.

    `message` may hold {{fields}}, filled for each recipient. `region`: the endpoint whose rules and prices hold, else
    ValueError. The same `request_id` again sends nothing again; without one it is made here, so that repeats of this
    call are harmless.
    """
    if region not in (None, *_REGIONS):
        raise ValueError(f"region {region!r}: one of {', '.join(_REGIONS)}, or none")
    id_ = request_id or new_request_id()
    request = requests.body(message, options, requestId=id_, recipients=_several(recipient))
    path = f"/{region}-messages" if region else "/messages"
    return Call("POST", path, _read_message, **json_body(request), request_id=id_)


def estimate(
    recipient: str | Recipient | Iterable[str | Recipient], message: str, **options: Unpack[Options]
) -> Call[Estimate]:
    """What `send` of the same would cost. No effect."""
    request = requests.body(message, options, recipients=_several(recipient))
    return Call("POST", "/estimate", _read_estimate, **json_body(request))


def otp(
    recipient: str,
    *,
    length: int | None = None,
    alphanumeric: bool | None = None,
    cache_seconds: int | None = None,
    dry_run: bool = False,
    callback: str | Callback | None = None,
    request_id: str | None = None,
) -> Call[Message]:
    """Make a login code and send it in the language of the recipient's country; the code is in the answer's `otp`.

    Within `cache_seconds` of the first the same code is sent again, where that was asked for then, too.
    """
    id_ = request_id or new_request_id()
    request = {
        "recipient": text("recipient", recipient),
        "length": length,
        "alphanumeric": alphanumeric,
        "cacheSeconds": cache_seconds,
        "options": {"dryRun": True} if dry_run else None,
        "callback": {"url": callback} if isinstance(callback, str) else callback,
    }
    call = json_body(given(request))
    call["headers"]["Idempotency-Key"] = _quoted(id_)
    return Call("POST", "/otp", _read_message, **call, request_id=id_)


def verify_otp(recipient: str, code: str) -> Call[Verification]:
    """Whether this is the code that was sent; it verifies once. Each try counts, so this is not repeated by itself
    where an answer is lost."""
    request: dict[str, Any] = {"recipient": text("recipient", recipient), "code": text("code", code)}
    return Call("POST", "/otp/verify", _read_verification, **json_body(request), repeatable=False)


def _several(recipient: str | Recipient | Iterable[str | Recipient]) -> list[Any]:
    """The recipients; TypeError: one is no text."""
    single = isinstance(recipient, str | Mapping) or not isinstance(recipient, Iterable)
    return list(texts([recipient] if single else recipient))


def _quoted(key: str) -> str:
    """A string of RFC 8941 (section 3.3.3)."""
    if not key.isascii() or not key.isprintable():
        raise ValueError("request_id: here only printable ASCII can be sent")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
