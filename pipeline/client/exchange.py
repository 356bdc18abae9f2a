"""How calls are carried out, without carrying them out: generators that say what to do next, so that repeats, pauses
and waiting are written once for the sync and the async client."""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

import msgspec

from pipeline.client.calls import Call, Stream, read_answer
from pipeline.client.errors import ApiError, ClientError, Unreachable

T = TypeVar("T")

#: Answers after which the same may succeed a moment later.
_PASSING = {429, 502, 503, 504}
#: Answers that are not for good, and not worth repeating at once.
_NOT_PERMANENT = {408, 425, 500}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back. `sent`: whether the gateway may have got the request."""

    error: Exception
    sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


#: What an operation does: calls and pauses, each answered with the call's value (or its error thrown in).
Script: TypeAlias = Generator[Call[Any] | Pause, Any, T]
#: The same one level down: single exchanges, each answered with its outcome.
Steps: TypeAlias = Generator[Call[Any] | Pause, "Answer | NoAnswer | None", T]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and when a call is repeated: after `first` seconds, then twice as long each time, less up to a half at
    random, or when Retry-After says. One that says longer than `longest` is not waited for."""

    most: int = 5
    first: float = 0.25
    longest: float = 30.0

    def pause(self, call: Call[Any], outcome: Answer | NoAnswer, tried: int) -> float | None:
        """Seconds until the next try; None where there is none. `tried`: repeats so far."""
        if tried >= self.most or (isinstance(call.body, Stream) and not call.body.fresh):
            return None
        backoff: float = min(self.longest, self.first * 2**tried) * random.uniform(0.5, 1)  # noqa: S311  (no secret)
        if isinstance(outcome, NoAnswer):
            return backoff if call.repeatable or not outcome.sent else None
        if not _passing(outcome) or not (call.repeatable or outcome.status == HTTPStatus.TOO_MANY_REQUESTS):
            return None
        asked = retry_after(outcome)
        if asked is None:
            return backoff
        return None if asked > self.longest else max(asked, backoff)


def one(call: Call[T]) -> Script[T]:
    """The script of a single call."""
    value: T = yield call
    return value


def carried_out(script: Script[T], retries: Retries) -> Steps[T]:
    """The script's calls as exchanges, repeated as `retries` has it."""
    proceed: Callable[[], Call[Any] | Pause] = script.__next__
    while True:
        try:
            step = proceed()
        except StopIteration as done:
            value: T = done.value
            return value
        if isinstance(step, Pause):
            yield step
            proceed = script.__next__
        else:
            proceed = yield from _answered(script, step, retries)


def _answered(script: Script[T], call: Call[Any], retries: Retries) -> Steps[Callable[[], Call[Any] | Pause]]:
    """How the script goes on once its call is answered."""
    try:
        value = yield from _attempts(call, retries)
    except ClientError as error:
        raised = error
        return lambda: script.throw(raised)
    return lambda: script.send(value)


def _attempts(call: Call[T], retries: Retries) -> Steps[T]:
    tried = 0
    while True:
        outcome = yield call
        assert outcome is not None
        seconds = retries.pause(call, outcome, tried)
        if seconds is None:
            return _value(call, outcome)
        tried += 1
        yield Pause(seconds)


def _value(call: Call[T], outcome: Answer | NoAnswer) -> T:
    if isinstance(outcome, NoAnswer):
        message = f"{call.method} {call.path}: {type(outcome.error).__name__}: {outcome.error}"
        raise Unreachable(message, call.request_id) from outcome.error
    if outcome.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise refused(outcome, call.request_id)
    return read_answer(call, outcome.body)


def _passing(answer: Answer) -> bool:
    """Whether the same may succeed a moment later: also where the first try of it is still being worked on."""
    under_way = answer.status == HTTPStatus.CONFLICT and "retry-after" in answer.headers
    return answer.status in _PASSING or under_way


class _Problem(msgspec.Struct):
    """Problem details (RFC 9457) with the contract's `code` and `message`."""

    code: int | None = None
    message: str | None = None
    permanent: bool | None = None


def refused(answer: Answer, request_id: str | None = None) -> ApiError:
    """The error that an answer tells, also one that no gateway wrote."""
    try:
        told = msgspec.json.decode(answer.body, type=_Problem)
        details = msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told, details = _Problem(), {}
    known = answer.status in set(HTTPStatus)
    passing = answer.status in _NOT_PERMANENT or _passing(answer)
    return ApiError(
        answer.status,
        told.code,
        told.message or (HTTPStatus(answer.status).phrase if known else "unknown status"),
        permanent=not passing if told.permanent is None else told.permanent,
        retry_after=retry_after(answer),
        request_id=request_id,
        details=details,
    )


def retry_after(answer: Answer) -> float | None:
    """Seconds of the header Retry-After (RFC 9110, section 10.2.3): a number, or until a date. None where it says
    nothing that can be read."""
    told = answer.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
