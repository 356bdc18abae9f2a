"""Operations on opt-outs, as pure functions from their arguments to calls."""

from collections.abc import Iterable
from http import HTTPStatus

from pipeline.client.answers import OptedOut, OptOut
from pipeline.client.calls import Call, Page, data, json_body, nothing, paged, segment
from pipeline.client.errors import ApiError
from pipeline.client.exchange import Script
from pipeline.client.requests import text

_read_counts = data(OptedOut)


def opt_outs(*, page_size: int = 1000) -> Call[Page[OptOut]]:
    """The numbers that opted out of the account, in order."""
    return paged("/opt-outs", OptOut, {"limit": page_size})


def opted_out(number: str) -> Script[bool]:
    """Whether a number opted out of the account."""
    try:
        yield Call("GET", _path(number), nothing)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True


def opt_out(numbers: str | Iterable[str]) -> Call[OptedOut]:
    """Numbers (up to 10,000) opt out of the account; in force at the gateway once this returns."""
    wanted = [text("number", one) for one in ([numbers] if isinstance(numbers, str) else numbers)]
    return Call("POST", "/opt-outs", _read_counts, **json_body({"recipients": wanted}))


def opt_in(number: str) -> Script[None]:
    """A number may be written to again; one that had not opted out is left as it is."""
    try:
        yield Call("DELETE", _path(number), nothing)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _path(number: str) -> str:
    return f"/opt-outs/{segment(text('number', number).removeprefix('+'))}"
