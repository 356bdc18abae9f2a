"""What the gateway answers, held against its own document: made requests of all kinds, good and bad."""

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from described import answered, made, operations
from furnished import REQUEST, Furnished, furnished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provided import NUMBER, SPANISH
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks
from test_gateway_receipts import signed

#: Made requests of each operation, so many good and so many bad ones; `make fuzz` has more.
EXAMPLES = int(os.environ.get("SMS_TEST_FUZZ", "8"))
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
NAMES = [f"{method} {path}" for method, path, _ in operations()]
SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(made()))  # it is changed
NUMBERS = {"/ES-messages": SPANISH}
load_all_checks()


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Of an upload: lines as they were made."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


def mend(case: Any, path: str, world: Furnished) -> None:
    """What cannot be guessed by a schema: ids of things, numbers that exist, times to come. Nothing is deleted that the
    others need."""
    if case.path_parameters and case.method != "DELETE":
        case.path_parameters = dict.fromkeys(case.path_parameters, world.things[path.split("/")[1]])
    if not isinstance(case.body, dict):
        return
    for field, value in {"recipient": NUMBERS.get(path, NUMBER), "url": "https://client.example/told"}.items():
        if isinstance(case.body.get(field), str):
            case.body[field] = value
    case.body.pop("callback", None)
    if isinstance(case.body.get("options"), dict):
        for field in ("sendAt", "tariff", "failOnMultipleMessages"):
            case.body["options"].pop(field, None)


@pytest.fixture(scope="module")
def world(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(kafka, tmp_path_factory.mktemp("furnished")) as found:
        yield found


GETS = [path for method, path, _ in operations() if method == "GET"]


@pytest.mark.parametrize("path", GETS)
def test_every_question_has_an_answer_with_something_in_it(world: Furnished, path: str) -> None:
    begin, _, rest = path.partition("{")
    asked = begin + (world.things[path.split("/")[1]] + rest.partition("}")[2] if rest else "")
    if path == "/batches/{id}/messages":
        asked = f"/batches/{REQUEST}/messages"  # of an upload no stage has told here
    with world.client() as client:
        answer = client.get(asked)
    assert answer.status_code == 200 and answered("GET", path, answer) == []
    if "json" in answer.headers["content-type"]:
        assert answer.json().get("data", True), f"{path}: furnish the world with something to tell"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/statistics", "by=country&by=operator&by=state"),
        ("/statistics", "by=carrier"),
        *(("/statistics/spend", f"by={by}") for by in ("day", "country", "operator", "carrier")),
        ("/messages", "state=DELIVERED&custom.order=7"),
        ("/messages", f"requestId={REQUEST}"),
        ("/prices", "limit=1"),
        ("/batches/{id}/messages", "format=csv"),
        ("/statement", "format=csv"),
        ("/callbacks/deliveries", "state=given-up"),
    ],
)  # fmt: skip
def test_answers_that_depend_on_the_question(world: Furnished, path: str, query: str) -> None:
    with world.client() as client:
        answer = client.get(f"{path.replace('{id}', REQUEST)}?{query}&from=2026-01-01" if "stat" in path else
                            f"{path.replace('{id}', REQUEST)}?{query}")  # fmt: skip
    assert answer.status_code == 200 and answered("GET", path, answer) == [], answer.text
    assert answer.text.count("\n") > 1 if "csv" in query else answer.json()["data"]


BODIES = [
    (method, path, media, content["example"])
    for method, path, told in operations()
    for media, content in told.get("requestBody", {"content": {}})["content"].items()
]


@pytest.mark.parametrize(("method", "path", "media", "example"), BODIES, ids=[f"{m} {p} {t}" for m, p, t, _ in BODIES])
def test_every_example_of_a_request_is_taken(
    world: Furnished, method: str, path: str, media: str, example: Any
) -> None:
    begin, _, rest = path.partition("{")
    asked = begin + (world.things[path.split("/")[1]] + rest.partition("}")[2] if rest else "")
    if media == "multipart/form-data":
        parts = {"request": (None, json.dumps(example["request"]), "application/json"),
                 "recipients": ("people.csv", example["recipients"])}  # fmt: skip
        sent: dict[str, Any] = {"files": parts}
    else:
        body = (example if isinstance(example, str) else json.dumps(example)).encode()
        headers = signed(body) if path.startswith("/carriers/") else {}
        sent = {"content": body, "headers": {**headers, "Content-Type": media}}
    with world.client() as client:
        answer = client.request(method, asked, **sent)
    assert answer.is_success and answered(method, path, answer) == [], answer.text


def test_no_two_examples_have_a_request_id_in_common() -> None:
    named = [one for _, path, _, one in BODIES if path != "/messages/cancel"]
    requests = [
        json.loads(one.partition("\n")[0]) if isinstance(one, str) else one.get("request", one) for one in named
    ]
    ids = [one["requestId"] for one in requests if "requestId" in one]
    assert len(ids) == len(set(ids)) > 4


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", NAMES)
def test_made_requests(world: Furnished, name: str, mode: schemathesis.GenerationMode) -> None:
    method, path = name.split(" ")
    operation = SCHEMA[path][method]
    headers = {"Authorization": f"Bearer {world.token}"}
    session = requests.Session()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 50,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy(mode), known=st.booleans())
    def ask(case: Any, known: bool) -> None:
        if known:
            mend(case, path, world)
        answer = case.call(base_url=world.gateway.url, headers=headers, session=session, timeout=30)
        assert answer.status_code < 500 or name == "GET /health/ready", f"{case.as_curl_command()}\n{answer.text}"
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except Exception as error:
        if "Unsatisfiable" in type(error).__name__:
            pytest.skip("nothing of it can be wrong")
        raise
    finally:
        session.close()


@settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 50,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(case=SCHEMA["/carriers/{name}/receipts"]["POST"].as_strategy(), cut=st.integers(0, 40))
def test_made_receipts_that_are_signed(world: Furnished, case: Any, cut: int) -> None:
    body = json.dumps(case.body).encode()
    body = body[: len(body) - max(0, cut - 30)]
    answer = world.gateway.http.post("/carriers/sim/receipts", content=body, headers=signed(body))
    assert answer.status_code in (204, 400, 422)
    assert answered("POST", "/carriers/{name}/receipts", answer) == []
