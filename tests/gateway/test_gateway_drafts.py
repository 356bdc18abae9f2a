"""Drafts over real HTTP: checked, kept over a restart, sent once."""

import json
from datetime import UTC, datetime, timedelta

import broker
import msgspec
import pytest
from serving import eventually, serving
from test_gateway_messages import ONE, intake, problem

from pipeline.drafts import Draft
from schemas import errors


@pytest.fixture
def api(gateway):
    client = gateway.as_("acme")
    for draft in client.get("/drafts").json()["data"]:
        assert client.delete(f"/drafts/{draft['id']}").status_code == 204
    return client


def kept(client, **more):
    answer = client.post("/drafts", json={**ONE, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def sent(gateway, request_id):
    found = [*intake(gateway, ""), *intake(gateway, ".priority")]
    return [value for _, value in found if value["requestId"] == request_id]


def test_a_draft_is_kept_changed_and_deleted_and_nothing_is_sent(gateway, api):
    first = kept(api, custom={"n": 1})
    second = kept(api, message="Second")
    assert first["request"] == {**ONE, "custom": {"n": 1}} and first["sentAt"] is None
    listed = api.get("/drafts").json()["data"]
    assert [(one["id"], one["message"], one["recipients"]) for one in listed] == [
        (second["id"], "Second", 1), (first["id"], ONE["message"], 1),
    ]  # fmt: skip
    changed = api.put(f"/drafts/{first['id']}", json={**ONE, "message": "Other"}).json()["data"]
    assert api.get(f"/drafts/{first['id']}").json()["data"] == changed
    assert (changed["createdAt"], changed["request"]["message"]) == (first["createdAt"], "Other")
    assert api.delete(f"/drafts/{first['id']}").status_code == 204
    problem(api.get(f"/drafts/{first['id']}"), 404, errors.NOT_FOUND)
    assert sent(gateway, first["requestId"]) == []


def test_a_key_makes_one_draft(gateway, api):
    def keep(key, **more):
        return api.post("/drafts", json={**ONE, **more}, headers={"Idempotency-Key": key})

    first = keep('"draft-7"')
    again = api.post("/drafts", json=dict(reversed(ONE.items())), headers={"Idempotency-Key": "draft-7"})
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert "Idempotency-Key: 'draft-7'" in problem(keep("draft-7", message="Other"), 422, errors.REQUEST_ID_REUSED)
    assert keep("draft-8").json()["data"]["id"] != first.json()["data"]["id"]
    assert len(api.get("/drafts").json()["data"]) == 2
    with gateway.as_("globex") as globex:
        other = globex.post("/drafts", json=ONE, headers={"Idempotency-Key": "draft-7"}).json()["data"]
        assert other["id"] != first.json()["data"]["id"]
        assert globex.delete(f"/drafts/{other['id']}").status_code == 204
    problem(keep("not one word"), 400, errors.MALFORMED_REQUEST)
    assert api.delete(f"/drafts/{first.json()['data']['id']}").status_code == 204
    assert keep("draft-7", message="Other").status_code == 201


def test_what_is_sent_is_the_draft_and_no_body(gateway, api):
    draft = kept(api)
    message = problem(api.post(f"/drafts/{draft['id']}/send", json=ONE), 422, errors.MALFORMED_REQUEST)
    assert "recipient: unknown field" in message
    problem(api.post(f"/drafts/{draft['id']}/send", content=b"now"), 400, errors.MALFORMED_REQUEST)
    assert sent(gateway, draft["requestId"]) == []
    assert api.post(f"/drafts/{draft['id']}/send", json={}).status_code == 201


def test_it_is_sent_once_however_often_that_is_asked_for(gateway, api):
    draft = kept(api, options={"sendAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
    answers = [api.post(f"/drafts/{draft['id']}/send") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert {answer.json()["data"]["requestId"] for answer in answers} == {draft["requestId"]}
    values = sent(gateway, draft["requestId"])
    assert values and all(value == values[0] for value in values)  # repeats of one request: encode knows them
    after = api.get(f"/drafts/{draft['id']}").json()["data"]
    assert after["sentAt"] and after["updatedAt"] == draft["updatedAt"]
    message = problem(api.put(f"/drafts/{draft['id']}", json=ONE), 409, errors.TOO_LATE)
    assert after["sentAt"] in message
    assert api.delete(f"/drafts/{draft['id']}").status_code == 204


def test_long_after_it_was_sent_it_is_not_sent_again(gateway, api):
    """The stages forget a request in time."""
    draft = kept(api)
    at = "2026-01-01T00:00:00.000Z"
    old = Draft("acme", draft["id"], msgspec.Raw(json.dumps(ONE).encode()), at, at, at)
    broker.produce(gateway.settings, gateway.names.drafts, [(old.key, old.value, None)])
    problem(api.post(f"/drafts/{draft['id']}/send"), 409, errors.TOO_LATE)
    assert sent(gateway, draft["requestId"]) == []


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"recipient": "333"}, errors.INVALID_RECIPIENT, "+"),
        ({"colour": "red"}, errors.MALFORMED_REQUEST, "colour"),
        ({"message": "a" * 1531}, errors.TOO_MANY_PARTS, "parts"),
        ({"requestId": "mine"}, errors.MALFORMED_REQUEST, "requestId"),
        ({"options": {"dryRun": True}}, errors.MALFORMED_REQUEST, "options.dryRun"),
        ({"options": {"sendAt": "2020-01-01T00:00:00Z"}}, errors.SEND_AT, "options.sendAt"),
    ],
)
def test_what_could_not_be_sent_is_no_draft(api, change, code, word):
    assert word in problem(api.post("/drafts", json={**ONE, **change}), 422, code)
    draft = kept(api)
    assert word in problem(api.put(f"/drafts/{draft['id']}", json={**ONE, **change}), 422, code)
    assert api.get(f"/drafts/{draft['id']}").json()["data"] == draft


def test_drafts_are_their_accounts_own(gateway, api):
    draft = kept(api)
    other = gateway.as_("globex")
    assert other.get("/drafts").json() == {"data": []}
    for method, path in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/send")]:
        answer = other.request(method, f"/drafts/{draft['id']}{path}", json=ONE)
        problem(answer, 404, errors.NOT_FOUND)
        problem(gateway.http.request(method, f"/drafts/{draft['id']}{path}"), 401, errors.UNAUTHENTICATED)
    problem(api.get("/drafts/nonsense"), 404, errors.NOT_FOUND)


def test_there_is_an_end_to_them(api, monkeypatch):
    monkeypatch.setattr("pipeline.gateway.messages.drafts.MAX_DRAFTS", 2)
    first = kept(api)
    kept(api)
    assert "2 drafts" in problem(api.post("/drafts", json=ONE), 409, errors.TOO_MANY_DRAFTS)
    assert api.put(f"/drafts/{first['id']}", json={**ONE, "message": "Other"}).status_code == 200
    assert api.delete(f"/drafts/{first['id']}").status_code == 204
    kept(api)
    monkeypatch.setattr("pipeline.gateway.messages.drafts.MAX_DRAFT_BYTES", 50)
    problem(api.post("/drafts", json=ONE), 413, errors.TOO_LARGE)


def test_another_gateway_knows_them_too(gateway, api):
    draft = kept(api)
    settings = gateway.settings.model_copy(update={"gateway": gateway.settings.gateway.model_copy(update={"port": 0})})
    with serving(settings) as other:
        eventually(lambda: other.http.get("/health/ready").status_code == 200)
        eventually(lambda: other.as_("acme").get("/drafts").status_code == 200)
        assert other.as_("acme").get(f"/drafts/{draft['id']}").json()["data"] == draft
        assert other.as_("acme").delete(f"/drafts/{draft['id']}").status_code == 204
    problem(api.get(f"/drafts/{draft['id']}"), 404, errors.NOT_FOUND)


def test_a_draft_that_is_sent_while_its_change_comes_stays_as_it_was_sent(gateway, api):
    draft = kept(api)

    def slowly():
        yield b'{"recipient": "+393331234567", '
        assert gateway.as_("acme").post(f"/drafts/{draft['id']}/send").status_code == 201
        yield b'"message": "Another"}'

    answer = api.put(f"/drafts/{draft['id']}", content=slowly(), headers={"Content-Type": "application/json"})
    problem(answer, 409, errors.TOO_LATE)
    shown = api.get(f"/drafts/{draft['id']}").json()["data"]
    assert shown["sentAt"] and shown["request"] == draft["request"]
