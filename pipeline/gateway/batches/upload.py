"""`POST /batches`: a message to as many recipients as a file names."""

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from pipeline.accounts import AccountRecord
from pipeline.gateway import metrics, views
from pipeline.gateway.batches import upload_body, upload_request
from pipeline.gateway.batches.spool import Spool
from pipeline.gateway.batches.upload_body import Unusable
from pipeline.gateway.batches.upload_request import Wanted
from pipeline.gateway.messages.idempotency import key_of
from pipeline.gateway.messages.sending import examine
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.reading import authenticate
from pipeline.gateway.services import Services, services
from pipeline.store import batch_views
from schemas import errors
from schemas.batch import BatchRecord
from schemas.errors import Error

log = structlog.get_logger()

_STATUS = {
    errors.REQUEST_ID_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}

router = APIRouter(tags=["Batches"])


@router.post("/batches", status_code=202, summary="Send a message to the recipients of a file")
async def upload(request: Request) -> Response:
    """Take a list of recipients; 202 once every one of them is durable. It is taken whole or not at all. Lines that
    give no recipient are told by number."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    if account.blocklisted:
        message = "The user is blocklisted. Please contact support for assistance."
        return problem(refuse(HTTPStatus.FORBIDDEN, errors.BLOCKLISTED, message))
    if busy := at.uploads.busy(account.name):
        metrics.UPLOADS.labels("busy").inc()
        return problem(unavailable(f"{busy}; try again"))
    began = time.perf_counter()
    at.uploads.running[account.name] += 1
    try:
        answer = await _answer(request, account, at)
    except ClientDisconnect:
        metrics.UPLOADS.labels("cut").inc()
        log.info("upload.cut", account=account.name)
        raise
    finally:
        at.uploads.running[account.name] -= 1
        if not at.uploads.running[account.name]:
            del at.uploads.running[account.name]
    seconds = round(time.perf_counter() - began, 3)
    if isinstance(answer, Refusal):
        away = answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        metrics.UPLOADS.labels("unavailable" if away else "refused").inc()
        log.info("upload.refused", account=account.name, code=answer.error.code, seconds=seconds)
        return problem(answer)
    metrics.UPLOADS.labels("taken").inc()
    counts = {"recipients": answer.recipients, "repeats": answer.repeats, "bad_lines": answer.bad_line_count}
    log.info("upload.taken", account=account.name, batch=answer.id, seconds=seconds, **counts)
    return Response(
        views.encode(batch_views.told(answer) | batch_views.bad_lines(answer)),
        HTTPStatus.ACCEPTED,
        media_type="application/json",
    )


async def _answer(request: Request, account: AccountRecord, at: Services) -> BatchRecord | Refusal:
    limit = at.settings.uploads.bytes
    body = upload_body.received(request, limit)
    seconds = at.settings.uploads.seconds
    try:
        async with asyncio.timeout(seconds):
            opened = await upload_body.opened(request, body, limit)
            key, now = key_of(request), time.time_ns() // 1_000_000
            if isinstance(key, Refusal):
                raise Unusable(key)
            wanted = upload_request.parse(opened.request, account, key, lambda request: examine(request, now, at))
            if isinstance(wanted, Refusal):
                raise Unusable(wanted)
            spool = await at.uploads.spooled(wanted, opened.kind, opened.recipients)
    except TimeoutError:
        message = f"the upload did not come within {seconds:g} s; split it, or send it gzipped"
        return refuse(HTTPStatus.REQUEST_TIMEOUT, errors.UPLOAD_SLOW, message, Connection="close")
    except Unusable as unusable:
        if unusable.drain:
            await _drain(body)
        return unusable.refusal
    except OSError as error:
        log.error("upload.disk", account=account.name, error=repr(error))
        return unavailable("the upload cannot be stored here now; try again")
    try:
        if spool.wrong:
            await _drain(body)
            return _refusal(spool.wrong, wanted, spool)
        answer = await at.uploads.taken(wanted, spool)
        return _refusal(answer, wanted, spool) if isinstance(answer, Error) else answer
    finally:
        spool.close()


def _refusal(error: Error, wanted: Wanted, spool: Spool) -> Refusal:
    if not error.permanent:
        message = f"{error.message} with this requestId, so that it is sent once whatever became of this try"
        return unavailable(message, requestId=wanted.id)
    told = {
        "badLineCount": spool.bad_line_count,
        "badLines": [{"line": one.line, "reason": one.reason} for one in spool.bad_lines],
    }
    status = _STATUS.get(error.code, HTTPStatus.UNPROCESSABLE_ENTITY)
    return Refusal(status, error, {}, told if spool.bad_lines else {})


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read what else comes, within the limit: who still sends does not listen."""
    try:
        async for _ in body:
            pass
    except Unusable:
        return
