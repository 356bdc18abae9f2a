"""A request of the wrong shape, told: every wrong field by the name its sender wrote."""

from collections.abc import Mapping

from pydantic import ValidationError

from schemas import errors, intake
from schemas.errors import Error

_MOST_NAMED = 10
_MOST_CHARACTERS = 500


def told(found: ValidationError, sent: Mapping[str, object]) -> Error:
    """The error for what pydantic found wrong in `sent`, an intake record or the body of a POST."""
    named: dict[str, str] = {}
    for fault in found.errors(include_url=False, include_input=False, include_context=False):
        location, kind = fault["loc"], fault["type"]
        if kind == "too_long" and location == ("recipients",):
            message = f"recipients: at most {intake.MAX_RECIPIENTS} in one request; split it"
            return Error(errors.TOO_MANY_RECIPIENTS, message)
        if kind == "string_too_short" and location == ("message",):
            return Error(errors.EMPTY_MESSAGE, "message: is empty; write a text")
        if kind == "string_too_long" and location == ("sender",):
            return Error(errors.INVALID_SENDER, "sender: 3 to 11 characters are allowed")
        text = _words(kind, fault["msg"])
        named.setdefault(_field(location, sent), text)
    listed = [f"{field}: {text}" for field, text in named.items()]
    if len(listed) > _MOST_NAMED:
        listed[_MOST_NAMED:] = [f"and {len(listed) - _MOST_NAMED} more"]
    return Error(errors.MALFORMED_REQUEST, "; ".join(listed)[:_MOST_CHARACTERS])


def by_recipient(found: ValidationError, sent: Mapping[str, object]) -> dict[int, Error] | None:
    """The error of each recipient that is wrong, by its place; None where more than single recipients are wrong."""
    named: dict[int, dict[str, str]] = {}
    for fault in found.errors(include_url=False, include_input=False, include_context=False):
        location = fault["loc"]
        if "recipients" not in sent or location[:1] != ("recipients",) or len(location) < 2:
            return None
        text = _words(fault["type"], fault["msg"])
        named.setdefault(int(location[1]), {}).setdefault(_field(location, sent), text)
    return {
        place: Error(errors.MALFORMED_REQUEST, "; ".join(map(": ".join, fields.items()))[:_MOST_CHARACTERS])
        for place, fields in named.items()
    }


def _words(kind: str, message: str) -> str:
    return "unknown field" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


def _field(location: tuple[int | str, ...], sent: Mapping[str, object]) -> str:
    """A path such as `recipients.3.number`, without the branches of unions that pydantic names in it."""
    if location[:1] == ("recipients",) and "recipient" in sent:
        # one alone stands for a list of one, so its place there says nothing
        location = ("recipient", *location[1 if isinstance(sent["recipient"], list) else 2 :])
    if location == ("recipients",) and "recipients" not in sent:
        return "recipient or recipients"
    path = [str(step) for step in location if step not in ("str", "int", "float", intake.Recipient.__name__)]
    return ".".join(path) or "request"
