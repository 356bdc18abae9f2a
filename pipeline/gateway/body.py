"""The body of a request as one JSON object, read strictly: what parsers differ on is refused, by the field's name."""

import json
import re
from collections import Counter
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from pipeline.gateway.problems import Refusal, malformed, refuse
from schemas import errors, surrogates

_NAME_SHOWN = 64
_NAME_END = re.compile(rb'"[ \t\r\n]*:').findall


class Body(BaseModel):
    """A body of one of the smaller routes: unknown fields are refused with their names."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


_B = TypeVar("_B", bound=Body)


def shaped(body: bytes, kind: type[_B]) -> _B | Refusal:
    """A body as `kind`. Refusals: those of `read_object`, 422 with every wrong field by name."""
    data = read_object(body)
    if isinstance(data, Refusal):
        return data
    try:
        return kind.model_validate(data)
    except ValidationError as found:
        return malformed(found, data, kind)


def read_object(body: bytes) -> dict[str, Any] | Refusal:
    """The object. Refusals: 400 no JSON in UTF-8; 422 no object, a name twice in one object (RFC 8259, section 4), half
    a character (a lone surrogate) in a text."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _half(body) or _not_json(str(error))
    if not isinstance(data, dict):
        return _wrong(errors.MALFORMED_REQUEST, "the body is not a JSON object")
    # Each name ends in a quote and a colon. Where these are no more than there are names, none stood twice; where they
    # are more, they may stand in a text, and are looked at closely.
    if len(_NAME_END(body)) != _names(data):
        return _checked(body, data)
    return data


def _names(data: Any) -> int:
    """Names of all objects in `data`."""
    count, left = 0, [data]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            count += len(item)
            item = item.values()
        left += [inner for inner in item if isinstance(inner, dict | list)]
    return count


def _checked(body: bytes, data: dict[str, Any]) -> dict[str, Any] | Refusal:
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            twice.append(Counter(name for name, _ in pairs).most_common(1)[0][0])

    try:
        json.loads(body, object_pairs_hook=once)
    except RecursionError:
        return _not_json("it is nested too deeply")
    if twice:
        message = f"{twice[0][:_NAME_SHOWN]}: stands twice in the same object; give it once"
        return _wrong(errors.MALFORMED_REQUEST, message)
    return data


def _half(body: bytes) -> Refusal | None:
    """Half characters are all that is wrong."""
    mended = surrogates.loads(body)
    if mended is None or not mended[1]:
        return None
    path, half = next(iter(mended[1].items()))
    named = ".".join(map(str, path)).encode("utf-8", "replace").decode()[:_NAME_SHOWN]
    return _wrong(errors.INVALID_TEXT, f"{named}: {half} is half a character and cannot be sent: remove it")


def _not_json(why: str) -> Refusal:
    return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, f"the body is not JSON in UTF-8: {why}")


def _wrong(code: int, message: str) -> Refusal:
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, code, message)
