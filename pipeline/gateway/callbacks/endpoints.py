"""`/callbacks/endpoints`: where the token's account wants to be told, and of what. What was acknowledged to anybody
before a request is seen by its answer; secrets are shown once, when they are made.
"""

import time
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import Field, field_validator

from pipeline import ids
from pipeline.accounts import AccountRecord
from pipeline.callbacks import endpoints, replay
from pipeline.callbacks.endpoints import CHOICES, Endpoint, told
from pipeline.gateway import views
from pipeline.gateway.account.acts import act
from pipeline.gateway.body import Body
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, parsed
from pipeline.gateway.services import Services, services
from pipeline.records import encode
from pipeline.stages.fate import rfc3339
from pipeline.tokens import Scope
from schemas import errors
from schemas.intake import CallableUrl

#: Endpoints an account may have: each event is told to every one of them.
MOST_ENDPOINTS = 20
#: How long a secret is valid beside its successor, unless told.
KEEP_HOURS = 24.0

router = APIRouter(tags=["Callbacks"])


class EndpointBody(Body):
    """An endpoint as a client describes it. `events`: types, or names of several; `batch`: most events a call, each
    waiting `batchMilliseconds` at most for others."""

    url: CallableUrl = Field(strict=False)
    events: list[str] = Field(min_length=1, max_length=len(CHOICES))
    description: str = Field(default="", max_length=256)
    batch: int = Field(default=1, ge=1, le=1000)
    batch_milliseconds: int = Field(default=0, ge=0, le=60_000)
    enabled: bool = True

    @field_validator("events")
    @classmethod
    def _known(cls, events: list[str]) -> list[str]:
        if unknown := [name for name in events if name not in CHOICES]:
            raise ValueError(f"{unknown[0][:64]!r} is not one of {', '.join(CHOICES)}")
        return list(dict.fromkeys(events))


class RotationBody(Body):
    """How long the secret that was the newest is valid yet; 0 where it leaked."""

    keep_hours: float = Field(default=KEEP_HOURS, ge=0, le=24 * 30, strict=False)


