"""The OpenAPI 3.1 document: FastAPI knows the routes and their parameters, the tables beside this module the rest."""

import copy
import json as json_module
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pipeline.gateway.openapi import glossary
from pipeline.gateway.openapi.faults import FAULTS
from pipeline.gateway.openapi.media import Answer, ref
from pipeline.gateway.openapi.operations import BEARER, CONNECTION, DOOR, OPERATIONS, PROBES, Operation
from pipeline.gateway.openapi.schemas import schemas
from pipeline.gateway.openapi.texts import INFO, TAGS
from pipeline.gateway.openapi.webhooks import SIGNED, callbacks, webhooks
from pipeline.tokens import Scope

PROBLEM = "application/problem+json"
_ON_EVERY = ("X-Request-Id",)
_ON_TOKENS = ("RateLimit", "RateLimit-Policy")
_ON_STATUS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 429: ("Retry-After",), 503: ("Retry-After",)}
#: Those of the refusals above that always have their header.
_ALWAYS = {("Retry-After", 429), ("Retry-After", 503)}
_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The request's name: the client's, or ours. Problems and our logs have it too.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=@~-]{1,128}$"},
    },
    "RateLimit": {
        "description": 'What the token has left (draft-ietf-httpapi-ratelimit-headers): `"token";r=9998;t=1`, so many '
        "requests at once, and all again in so many seconds.",
        "schema": {"type": "string", "pattern": '^"token";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": 'What a token may: `"token";q=10000;w=2`, so many requests in a window of so many seconds.',
        "schema": {"type": "string", "pattern": '^"token";q=[0-9]+;w=[0-9]+$'},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the token (RFC 6750): `error`, and the `scope` that is wanted.",
        "schema": {"type": "string"},
    },
    "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}},
}
_PARAMETERS: dict[str, Any] = {
    "X-Request-Id": {
        "name": "X-Request-Id", "in": "header", "required": False,
        "description": "A name for this request: 1 to 128 letters, digits and `._:/+=@~-`. Any other is replaced.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key", "in": "header", "required": False,
        "description": "Names the request, as `requestId` in its body does: it is sent once, however often it is "
        "asked. A string between quotes (RFC 8941), or bare; 1 to 128 characters.",
        "schema": {"type": "string", "pattern": '^("[ !#-\\[\\]-~]{1,128}"|[!#-+\\--~][!#-+\\--~]{0,127})$'},
    },
}  # fmt: skip
_CUSTOM = {
    "name": "custom", "in": "query", "required": False, "style": "form", "explode": True,
    "description": "Members of `custom`, each as a parameter `custom.KEY=VALUE`; up to five.",
    "schema": {
        "type": "object", "maxProperties": 5, "propertyNames": {"pattern": "^custom\\.[A-Za-z0-9_-]{1,64}$"},
        "additionalProperties": {"type": "string", "maxLength": 256},
    },
}  # fmt: skip


