import json

import broker
import pytest
from serving import LIMIT, TOKENS, put_accounts

from pipeline import ids
from pipeline.accounts import AccountRecord
from pipeline.gateway.messages.fresh import Fresh
from pipeline.tokens import hash_token, new_token
from schemas import errors

ONE = {"sender": "MyCompany", "recipient": "+393331234567", "message": "Hello! This is a test message."}


def intake(gateway, lane):
    return [(r, json.loads(r.value)) for r in broker.read(gateway.settings, gateway.names.intake(lane))]


def problem(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == "about:blank" and body["title"]
    assert body["detail"] == body["message"]
    return body["message"]


@pytest.mark.parametrize("path", ["/messages", "/WW-messages"])
def test_one_message_is_on_the_priority_topic_under_the_answered_id(gateway, path):
    answer = gateway.as_("acme").post(path, json={**ONE, "options": {"validitySeconds": 60}, "custom": {"order": 7}})
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    record, value = next((r, v) for r, v in intake(gateway, ".priority") if v["requestId"] == data["requestId"])
    batch = ids.batch_id(ids.request_hash("acme", data["requestId"]), 0, record.timestamp)
    assert data["id"] == ids.message_id(batch, 0)
    assert value == {
        "requestId": data["requestId"],
        "account": "acme",
        "sender": "MyCompany",
        "recipients": ["+393331234567"],
        "message": ONE["message"],
        "options": {"validitySeconds": 60},
        "custom": {"order": 7},
    }
    told = {
        "username": "acme", "state": "NEW", "sender": "MyCompany", "recipient": "+393331234567",
        "internationalPrefix": "39", "countryCode": "IT", "message": ONE["message"], "encoding": "GSM-7",
        "charactersCount": 30, "messageCount": 1, "price": 0, "totalPrice": 0, "isOtp": False,
        "sentAt": None, "deliveredAt": None, "blocklisted": False,
    }  # fmt: skip
    assert {key: data[key] for key in told} == told
    assert (data["options"]["dryRun"], data["options"]["validitySeconds"]) == (False, 60)
    assert data["createdAt"] <= data["updatedAt"]


def test_a_message_is_found_as_soon_as_it_is_taken(gateway):
    """No store runs here, so the read model knows nothing of it."""
    with gateway.as_("acme") as acme:
        taken = acme.post("/messages", json={**ONE, "requestId": "fresh"}).json()
        shown = acme.get(f"/messages/{taken['data']['id'].upper()}")
        assert (shown.status_code, shown.json()) == (200, taken)
        login = acme.post("/otp", json={"recipient": "+393331234567"}).json()["data"]["id"]
        assert acme.get(f"/messages/{login}").status_code == 404, "codes are not kept"
    with gateway.as_("globex") as globex:
        problem(globex.get(f"/messages/{taken['data']['id']}"), 404, errors.NOT_FOUND)


def test_what_was_taken_is_forgotten_after_a_minute_and_when_there_is_too_much():
    fresh = Fresh(most=2)
    for place in range(5):
        fresh.put(str(place), "acme", b"%d" % place, now=100)
    assert [fresh.get(str(place), "acme", 159) for place in range(5)] == [None, None, b"2", b"3", b"4"]
    assert fresh.get("4", "acme", 160) is None


def test_defaults_and_a_given_request_id(gateway):
    sent = {"recipient": "+393331234567", "message": "中" * 71, "sender": None, "requestId": "order-1"}
    data = gateway.as_("acme").post("/messages", json=sent).json()["data"]
    assert (data["sender"], data["encoding"], data["messageCount"]) == ("Openapi", "UCS-2", 2)
    assert data["requestId"] == "order-1"
    values = [v for _, v in intake(gateway, ".priority") if v["requestId"] == "order-1"]
    assert [v["sender"] for v in values] == ["Openapi"]


def test_one_personalised_message_is_told_as_it_will_be_sent(gateway):
    sent = {"recipients": [{"number": "+393331234567", "fields": {"name": "Ada"}}], "message": "Hello {{name}}"}
    data = gateway.as_("acme").post("/messages", json=sent).json()["data"]
    assert (data["message"], data["charactersCount"]) == ("Hello Ada", 9)


def test_several_recipients_go_to_the_bulk_topic_and_a_bad_one_spoils_nothing(gateway):
    sent = {"recipients": ["+393331234567", "nonsense"], "message": "Hi", "requestId": "bulk-1"}
    answer = gateway.as_("globex").post("/messages", json=sent)
    assert answer.status_code == 201
    data = answer.json()["data"]
    assert data["recipients"] == 2 and "recipient" not in data and "countryCode" not in data
    (record, value), *more = [(r, v) for r, v in intake(gateway, "") if v["requestId"] == "bulk-1"]
    assert not more and value["recipients"] == sent["recipients"]
    assert data["id"] == ids.message_id(ids.batch_id(ids.request_hash("globex", "bulk-1"), 0, record.timestamp), 0)


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"recipient": "333"}, errors.INVALID_RECIPIENT, "recipient: no +"),
        ({"recipient": ""}, errors.INVALID_RECIPIENT, "recipient: empty"),
        ({"recipient": "+390612345678"}, errors.INVALID_RECIPIENT, "recipient: not a mobile"),
        ({"sender": "ab"}, errors.INVALID_SENDER, "sender: the sender has 2 characters, 3 to 11"),
        ({"sender": "12345"}, errors.NUMERIC_SENDER, "sender: "),
        ({"message": "a" * 1531}, errors.TOO_MANY_PARTS, "message: the text would need"),
        ({"message": "a" * 161, "options": {"failOnMultipleMessages": True}}, errors.MULTIPLE_PARTS, "2 parts"),
        ({"message": "Hi {{name}}"}, errors.MISSING_FIELD, 'message: field "name" is missing'),
        ({"options": {"sendAt": "2099-01-01T00:00:00Z"}}, errors.SEND_AT, "the latest is"),
        ({"options": {"sendAt": "2020-01-01T00:00:00Z"}}, errors.SEND_AT, "is past"),
        ({"options": {"sendAt": "2099-01-01T00:00:00"}}, errors.MALFORMED_REQUEST, "no offset from UTC"),
        ({"options": {"quietHours": {"from": "9"}}}, errors.MALFORMED_REQUEST, "options.quietHours.to"),
        ({"colour": "red"}, errors.MALFORMED_REQUEST, "colour: unknown field"),
        ({"account": "globex"}, errors.MALFORMED_REQUEST, "account: unknown field"),
        ({"options": {"dryRun": "yes"}}, errors.MALFORMED_REQUEST, "options.dryRun"),
        ({"recipient": 39333}, errors.MALFORMED_REQUEST, "recipient: "),
        ({"recipient": None}, errors.MALFORMED_REQUEST, "recipient: "),
        ({"recipients": ["+393331234567"]}, errors.MALFORMED_REQUEST, "not both"),
        ({"callback": {"retry": 3}}, errors.MALFORMED_REQUEST, "callback.url"),
        ({"callback": {"url": "nowhere"}}, errors.MALFORMED_REQUEST, "callback.url"),
    ],
)
def test_what_is_wrong_is_refused_at_once_by_code_and_name(gateway, change, code, word):
    answer = gateway.as_("acme").post("/messages", json={**ONE, **change})
    assert word in problem(answer, 422, code)


