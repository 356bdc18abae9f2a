"""`DELETE /messages/{id}`, `POST /messages/cancel`: messages that are not to be sent after all.

Taken is only the word; whether it came in time says the message's fate: CANCELED, or another. Until a carrier is called
it does (see stages/scheduled.py and stages/dispatch.py), and the message's money is released then.
"""

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import Field

from pipeline import cancellations, ids
from pipeline.accounts import AccountRecord
from pipeline.cancellations import Row
from pipeline.gateway import views
from pipeline.gateway.body import Body
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, parsed
from pipeline.gateway.services import Services, services
from pipeline.store.batches import Batches
from schemas import errors
from schemas.states import STATE, Detailed

log = structlog.get_logger()

#: A message that is younger than this may not be in the read model yet; one that is older, and not there, is not.
_UNKNOWN_SECONDS = 600
_BY = "api"

router = APIRouter(tags=["Messages"])


class CancelRequest(Body):
    """Which request or upload is cancelled, with all of its messages."""

    request_id: str = Field(min_length=1, max_length=128)


@router.delete("/messages/{id}", status_code=202, summary="Cancel a message")
async def cancel(request: Request, id: str) -> Response:
    """202 with the state it had: its own status tells whether this came in time. 409 where it is known to be too late,
    404 where the account has no such message."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    known = await _known(at, account, id.lower())
    if isinstance(known, Refusal):
        return problem(known)
    rows = cancellations.of_messages(account.name, [id.lower()], _BY, at.settings.kafka.partitions)
    if refused := await _publish(at, rows):
        return problem(refused)
    log.info("gateway.cancellation", account=account.name, id=id.lower(), state=known)
    return _accepted({"id": id.lower()} | _told(known))


@router.post("/messages/cancel", status_code=202, summary="Cancel every message of a request or an upload")
async def cancel_all(request: Request) -> Response:
    """202 with its messages by state, as far as they are known: none, where nothing was told of it yet, or nobody used
    the id. 409 where all are known to be too late."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    wanted = await parsed(request, CancelRequest)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    states = await _cancel_whole(at, account, wanted.request_id)
    if isinstance(states, Refusal):
        return problem(states)
    return _accepted({"requestId": wanted.request_id, "states": states})


async def _cancel_whole(at: Services, account: AccountRecord, id_: str) -> dict[str, int] | Refusal:
    """Cancel all messages of the account's request or upload of this id, durably; how many there were by detailedState,
    as far as the read model knew. Refusals: 409 where it knows that every one of them is too late, 503."""
    if at.read_model is None:
        return unavailable("the read model is not open yet; try again")
    store = Batches(at.read_model.engine)
    upload = at.uploads.batches.recent(account.name, id_) or await asyncio.to_thread(store.get, account.name, id_)
    requests = [id_, *(upload.request_ids if upload else [])]
    progress = await asyncio.to_thread(
        store.progress, account.name, requests, upload.recipients if upload else 0, False
    )
    states = progress.detailed
    if progress.known == progress.recipients > 0 and not any(map(_in_time, states)):
        told = ", ".join(f"{count} {state}" for state, count in states.items())
        return _too_late(f"every message is with a carrier or at its end ({told})")
    partitions = at.settings.kafka.partitions
    rows = [row for one in requests for row in cancellations.of_request(account.name, one, _BY, partitions)]
    if refused := await _publish(at, rows):
        return refused
    log.info("gateway.cancellation", account=account.name, request_id=id_, requests=len(requests), states=states)
    return states


async def _known(at: Services, account: AccountRecord, id_: str) -> str | Refusal | None:
    """The detailedState of the account's message; None where it may be too young to be known."""
    if at.read_model is None:
        return unavailable("the read model is not open yet; try again")
    if ids.split(id_) is None:
        return refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no message {id_[:64]!r}: an id has 24 hex digits")
    row = await asyncio.to_thread(at.read_model.get, account.name, id_)
    if row is None:
        age = time.time() - int(id_[:8], 16)
        if abs(age) < _UNKNOWN_SECONDS and not await asyncio.to_thread(at.read_model.holds, at.accounts.names(), id_):
            return None
        return refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no message {id_!r} of this account")
    return row.detailed_state if _in_time(row.detailed_state) else _too_late(f"the message is {row.detailed_state}")


def _in_time(state: str) -> bool:
    """Whether a message of this detailedState may not have been given to a carrier yet."""
    return Detailed[state] < Detailed.IN_DOUBT


def _too_late(why: str) -> Refusal:
    return refuse(HTTPStatus.CONFLICT, errors.TOO_LATE, f"too late to cancel: {why}; nothing was changed")


async def _publish(at: Services, rows: Sequence[Row]) -> Refusal | None:
    records = [Outgoing(at.names.cancellations, row.value, row.partition, key=row.key) for row in rows]
    failed = await at.publisher.publish(records)
    return unavailable(f"{failed.message}; a repeat does no harm") if failed else None


def _told(state: str | None) -> dict[str, str | None]:
    return {"state": STATE[Detailed[state]] if state else None, "detailedState": state}


def _accepted(data: dict[str, Any]) -> Response:
    return Response(views.encode(data), HTTPStatus.ACCEPTED, media_type="application/json")
