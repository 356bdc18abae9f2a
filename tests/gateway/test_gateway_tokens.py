"""`/tokens`, what a token may, and what an answer says around its body."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import broker
import httpx
import pytest
from serving import TOKENS, Gateway, configured, eventually, put_accounts, serving

from pipeline import audit
from pipeline.accounts import AccountRecord
from pipeline.config import Gateway as GatewaySettings
from pipeline.tokens import MAX_TOKENS, Scope, Token, hash_token, make_token
from schemas import errors

ONE = {"recipient": "+393331234567", "message": "Hello"}
ADMIN = "smsp_" + "A" * 43


@pytest.fixture(scope="module")
def gateway(gateway: Gateway) -> Gateway:
    put_accounts(gateway.settings, Token("acme", "admin1", hash_token(ADMIN), tuple(Scope)))
    return gateway


def by(gateway: Gateway, token: str) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, timeout=30, headers={"Authorization": f"Bearer {token}"})


@contextmanager
def limited(kafka: str, directory: Path, **gateway) -> Iterator[Gateway]:
    """A gateway with limits of its own."""
    settings = configured(kafka, directory).model_copy(update={"gateway": GatewaySettings(port=0, **gateway)})
    broker.create_topics(settings)
    put_accounts(settings, AccountRecord("acme", "", [hash_token(TOKENS["acme"])]))
    with serving(settings) as found:
        eventually(lambda: found.http.get("/health/ready").status_code == 200)
        yield found


def test_a_token_is_made_listed_used_and_revoked(gateway):
    admin = by(gateway, ADMIN)
    made = admin.post("/tokens", json={"name": "shop", "scopes": ["send"], "expiresAt": "2999-01-01"}).json()["data"]
    secret = made.pop("token")
    assert made.pop("createdAt")
    id_ = made["id"]
    assert made == {"id": id_, "name": "shop", "scopes": ["send"], "expiresAt": "2999-01-01T00:00:00.000Z"}
    listed = {one["id"]: one for one in admin.get("/tokens").json()["data"]}
    assert listed[id_]["name"] == "shop" and secret not in admin.get("/tokens").text
    assert {"admin1", hash_token(TOKENS["acme"])[:12]} < set(listed)  # and one that an earlier version made
    shop = by(gateway, secret)
    assert shop.post("/messages", json=ONE).status_code == 201
    assert shop.get("/messages").status_code == 403
    assert admin.delete(f"/tokens/{id_}").status_code == 204
    assert shop.post("/messages", json=ONE).json()["code"] == errors.UNAUTHENTICATED
    assert admin.delete(f"/tokens/{id_}").status_code == 404
    told = [audit.read(record.value) for record in broker.read(gateway.settings, gateway.names.audit)]
    mine = [one for one in told if one.details["token"] == id_]
    assert [(one.actor, one.action, one.account) for one in mine] == [
        ("token:admin1", "token.create", "acme"),
        ("token:admin1", "token.revoke", "acme"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"scopes": ["root"]}, 422, "scopes: 'root'"),
        ({"scopes": []}, 422, "scopes"),
        ({"expiresAt": "2020-01-01"}, 422, "expiresAt: 2020-01-01 is past"),
        ({"expiresAt": "soon"}, 422, "expiresAt"),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, 422, "of 1970 to 9999"),
        ({"name": "x" * 101}, 422, "name"),
        ({"name": 1}, 422, "name"),
        ({"colour": "red"}, 422, "colour: unknown field"),
        ([], 422, "object"),
    ],
)
def test_what_is_wrong_with_a_wanted_token_is_named(gateway, body, status, word):
    answer = by(gateway, ADMIN).post("/tokens", json=body)
    assert answer.status_code == status and word in answer.json()["message"], answer.text


def test_an_account_has_no_more_than_so_many(gateway):
    made = [make_token("globex", at=1, scopes=list(Scope)) for _ in range(MAX_TOKENS)]
    put_accounts(gateway.settings, *(token for _, token in made))
    answer = by(gateway, made[0][0]).post("/tokens", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, errors.TOO_MANY_TOKENS)


def test_an_expired_token_is_told_so(gateway):
    secret, token = make_token("acme", at=0, expires=1_000)
    put_accounts(gateway.settings, token)
    answer = by(gateway, secret).get("/balance")
    assert (answer.status_code, answer.json()["code"]) == (401, errors.TOKEN_EXPIRED)
    assert f"{token.id} expired at 1970-01-01T00:00:01.000Z" in answer.json()["message"]
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_token_expires_by_itself(gateway):
    secret, token = make_token("acme", at=0, expires=time.time_ns() // 1_000_000 + 700)
    put_accounts(gateway.settings, token)
    assert by(gateway, secret).get("/balance").status_code == 200
    eventually(lambda: by(gateway, secret).get("/balance").status_code == 401, 3)


def test_a_revoked_token_is_dead_within_a_second(gateway):
    secret, token = make_token("acme", at=0)
    put_accounts(gateway.settings, token)
    client = by(gateway, secret)
    assert client.get("/balance").status_code == 200
    broker.produce(gateway.settings, gateway.names.accounts, [(token.key, token.revocation, None)])
    began = time.monotonic()
    eventually(lambda: client.get("/balance").status_code == 401, 1)
    print(f"revoked after {(time.monotonic() - began) * 1000:.0f} ms")


def test_rate_limit_fields_and_429(kafka, tmp_path):
    with limited(kafka, tmp_path, requests_per_second=1, burst_seconds=3) as gateway:
        client = gateway.as_("acme")
        answers = [client.get("/balance") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"token";q=3;w=3'}
        assert answers[0].headers["ratelimit"] == '"token";r=2;t=1'
        assert answers[3].headers["ratelimit"] == '"token";r=0;t=3'
        assert answers[3].headers["retry-after"] == "1"
        assert answers[3].json()["code"] == errors.TOO_MANY_REQUESTS
        assert "ratelimit" not in gateway.http.get("/health/live").headers


def test_wrong_tokens_of_an_address_are_limited_and_right_ones_are_not(kafka, tmp_path):
    with limited(kafka, tmp_path, failures_per_minute=5) as gateway:
        wrong = by(gateway, "smsp_" + "w" * 43)
        statuses = [wrong.get("/balance").status_code for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        refused = wrong.get("/balance")
        assert refused.json()["code"] == errors.TOO_MANY_FAILURES and int(refused.headers["retry-after"]) <= 12
        assert gateway.as_("acme").get("/balance").status_code == 200
        assert gateway.http.get("/balance").status_code == 401  # who shows no token guesses none
        text = gateway.http.get("/metrics").text
        assert 'sms_gateway_refused_total{limit="failures_per_minute"}' in text
        forged = wrong.get("/balance", headers={"X-Forwarded-For": "192.0.2.7"})
        assert forged.status_code == 429  # no proxy is trusted unless it is named


def test_the_request_id_is_echoed_where_it_is_one(gateway):
    given = gateway.http.get("/balance", headers={"X-Request-Id": "shop-7/a"})
    assert (given.headers["x-request-id"], given.json()["trace"]) == ("shop-7/a", "shop-7/a")
    for bad in ("", "a b", "x" * 129, 'a"b', "é".encode()):
        made = gateway.http.get("/balance", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert len(made) == 16 and made != bad


def test_headers_of_every_answer(gateway):
    for answer in (gateway.http.get("/health/live"), gateway.http.get("/nowhere"), gateway.as_("acme").get("/balance")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "strict-transport-security" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-request-id"]


def test_a_bug_is_a_problem_that_tells_nothing_but_its_trace(gateway, monkeypatch):
    monkeypatch.setattr(gateway.server.config.app.app.state.services.read_model, "last_movement", None)
    answer = gateway.as_("acme").get("/balance")
    assert (answer.status_code, answer.json()["code"]) == (500, errors.UNAVAILABLE)
    assert answer.json()["trace"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff" and "NoneType" not in answer.text


def test_cors_only_for_origins_that_are_named(kafka, tmp_path):
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with limited(kafka, tmp_path, cors_origins=["https://app.example"]) as gateway:
        mine, other = "https://app.example", "https://evil.example"
        asked = gateway.http.options("/messages", headers={"Origin": mine, **preflight})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, mine)
        assert gateway.http.options("/messages", headers={"Origin": other, **preflight}).status_code == 400
        answer = gateway.as_("acme").get("/balance", headers={"Origin": mine})
        assert answer.headers["access-control-allow-origin"] == mine
        assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-origin" not in gateway.http.get("/balance", headers={"Origin": other}).headers


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://a b", "null"])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValueError, match="origin"):
        GatewaySettings(cors_origins=[origin])