@pytest.mark.parametrize("several", [False, True])
def test_a_template_that_would_fill_the_memory_is_refused_before_it_does(gateway, several):
    """A thousand placeholders with twenty thousand characters each are 20 MB; and there may be no more of them."""

    def told(slots):
        rows = [{"number": f"+39333123456{place}", "fields": {"a": "x" * 20_000}} for place in range(1 + several)]
        return gateway.as_("acme").post("/messages", json={"message": "{{a}}" * slots, "recipients": rows})

    assert problem(told(1001), 422, errors.TOO_MANY_PARTS) == "message: 1001 placeholders; there may be 1000"
    if not several:  # who among several has too much is told by its message
        assert "20000000 characters" in problem(told(1000), 422, errors.TOO_MANY_PARTS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": "Hi"}, "recipient"),
        ({"recipient": "+393331234567"}, "message"),
        ({"recipients": [{"number": 1}], "message": "Hi"}, "recipients.0.number"),
        ({"recipients": [], "message": "Hi"}, "recipients"),
    ],
)
def test_a_missing_or_misshapen_field_is_named(gateway, body, field):
    answer = gateway.as_("acme").post("/messages", json=body)
    assert field in problem(answer, 422, errors.MALFORMED_REQUEST)


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"\xff", 400), (b"", 400), (b"[]", 422)])
def test_a_body_that_is_no_json_object_is_refused(gateway, body, status):
    problem(gateway.as_("acme").post("/messages", content=body), status, errors.MALFORMED_REQUEST)


