"""The HTTP contract that clients were written for: every sending operation, default and error example of its file.

The expectations are written down here. Where the file itself is at hand (SMS_CONTRACT names it, or it stands beside the
project in shared/seed), every answer is held against its schemas too.
"""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provided import NUMBER, OTHER, PROHIBITED, SPANISH, forbid, fund, intake, known, problem
from serving import Gateway, start

from pipeline.accounts import AccountRecord
from pipeline.gateway.messages.create import parse
from pipeline.gateway.problems import Refusal
from pipeline.lists import Entry
from schemas import errors
from schemas.intake import Request

FILE = Path(os.environ.get("SMS_CONTRACT") or Path(__file__).parents[3] / "shared/seed/smsv2.openapi.json")
SENDING = ["/messages", "/WW-messages", "/IT-messages", "/ES-messages"]
#: The contract has no POST /messages; its product page has, with the same body as worldwide.
DECLARED = {"/messages": "/WW-messages"}
BODY = {"sender": "MyCompany", "recipient": NUMBER, "message": "Hello! This is a test message."}
CALLBACK = {
    "method": "JSON", "field": "data", "url": "https://www.mysite.com/myEndpoint", "retry": 3,
    "headers": {"session_id": "9834r5fh589494"}, "custom": {"my_custom_id": "123456789"},
}  # fmt: skip
ME = AccountRecord("acme", "2026-11-22T10:00:00.000Z", [])


@cache
def contract() -> Any:
    return json.loads(FILE.read_text()) if FILE.is_file() else None


def plain_schema(schema: Any) -> Any:
    """OpenAPI 3.0's schema as JSON Schema: null where it is nullable, references resolved."""
    if isinstance(schema, list):
        return [plain_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return plain_schema(contract()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    found = {name: plain_schema(value) for name, value in schema.items() if name not in ("nullable", "example")}
    if schema.get("nullable"):
        found["type"] = [schema["type"], "null"]
    return found


def held(path: str, answer: Any, method: str = "post") -> Any:
    """The answer's body, which is what the contract declares for this status."""
    if contract():
        import jsonschema

        responses = contract()["paths"][DECLARED.get(path, path) if method == "post" else path][method]["responses"]
        assert str(answer.status_code) in responses, answer.text
        declared = responses[str(answer.status_code)].get("content", {}).get("application/json", {}).get("schema", {})
        checker = jsonschema.FormatChecker()
        jsonschema.Draft202012Validator(plain_schema(declared), format_checker=checker).validate(answer.json())
    return answer.json()


def to(path: str) -> str:
    return SPANISH if path == "/ES-messages" else NUMBER


@pytest.fixture(scope="module")
def gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start(kafka, tmp_path_factory.mktemp("contract")) as running:
        for account in ("acme", "globex"):
            fund(running, account, "100.00")
            known(running, account, "100.00")
        forbid(running, Entry("term", PROHIBITED))
        yield running


def test_the_file_of_the_contract_is_at_hand() -> None:
    if contract() is None:
        pytest.skip("no contract file: set SMS_CONTRACT to hold the answers against its schemas")
    assert set(contract()["paths"]) == {*SENDING, "/otp", "/messages/{id}"}


@pytest.mark.parametrize("path", SENDING)
def test_a_message_is_answered_with_every_field(gateway: Gateway, path: str) -> None:
    with gateway.as_("acme") as acme:
        sent = {**BODY, "recipient": to(path), "callback": CALLBACK}
        data = held(path, acme.post(path, json=sent))["data"]
    spanish = path == "/ES-messages"
    expected = {
        "username": "acme", "state": "NEW", "sender": "MyCompany", "recipient": to(path), "message": BODY["message"],
        "internationalPrefix": "34" if spanish else "39", "countryCode": "ES" if spanish else "IT",
        "encoding": "GSM-7", "charactersCount": 30, "messageCount": 1, "blocklisted": False, "callback": CALLBACK,
        "sentAt": None, "deliveredAt": None, "isOtp": False,
    }  # fmt: skip
    assert {name: data[name] for name in expected} == expected
    assert (data["options"]["dryRun"], data["options"]["failOnMultipleMessages"]) == (False, False)
    assert len(data["id"]) == 24 and data["createdAt"] == data["updatedAt"]
    fixed = path in ("/IT-messages", "/ES-messages")  # worldwide the price is told once a carrier took the message
    assert (data["price"] > 0, data["totalPrice"] == data["price"]) == (fixed, True)
    (_, value), *more = intake(gateway, data["requestId"])
    assert not more and value.get("options", {}).get("tariff", "WW") == (path[1:3] if fixed else "WW")


@pytest.mark.parametrize("sender", [None, ""])
def test_without_a_sender_it_is_openapi_and_callbacks_have_defaults(gateway: Gateway, sender: str | None) -> None:
    with gateway.as_("acme") as acme:
        sent = {**BODY, "sender": sender, "callback": {"url": "https://www.mysite.com/x"}}
        data = held("/WW-messages", acme.post("/WW-messages", json=sent))["data"]
    assert data["sender"] == "Openapi"
    told = {name: data["callback"][name] for name in ("method", "field", "retry", "headers", "custom")}
    assert told == {"method": "JSON", "field": "data", "retry": 0, "headers": {}, "custom": {}}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sender": "ab"}, 2021),
        ({"sender": "A name that is too long"}, 2021),
        ({"sender": "x" * 100}, 2021),
        ({"sender": "MyCompañia"}, 2021),
        ({"sender": "1234567"}, 2024),
        ({"recipient": "3331234567"}, 2011),
        ({"recipient": "+39 333 1234567"}, 2011),
        ({"recipient": "+393331234567x"}, 2011),
    ],
)
@pytest.mark.parametrize("path", SENDING)
def test_error_examples_of_every_path(gateway: Gateway, path: str, change: dict[str, str], code: int) -> None:
    with gateway.as_("acme") as acme:
        answer = acme.post(path, json={**BODY, "recipient": to(path), **change})
    problem(answer, 422, code)
    held(path, answer)


