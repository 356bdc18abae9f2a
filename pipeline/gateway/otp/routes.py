"""`/otp`, `/otp/verify`: login codes, sent in the recipient's language and verified once."""

import secrets
import time
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import Field

from pipeline.accounts import AccountRecord
from pipeline.gateway import metrics, views
from pipeline.gateway.body import Body, shaped
from pipeline.gateway.messages.idempotency import Claim, key_of
from pipeline.gateway.messages.sending import Otp, admitted, claimed, dry_run, examine, send
from pipeline.gateway.otp.codes import Shape, Verdict
from pipeline.gateway.otp.texts import CODE, text_for
from pipeline.gateway.problems import Refusal, problem
from pipeline.gateway.services import Services, services
from pipeline.numbers import Recipient, classify
from pipeline.text import Template
from schemas import errors, intake
from schemas.errors import Error

log = structlog.get_logger()

#: The sender of login codes (HTTP contract).
SENDER = "OTP MOBILE"
_LENGTHS = range(4, 11)
_MOST_CACHE_SECONDS = 600
#: Longest code that is looked at: anything longer is none.
_CODE_CHARACTERS = 64

router = APIRouter(tags=["OTP"])


class OtpOptions(Body):
    """Those of the contract."""

    dry_run: bool = False
    fail_on_multiple_messages: bool = False


class OtpRequest(Body):
    """As the contract has it; the length is looked at apart, because it has an error of its own."""

    recipient: str
    alphanumeric: bool = False
    length: int = 5
    cache_seconds: int = Field(default=0, ge=0, le=_MOST_CACHE_SECONDS)
    options: OtpOptions = Field(default_factory=OtpOptions)
    callback: intake.Callback | None = None

    @property
    def shape(self) -> Shape:
        return Shape(self.length, self.alphanumeric)


class VerifyRequest(Body):
    recipient: str
    code: str = Field(min_length=1, max_length=_CODE_CHARACTERS)


@router.post("/otp", status_code=201, summary="Send a login code")
async def create(request: Request) -> Response:
    """Make a code and send it; the same once more within `cacheSeconds` of the first, where both ask for that. 201 once
    the message is durable; the code can be verified from then on."""
    at = services(request)
    asked = await admitted(request, at)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, body = asked
    wanted = shaped(body, OtpRequest)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    to = _to(wanted.recipient) if wanted.length in _LENGTHS else _bad_length()
    key = key_of(request)
    if isinstance(to, Error):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, to))
    if isinstance(key, Refusal):
        return problem(key)
    message = _message(wanted, to, account, key, at)
    if wanted.options.dry_run:  # a code that nobody keeps
        sample = at.otps.code(account.name, to.number, secrets.token_hex(16), wanted.shape)
        return await dry_run(_with(message, sample), account, at, _told(wanted, sample))
    if isinstance(wrong := examine(_with(message, "0" * wanted.length), time.time_ns() // 1_000_000, at), Error):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, wrong))  # before there is a code: the last one stays
    claim = await claimed(message, at, wanted.model_dump_json(by_alias=True).encode())
    if isinstance(claim, Refusal):
        return problem(claim)
    code = await _code(wanted, to, message, claim, at)
    if isinstance(code, Refusal):
        if key:
            at.recent.failed((account.name, key), claim, doubtful=False)
        return problem(code)
    return await send(_with(message, code), claim, at, _told(wanted, code))


@router.post("/otp/verify", status_code=200, summary="Verify a login code")
async def verify(request: Request) -> Response:
    """`verified` once for the right code; `attemptsLeft` counts down for every recipient, whether there is a code or
    not."""
    at = services(request)
    asked = await admitted(request, at)
    if isinstance(asked, Refusal):
        return problem(asked)
    account, body = asked
    wanted = shaped(body, VerifyRequest)
    if isinstance(wanted, Refusal):
        return problem(wanted)
    to = _to(wanted.recipient)
    if isinstance(to, Error):
        return problem(Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, to))
    verdict = await at.otps.verify(account.name, to.number, wanted.code, at.publisher)
    if isinstance(verdict, Refusal):
        return problem(verdict)
    _note(account, verdict)
    view = {"verified": verdict.verified, "attemptsLeft": verdict.attempts_left}
    return Response(views.encode(view), media_type="application/json")


def _to(number: str) -> Recipient | Error:
    found = classify(number)
    return found.of("recipient") if isinstance(found, Error) else found


def _bad_length() -> Error:
    return Error(errors.OTP_LENGTH, "Length must be between 4 and 10.")


def _message(
    wanted: OtpRequest, to: Recipient, account: AccountRecord, key: str | None, at: Services
) -> intake.Request:
    """The message without its code, which must not arrive when it is of no more use."""
    options: dict[str, Any] = {
        "dryRun": wanted.options.dry_run,
        "failOnMultipleMessages": wanted.options.fail_on_multiple_messages,
        "validitySeconds": max(wanted.cache_seconds, at.settings.otp.lifetime_seconds),
        "otp": True,
    }
    content: dict[str, Any] = {
        "account": account.name,
        "sender": SENDER,
        "recipients": [{"number": to.number}],
        "message": text_for(to.country),
        "options": options,
    }
    if key is not None:
        content["requestId"] = key
    message = intake.Request.model_validate(content)
    if wanted.callback:
        message.callback = wanted.callback
    return message


def _with(message: intake.Request, code: str) -> intake.Request:
    """The message with its code, in the recipient's field: there it is masked wherever the text is told."""
    only = message.recipients[0]
    assert isinstance(only, intake.Recipient)
    message.recipients = [intake.Recipient(number=only.number, fields={CODE: code})]
    return message


async def _code(
    wanted: OtpRequest, to: Recipient, message: intake.Request, claim: Claim, at: Services
) -> str | Refusal:
    """The code to send; of a repeat the one that was sent."""
    account = message.account
    assert message.request_id
    nonce = claim.nonce or (at.otps.nonce_of(account, message.request_id) if claim.fingerprint else "")
    if claim.repeat:
        code = at.otps.code_again if wanted.cache_seconds and not claim.nonce else at.otps.code
        return code(account, to.number, nonce, wanted.shape)
    template = Template.parse(message.message)

    def fit(code: str) -> bool:
        """Not prohibited by chance: the account would pay for it."""
        text = template.render({CODE: code})
        return not at.lists_known or not (isinstance(text, str) and at.judge.blocks(text, account))

    made = await at.otps.issue(account, to.number, wanted.shape, wanted.cache_seconds, nonce, fit, at.publisher)
    if isinstance(made, Refusal):
        return made
    claim.nonce = made.challenge.nonce
    metrics.OTP_CODES.labels("cached" if made.cached else "new").inc()
    return made.code


def _told(wanted: OtpRequest, code: str) -> Otp:
    shape: dict[str, object] = {
        "length": wanted.length,
        "alphanumeric": wanted.alphanumeric,
        "cacheSeconds": wanted.cache_seconds,
    }
    return Otp(code, shape)


def _note(account: AccountRecord, verdict: Verdict) -> None:
    result = "verified" if verdict.verified else "wrong" if verdict.attempts_left else "used up"
    metrics.OTP_ATTEMPTS.labels(result).inc()
    log.info("otp.tried", account=account.name, result=result)
