"""The HTTP way: what is posted goes through the whole pipeline, and is read back."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from endtoend import numbers, wait_for
from wholesystem import System

pytestmark = pytest.mark.e2e

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(plain: System) -> Ask:
    """Status and body of an answer; None as the token sends none."""

    def ask(method: str, path: str, body: Any = None, token: str | None = plain.rig.token) -> tuple[int, Any]:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(plain.rig.system.gateway_url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)

    return ask


def delivered(ask: Ask, message: str) -> Any:
    """The message, once the read model has it delivered."""

    def look() -> Any:
        status, body = ask("GET", f"/messages/{message}")
        return body["data"] if status == 200 and body["data"]["state"] == "DELIVERED" else None

    return wait_for(look, what=f"delivery of {message}")


@pytest.mark.parametrize("path", ["/messages", "/WW-messages"])
def test_posted_message_becomes_delivered(plain: System, ask: Ask, path: str) -> None:
    status, body = ask("POST", path, {"recipient": "+393331234567", "message": "Hello €", "sender": "ACME"})
    assert status == 201
    taken = body["data"]
    assert (taken["state"], taken["recipient"], taken["encoding"]) == ("NEW", "+393331234567", "GSM-7")
    seen = delivered(ask, taken["id"])
    assert (seen["message"], seen["price"], seen["totalPrice"], seen["partsDelivered"]) == ("Hello €", 0.05, 0.05, 1)
    assert (seen["carrier"], seen["sender"], seen["requestId"]) == ("sim", "ACME", taken["requestId"])
    told = plain.user.fate(taken["requestId"])
    assert (told["id"], told["state"]) == (taken["id"], "DELIVERED")
    status, body = ask("GET", "/messages?skip=0&limit=1000")
    assert status == 200
    assert taken["id"] in [message["id"] for message in body["data"]]


def test_posted_to_many(plain: System, ask: Ask) -> None:
    recipients = [{"number": number, "fields": {"name": number[-1]}} for number in numbers(20)]
    status, body = ask("POST", "/messages", {"recipients": [*recipients, "+390669812345"], "message": "Hi {{name}}"})
    assert (status, body["data"]["recipients"]) == (201, 21)
    told = plain.user.fates(body["data"]["requestId"], 21)
    assert [one["state"] for one in told] == ["DELIVERED"] * 20 + ["REJECTED"]
    assert told[20]["error"]["code"] == 2011
    assert delivered(ask, told[3]["id"])["message"] == "Hi 3"


def test_repeated_request_id_sends_nothing_again(plain: System, ask: Ask) -> None:
    request = {"requestId": "posted twice", "recipient": "+393331234567", "message": "Hello"}
    (_, first), (status, again) = ask("POST", "/messages", request), ask("POST", "/messages", request)
    assert status == 201
    delivered(ask, first["data"]["id"])
    delivered(ask, ask("POST", "/messages", {"recipient": "+393331234568", "message": "behind"})[1]["data"]["id"])
    (told,) = plain.user.fates("posted twice")
    assert told["id"] == first["data"]["id"]
    assert again["data"]["requestId"] == "posted twice"


@pytest.mark.parametrize("token", [None, "", "wrong", "smsp_" + "x" * 43])
@pytest.mark.parametrize(("method", "path"), [("POST", "/messages"), ("GET", "/messages"), ("GET", "/messages/0")])
def test_wrong_token(ask: Ask, token: str | None, method: str, path: str) -> None:
    body = {"recipient": "+393331234567", "message": "Hello"} if method == "POST" else None
    status, answer = ask(method, path, body, token=token)
    assert (status, answer["code"]) == (401, 3050)


def test_another_accounts_message_is_not_found(plain: System, ask: Ask) -> None:
    plain.cli("account", "create", "other")
    token = plain.cli("account", "token", "other").strip()
    told = plain.user.fate(plain.user.send(["+393331234567"]))
    delivered(ask, told["id"])
    assert ask("GET", f"/messages/{told['id']}", token=token)[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, 3001),
        (b"\xff", 400, 3001),
        (b'{"recipient": "+393331234567", "message": "\\ud800"}', 422, 3014),
        ({"recipient": "+393331234567", "message": "Hello", "nonsense": 1}, 422, 3001),
        ({"recipient": "+390669812345", "message": "Hello"}, 422, 2011),
        ({"recipient": "+393331234567", "message": ""}, 422, 3004),
        ({"recipient": "+393331234567", "message": "x" * 100_000}, 422, 3005),
        ({"recipient": "+393331234567", "message": "Hello", "sender": "1234"}, 422, 2024),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_bad_request_is_refused_at_the_door(ask: Ask, body: Any, status: int, code: int) -> None:
    answered, answer = ask("POST", "/messages", body)
    assert (answered, answer["code"]) == (status, code)
    assert answer["message"]


def test_what_is_answered_with_201_is_told(plain: System, ask: Ask) -> None:
    """Deeply nested: refused at the door, or seen to its end."""
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    request = {"recipient": "+393331234567", "message": "Hello", "custom": {"deep": deep}}
    status, answer = ask("POST", "/messages", request)
    assert status in (201, 400, 422)
    if status == 201:
        assert plain.user.fate(answer["data"]["requestId"])["final"]


def test_a_login_code_arrives_and_is_nowhere_to_be_read(plain: System, ask: Ask) -> None:
    status, body = ask("POST", "/otp", {"recipient": "+393331234567", "length": 10})
    assert status == 201
    code, id_ = body["data"]["otp"], body["data"]["id"]
    seen = delivered(ask, id_)
    assert seen["message"] == "Il tuo codice di verifica è *****. Non comunicarlo a nessuno."
    assert (seen["charactersCount"], seen["sender"]) == (len(body["data"]["message"]), "OTP MOBILE")
    assert code not in json.dumps(seen) + json.dumps(plain.user.fate(body["data"]["requestId"]))
    tried = [ask("POST", "/otp/verify", {"recipient": "+393331234567", "code": code})[1]["data"] for _ in range(2)]
    assert [one["verified"] for one in tried] == [True, False]


def test_prohibited_content_is_refused_at_the_door_and_told_once(plain: System, ask: Ask) -> None:
    plain.cli("account", "create", "tempted", "--credit", "10")
    token = plain.cli("account", "token", "tempted").strip()
    dry = {"recipient": "+393331234567", "message": "Forbidden fruit", "options": {"dryRun": True}}
    wait_for(lambda: ask("POST", "/messages", dry, token=token)[1].get("code") == 2044, what="the lists at the gateway")
    sent = {"recipient": "+393331234567", "message": "Forbidden fruit", "requestId": "tempted"}
    status, answer = ask("POST", "/messages", sent, token=token)
    assert (status, answer["code"]) == (422, 2044)
    told = plain.user.fate("tempted")
    assert (told["id"], told["detailedState"], told["error"]["code"]) == (answer["id"], "BLOCKED", 2044)
    wait_for(lambda: ask("POST", "/messages", sent, token=token)[0] == 403, what="the blocklisting")
    shown = plain.cli.json("account", "show", "tempted")
    assert (shown["blocklisted"], shown["balance"]) == (True, "9.00")