@pytest.mark.parametrize("dry", [True, False])
def test_the_wrong_country(gateway: Gateway, dry: bool) -> None:
    with gateway.as_("acme") as acme:
        for path, number in (("/IT-messages", SPANISH), ("/ES-messages", NUMBER)):
            answer = acme.post(path, json={**BODY, "recipient": number, "options": {"dryRun": dry}})
            expected = f"The recipient number does not belong to the supported country for this endpoint ({path[1:3]})."
            assert problem(answer, 422, 2013) == expected
            held(path, answer)


def test_another_tariff_than_the_paths_is_refused(gateway: Gateway) -> None:
    with gateway.as_("acme") as acme:
        for path, tariff in (("/IT-messages", "WW"), ("/WW-messages", "IT"), ("/ES-messages", "IT")):
            answer = acme.post(path, json={**BODY, "options": {"tariff": tariff}})
            assert "options.tariff" in problem(answer, 422, errors.MALFORMED_REQUEST)
        assert acme.post("/IT-messages", json={**BODY, "options": {"tariff": "IT"}}).status_code == 201
        assert acme.post("/messages", json={**BODY, "options": {"tariff": "IT"}}).json()["data"]["price"] > 0


@pytest.mark.parametrize("path", [*SENDING, "/otp"])
def test_a_blocklisted_account_is_forbidden(gateway: Gateway, path: str) -> None:
    with gateway.as_("blocked") as blocked:
        answer = blocked.post(path, json=BODY)
    message = "The user is blocklisted. Please contact support for assistance."
    assert problem(answer, 403, 2020) == message
    held(path, answer)


@pytest.mark.parametrize("field", ["sender", "message"])
@pytest.mark.parametrize("path", SENDING)
def test_prohibited_content_is_refused_and_taken_for_its_penalty(gateway: Gateway, path: str, field: str) -> None:
    if field == "sender":
        forbid(gateway, Entry("term", "badsender"))
    sent = {**BODY, "recipient": to(path), field: "BadSender" if field == "sender" else f"A {PROHIBITED}!"}
    regional = path in ("/IT-messages", "/ES-messages")
    with gateway.as_("acme") as acme:
        answer = acme.post(path, json={**sent, "requestId": f"bad-{field}-{path}"})
        problem(answer, 422, 2050 if regional else 2044)
        held(path, answer)
        assert len(answer.json()["id"]) == 24
        assert len(intake(gateway, f"bad-{field}-{path}")) == 1
        again = acme.post(path, json={**sent, "requestId": f"bad-{field}-{path}"})
        told, told_again = ({**one.json(), "trace": None} for one in (answer, again))
        assert told_again == told and len(intake(gateway, f"bad-{field}-{path}")) == 1
        dry = acme.post(path, json={**sent, "requestId": f"dry-{field}-{path}", "options": {"dryRun": True}})
        problem(dry, 422, 2044)
        held(path, dry)
        assert not intake(gateway, f"dry-{field}-{path}")


def test_content_prohibited_in_another_country_passes(gateway: Gateway) -> None:
    forbid(gateway, Entry("term", "only abroad", countries=("IT",)))
    with gateway.as_("acme") as acme:
        sent = {**BODY, "message": "This is only abroad"}
        problem(acme.post("/messages", json=sent), 422, 2044)
        assert acme.post("/messages", json={**sent, "recipient": SPANISH}).status_code == 201
        # of several some may get it: the pipeline finds out who
        assert acme.post("/messages", json={**sent, "recipient": [NUMBER, SPANISH]}).status_code == 201
        both = {**BODY, "message": PROHIBITED, "recipient": [NUMBER, SPANISH]}
        problem(acme.post("/messages", json=both), 422, 2044)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a" * 161, ["161 characters in GSM-7", "shorten it by 1"]),
        ("a" * 159 + "€", ["these count twice: €", "shorten it by 1"]),
        ("中" + "a" * 80 + "→中", ["83 characters in UCS-2", "'中' (U+4E2D) at index 0, 82",
                                  "'→' (U+2192) at index 81", "replace them"]),
        ("’" + "a" * 80, ["'’' (U+2019) at index 0", "options.transliterate"]),
    ],
)  # fmt: skip
def test_more_than_one_part_is_an_alert_that_names_what_is_at_fault(
    gateway: Gateway, text: str, words: list[str]
) -> None:
    for dry in (True, False):
        with gateway.as_("acme") as acme:
            options = {"failOnMultipleMessages": True, "dryRun": dry}
            answer = acme.post("/messages", json={**BODY, "message": text, "options": options})
        message = problem(answer, 422, errors.MULTIPLE_PARTS)
        assert message.startswith("ALERT")
        assert [word for word in words if word not in message] == []


