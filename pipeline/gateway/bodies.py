"""JSON bodies of small requests, as pydantic models."""

from http import HTTPStatus
from typing import TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from pipeline.gateway.problems import Refusal, malformed, refuse
from pipeline.gateway.reading import read_body
from schemas import errors

MAX_BODY_BYTES = 64 * 1024


class Body(BaseModel):
    """A body of these routes: unknown fields are refused with their names."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


_B = TypeVar("_B", bound=Body)


async def parsed(request: Request, kind: type[_B]) -> _B | Refusal:
    """The body as `kind`; one that is empty has no fields."""
    body = await read_body(request, MAX_BODY_BYTES)
    if isinstance(body, Refusal):
        return body
    try:
        data = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        return refuse(HTTPStatus.BAD_REQUEST, errors.MALFORMED_REQUEST, f"the body is not JSON in UTF-8: {error}")
    if not isinstance(data, dict):
        message = "the body is not a JSON object"
        return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)
    try:
        return kind.model_validate(data)
    except ValidationError as found:
        return malformed(found, data)
