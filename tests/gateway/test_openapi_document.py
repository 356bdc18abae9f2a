"""The document by itself: whole, valid, and in step with the code."""

import re
import time
from pathlib import Path

import httpx
import pytest
from described import METHODS, PROBLEM, faults, made, operations, refusals, resolved
from fastapi import APIRouter
from openapi_spec_validator import OpenAPIV31SpecValidator
from routes import PUBLIC, Route, every
from serving import Gateway

from pipeline.config import Settings
from pipeline.gateway.app import create_app
from pipeline.gateway.openapi import document, glossary, html, texts
from pipeline.gateway.openapi.examples import EXAMPLES
from pipeline.gateway.openapi.faults import FAULTS, TOLD_LATER
from pipeline.gateway.openapi.operations import OPERATIONS
from schemas import errors

GATEWAY = Path(document.__file__).parents[1]


def app():
    return create_app(Settings(kafka={"bootstrap_servers": "127.0.0.1:1"}))


def test_it_has_every_route_and_no_other() -> None:
    routes = {(one.method, one.path.replace(":path", "")) for one in every(app())} | PUBLIC
    assert {(method, path) for method, path, _ in operations()} == routes
    assert set(OPERATIONS) == {f"{method} {path}" for method, path in routes}
    ids = [told["operationId"] for _, _, told in operations()]
    assert len(ids) == len(set(ids))


def test_a_route_that_is_not_described_is_an_error() -> None:
    extended, router = app(), APIRouter(tags=["Operations"])
    router.add_api_route("/undescribed", lambda: None, summary="Nobody said what this is")
    extended.include_router(router)
    with pytest.raises(KeyError, match="GET /undescribed"):
        document.document(extended)


def test_it_is_valid_openapi_3_1() -> None:
    assert made()["openapi"].startswith("3.1")
    assert [str(one) for one in OpenAPIV31SpecValidator(made()).iter_errors()] == []


def test_every_example_is_as_its_schema_has_it() -> None:
    wrong: list[str] = []
    count = 0
    bodies = [(path, one) for _, path, told in operations() for one in [told.get("requestBody", {})]]
    bodies += [(name, item["post"]["requestBody"]) for name, item in made()["webhooks"].items()]
    answers = [(path, resolved(one)) for _, path, told in operations() for one in told["responses"].values()]
    for where, one in bodies + answers:
        for media, content in one.get("content", {}).items():
            examples = [resolved(example)["value"] for example in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            for example in examples:
                count += 1
                if media == "multipart/form-data":
                    example = {**example, "request": example["request"]}
                wrong += [f"{where} {media}: {fault}" for fault in faults(content["schema"], example)]
            assert (
                examples
                or media in ("text/plain", "text/html", "application/x-www-form-urlencoded")
                or (where == "/openapi.json")
            ), f"{where} {media} has no example"
    assert wrong == [] and count > 500


def test_every_field_and_parameter_says_what_it_is() -> None:
    silent = []
    for name, schema in made()["components"]["schemas"].items():
        assert schema["description"], name
        silent += [
            f"{name}.{field}" for field, one in schema.get("properties", {}).items() if not one.get("description")
        ]
    for method, path, told in operations():
        assert told["summary"], path
        silent += [
            f"{method} {path}?{one['name']}" for one in map(resolved, told["parameters"]) if not one["description"]
        ]
    assert silent == [], "say in pipeline/gateway/openapi/texts.py what these are"


def test_the_glossary_has_no_word_too_many() -> None:
    schemas, used = made()["components"]["schemas"], set()
    for name, schema in schemas.items():
        used.add(name)
        used |= {glossary.key_of((f"{name}.{field}", field), texts.TEXTS) for field in schema.get("properties", {})}
    for _, path, told in operations():
        owners = told["operationId"], path.split("/")[1]
        for one in map(resolved, told["parameters"]):
            names = *(f"{owner}?{one['name']}" for owner in owners), f"?{one['name']}"
            used.add(glossary.key_of(names, texts.TEXTS))
    assert set(texts.TEXTS) - used == set()
    shown = {f"{name}.{field}" for name, schema in schemas.items() for field in schema.get("properties", {})}
    assert {key for key in glossary.SHAPES if "." in key} - shown == set()
    assert set(made()["components"]["schemas"]) - {"Recipient"} >= set(EXAMPLES) - {
        "OtpResponse", "Waiting", "Prices", "WorldwideRequest", "ItalianRequest", "SpanishRequest", "UnnamedRequest",
    }  # fmt: skip


def test_every_error_code_is_described_or_told_later() -> None:
    described = {body["code"] for _, _, told in operations() for _, _, body in refusals(told)}
    assert described | TOLD_LATER == set(errors.CATALOGUE), "say in pipeline/gateway/openapi/faults.py who answers them"
    assert described & TOLD_LATER == set()
    used = {name for _, _, told in operations() for _, name, _ in refusals(told)}
    assert used == set(FAULTS)


def test_what_the_gateways_modules_refuse_with_is_described() -> None:
    named = {name for path in GATEWAY.rglob("*.py") if path.parent.name != "openapi"
             for name in re.findall(r"errors\.([A-Z_]+)", path.read_text())} - {"PROHIBITED_CODES"}  # fmt: skip
    assert {getattr(errors, name) for name in named} <= {fault.code for fault in FAULTS.values()}


def test_a_problem_declares_its_codes() -> None:
    for _, path, told in operations():
        for status, name, body in refusals(told):
            schema = resolved(told["responses"][str(status)])["content"][PROBLEM]["schema"]
            assert body["status"] == status and body["code"] in schema["allOf"][1]["properties"]["code"]["enum"], name
        if ("scope" in (name for _, name, _ in refusals(told))) != bool(
            told["security"] and "bearer" in told["security"][0]
        ):
            pytest.fail(f"{path}: a token, or none")


def test_scopes_are_those_of_the_routes() -> None:
    for route in every(app()):
        told = made()["paths"][route.path.replace(":path", "")][route.method.lower()]
        assert told["security"] == [{"bearer": [str(Route(*route).scope)]}]


def test_the_page_has_every_operation_and_no_script() -> None:
    page = html.page(made())
    for _, path, told in operations():
        assert f'id="{told["operationId"]}"' in page and path in page
    for name in made()["components"]["schemas"]:
        assert f'id="{name}"' in page
    anchors = set(re.findall(r'href="#([A-Za-z]+)"', page))
    assert anchors <= set(made()["components"]["schemas"])
    assert not re.search(r"<script|https?://[^\s\"<]*\.(?:js|css)|\son[a-z]+=", page)
    assert set(METHODS) >= {method for item in made()["paths"].values() for method in item}


def test_both_are_served_to_anybody(gateway: Gateway) -> None:
    told = gateway.http.get("/openapi.json")
    assert told.headers["content-type"] == "application/json" and told.json() == made()
    page = gateway.http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers.get_list("content-security-policy")
    assert policy == [html.POLICY] and "unsafe" not in html.POLICY
    started = time.perf_counter()
    assert httpx.get(f"{gateway.url}/openapi.json").status_code == 200
    assert time.perf_counter() - started < 1
