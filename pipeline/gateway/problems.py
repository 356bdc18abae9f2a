"""Refusals as values, and as answers: problem details (RFC 9457) with the contract's `code` and `message`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Response
from pydantic import BaseModel, ValidationError

from pipeline.gateway import metrics
from pipeline.logs import trace
from schemas import errors, faults
from schemas.errors import Error

_MEDIA_TYPE = "application/problem+json"


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is not served. `status`: the HTTP status; `members`: more members of the problem details."""

    status: int
    error: Error
    headers: Mapping[str, str] = {}
    members: Mapping[str, Any] = {}


def refuse(status: int, code: int, message: str, **headers: str) -> Refusal:
    """A refusal for good; header names with _ for -."""
    return Refusal(status, Error(code, message), {name.replace("_", "-"): value for name, value in headers.items()})


def unavailable(message: str, **members: str) -> Refusal:
    """503: nothing was taken, or nobody knows; the same may be tried again in some seconds."""
    error = Error(errors.UNAVAILABLE, message, permanent=False)
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error, {"Retry-After": "5"}, members)


def problem(refusal: Refusal) -> Response:
    """The answer."""
    metrics.REFUSALS.labels(str(refusal.error.code)).inc()
    return Response(encoded(refusal), refusal.status, refusal.headers, _MEDIA_TYPE)


def encoded(refusal: Refusal) -> bytes:
    """The body. `type` is left at about:blank: the code tells problems apart. `trace`: the X-Request-Id."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.error.message,
        "code": refusal.error.code,
        "message": refusal.error.message,
        **refusal.members,
    }
    if name := trace.get():
        body["trace"] = name
    return msgspec.json.encode(body)


def malformed(found: ValidationError, sent: Mapping[str, object], model: type[BaseModel]) -> Refusal:
    """422 with every wrong field by name, as the client wrote it. `sent`: the body, which was to be a `model`."""
    error = faults.told(found, sent, model)
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, error.code, error.message)
