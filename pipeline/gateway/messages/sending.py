"""A request on its way through the door: looked at, made durable, answered."""

import time
import uuid
from http import HTTPStatus

import msgspec
import orjson
import structlog
from fastapi import Request, Response

from pipeline import ids
from pipeline.accounts import AccountRecord
from pipeline.gateway import metrics, views
from pipeline.gateway.messages.idempotency import Claim, fingerprint
from pipeline.gateway.messages.preview import Preview, mistimed, preview
from pipeline.gateway.messages.simulation import Course, simulate
from pipeline.gateway.problems import Refusal, problem, refuse, unavailable
from pipeline.gateway.publisher import Outgoing
from pipeline.gateway.reading import authenticate, read_body
from pipeline.gateway.services import Services
from pipeline.gateway.views import MessageResponse, Refused
from pipeline.store.stored import StoredMessage
from pipeline.streaming.topics import BULK, PRIORITY
from pipeline.text import Template, as_sent
from schemas import errors, intake
from schemas.errors import Error

log = structlog.get_logger()

#: Characters of a text that the read model keeps.
_STORED_CHARACTERS = 5_000


class Otp(msgspec.Struct, frozen=True):
    """What the answer to a login code tells beside its message."""

    code: str
    options: dict[str, object]


async def admitted(request: Request, at: Services) -> tuple[AccountRecord, bytes] | Refusal:
    """The account, which may send, and the body. Refusals: those of `authenticate` and `read_body`, 403 blocklisted."""
    account = await authenticate(request, at)
    if isinstance(account, Refusal):
        return account
    if account.blocklisted:
        message = "The user is blocklisted. Please contact support for assistance."
        return refuse(HTTPStatus.FORBIDDEN, errors.BLOCKLISTED, message)
    body = await read_body(request, at.settings.limits.request_bytes)
    return body if isinstance(body, Refusal) else (account, body)


async def claimed(request: intake.Request, at: Services, content: bytes = b"") -> Claim | Refusal:
    """The request's claim, its id made where there is none. `content`: what the client said, if not the same."""
    now = time.time_ns() // 1_000_000
    if request.request_id is None:
        request.request_id = uuid.uuid4().hex
        return Claim(b"", now)
    who = request.account, request.request_id
    mark = fingerprint(orjson.dumps(orjson.loads(content or _value(request)), option=orjson.OPT_SORT_KEYS))
    return await at.recent.claim(
        who, mark, now, lambda stored: _same(request, stored), len(request.recipients), at.read_model
    )


async def send(request: intake.Request, claim: Claim, at: Services, otp: Otp | None = None) -> Response:
    """Answer a claimed request once it is durable; a repeat as the first time. What is prohibited is taken too, because
    the pipeline has to charge and blocklist for it, and refused with its message's id."""
    doubtful = True
    try:
        seen = examine(request, claim.timestamp_ms, at)
        if isinstance(seen, Error):
            doubtful = False
            return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, seen))
        assert request.request_id
        batch = ids.batch_id(ids.request_hash(request.account, request.request_id), 0, claim.timestamp_ms)
        id_ = ids.message_id(batch, 0)
        if claim.repeat:
            metrics.REPEATS.inc()
        else:
            claim.error = at.judge.prohibited(request, seen) if at.lists_known else None
            if failed := await _publish(request, claim, at):
                doubtful = failed.status == HTTPStatus.SERVICE_UNAVAILABLE
                return problem(failed)
            if claim.fingerprint:
                at.recent.taken(claim)
        if claim.error:
            log.info("gateway.prohibited", account=request.account, id=id_, code=claim.error.code)
            members = {"id": id_, "requestId": request.request_id}
            return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, claim.error, members=members))
        answer = _created(_view(id_, request, seen, claim, at), otp)
        if len(request.recipients) == 1 and not request.options.otp:
            at.fresh.put(id_, request.account, bytes(answer.body), time.monotonic())
        return answer
    finally:
        if claim.fingerprint and claim.under_way and request.request_id:
            at.recent.failed((request.account, request.request_id), claim, doubtful=doubtful)