def test_lists_of_messages_and_one_of_them(gateway: Gateway) -> None:
    with gateway.as_("acme") as acme:
        assert held("/messages", acme.get("/messages?skip=0&limit=100"), "get")["data"] == []
        assert acme.get("/messages/633aabe3e4a9a0e69811ad7f").status_code == 404
    assert gateway.http.get("/messages").status_code == 401


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ({"number": NUMBER, "fields": {"name": "Ada"}}, [{"number": NUMBER, "fields": {"name": "Ada"}}]),
        ([NUMBER], [NUMBER]),
        ([NUMBER, {"number": OTHER, "fields": {"name": "Bo"}}], [NUMBER, {"number": OTHER, "fields": {"name": "Bo"}}]),
    ],
)
def test_recipient_may_be_one_or_many(gateway: Gateway, recipient: Any, expected: list[Any]) -> None:
    with gateway.as_("acme") as acme:
        answer = acme.post("/messages", json={"recipient": recipient, "message": "Hello {{name|you}}"})
    assert answer.status_code == 201, answer.text
    ((_, value),) = intake(gateway, answer.json()["data"]["requestId"])
    assert value["recipients"] == expected


BAD = [
    (b'{"recipient": "+393331234567", "message": "\\ud83d"}', 422, 3014, "message: U+D83D at index 0"),
    (b'{"recipient": [{"number": "\\ud83d"}], "message": "x"}', 422, 3014, "recipient.0.number"),
    (b'{"recipient": "+393331234567", "message": "a", "message": "b"}', 422, 3001, "message: stands twice"),
    (b'{"recipient": "+393331234567", "message": "a", "options": {"dryRun": true, "dryRun": false}}', 422, 3001,
     "dryRun: stands twice"),
    (b'{"recipient": [{"number": 5}], "message": "a"}', 422, 3001, "recipient.0.number"),
    (b'{"recipient": {"nummer": "+393331234567"}, "message": "a"}', 422, 3001, "recipient.nummer: unknown field"),
    (b'{"recipient": [], "message": "a"}', 422, 3001, "recipient"),
    (b'{"recipient": "+393331234567", "message": "a", "custom": ' + b'{"a":' * 300 + b"1" + b"}" * 301, 422, 3001,
     "custom: is nested too deeply"),
    (b'{"custom": ' + b"[" * 5000, 400, 3001, "JSON"),
    (b'{"recipient": "+393331234567", "message": "a", "custom": NaN}', 400, 3001, "JSON"),
    (b'{"recipient": ["' + b'","'.join([b"+393331234567"] * 10_001) + b'"], "message": "a"}', 422, 3003, "10000"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "word"), BAD, ids=[case[3] for case in BAD])
def test_strange_json_is_told_by_field(body: bytes, status: int, code: int, word: str) -> None:
    found = parse(body, ME)
    assert isinstance(found, Refusal)
    assert (found.status, found.error.code) == (status, code), found
    assert word in found.error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["recipient", "recipients", "message", "sender", "options", "callback", "custom", "requestId", "account", "x"]


BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda made: json.dumps(made).encode())


@given(
    body=st.binary(max_size=64) | BODIES,
    tariff=st.sampled_from([None, "WW", "IT"]),
    key=st.none() | st.text(min_size=1, max_size=8),
)
def test_any_body_is_a_request_or_a_refusal(body: bytes, tariff: str | None, key: str | None) -> None:
    found = parse(body, ME, tariff, key)
    if isinstance(found, Refusal):
        assert found.status in (400, 422) and found.error.message and found.error.permanent
    else:
        assert isinstance(found, Request) and found.account == "acme" and found.sender
        found.model_dump_json()


@given(text=st.text(st.characters(exclude_categories=["Cs"])), fields=st.lists(st.text(':"\\{}x', max_size=4)))
def test_colons_and_quotes_in_texts_are_no_fields(text: str, fields: list[str]) -> None:
    custom = {f"k{number}": value for number, value in enumerate(fields)}
    body = json.dumps({"recipient": NUMBER, "message": text or "x", "custom": custom}).encode()
    found = parse(body, ME)
    assert isinstance(found, Request) and found.message == (text or "x") and found.custom == custom
