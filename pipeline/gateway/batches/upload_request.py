"""What an upload asks for beside its recipients: a request of the intake, its name, and what bad lines mean."""

import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
import orjson
from pydantic import Field, ValidationError

from pipeline.accounts import AccountRecord
from pipeline.gateway.body import read_object
from pipeline.gateway.problems import Refusal, malformed, refuse
from pipeline.text import Template
from schemas import batch, errors, intake
from schemas.errors import Error

#: Characters of a batch's id: its requests' ids have a slash and a number more.
MAX_ID = 100
_THEIRS = ("recipient", "recipients")


class UploadRequest(intake.Request):
    """The request of an upload: as that of a message, without recipients. `name`: for whoever looks at the batch
    later. `on_error`: whether bad lines are left out, or nothing is taken where there are any."""

    name: str | None = Field(default=None, min_length=1, max_length=128)
    on_error: Literal["skip", "refuse"] = "skip"
    request_id: Annotated[str | None, Field(min_length=1, max_length=MAX_ID)] = None


class Wanted(msgspec.Struct, frozen=True):
    """An upload's request. `head`: what all of its intake records share, as JSON. `fields`: those of the text, and
    whether it needs them."""

    account: str
    id: str
    name: str | None
    on_error: str
    sender: str
    message: str
    dry_run: bool
    head: bytes
    fields: Mapping[str, bool]

    def request(self, number: int, recipients: bytes) -> bytes:
        """An intake record. `recipients`: a JSON array."""
        id_ = orjson.dumps(batch.request_id(self.id, number))
        return self.head[:-1] + b',"requestId":' + id_ + b',"recipients":' + recipients + b"}"


def parse(
    body: bytes, account: AccountRecord, key: str | None, examine: Callable[[intake.Request], object]
) -> Wanted | Refusal:
    """The request, checked as far as it is the same for all. `key`: the Idempotency-Key, which may stand for
    requestId. `examine`: tells the Error of a request that cannot be sent."""
    data = read_object(body)
    if isinstance(data, Refusal):
        return data
    if "account" in data:
        return _refuse(errors.MALFORMED_REQUEST, "account: unknown field (the token names the account)")
    if theirs := next((name for name in _THEIRS if name in data), None):
        return _refuse(errors.MALFORMED_REQUEST, f"{theirs}: the recipients stand behind the request; leave this out")
    if key is not None and data.setdefault("requestId", key) != key:
        return _refuse(errors.MALFORMED_REQUEST, "requestId: is not the Idempotency-Key; give one of them, or the same")
    whole = {**data, "account": account.name, "recipients": ["+", "-"]}  # several, so that none is looked at
    try:
        request = UploadRequest.model_validate(whole)
    except ValidationError as found:
        return malformed(found, data, UploadRequest)
    request.sender = request.sender or intake.DEFAULT_SENDER
    seen = examine(request)
    if isinstance(seen, Error):
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, seen)
    return _wanted(request, account)


def _wanted(request: UploadRequest, account: AccountRecord) -> Wanted:
    own = {"request_id", "recipients", "name", "on_error"}
    shared = request.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=own)
    fields: dict[str, bool] = {}
    for name, default in Template.parse(request.message).slots:
        fields[name] = fields.get(name, False) or default is None
    return Wanted(
        account=account.name,
        id=request.request_id or uuid.uuid4().hex,
        name=request.name,
        on_error=request.on_error,
        sender=request.sender or intake.DEFAULT_SENDER,
        message=request.message,
        dry_run=request.options.dry_run,
        head=orjson.dumps(shared, option=orjson.OPT_SORT_KEYS),
        fields=fields,
    )


def _refuse(code: int, message: str, status: int = HTTPStatus.UNPROCESSABLE_ENTITY) -> Refusal:
    return refuse(status, code, message)
