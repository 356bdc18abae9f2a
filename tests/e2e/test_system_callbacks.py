"""From a request over HTTP to its callbacks, through every process."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import broker
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "callbacks"))

from endtoend import wait_for
from receiving import Receiver
from standardwebhooks import Webhook
from wholesystem import System

from pipeline.streaming.topics import TopicNames
from pipeline.tokens import Scope, make_token

pytestmark = pytest.mark.e2e


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def ask(system: System, method: str, path: str, body: Any = None, token: str = "") -> Any:
    request = urllib.request.Request(
        system.rig.system.gateway_url + path, json.dumps(body).encode() if body else None, method=method
    )
    request.add_header("Authorization", f"Bearer {token or system.rig.token}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or b'{"data": null}')["data"]


def test_a_posted_message_is_called_back_as_it_is_shown(plain: System, receiver: Receiver) -> None:
    made = {"url": receiver.url("/endpoint"), "events": ["message.final"]}
    secret, admin = make_token(plain.rig.account, at=0, scopes=[Scope.ADMIN])
    accounts = TopicNames(plain.rig.settings.kafka.topic_prefix).accounts
    broker.produce(plain.rig.settings, accounts, [(admin.key, admin.value, None)])
    endpoint = ask(plain, "POST", "/callbacks/endpoints", made, secret)
    callback = {"url": receiver.url("/callback"), "retry": 3, "custom": {"mine": [1]}, "headers": {"x-key": "k"}}
    body = {"recipient": "+393331234567", "message": "Hello €", "sender": "ACME", "custom": {"order": 7}}
    body |= {"callback": callback, "options": {"transliterate": True}}
    taken = ask(plain, "POST", "/messages", body)
    wait_for(lambda: len(receiver.taken) == 3, what="three calls")
    called = [heard for heard in receiver.taken if heard.path == "/callback"]
    assert [(heard.json["state"], heard.headers["x-key"]) for heard in called] == [("PENDING", "k"), ("DELIVERED", "k")]
    shown = wait_for(lambda: delivered(plain, taken["id"]), what="the read model")
    told = called[-1].json
    only_here = {"callback", "custom", "options"}
    assert {name: told.get(name) for name in shown if name not in only_here} == {
        name: value for name, value in shown.items() if name not in only_here
    }
    assert told["custom"] == {"mine": [1]}
    assert told["options"]["transliterate"] is True
    assert (told["callback"]["url"], "headers" in told["callback"]) == (receiver.url("/callback"), False)
    (signed,) = [heard for heard in receiver.taken if heard.path == "/endpoint"]
    event = Webhook(endpoint["secret"]).verify(signed.body, signed.headers)
    assert (event["type"], event["data"]["id"], event["data"]["custom"]) == (
        "message.delivered", taken["id"], {"order": 7}
    )  # fmt: skip
    ask(plain, "DELETE", f"/callbacks/endpoints/{endpoint['id']}", token=secret)


def delivered(system: System, message: str) -> Any:
    shown = ask(system, "GET", f"/messages/{message}")
    return shown if shown["state"] == "DELIVERED" else None
