"""The document as a page. Rendered here, from the document itself, instead of by one of the browser interfaces that
packages bring: those are megabytes of script, want inline styles, and are run where people paste tokens. This one has
no script at all, works offline, and can be searched and printed; `/openapi.json` is there for any tool one likes.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any

import orjson
from fastapi import FastAPI

from pipeline.gateway.openapi import document

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--dim:#8889}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
h2{border-bottom:2px solid var(--line);margin-top:2.5rem}
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}code,pre{font:13px/1.45 ui-monospace,monospace}
pre{background:var(--line);border-radius:6px;overflow:auto;padding:.6rem}
b.m{display:inline-block;min-width:4rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.2rem .5rem;text-align:left;vertical-align:top}
"""
#: The one style sheet, by its hash, and nothing else.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def encoded(app: FastAPI) -> bytes:
    """The page as it is served; made once."""
    return page(orjson.loads(document.encoded(app))).encode()


def page(made: Mapping[str, Any]) -> str:
    """The document, readable."""
    return "\n".join(_page(made))


def _page(made: Mapping[str, Any]) -> Iterator[str]:
    info = made["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield "".join(f"<p>{_prose(one)}</p>" for one in info["description"].split("\n\n"))
    yield '<p>For tools: <a href="openapi.json">openapi.json</a>. '
    yield "The samples use <code>url</code> and <code>token</code>.</p>"
    for tag in made["tags"]:
        yield f"<h2 id={escape(tag['name'])!r}>{escape(tag['name'])}</h2><p>{_prose(tag['description'])}</p>"
        for path, item in made["paths"].items():
            for method, told in item.items():
                if tag["name"] in told["tags"]:
                    yield from _operation(made, f"{method.upper()}", path, told)
    yield "<h2>What we call</h2>"
    for name, item in made["webhooks"].items():
        yield from _operation(made, "POST", name, item["post"])
    yield "<h2>Schemas</h2>"
    for name, schema in made["components"]["schemas"].items():
        yield f'<details id="{name}"><summary><b>{name}</b> {_prose(schema["description"])}</summary>'
        yield from _fields(schema)
        yield "</details>"


def _operation(made: Mapping[str, Any], method: str, path: str, told: Mapping[str, Any]) -> Iterator[str]:
    name = escape(told.get("operationId", path))
    yield f'<details id="{name}"><summary><b class="m">{method}</b> <code>{escape(path)}</code> '
    yield f"{_prose(told['summary'])}</summary><p>{_prose(told.get('description', ''))}</p>"
    scopes = [scope for one in told.get("security", ()) for scope in one.get("bearer", ())]
    yield f"<p>Token of scope <code>{scopes[0]}</code>.</p>" if scopes else ""
    for sample in told.get("x-codeSamples", ()):
        yield f"<pre>{escape(sample['source'])}</pre>"
    parameters = [_found(made, one) for one in told["parameters"]]
    if parameters:
        yield "<table><tr><th>parameter<th>in<th>values<th>"
        for one in parameters:
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{_kind(one['schema'])}"
            yield f"<td>{_prose(one['description'])}"
        yield "</table>"
    for media, content in told.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{media}</code> {_kind(content['schema'])}</p>" + _example(content.get("example"))
    for status, one in told["responses"].items():
        answer = _found(made, one)
        yield f"<h4>{status} {_prose(answer['description'])}</h4>"
        for media, content in answer.get("content", {}).items():
            yield f"<p><code>{media}</code> {_kind(content['schema'])}</p>" + _example(content.get("example"))
            if "examples" in content:
                faults = [_found(made, fault)["value"] for fault in content["examples"].values()]
                yield "<table>" + "".join(_fault(fault) for fault in faults) + "</table>"
    yield "</details>"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "<table>"
    for name, one in schema.get("properties", {}).items():
        wanted = " *" if name in schema.get("required", ()) else ""
        yield f"<tr><td><code>{escape(name)}</code>{wanted}<td>{_kind(one)}<td>{_prose(one.get('description', ''))}"
    yield "</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#{name}">{name}</a>'
    for choice in ("anyOf", "oneOf"):
        if choice in schema and "type" not in schema:
            return " or ".join(_kind(one) for one in schema[choice])
    if "allOf" in schema:
        return _kind(schema["allOf"][0])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    types = schema.get("type", "any")
    words = " or ".join(types) if isinstance(types, list) else types
    if items := schema.get("items"):
        words = f"list of {_kind(items)}"
    if data := schema.get("properties", {}).get("data"):
        return f"data: {_kind(data)}"
    bounds = [f"{name} {schema[name]}" for name in _BOUNDS if name in schema]
    return escape(" ".join([words])) if "<" not in words and not bounds else " ".join([words, *map(escape, bounds)])


_BOUNDS = ("format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default")


def _fault(body: Mapping[str, Any]) -> str:
    return f"<tr><td>{body['code']}<td>{_prose(body['message'])}"


def _example(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f"<pre>{escape(text)}</pre>"


def _found(made: Mapping[str, Any], one: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to."""
    if "$ref" not in one:
        return one
    found: Any = made
    for step in one["$ref"].split("/")[1:]:
        found = found[step]
    return _found(made, found)


def _prose(text: str) -> str:
    """Text with `code` in it."""
    pieces = escape(text, quote=False).split("`")
    return "".join(f"<code>{one}</code>" if place % 2 else one for place, one in enumerate(pieces))