def test_too_large_a_body_is_refused_declared_or_not(gateway):
    body = json.dumps({**ONE, "custom": {"x": "y" * LIMIT}}).encode()
    problem(gateway.as_("acme").post("/messages", content=body), 413, errors.TOO_LARGE)
    chunks = (body[i : i + 8192] for i in range(0, len(body), 8192))
    problem(gateway.as_("acme").post("/messages", content=chunks), 413, errors.TOO_LARGE)


@pytest.mark.parametrize("header", [None, "Bearer", "Basic YTpi", f"Bearer {'x' * 48}", f"Bearer smsp_{'z' * 43}"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/messages"), ("GET", "/messages"), ("GET", "/messages/aa")])
def test_without_a_valid_token_nothing_is_told(gateway, header, method, path):
    headers = {"Authorization": header} if header else {}
    answer = gateway.http.request(method, path, headers=headers)
    problem(answer, 401, errors.UNAUTHENTICATED)
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_a_blocklisted_account_sends_nothing_but_may_read(gateway):
    problem(gateway.as_("blocked").post("/messages", json=ONE), 403, errors.BLOCKLISTED)
    assert gateway.as_("blocked").get("/messages").json() == {"data": [], "nextCursor": None}


def test_a_token_works_as_soon_as_it_is_made_and_not_once_it_is_withdrawn(gateway):
    token, digest = new_token()
    headers = {"Authorization": f"Bearer {token}"}
    acme = AccountRecord("acme", "2026-11-22T10:00:00.000Z", [hash_token(TOKENS["acme"])])
    put_accounts(gateway.settings, AccountRecord(acme.name, acme.created_at, [*acme.tokens, digest]))
    assert gateway.http.post("/messages", json=ONE, headers=headers).status_code == 201
    put_accounts(gateway.settings, acme)
    assert gateway.http.get("/health/ready").status_code == 200  # reads the accounts to their end
    assert gateway.http.post("/messages", json=ONE, headers=headers).status_code == 401


def test_other_paths_and_methods_are_problems_too(gateway):
    problem(gateway.http.get("/nowhere"), 404, errors.NOT_FOUND)
    problem(gateway.http.delete("/messages"), 405, errors.MALFORMED_REQUEST)


def test_health_metrics_and_headers(gateway):
    assert gateway.http.get("/health/live").json()["status"] == "ok"
    answer = gateway.http.get("/metrics")
    assert 'sms_gateway_requests_total{route="/health/live",status="200"}' in answer.text
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "/messages/{id}" in gateway.http.get("/openapi.json").json()["paths"]


def test_another_method_is_told_every_one_there_is(gateway) -> None:
    """RFC 9110, 15.5.6: a path's methods are routes of their own here."""
    for path, allowed in (("/drafts/x", "DELETE, GET, PUT"), ("/tokens", "GET, POST"), ("/otp", "POST")):
        answer = gateway.http.patch(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
