"""`/opt-outs`: who has asked the token's account not to write any more.

What was acknowledged to anybody before a request is seen by its answer, and a change is answered once it is durable and
seen here. Opt-outs from every account belong to no account: they are neither told nor changed here.
"""

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Query, Request, Response

from pipeline import optouts
from pipeline.accounts import AccountRecord
from pipeline.gateway import views
from pipeline.gateway.body import Body, shaped
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, read_body
from pipeline.gateway.services import Services, services
from pipeline.optouts import OptOut
from pipeline.stages.fate import rfc3339
from schemas import errors
from schemas.intake import MAX_RECIPIENTS

MAX_PAGE = 1000
#: Room for MAX_RECIPIENTS numbers, however they are spaced.
MAX_BODY_BYTES = 1024 * 1024
#: A change that is durable is looked for this long.
_REFRESH_SECONDS = 5.0
#: Of so many bad numbers it is told what is wrong with them; of the others, where they stand.
_MOST_EXPLAINED = 10
#: Records put into the producer at a time, so that other requests wait a few milliseconds for a large one, no more.
_AT_ONCE = 200

router = APIRouter(tags=["Opt-outs"])


class OptOuts(Body):
    """Numbers, each looked at apart so that every bad one is told."""

    recipients: list[Any]


@router.get("/opt-outs", summary="Numbers that opted out of the account, in order")
async def page(
    request: Request,
    cursor: Annotated[str, Query(description="The last answer's nextCursor.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Response:
    """A page; `nextCursor` is null on the last. What changes meanwhile is told or not, the others once."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    after = f"+{cursor}" if cursor else ""
    if after and not optouts.is_number(after):
        message = f"cursor: {cursor[:64]!r} is none; give nextCursor as it was answered, or leave it out"
        return problem(refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message))
    if refused := await _refresh(at):
        return problem(refused)
    found = at.opt_outs.page(account.name, after, limit + 1)
    told = found[:limit]
    # Digits alone: a plus would have to be escaped in a query.
    more = told[-1].removeprefix("+") if len(found) > limit else None
    body = {"data": [{"recipient": number} for number in told], "nextCursor": more}
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/opt-outs/{number}", summary="Whether a number opted out of the account")
async def get(request: Request, number: str) -> Response:
    asked = await _asked(request, number)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, recipient, at = asked
    return _one(recipient) if at.opt_outs.holds(account.name, recipient) else _absent(recipient)


@router.put("/opt-outs/{number}", status_code=201, summary="A number opts out of the account")
async def put(request: Request, number: str) -> Response:
    """201 where it is new, 200 where it was there; nothing of it changes then."""
    asked = await _asked(request, number)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, recipient, at = asked
    if at.opt_outs.holds(account.name, recipient):
        return _one(recipient)
    refused = await _change(at, _added(at, account, [recipient]))
    return problem(refused) if refused else _one(recipient, HTTPStatus.CREATED)


@router.delete("/opt-outs/{number}", status_code=204, summary="A number may be written to again")
async def delete(request: Request, number: str) -> Response:
    asked = await _asked(request, number)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, recipient, at = asked
    if not at.opt_outs.holds(account.name, recipient):
        return _absent(recipient)
    gone = Outgoing(at.names.opt_outs, None, key=optouts.key(account.name, recipient))
    refused = await _change(at, [gone])
    return problem(refused) if refused else Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/opt-outs", status_code=201, summary="Numbers opt out of the account")
async def create(request: Request) -> Response:
    """201 with how many are new (`added`) and how many were there (`known`). One that is no number refuses all."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return problem(account)
    body = await read_body(request, MAX_BODY_BYTES)
    wanted = body if isinstance(body, Refusal) else _parse(body)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    if refused := await _refresh(at):
        return problem(refused)
    new = [number for number in wanted if not at.opt_outs.holds(account.name, number)]
    if new and (refused := await _change(at, _added(at, account, new))):
        return problem(refused)
    counts = {"added": len(new), "known": len(wanted) - len(new)}
    return Response(views.encode(counts), HTTPStatus.CREATED, media_type="application/json")


async def _asked(request: Request, number: str) -> tuple[AccountRecord, str, Services] | Refusal:
    """Who asks about which number, once what was acknowledged until now is seen. The plus may be left out."""
    at = services(request)
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return account
    recipient = number if number.startswith("+") else f"+{number}"
    if wrong := optouts.fault(recipient):
        message = f"number: {number[:64]!r}: {wrong}"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.INVALID_RECIPIENT, message)
    return await _refresh(at) or (account, recipient, at)


async def _refresh(at: Services) -> Refusal | None:
    """See what was acknowledged before this call."""
    if "optOuts" in at.missing:
        return unavailable("the opt-outs are not read yet; try again")
    try:
        async with asyncio.timeout(_REFRESH_SECONDS):
            await at.opt_outs.refresh()
    except (TimeoutError, KafkaError):
        return unavailable("the opt-outs cannot be read; try again, a repeat changes nothing")
    return None


async def _change(at: Services, records: Sequence[Outgoing]) -> Refusal | None:
    """Make the records durable and see them."""
    for start in range(0, len(records), _AT_ONCE):
        if failed := await at.publisher.publish(records[start : start + _AT_ONCE]):
            return unavailable(failed.message)
    return await _refresh(at)


def _added(at: Services, account: AccountRecord, numbers: Sequence[str]) -> list[Outgoing]:
    now = rfc3339(time.time_ns() // 1_000_000)
    found = [OptOut(account.name, number, now, "api") for number in numbers]
    return [Outgoing(at.names.opt_outs, one.value, key=one.key) for one in found]


def _parse(body: bytes) -> list[str] | Refusal:
    """The numbers of a POST, each once."""
    wanted = shaped(body, OptOuts)
    if isinstance(wanted, Refusal):
        return wanted
    recipients = wanted.recipients
    if len(recipients) > MAX_RECIPIENTS:
        message = f"recipients: at most {MAX_RECIPIENTS} in one request; split it"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.TOO_MANY_RECIPIENTS, message)
    bad = [place for place, one in enumerate(recipients) if not (isinstance(one, str) and optouts.is_number(one))]
    if bad:
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.INVALID_RECIPIENT, _told(recipients, bad))
    return list(dict.fromkeys(recipients))


def _told(recipients: Sequence[Any], bad: Sequence[int]) -> str:
    """Every bad number by its place in the request, the first ones with what is wrong."""
    explained = []
    for place in bad[:_MOST_EXPLAINED]:
        number = recipients[place]
        wrong = optouts.fault(number) if isinstance(number, str) else "not a string"
        explained.append(f"recipients.{place}: {wrong}")
    if others := bad[_MOST_EXPLAINED:]:
        explained.append("and also " + ", ".join(f"recipients.{place}" for place in others))
    return f"recipients: {len(bad)} of {len(recipients)} are no numbers, nothing was taken: {'; '.join(explained)}"


def _one(recipient: str, status: int = HTTPStatus.OK) -> Response:
    return Response(views.encode({"recipient": recipient}), status, media_type="application/json")


def _absent(recipient: str) -> Response:
    return problem(refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"{recipient} has not opted out of this account"))
