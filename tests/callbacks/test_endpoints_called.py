"""Endpoints of accounts, by a worker process: what they chose, signed, single or in batches."""

import json
import time

import broker
import msgspec
import pytest
from calling import DELIVERED, PENDING, REJECTED, Stage, batch, message, notice
from receiving import Heard, Receiver
from standardwebhooks import Webhook, WebhookVerificationError
from working import wait_for

from pipeline import ids
from pipeline.callbacks.endpoints import CHOICES, TYPES, Endpoint, Secret, new_secret
from pipeline.callbacks.records import Outcome
from pipeline.stages.fate import rfc3339


def verified(heard: Heard, key: str) -> dict:
    return Webhook(key).verify(heard.body, heard.headers)


def test_events_are_as_standard_webhooks_has_them(stage: Stage, receiver: Receiver) -> None:
    endpoint = stage.endpoint(receiver.url("/x?key=1"), account="plain")
    about = batch(account="plain")
    stage.tell(notice(about, PENDING), notice(about, DELIVERED))
    wait_for(lambda: len(receiver.taken) == 2)
    pending, delivered = receiver.taken
    assert (pending.path, pending.id, delivered.id) == ("/x?key=1", f"{message(about)}:3", f"{message(about)}:6")
    body = verified(delivered, endpoint.secrets[0].key)
    assert list(body) == ["type", "timestamp", "data"]
    assert (body["type"], body["timestamp"]) == ("message.delivered", body["data"]["deliveredAt"])
    assert (body["data"]["state"], body["data"]["custom"]) == ("DELIVERED", {"order": 7})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret("").key).verify(delivered.body, delivered.headers)
    log = wait_for(lambda: [d for d in stage.deliveries() if d.endpoint == endpoint.id][1:])
    assert log[0].url == receiver.url("/x")  # what stands in a query may be a secret


def test_an_endpoint_hears_what_it_chose_and_only_of_its_account(stage: Stage, receiver: Receiver) -> None:
    stage.endpoint(receiver.url("/final"), account="choosy", events=("message.final",))
    stage.endpoint(receiver.url("/failed"), account="choosy", events=("message.failed", "account.balance-low"))
    stage.endpoint(receiver.url("/off"), account="choosy", enabled=False)
    stage.endpoint(receiver.url("/other"), account="other")
    about = batch(2, account="choosy")
    stage.tell(notice(about, PENDING), notice(about, DELIVERED, [0]), notice(about, REJECTED, [1]))
    news = {"account": "choosy", "kind": "balance-low", "at": rfc3339(time.time_ns() // 1_000_000), "available": "1.00"}
    other = news | {"kind": "limit-near"}
    home = ids.partition_of(b"choosy", 3)
    rows = [(b"choosy", json.dumps(one).encode(), home) for one in (news, other)]
    broker.produce(stage.settings, stage.names.events, rows)
    wait_for(lambda: len(receiver.taken) == 4)
    heard = sorted((h.path, h.json["type"]) for h in receiver.taken)
    assert heard == [
        ("/failed", "account.balance-low"), ("/failed", "message.rejected"), ("/final", "message.delivered"),
        ("/final", "message.rejected"),
    ]  # fmt: skip
    assert next(h.json["data"] for h in receiver.taken if h.json["type"].startswith("account")) == news


def test_every_choice_names_types() -> None:
    assert set().union(*CHOICES.values()) == set(TYPES)


def test_events_go_in_batches(stage: Stage, receiver: Receiver) -> None:
    endpoint = stage.endpoint(receiver.url(), account="bulk", batch=20, batch_milliseconds=300)
    abouts = [batch(45, account="bulk") for _ in range(2)]
    failed = []

    def answer(heard: Heard, number: int) -> int:
        if number == 2:
            failed.append(heard)
        return 503 if number == 2 else 200

    receiver.answer = answer
    stage.tell(*(notice(about, state) for about in abouts for state in (PENDING, DELIVERED)))
    wanted = {message(about, place): ["PENDING", "DELIVERED"] for about in abouts for place in range(45)}
    wait_for(lambda: receiver.told() == wanted)
    assert len(receiver.heard) <= 24
    for heard in receiver.heard:
        body = verified(heard, endpoint.secrets[0].key)
        assert (body["type"], len(body["data"]) <= 20) == ("batch", True)
        assert [list(event) for event in body["data"]] == [["id", "type", "timestamp", "data"]] * len(body["data"])
    assert any(heard.id == failed[0].id for heard in receiver.taken)  # the same events again under the same id


def test_a_few_events_wait_no_longer_than_they_may(stage: Stage, receiver: Receiver) -> None:
    stage.endpoint(receiver.url(), account="few", batch=100, batch_milliseconds=400)
    began = time.monotonic()
    about = batch(3, account="few")
    for place in range(3):
        stage.tell(notice(about, PENDING, [place]))
    wait_for(lambda: sum(len(h.json["data"]) for h in receiver.taken) == 3)
    assert receiver.heard[0].at - began > 0.35
    assert len(receiver.heard) == 1


def test_secrets_are_rotated_without_a_gap(stage: Stage, receiver: Receiver) -> None:
    endpoint = stage.endpoint(receiver.url(), account="careful")
    (old,) = endpoint.secrets
    both = endpoint.rotated(24)
    stage.put(both)
    new = both.secrets[-1]
    stage.tell(notice(batch(account="careful"), PENDING))
    wait_for(lambda: receiver.taken)
    for secret in (old, new):
        assert verified(receiver.taken[0], secret.key)
    expired = msgspec.structs.replace(both, secrets=[Secret(old.key, old.created_at, rfc3339(0)), new])
    stage.put(expired)
    stage.tell(notice(batch(account="careful"), PENDING))
    wait_for(lambda: len(receiver.taken) == 2)
    assert verified(receiver.taken[1], new.key)
    with pytest.raises(WebhookVerificationError):
        verified(receiver.taken[1], old.key)
    assert [secret.key for secret in both.rotated(0).secrets[:-1]] == []
    assert len(both.rotated(1).secrets) == 3


def test_what_waits_for_an_endpoint_that_is_gone_is_given_up(stage: Stage, receiver: Receiver) -> None:
    receiver.answer = lambda heard, number: 500
    endpoint = stage.endpoint(receiver.url(), account="leaving")
    about = batch(30, account="leaving")
    stage.tell(notice(about, PENDING), notice(about, DELIVERED))
    wait_for(lambda: receiver.heard)
    broker.produce(stage.settings, stage.names.endpoints, [(endpoint.key, None, 0)])

    def given_up() -> int:
        found = [d for d in stage.deliveries() if d.endpoint == endpoint.id and d.outcome == Outcome.GIVEN_UP]
        return sum(len(d.events) for d in found)

    wait_for(lambda: given_up() == 60, 20, lambda: str(given_up()))


def test_a_removed_or_unreadable_endpoint_leaves_no_trace() -> None:
    from pipeline.callbacks.endpoints import Endpoints

    known = Endpoints()
    made = Endpoint(
        id="ep_1",
        account="acme",
        url="https://x.example/",
        events=["message.*"],
        secrets=[],
        created_at="1",
        updated_at="1",
    )
    known.take(made.key, made.value)
    known.take(b"acme/ep_2", b"{")
    assert (known.listens("acme"), known.get("ep_1"), known.get("ep_2")) == (True, made, None)
    known.take(made.key, None)
    assert (known.listens("acme"), known.get("ep_1"), list(known.of("acme"))) == (False, None, [])
