"""Our document beside the file of the contract that clients were written for: whatever that has, ours has alike."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from described import faults, made, operations, refusals, resolved
from furnished import Furnished, furnished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provided import NUMBER, SPANISH
from test_contract import DECLARED, contract, held, plain_schema

pytestmark = pytest.mark.skipif(contract() is None, reason="no contract file: set SMS_CONTRACT to compare")
#: The contract's types that ours may be told by.
WIDER = {"number": {"number", "integer"}}


def declared() -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of the contract's file; of its sending also on the path that only its page names."""
    found = contract() or {"paths": {}}
    listed = [(path, method, told) for path, item in found["paths"].items() for method, told in item.items()]
    return listed + [(path, "post", found["paths"][like]["post"]) for path, like in DECLARED.items() if found["paths"]]


CASES = pytest.mark.parametrize(("path", "method", "told"), declared(), ids=[f"{m} {p}" for p, m, _ in declared()])


def kinds(schema: dict[str, Any]) -> set[str]:
    """The types that a value may have."""
    schema = resolved(schema)
    for choice in ("anyOf", "oneOf"):
        if choice in schema and "type" not in schema:
            return set().union(*(kinds(one) for one in schema[choice]))
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


def unlike(theirs: dict[str, Any], ours: dict[str, Any], where: str, *, sent: bool) -> Iterator[str]:
    """What a client of the contract sends (`sent`) or reads that ours has otherwise."""
    ours = resolved(ours)
    for choice in ("allOf", "anyOf"):
        for one in ours.get(choice, []):
            if "properties" in resolved(one):
                ours = {**ours, "properties": resolved(one)["properties"] | ours.get("properties", {})}
    their_kinds, our_kinds = kinds(theirs), kinds(ours)
    wanted = their_kinds - our_kinds if sent else our_kinds - {"null"} - WIDER.get(next(iter(their_kinds), ""), set())
    if their_kinds and our_kinds and wanted - (set() if sent else their_kinds):
        yield f"{where}: the contract has {their_kinds}, we have {our_kinds}"
    if sent and set(ours.get("required", ())) - set(theirs.get("required", ())):
        yield f"{where}: we want {ours['required']}"
    missing = set(theirs.get("enum", ())) ^ set(ours.get("enum", theirs.get("enum", ()))) - {None}
    if "enum" in theirs and missing:
        yield f"{where}: {missing} of {theirs['enum']}"
    if sent and "default" in theirs and ours.get("default", theirs["default"]) != theirs["default"]:
        yield f"{where}: the default is {theirs['default']}"
    for bound in ("minimum", "maximum", "maxLength"):
        if sent and bound in theirs and ours.get(bound, theirs[bound]) != theirs[bound]:
            yield f"{where}: {bound} is {theirs[bound]}"
    for name, one in theirs.get("properties", {}).items():
        if name == "key" and where.endswith("headers"):
            continue  # stands for any
        if name not in ours.get("properties", {}):
            yield f"{where}.{name}: is missing"
        else:
            yield from unlike(one, ours["properties"][name], f"{where}.{name}", sent=sent)
    if "items" in theirs:
        yield from unlike(theirs["items"], ours["items"], f"{where}[]", sent=sent)


def of_contract(told: dict[str, Any]) -> dict[str, Any]:
    return plain_schema(told.get("content", {}).get("application/json", {}).get("schema", {}))


@CASES
def test_requests_and_parameters(path: str, method: str, told: dict[str, Any]) -> None:
    ours = made()["paths"][path][method]
    if "requestBody" in told:
        body = ours["requestBody"]["content"]["application/json"]["schema"]
        assert list(unlike(of_contract(told["requestBody"]), body, "body", sent=True)) == []
    parameters = {resolved(one)["name"]: resolved(one) for one in ours["parameters"]}
    for theirs in told.get("parameters", []):
        one = parameters[theirs["name"]]
        assert one["in"] == theirs["in"] and kinds(one["schema"]) == kinds(theirs["schema"])
        assert one["schema"].get("default") == theirs["schema"].get("default")


@CASES
def test_answers(path: str, method: str, told: dict[str, Any]) -> None:
    ours = made()["paths"][path][method]["responses"]
    for status, theirs in told["responses"].items():
        answer = resolved(ours[status])
        if not of_contract(theirs):
            continue
        schemas = [one["schema"] for one in answer["content"].values()]
        assert list(unlike(of_contract(theirs), schemas[0], status, sent=False)) == []


@CASES
def test_error_examples(path: str, method: str, told: dict[str, Any]) -> None:
    """Ours has each of their codes under their status; test_openapi_refusals.py provokes every one."""
    ours = {(status, body["code"]): body for status, _, body in refusals(made()["paths"][path][method])}
    for status, theirs in told["responses"].items():
        content = theirs.get("content", {}).get("application/json", {})
        examples = [content["example"]] if "example" in content else []
        for example in examples + [one["value"] for one in content.get("examples", {}).values()]:
            assert (int(status), example["code"]) in ours, example
            assert faults(plain_schema(content["schema"]), ours[int(status), example["code"]]) == []


def test_nothing_of_it_is_missing() -> None:
    ours = {(path, method.lower()) for method, path, _ in operations()}
    assert {(path, method) for path, method, _ in declared()} <= ours


@pytest.fixture(scope="module")
def world(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(kafka, tmp_path_factory.mktemp("contract-client")) as found:
        yield found


@pytest.mark.parametrize("path", [path for path, method, _ in declared() if method == "post" and path not in DECLARED])
def test_what_a_client_of_the_contract_sends_is_answered_as_it_expects(world: Furnished, path: str) -> None:
    schema = schemathesis.openapi.from_dict(copy.deepcopy(contract()))

    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=schema[path]["POST"].as_strategy(), known=st.booleans())
    def send(case: Any, known: bool) -> None:
        if known:
            case.body |= {"recipient": SPANISH if path == "/ES-messages" else NUMBER}
        headers = {"Authorization": f"Bearer {world.token}"}
        answer = world.gateway.http.post(path, json=case.body, headers=headers)
        assert answer.status_code in (201, 422), answer.text
        assert set(answer.json()) >= ({"data"} if answer.status_code == 201 else {"code", "message"})
        held(path, answer)

    send()
