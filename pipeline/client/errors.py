"""What goes wrong, as exceptions: a client's users expect them."""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Base of everything that this client raises of itself.

    `request_id`: what made the request harmless to repeat, if it was a POST: give it again, and nothing is sent twice.
    """

    request_id: str | None = None


class ApiError(ClientError):
    """The gateway refused.

    `status`: of HTTP. `code`: as the contract has it; None where something on the way answered instead
    of the gateway. `permanent`: the same again will be refused again. `retry_after`: seconds, where it was told.
    `details`: the whole problem, such as `badLines` of an upload or the `id` of a message that was blocked.
    """

    def __init__(
        self,
        status: int,
        code: int | None,
        message: str,
        *,
        permanent: bool,
        retry_after: float | None = None,
        request_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code or f'HTTP {status}'}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.permanent = permanent
        self.retry_after = retry_after
        self.request_id = request_id
        self.details = details or {}


class Unreachable(ClientError):
    """No answer, however often it was tried: whether the request was taken is not known. The cause is chained."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class BadAnswer(ClientError):
    """An answer that is not the gateway's, or of another version of it than this client understands."""


class StillOpen(ClientError, TimeoutError):
    """The time given to `wait` is over and there is no final state; `last` is what was seen last."""

    def __init__(self, message: str, last: object) -> None:
        super().__init__(message)
        self.last = last


class BadSignature(ClientError):
    """A callback that this gateway has not signed, or not within the last five minutes."""
