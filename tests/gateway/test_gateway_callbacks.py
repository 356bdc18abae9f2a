"""Callback endpoints, deliveries and replay over real HTTP and a real broker, with the stage running beside."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "streaming"))
sys.path.insert(0, str(Path(__file__).parents[1] / "callbacks"))

import serving
from calling import DELIVERED, PENDING, REJECTED, Stage, batch, message, notice
from receiving import Receiver
from serving import Gateway, eventually
from standardwebhooks import Webhook
from typer.testing import CliRunner

from pipeline.accounts import AccountRecord
from pipeline.cli import app
from pipeline.config import Callbacks
from pipeline.tokens import Scope, Token, hash_token
from schemas import errors

URL = "https://client.example/hook"


@pytest.fixture(scope="module")
def stage(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(kafka, tmp_path_factory.mktemp("callbacks")) as running:
        yield running


@pytest.fixture(scope="module")
def calling(stage: Stage) -> Iterator[Gateway]:
    """A gateway on the topics of the stage."""
    allow = Callbacks(allow=["127.0.0.0/8"])
    settings = stage.settings.model_copy(
        update={"callbacks": allow, "gateway": stage.settings.gateway.model_copy(update={"port": 0})}
    )
    names = ("acme", "globex")
    accounts = [AccountRecord(name, "2026-11-22T10:00:00.000Z") for name in names]
    tokens = [Token(name, "0" * 12, hash_token(serving.TOKENS[name]), tuple(Scope)) for name in names]
    serving.put_accounts(settings, *accounts, *tokens)
    with serving.serving(settings) as running:
        eventually(lambda: running.http.get("/health/ready").status_code == 200)
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def refused(answer, status: int, code: int, *words: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert all(word in body["message"] for word in words), body["message"]


def test_an_endpoint_is_made_changed_and_removed(calling: Gateway) -> None:
    with calling.as_("acme") as acme, calling.as_("globex") as globex:
        made = acme.post("/callbacks/endpoints", json={"url": URL, "events": ["message.final"], "description": "CRM"})
        assert made.status_code == 201
        endpoint = made.json()["data"]
        assert endpoint["secret"].startswith("whsec_")
        path = f"/callbacks/endpoints/{endpoint['id']}"
        shown = {name: value for name, value in endpoint.items() if name != "secret"}
        assert acme.get(path).json()["data"] == shown
        assert shown in acme.get("/callbacks/endpoints").json()["data"]
        assert "whsec_" not in acme.get("/callbacks/endpoints").text
        changed = acme.put(path, json={"url": URL + "/2", "events": ["message.*"], "enabled": False, "batch": 50})
        assert changed.json()["data"]["secrets"] == shown["secrets"]
        assert (changed.json()["data"]["url"], changed.json()["data"]["enabled"]) == (URL + "/2", False)
        refused(acme.post(path + "/test"), 409, errors.ENDPOINT_DISABLED, "enable")
        rotated = acme.post(path + "/secrets", json={"keepHours": 2}).json()["data"]
        assert rotated["secret"] not in ("", endpoint["secret"])
        assert [one["expiresAt"] is None for one in rotated["secrets"]] == [False, True]
        for other in (globex.get(path), globex.put(path, json={"url": URL, "events": ["message.*"]}),
                      globex.delete(path), globex.post(path + "/secrets"), globex.post(path + "/test")):  # fmt: skip
            refused(other, 404, errors.NOT_FOUND, endpoint["id"])
        assert globex.get("/callbacks/endpoints").json() == {"data": []}
        assert acme.delete(path).status_code == 204
        refused(acme.get(path), 404, errors.NOT_FOUND)


@pytest.mark.parametrize(("body", "field"), [
    ({}, "url"), ({"url": URL}, "events"), ({"url": URL, "events": []}, "events"),
    ({"url": URL, "events": ["message.gone"]}, "events"), ({"url": "ftp://x/", "events": ["message.*"]}, "url"),
    ({"url": "https://u:p@x/", "events": ["message.*"]}, "url"), ({"url": URL, "events": ["message.*"], "x": 1}, "x"),
    ({"url": URL, "events": ["message.*"], "batch": 0}, "batch"),
    ({"url": URL, "events": ["message.*"], "batchMilliseconds": -1}, "batchMilliseconds"),
    ({"url": URL, "events": "message.*"}, "events"),
])  # fmt: skip
def test_a_faulty_endpoint_is_refused_by_its_field(calling: Gateway, body: dict, field: str) -> None:
    with calling.as_("acme") as acme:
        refused(acme.post("/callbacks/endpoints", json=body), 422, errors.MALFORMED_REQUEST, f"{field}:")


def test_other_faults(calling: Gateway) -> None:
    with calling.as_("acme") as acme:
        for host in ("10.0.0.1", "[::1]", "2852039166", "169.254.169.254"):
            body = {"url": f"http://{host}/", "events": ["message.*"]}
            answer = acme.post("/callbacks/endpoints", json=body)
            refused(answer, 422, errors.URL_NOT_CALLABLE, "url:", "callbacks.allow")
            callback = {"recipient": "+393331234567", "message": "Hi", "callback": {"url": f"http://{host}/"}}
            refused(acme.post("/messages", json=callback), 422, errors.URL_NOT_CALLABLE, "callback.url:")
        wrong = {"recipient": "+393331234567", "message": "Hi", "callback": {"url": "x", "headers": {"Host": "x"}}}
        refused(acme.post("/messages", json=wrong), 422, errors.MALFORMED_REQUEST, "callback.url:", "callback.headers:")
        refused(acme.post("/callbacks/endpoints", content=b"{"), 400, errors.MALFORMED_REQUEST)
        refused(acme.post("/callbacks/endpoints", content=b"[]"), 422, errors.MALFORMED_REQUEST)
        for query, word in (
            ("state=lost", "state"),
            ("message=zz", "message"),
            ("from=yesterday", "from"),
            ("cursor=x", "cursor"),
        ):
            refused(acme.get(f"/callbacks/deliveries?{query}"), 422, errors.MALFORMED_REQUEST, word)
        for body, word in (
            ({"state": "lost"}, "state"),
            ({"message": "zz"}, "message"),
            ({"to": "x"}, "to"),
            ({"x": 1}, "x"),
        ):
            refused(acme.post("/callbacks/replay", json=body), 422, errors.MALFORMED_REQUEST, word)
    for path in ("endpoints", "endpoints/x", "deliveries"):
        assert calling.http.get(f"/callbacks/{path}").status_code == 401
    assert calling.http.post("/callbacks/replay").status_code == 401


def test_an_account_has_so_many_endpoints_and_no_more(calling: Gateway) -> None:
    with calling.as_("globex") as globex:
        made = [globex.post("/callbacks/endpoints", json={"url": URL, "events": ["account.*"]}) for _ in range(21)]
        refused(made.pop(), 409, errors.TOO_MANY_ENDPOINTS)
        for one in made:
            assert globex.delete(f"/callbacks/endpoints/{one.json()['data']['id']}").status_code == 204


def test_a_test_call_deliveries_and_replay(calling: Gateway, stage: Stage, receiver: Receiver) -> None:
    with calling.as_("acme") as acme, calling.as_("globex") as globex:
        body = {"url": receiver.url("/hook?token=hidden"), "events": ["message.final"]}
        endpoint = acme.post("/callbacks/endpoints", json=body).json()["data"]
        tested = acme.post(f"/callbacks/endpoints/{endpoint['id']}/test")
        assert tested.status_code == 202
        eventually(lambda: receiver.taken)
        heard = receiver.taken[0]
        assert heard.id == tested.json()["data"]["id"]
        assert Webhook(endpoint["secret"]).verify(heard.body, heard.headers)["type"] == "endpoint.test"

        receiver.answer = lambda heard, number: 410 if heard.path.startswith("/hook") else 404
        about = batch(3, callback={"url": receiver.url("/mine"), "headers": {"x-key": "secret"}})
        stage.tell(notice(about, PENDING), notice(about, DELIVERED, [0, 1]), notice(about, REJECTED, [2]))

        def page(**query: object) -> list[dict]:
            return acme.get("/callbacks/deliveries", params=query).json()["data"]

        eventually(lambda: len(page(state="given-up")) == 9)
        rows = page(state="given-up", message=message(about, 2))
        assert [(row["status"], row["endpoint"]) for row in rows if row["endpoint"]] == [(410, endpoint["id"])]
        assert sorted(row["events"][0]["type"] for row in rows) == [
            "message.pending",
            "message.rejected",
            "message.rejected",
        ]
        assert len(page(endpoint=endpoint["id"])) == 4
        assert "hidden" not in acme.get("/callbacks/deliveries").text
        assert "secret" not in acme.get("/callbacks/deliveries").text
        assert globex.get("/callbacks/deliveries").json() == {"data": [], "nextCursor": None}
        assert_pages_join(acme)

        receiver.answer = lambda heard, number: 200
        taken = len(receiver.taken)
        one = acme.post("/callbacks/replay", json={"message": message(about, 2)})
        assert (one.status_code, one.json()["data"]) == (202, {"events": 3, "nextCursor": None})
        eventually(lambda: len(receiver.taken) == taken + 3)
        assert receiver.taken[-1].headers.get("x-key") or receiver.taken[-2].headers.get("x-key")
        eventually(lambda: len(page(state="delivered", message=message(about, 2))) == 3)
        assert globex.post("/callbacks/replay", json={"state": "all"}).json()["data"]["events"] == 0
        rest = acme.post("/callbacks/replay", json={"from": "2026-01-01"}).json()["data"]
        assert rest["events"] == 6  # what was delivered meanwhile is not among them
        eventually(lambda: len(receiver.taken) == taken + 9)
        mine = [heard.json for heard in receiver.taken if heard.path == "/mine"]
        assert [one["state"] for one in mine if one["id"] == message(about, 0)] == ["PENDING", "DELIVERED"]
        only = acme.post("/callbacks/replay", json={"endpoint": endpoint["id"], "state": "all"}).json()["data"]
        assert only["events"] == 4


def assert_pages_join(acme) -> None:
    everything = acme.get("/callbacks/deliveries").json()["data"]
    joined, cursor = [], ""
    for _ in range(len(everything)):
        found = acme.get("/callbacks/deliveries", params={"limit": 4, "cursor": cursor}).json()
        joined += found["data"]
        if (cursor := found["nextCursor"]) is None:
            break
    assert joined == everything


def test_a_period_without_deliveries_is_told_at_once(calling: Gateway) -> None:
    with calling.as_("acme") as acme:
        began = time.monotonic()
        assert acme.get("/callbacks/deliveries", params={"from": "2026-01-01", "to": "2026-01-02"}).json()["data"] == []
        assert time.monotonic() - began < 2


def test_the_command_shows_and_tells_again(calling: Gateway, stage: Stage, receiver: Receiver) -> None:
    def command(*arguments: str, code: int = 0) -> str:
        ran = CliRunner().invoke(app, ["callbacks", *arguments], env=environment)
        assert ran.exit_code == code, ran.output
        return ran.output

    kafka = stage.settings.kafka
    environment = {
        "SMS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SMS_KAFKA__PARTITIONS": str(kafka.partitions),
        "SMS_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
    }  # fmt: skip
    made = stage.endpoint(receiver.url("/cli"), account="globex", events=("message.delivered",))
    (shown,) = [json.loads(line) for line in command("endpoints", "globex", "--json").splitlines()]
    assert (shown["id"], len(shown["secrets"])) == (made.id, 1)
    assert "whsec_" not in command("endpoints", "globex")
    receiver.answer = lambda heard, number: 410
    about = batch(2, account="globex")
    stage.tell(notice(about, DELIVERED))
    eventually(lambda: len(receiver.heard) == 2)
    eventually(lambda: len([d for d in stage.deliveries() if d.endpoint == made.id]) == 2)
    rows = [json.loads(line) for line in command("deliveries", "globex", "--state", "given-up", "--json").splitlines()]
    assert [row["status"] for row in rows] == [410, 410]
    assert "HTTP 410 Gone" in command("deliveries", "globex", "--message", message(about, 1))
    receiver.answer = lambda heard, number: 200
    assert json.loads(command("replay", "globex", "--json")) == {"events": 2}
    eventually(lambda: len(receiver.taken) == 2)
    assert "--state" in command("replay", "globex", "--state", "lost", code=2)
    assert "nobody" in command("deliveries", "nobody", code=1)
