"""A request of the wrong shape, told: every wrong field by the name its sender wrote, in plain words."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from schemas import errors, intake
from schemas.errors import Error

_MOST_NAMED = 10
_MOST_CHARACTERS = 500
_RECIPIENT = intake.Recipient.__name__
_URL = "a URL such as https://client.example/told is wanted"
#: By pydantic's type of error; what is not here has words of our own, or keeps pydantic's.
_WORDS = {
    "extra_forbidden": "unknown field",
    "missing": "is missing",
    "string_type": "a text is wanted",
    "bool_type": "true or false is wanted",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number is wanted"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number is wanted"),
    "list_type": "a list is wanted",
    **dict.fromkeys(("dict_type", "model_type"), "an object is wanted"),
    "literal_error": "{expected} is wanted",
    **dict.fromkeys(("string_too_short", "too_short"), "is empty"),
    "string_too_long": "at most {max_length} characters are allowed",
    "too_long": "at most {max_length} allowed, there are {actual_length}",
    "greater_than_equal": "{ge} or more is wanted",
    "less_than_equal": "{le} or less is wanted",
    **dict.fromkeys(("url_type", "url_parsing", "url_scheme", "url_syntax_violation"), _URL),
    "url_too_long": "at most {max_length} characters are allowed",
}
_FORMS = 'a text such as "+393331234567" is wanted, or {{"number": "+393331234567", "fields": {{…}}}}{more}'


def told(found: ValidationError, sent: Mapping[str, object], model: type[BaseModel] = intake.Request) -> Error:
    """The error for what pydantic found wrong in `sent`, an intake record or the body of a POST; `model`: what it was
    to be."""
    named: dict[str, str] = {}
    for fault in _faults(found):
        location, kind = fault["loc"], fault["type"]
        if kind == "too_long" and location == ("recipients",):
            message = f"recipients: at most {intake.MAX_RECIPIENTS} in one request; split it"
            return Error(errors.TOO_MANY_RECIPIENTS, message)
        if kind == "string_too_short" and location == ("message",):
            return Error(errors.EMPTY_MESSAGE, "message: is empty; write a text")
        if kind == "string_too_long" and location == ("sender",):
            return Error(errors.INVALID_SENDER, "sender: 3 to 11 characters are allowed")
        named.setdefault(_field(location, sent), _told(fault, sent, model))
    listed = [f"{field}: {text}" for field, text in named.items()]
    if len(listed) > _MOST_NAMED:
        listed[_MOST_NAMED:] = [f"and {len(listed) - _MOST_NAMED} more"]
    return Error(errors.MALFORMED_REQUEST, "; ".join(listed)[:_MOST_CHARACTERS])


def by_recipient(found: ValidationError, sent: Mapping[str, object]) -> dict[int, Error] | None:
    """The error of each recipient that is wrong, by its place; None where more than single recipients are wrong."""
    named: dict[int, dict[str, str]] = {}
    for fault in _faults(found):
        location = fault["loc"]
        if "recipients" not in sent or location[:1] != ("recipients",) or len(location) < 2:
            return None
        named.setdefault(int(location[1]), {}).setdefault(_field(location, sent), _told(fault, sent, intake.Request))
    return {
        place: Error(errors.MALFORMED_REQUEST, "; ".join(map(": ".join, fields.items()))[:_MOST_CHARACTERS])
        for place, fields in named.items()
    }


def words(fault: Mapping[str, Any]) -> str:
    """What pydantic found wrong with one value."""
    if known := _WORDS.get(fault["type"]):
        return known.format(**fault.get("ctx", {}))
    return str(fault["msg"]).removeprefix("Value error, ")


def _faults(found: ValidationError) -> Iterator[Mapping[str, Any]]:
    """What is wrong, of a recipient only what is wrong with the form it was given in."""
    for fault in found.errors(include_url=False):
        if fault["loc"][:1] != ("recipients",) or fault["loc"][-1] != "str" or not isinstance(fault["input"], dict):
            yield fault


def _told(fault: Mapping[str, Any], sent: Mapping[str, object], model: type[BaseModel]) -> str:
    location = fault["loc"]
    if location[:1] == ("recipients",):
        if len(location) == 3:  # neither of the forms
            alone = "recipient" in sent and not isinstance(sent["recipient"], list)
            return _FORMS.format(more=", or a list of these" if alone else "")
        if "fields" in location[:-1]:
            return "a text or a number is wanted"
    if fault["type"] != "extra_forbidden":
        return words(fault)
    home = _homes(model).get(str(location[-1]))
    if home is None:
        return words(fault)
    where = f"in {_field((home,), sent)}" if home else f"beside {_field(location[:1], sent)}, not in it"
    return f"{words(fault)}; it belongs {where}"


@cache
def _homes(model: type[BaseModel]) -> dict[str, str]:
    """The object that each field of a request belongs in; "" for the request itself."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            found |= {one.alias or own: field.alias or name for own, one in inner.model_fields.items()}
    return found | {field.alias or name: "" for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models(one)


def _field(location: tuple[int | str, ...], sent: Mapping[str, object]) -> str:
    """A path such as `recipients.3.number`, without the branches of unions that pydantic names in it."""
    if location[:1] == ("recipients",) and "recipient" in sent:
        # one alone stands for a list of one, so its place there says nothing
        location = ("recipient", *location[1 if isinstance(sent["recipient"], list) else 2 :])
    if location == ("recipients",) and "recipients" not in sent:
        return "recipient or recipients"
    path = [str(step) for step in location if step not in ("str", "int", "float", _RECIPIENT)]
    return ".".join(path) or "request"
