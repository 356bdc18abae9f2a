"""Bodies and answers as OpenAPI's media type objects: what is wrapped how, with an example of each."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.gateway.openapi.examples import CSV, EXAMPLES

JSON, NDJSON, MULTIPART, TEXT_CSV = "application/json", "application/x-ndjson", "multipart/form-data", "text/csv"
_CURSOR = {
    "type": ["string", "null"],
    "description": "Where the next page begins, to be given as `cursor`; null on the last page.",
}
_BESIDE = {"version": "The list's version; where it changes from page to page, begin anew."}


class Answer(msgspec.Struct, frozen=True):
    """`content`: media type objects by media type; empty where there is no body."""

    text: str
    content: Mapping[str, Any] = {}


class Body(msgspec.Struct, frozen=True):
    content: Mapping[str, Any]
    required: bool = True


def ref(name: str) -> dict[str, Any]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def one(name: str, text: str, example: str = "") -> Answer:
    """`{"data": …}`."""
    return Answer(text, {JSON: _wrapped(ref(name), {"data": EXAMPLES[example or name]})})


def listed(name: str, text: str, **beside: str) -> Answer:
    """`{"data": […]}`. `beside`: members beside it, and the example that has their value."""
    return Answer(text, {JSON: _list(name, {}, {}, beside)})


def page(name: str, text: str, **beside: str) -> Answer:
    """`{"data": […], "nextCursor": …}`."""
    return Answer(text, {JSON: _list(name, {"nextCursor": _CURSOR}, {"nextCursor": None}, beside)})


def page_or_csv(name: str, text: str) -> Answer:
    """A page, or all of it as a file."""
    schema = {"type": "string", "description": "RFC 4180, UTF-8, the names of the columns first."}
    return Answer(text, {**page(name, text).content, TEXT_CSV: {"schema": schema, "example": CSV[name]}})


def text(media_type: str, text: str, name: str = "", example: str = "") -> Answer:
    """What is wrapped in nothing: text, or JSON where `name` is a schema."""
    found = {"schema": ref(name) if name else {"type": "string"}}
    if known := EXAMPLES.get(example or name):
        found["example"] = known
    return Answer(text, {media_type: found})


def blank(text: str) -> Answer:
    """No body."""
    return Answer(text)


def json(name: str, required: bool = True, example: str = "") -> Body:
    """A JSON object; not `required`: one without fields may be left out."""
    return Body({JSON: {"schema": ref(name), "example": EXAMPLES[example or name]}}, required)


def upload(name: str) -> Body:
    """The request and a file, or both as lines."""
    parts = {
        "type": "object",
        "required": ["request", "recipients"],
        "properties": {
            "request": ref(name) | {"description": "The first part: what is sent, without recipients; up to 256 KiB."},
            "recipients": {
                "type": "string",
                "contentMediaType": "text/csv",
                "description": "The second part: CSV with a column `number`, a number a line, or NDJSON; or one of "
                "these packed by gzip. The part's type, its file name or its first line tell which.",
            },
        },
    }
    lines = {
        "type": "string",
        "description": f'A line of JSON as `{name}`, then a recipient a line: `"+39…"` or '
        '`{"number": "+39…", "fields": {…}}`.',
    }
    example = {"request": EXAMPLES[name], "recipients": CSV["recipients"]}
    encoding = {"request": {"contentType": JSON}, "recipients": {"contentType": f"{TEXT_CSV}, {NDJSON}"}}
    return Body(
        {
            MULTIPART: {"schema": parts, "example": example, "encoding": encoding},
            NDJSON: {"schema": lines, "example": CSV["lines"]},
        }
    )


def _wrapped(data: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": ["data"], "properties": {"data": data}}, "example": example}


def _list(name: str, members: Mapping[str, Any], values: Mapping[str, Any], beside: Mapping[str, str]) -> Any:
    told = {member: {"type": "string", "description": _BESIDE[member]} if member in _BESIDE else _like(owner, member)
            for member, owner in beside.items()}  # fmt: skip
    found = {member: EXAMPLES[owner][member] for member, owner in beside.items()}
    properties = {"data": {"type": "array", "items": ref(name)}, **told, **members}
    return {
        "schema": {"type": "object", "required": list(properties), "properties": properties},
        "example": {"data": [EXAMPLES[name]], **found, **values},
    }


def _like(owner: str, member: str) -> dict[str, Any]:
    """The same as a member of another schema."""
    return {"$ref": f"#/components/schemas/{owner}/properties/{member}"}