async def dry_run(request: intake.Request, account: AccountRecord, at: Services, otp: Otp | None = None) -> Response:
    """What would be answered in the end, were the request sent: the message with its price, or its error."""
    request.request_id = request.request_id or uuid.uuid4().hex
    now = time.time_ns() // 1_000_000
    seen = examine(request, now, at)
    if isinstance(seen, Error):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, seen))
    found = await simulate(request, account, at)
    if isinstance(found, Refusal):
        return problem(found)
    if not found.sent:
        _, error = next(iter(found.missed.values()))
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, error))
    batch = ids.batch_id(ids.request_hash(request.account, request.request_id), 0, now)
    view = views.taken(ids.message_id(batch, 0), request, seen, 0, at.settings.billing.currency)
    _tell_course(view, found, len(request.recipients))
    return _created(view, otp)


def examine(request: intake.Request, at_ms: int, at: Services) -> Preview | Error:
    """The request as the stages will see it, if it can be sent as it is, at the time it wants, and called back for."""
    if request.callback and (wrong := at.callbacks.fault("callback.url", request.callback.url)):
        return wrong
    seen = preview(request, at.settings.limits.parts, at.wires)
    if isinstance(seen, Error):
        return seen
    return mistimed(request, seen, at_ms, at.settings.storage.retention_days) or seen


def _tell_course(view: MessageResponse, found: Course, recipients: int) -> None:
    """Prices as they would be charged; of several recipients the total, and who would get nothing."""
    prices = {batch.price_of(p) for batch in found.sent for p in range(len(batch))}
    if len(prices) == 1:
        view.price = views.money(prices.pop())
    view.total_price = views.money(found.total)
    if recipients > 1:
        view.accepted = sum(map(len, found.sent))
        view.refused = refused(found.missed)


def refused(missed: dict[int, tuple[str, Error]]) -> list[Refused]:
    """Recipients and their errors, as they are told."""
    return [
        Refused(place, number, error.code, error.message, error.permanent) for place, (number, error) in missed.items()
    ]


def _view(id_: str, request: intake.Request, seen: Preview, claim: Claim, at: Services) -> MessageResponse:
    """The price of the tariffs of Italy and Spain is fixed; worldwide it is known once a carrier took the message."""
    price = 0
    if request.options.tariff != intake.WORLDWIDE and seen.recipient and at.prices_known:
        to, moment = seen.recipient, claim.timestamp_ms
        prices = at.prices.book.at(moment).for_account(request.account, moment)
        price = prices.price(to.country, to.operator, to.number) or 0
    return views.taken(id_, request, seen, price, at.settings.billing.currency)


def _created(view: MessageResponse, otp: Otp | None) -> Response:
    if otp:
        view.is_otp, view.otp, view.otp_options = True, otp.code, otp.options
    return Response(views.encode(view), HTTPStatus.CREATED, media_type="application/json")


async def _publish(request: intake.Request, claim: Claim, at: Services) -> Refusal | None:
    topic = at.names.intake(PRIORITY if len(request.recipients) == 1 else BULK)
    failed = await at.publisher.publish([Outgoing(topic, _value(request), timestamp_ms=claim.timestamp_ms)])
    if failed is None:
        return None
    log.warning("gateway.not_taken", account=request.account, request_id=request.request_id, code=failed.code)
    if failed.permanent:
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, failed)
    assert request.request_id
    message = f"{failed.message} with this requestId, so that it is sent once whatever became of this try"
    return unavailable(message, requestId=request.request_id)


def _value(request: intake.Request) -> bytes:
    return request.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _same(request: intake.Request, stored: StoredMessage) -> bool:
    """Whether the request's first message is this one, as far as the read model tells."""
    first = request.recipients[0]
    number, fields = (first, {}) if isinstance(first, str) else (first.number, first.fields)
    template = Template.parse(request.message)
    made = template.masked() if request.options.otp else template.render({n: str(v) for n, v in fields.items()})
    if isinstance(made, str) and not request.options.otp:
        made = as_sent(made, transliterated=request.options.transliterate)
    return (
        stored.sender == (request.sender or intake.DEFAULT_SENDER)
        and stored.recipient == number
        and stored.dry_run == request.options.dry_run
        and (not stored.message or (isinstance(made, str) and stored.message == made[:_STORED_CHARACTERS]))
        and orjson.loads(stored.custom) == request.custom
    )
