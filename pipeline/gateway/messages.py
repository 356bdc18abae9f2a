"""`POST /messages`: requests into the intake topics."""

import time
import uuid
from http import HTTPStatus

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from pipeline import ids
from pipeline.accounts import AccountRecord
from pipeline.gateway import views
from pipeline.gateway.preview import preview
from pipeline.gateway.problems import Refusal, malformed, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, read_body
from pipeline.gateway.services import Services, services
from schemas import errors, intake
from schemas.errors import Error

_PRIORITY = ".priority"

router = APIRouter(tags=["Messages"])


@router.post("/messages", status_code=201, summary="Send a message")
@router.post("/WW-messages", status_code=201, summary="Send a message (worldwide)")
async def create(request: Request) -> Response:
    """Take a request; 201 once it is durable. What becomes of it is told by status, callback and GET."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    if account.blocklisted:
        message = "The user is blocklisted. Please contact support for assistance."
        return problem(refuse(HTTPStatus.FORBIDDEN, errors.BLOCKLISTED, message))
    body = await read_body(request, at.settings.limits.request_bytes)
    wanted = body if isinstance(body, Refusal) else parse(body, account)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    return await _take(wanted, at)


def parse(body: bytes, account: AccountRecord) -> intake.Request | Refusal:
    """The request as the intake topics hold it: with its account, request id and sender."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, f"the body is not JSON in UTF-8: {error}")
    if not isinstance(data, dict):
        message = "the body is not a JSON object"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
    if "account" in data:
        message = "account: unknown field (the token names the account)"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
    try:
        request = intake.Request.model_validate({**data, "account": account.name})
    except ValidationError as found:
        return malformed(found, data)
    request.sender = request.sender or intake.DEFAULT_SENDER
    request.request_id = request.request_id or uuid.uuid4().hex
    return request


async def _take(request: intake.Request, at: Services) -> Response:
    """Check, produce, answer."""
    settings = at.settings
    seen = preview(request, settings.limits.parts)
    if isinstance(seen, Error):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, seen))
    assert request.request_id
    timestamp_ms = time.time_ns() // 1_000_000
    batch = ids.batch_id(ids.request_hash(request.account, request.request_id), 0, timestamp_ms)
    topic = at.names.intake(_PRIORITY if len(request.recipients) == 1 else "")
    value = request.model_dump_json(by_alias=True, exclude_unset=True).encode()
    failed = await at.publisher.publish([Outgoing(topic, value, timestamp_ms=timestamp_ms)])
    if failed is None:
        view = views.taken(ids.message_id(batch, 0), request, seen, timestamp_ms, settings.billing.currency)
        return Response(views.encode(view), HTTPStatus.CREATED, media_type="application/json")
    if failed.permanent:
        return problem(Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, failed))
    message = f"{failed.message} with this requestId, so that it is sent once whatever became of this try"
    return problem(unavailable(message, requestId=request.request_id))