@lru_cache(maxsize=1)
def encoded(app: FastAPI) -> bytes:
    """The document as it is served; made once, in some ten milliseconds."""
    return orjson.dumps(document(app))


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application. Raises KeyError where a route is not described."""
    bare = get_openapi(title=app.title, version=version("sms-pipeline"), openapi_version="3.1.0", routes=app.routes)
    paths = {
        path: {method: _operation(f"{method.upper()} {path}", told) for method, told in item.items()}
        for path, item in bare["paths"].items()
    }
    made = {
        "openapi": "3.1.0",
        "info": bare["info"] | INFO,
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": webhooks(),
        "components": {
            "schemas": schemas(),
            "examples": {name: {"summary": _summary(name), "value": fault.body} for name, fault in FAULTS.items()},
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "responses": {},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of an account. What it must allow (`send`, `read` or `admin`) stands as "
                    "its role.",
                },
                "signature": SIGNED,
            },
        },
    }
    _share(made)
    return made


def _operation(route: str, told: Mapping[str, Any]) -> dict[str, Any]:
    known = OPERATIONS[route]
    method, path = route.split(" ")
    found: dict[str, Any] = {
        "operationId": known.id,
        "tags": told["tags"],
        "summary": told["summary"],
        "parameters": [*_parameters(known, path, told), {"$ref": "#/components/parameters/X-Request-Id"}],
        "responses": _responses(known, path),
        "security": _security(known, method, path),
        "x-codeSamples": [{"lang": "shell", "label": "curl", "source": _curl(known, method, path)}],
    }
    if description := told.get("description"):
        found["description"] = description
    if known.takes_key:
        found["parameters"].append({"$ref": "#/components/parameters/Idempotency-Key"})
    if known.body:
        found["requestBody"] = {"required": known.body.required, "content": known.body.content}
    if "SendMessageRequest" in json_module.dumps(found.get("requestBody")) or known.id == "sendOtp":
        found["callbacks"] = callbacks()
    return found


def _parameters(known: Operation, path: str, told: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for one in told.get("parameters", ()):
        schema = glossary.told(one["name"], one["schema"], known.id, path.split("/")[1], mark="?")
        description = schema.pop("description", one.get("description"))
        yield {**one, "schema": schema, "description": description}
    if known.id == "listMessages":
        yield copy.deepcopy(_CUSTOM)


def _responses(known: Operation, path: str) -> dict[str, Any]:
    found = {str(status): _answer(answer, known) for status, answer in known.answers.items()}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for name in refusals(known, path):
        by_status[FAULTS[name].status].append(name)
    for status, names in sorted(by_status.items()):
        if str(status) not in found:
            found[str(status)] = _refusal(status, names, known)
    return dict(sorted(found.items()))


def refusals(known: Operation, path: str) -> list[str]:
    """Names of the faults that an operation can answer."""
    common = CONNECTION if path.startswith(PROBES) else DOOR
    return " ".join([known.refusals, BEARER if known.token else "", common]).split()


def _answer(answer: Answer, known: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.text}
    if answer.content:
        found["content"] = dict(answer.content)
    names = [*_ON_EVERY, *(_ON_TOKENS if known.token else ())]
    found["headers"] = {name: _header(required=True, name=name) for name in names}
    if "text/csv" in answer.content:
        found["headers"]["Content-Disposition"] = _header("Content-Disposition", required=False)
    return found


def _refusal(status: int, names: list[str], known: Operation) -> dict[str, Any]:
    codes = sorted({FAULTS[name].code for name in names})
    own = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    headers = {name: _header(name, required=False) for name in _ON_EVERY}
    if known.token and status not in (400, 401, 408, 414, 431, 500):
        headers |= {name: _header(name, required=False) for name in _ON_TOKENS}
    if known.token or status not in (401, 403):
        wanted = _ON_STATUS.get(status, ()) if status != 409 or "under-way" in names else ()
        if status == 403:
            wanted = ("WWW-Authenticate",)
        headers |= {name: _header(name, required=(name, status) in _ALWAYS) for name in wanted}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {
            PROBLEM: {
                "schema": {"allOf": [ref("Problem"), own]},
                "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
            }
        },
    }


def _header(name: str, *, required: bool) -> dict[str, Any]:
    return {**_HEADERS[name], "required": True} if required else {"$ref": f"#/components/headers/{name}"}


def _security(known: Operation, method: str, path: str) -> list[dict[str, list[str]]]:
    if path.startswith("/carriers/"):
        return [{"signature": []}]
    if not known.token:
        return []
    return [{"bearer": [str(known.scope or (Scope.READ if method == "GET" else Scope.SEND))]}]


def _curl(known: Operation, method: str, path: str) -> str:
    """A sample that can be pasted, where $url and $token are set."""
    words = ["curl -s"] + (
        [f"-X {method}"] if method not in ("GET", "POST") or (not known.body and method != "GET") else []
    )
    words.append(f'"$url{path}"'.replace("{", "$").replace("}", ""))
    if known.token:
        words.append('-H "Authorization: Bearer $token"')
    if known.body:
        example = next(iter(known.body.content.values()))["example"]
        if known.id == "createBatch":
            words.append(f"-F request='{json_module.dumps(example['request'])}' -F recipients=@people.csv")
        else:
            words.append(f"-d '{json_module.dumps(example)}'")
    wanted = "# $token: of scope admin, made by `sms-pipeline account token NAME --scope admin`\n"
    return (wanted if known.scope is Scope.ADMIN else "") + " ".join(words)


def _summary(name: str) -> str:
    return name.replace("-", " ").capitalize()


def _share(made: dict[str, Any]) -> None:
    """Put refusals that several operations have alike into the components, named by their status."""
    found: defaultdict[bytes, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for item in made["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if PROBLEM in answer.get("content", {}):
                    found[orjson.dumps(answer)].append((operation["responses"], status))
    shared, names = made["components"]["responses"], Counter[str]()
    for content, places in found.items():
        if len(places) > 1:
            answer = orjson.loads(content)
            phrase = HTTPStatus(int(places[0][1])).name.title().replace("_", "")
            names[phrase] += 1
            name = phrase if names[phrase] == 1 else f"{phrase}{names[phrase]}"
            shared[name] = answer
            for responses, status in places:
                responses[status] = {"$ref": f"#/components/responses/{name}"}
