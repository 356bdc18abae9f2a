"""Refusals as values, and as answers: problem details (RFC 9457) with the contract's `code` and `message`."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import Response
from pydantic import ValidationError

from schemas import errors, intake
from schemas.errors import Error

_MEDIA_TYPE = "application/problem+json"
_MOST_NAMED = 5


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is not served. `status`: the HTTP status; `members`: more members of the problem details."""

    status: int
    error: Error
    headers: Mapping[str, str] = {}
    members: Mapping[str, str] = {}


def refuse(status: int, code: int, message: str, **headers: str) -> Refusal:
    """A refusal for good; header names with _ for -."""
    return Refusal(status, Error(code, message), {name.replace("_", "-"): value for name, value in headers.items()})


def unavailable(message: str, **members: str) -> Refusal:
    """503: nothing was taken, or nobody knows; the same may be tried again in some seconds."""
    error = Error(errors.UNAVAILABLE, message, permanent=False)
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error, {"Retry-After": "5"}, members)


def problem(refusal: Refusal) -> Response:
    """The answer. `type` is left at about:blank: the code tells problems apart."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.error.message,
        "code": refusal.error.code,
        "message": refusal.error.message,
        **refusal.members,
    }
    return Response(msgspec.json.encode(body), refusal.status, refusal.headers, _MEDIA_TYPE)


def malformed(found: ValidationError, sent: Mapping[str, object]) -> Refusal:
    """422 with every wrong field by name, as the client wrote it. `sent`: the body."""
    named: dict[str, str] = {}
    for fault in found.errors(include_url=False, include_input=False, include_context=False):
        if fault["type"] == "too_long" and fault["loc"] == ("recipients",):
            message = f"recipients: at most {intake.MAX_RECIPIENTS} in one request; split it"
            return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.TOO_MANY_RECIPIENTS, message)
        text = "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"]
        named.setdefault(_field(fault["loc"], sent), text)
    listed = [f"{field}: {text}" for field, text in named.items()]
    if len(listed) > _MOST_NAMED:
        listed[_MOST_NAMED:] = [f"and {len(listed) - _MOST_NAMED} more"]
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, "; ".join(listed))


def _field(location: tuple[int | str, ...], sent: Mapping[str, object]) -> str:
    """A path such as `recipients.3.number`, without the branches of unions that pydantic names in it."""
    if location[:1] == ("recipients",) and "recipient" in sent:
        return "recipient"
    if location == ("recipients",) and "recipients" not in sent:
        return "recipient or recipients"
    path = [str(step) for step in location if step not in ("str", "int", "float", intake.Recipient.__name__)]
    return ".".join(path) or "request"