@router.get("/callbacks/endpoints", summary="The account's callback endpoints, oldest first")
async def page(request: Request) -> Response:
    """All of them; there are few. Their secrets are not among what is told."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    return _answer([told(one) for one in at.callbacks.endpoints.of(account.name)])


@router.post("/callbacks/endpoints", status_code=201, summary="Make a callback endpoint")
async def create(request: Request) -> Response:
    """201 with its `secret`, which is shown this once."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, at = asked
    body = await parsed(request, EndpointBody)
    if isinstance(body, Refusal):
        return problem(body)
    if wrong := at.callbacks.fault("url", body.url):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, wrong))
    if len(list(at.callbacks.endpoints.of(account.name))) >= MOST_ENDPOINTS:
        message = f"an account may have {MOST_ENDPOINTS} endpoints; remove one first"
        return problem(refuse(HTTPStatus.CONFLICT, errors.TOO_MANY_ENDPOINTS, message))
    now = rfc3339(time.time_ns() // 1_000_000)
    secret = endpoints.new_secret(now)
    made = Endpoint(
        id=endpoints.new_id(), account=account.name, secrets=[secret], created_at=now, updated_at=now, **_fields(body)
    )
    refused = await _change(request, at, "endpoint.create", made)
    return problem(refused) if refused else _answer(told(made) | {"secret": secret.key}, HTTPStatus.CREATED)


@router.get("/callbacks/endpoints/{id}", summary="One callback endpoint")
async def get(request: Request, id: str) -> Response:
    found = await _one(request, id)
    return problem(found) if isinstance(found, Refusal) else _answer(told(found[0]))


@router.put("/callbacks/endpoints/{id}", summary="Change a callback endpoint")
async def put(request: Request, id: str) -> Response:
    """What is left out is as by default; secrets stay. What waits for one that is disabled is given up."""
    found = await _one(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    endpoint, at = found
    body = await parsed(request, EndpointBody)
    if isinstance(body, Refusal):
        return problem(body)
    if wrong := at.callbacks.fault("url", body.url):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, wrong))
    now = rfc3339(time.time_ns() // 1_000_000)
    changed = msgspec.structs.replace(endpoint, updated_at=now, **_fields(body))
    refused = await _change(request, at, "endpoint.change", changed)
    return problem(refused) if refused else _answer(told(changed))


@router.delete("/callbacks/endpoints/{id}", status_code=204, summary="Remove a callback endpoint")
async def delete(request: Request, id: str) -> Response:
    """What waits for it is given up."""
    found = await _one(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    endpoint, at = found
    refused = await _change(request, at, "endpoint.remove", endpoint, gone=True)
    return problem(refused) if refused else Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/callbacks/endpoints/{id}/secrets", status_code=201, summary="Rotate the secret of a callback endpoint")
async def rotate(request: Request, id: str) -> Response:
    """201 with the new `secret`, shown this once. Calls are signed with it and, for `keepHours`, with the old one."""
    found = await _one(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    endpoint, at = found
    body = await parsed(request, RotationBody)
    if isinstance(body, Refusal):
        return problem(body)
    changed = endpoint.rotated(body.keep_hours)
    refused = await _change(request, at, "endpoint.rotate", changed)
    if refused:
        return problem(refused)
    return _answer(told(changed) | {"secret": changed.secrets[-1].key}, HTTPStatus.CREATED)


@router.post("/callbacks/endpoints/{id}/test", status_code=202, summary="Have a callback endpoint called")
async def test(request: Request, id: str) -> Response:
    """202 with the `webhook-id` of an event `endpoint.test`; what becomes of it is among the deliveries."""
    found = await _one(request, id)
    if isinstance(found, Refusal):
        return problem(found)
    endpoint, at = found
    if not endpoint.enabled:
        message = f"endpoint {endpoint.id} is disabled; enable it first"
        return problem(refuse(HTTPStatus.CONFLICT, errors.ENDPOINT_DISABLED, message))
    now = rfc3339(time.time_ns() // 1_000_000)
    again = replay.test_event(endpoint, endpoints.new_id().replace("ep_", "evt_"), now)
    home = ids.partition_of(endpoint.account.encode(), at.settings.kafka.partitions)
    failed = await at.publisher.publish([Outgoing(at.names.callbacks, encode([again]), home)])
    return problem(unavailable(failed.message)) if failed else _answer({"id": again.event.id}, HTTPStatus.ACCEPTED)


async def _change(
    request: Request, at: Services, action: str, endpoint: Endpoint, *, gone: bool = False
) -> Refusal | None:
    """Make the act and the endpoint durable, and see it. The URL's query may hold a secret: it is not told."""
    url, _, _ = endpoint.url.partition("?")
    told_of = act(request, action, endpoint.account, endpoint=endpoint.id, url=url, events=endpoint.events)
    value = None if gone else endpoint.value
    return await at.callbacks.change([told_of, Outgoing(at.names.endpoints, value, key=endpoint.key)])


def _fields(body: EndpointBody) -> dict[str, Any]:
    return body.model_dump() | {"url": str(body.url)}


async def _asked(request: Request) -> tuple[AccountRecord, Services] | Refusal:
    """Who asks, once what was acknowledged until now is seen. An endpoint is told everything its account sends, so
    that to change one is not for those who may only send."""
    at = services(request)
    account = await authenticate(request, at, Scope.READ if request.method == "GET" else Scope.ADMIN)
    if isinstance(account, Refusal):
        return account
    return await at.callbacks.refresh() or (account, at)


async def _one(request: Request, id_: str) -> tuple[Endpoint, Services] | Refusal:
    """The endpoint of the token's account; another's is not found."""
    asked = await _asked(request)
    if isinstance(asked, Refusal):
        return asked
    account, at = asked
    found = at.callbacks.endpoints.get(id_)
    if found is None or found.account != account.name:
        return refuse(HTTPStatus.NOT_FOUND, errors.NOT_FOUND, f"no endpoint {id_[:64]!r} of this account")
    return found, at


def _answer(data: Any, status: int = HTTPStatus.OK) -> Response:
    return Response(views.encode(data), status, media_type="application/json")
