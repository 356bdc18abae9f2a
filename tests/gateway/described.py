"""The gateway's OpenAPI document, and how tests hold values against it."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema

from pipeline.config import Settings
from pipeline.gateway.app import create_app
from pipeline.gateway.openapi.document import document

PROBLEM = "application/problem+json"
METHODS = ("get", "post", "put", "delete")


@cache
def made() -> dict[str, Any]:
    """The document of an application that serves nobody."""
    return document(create_app(Settings(kafka={"bootstrap_servers": "127.0.0.1:1"})))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method in capitals, path, operation."""
    for path, item in made()["paths"].items():
        for method, told in item.items():
            yield method.upper(), path, told


def resolved(one: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to."""
    while "$ref" in one:
        found: Any = made()
        for step in one["$ref"].split("/")[1:]:
            found = found[step]
        one = found
    return one


def refusals(told: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Status, name and body of every example of a refusal."""
    for status, answer in told["responses"].items():
        for name, example in resolved(answer).get("content", {}).get(PROBLEM, {}).get("examples", {}).items():
            yield int(status), name, resolved(example)["value"]


@cache
def _closed() -> dict[str, Any]:
    """The schemas, with members that are not described refused: later versions may tell more, this one must not."""
    found = copy.deepcopy(made()["components"]["schemas"])
    for schema in found.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What of a value is not as the schema has it."""
    root = {**schema, "components": {"schemas": _closed()}}
    checker = jsonschema.Draft202012Validator(root, format_checker=jsonschema.FormatChecker())
    return [f"{one.json_path}: {one.message[:300]}" for one in checker.iter_errors(value)]


def answered(method: str, path: str, answer: Any) -> list[str]:
    """What of a real answer is not as its operation has it."""
    told = made()["paths"][path][method.lower()]["responses"]
    if str(answer.status_code) not in told:
        return [f"status {answer.status_code} is not declared: {answer.text[:300]}"]
    declared = resolved(told[str(answer.status_code)])
    media = answer.headers.get("content-type", "").partition(";")[0]
    content = declared.get("content", {})
    if not content:
        return [f"a body where none is declared: {answer.text[:300]}"] if answer.content else []
    if media not in content:
        return [f"{media} is not declared"]
    found = faults(content[media]["schema"], answer.json()) if "json" in media else []
    missing = [
        name for name, one in declared.get("headers", {}).items() if one.get("required") and name not in answer.headers
    ]
    return found + [f"the header {name} is missing" for name in missing]
