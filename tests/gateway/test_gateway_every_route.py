"""Every route, asked without a token, with a wrong one, with another account's, and with one that may not."""

from collections.abc import Iterator
from typing import NamedTuple

import broker
import httpx
import msgspec
import pytest
from routes import SHARED, Route, every
from serving import Gateway, configured, eventually, put_accounts, serving

from pipeline.accounts import AccountRecord
from pipeline.callbacks.endpoints import Endpoint
from pipeline.config import Settings
from pipeline.drafts import Draft
from pipeline.gateway.app import create_app
from pipeline.optouts import OptOut
from pipeline.store.database import open_database
from pipeline.store.writer import Moved, Told, Writer
from pipeline.tokens import Scope, make_token
from schemas import errors
from schemas.ledger import SIDES, Kind, LedgerEntry
from schemas.states import STATE, Detailed
from schemas.status import StatusRecord

OWNER, STRANGER = "owner-of-things", "stranger"
NUMBER, REQUEST, SENDER = "+393335551234", "request-of-owner", "OWNERS"
DRAFT, ENDPOINT, AT = "d" * 16, "e" * 24, "2026-11-22T10:00:00.000Z"
ROUTES = every(create_app(Settings(kafka={"bootstrap_servers": "127.0.0.1:1"})))
#: Asked for first, for what is made beside them is in them.
LISTS = sorted((route for route in ROUTES if not route.has_parameter), key=lambda route: route.method != "GET")


class World(NamedTuple):
    """A gateway, and what the owner has there: a name of each kind of thing. `tokens`: by account and scope."""

    gateway: Gateway
    message: str
    number: str
    token: str
    batch: str
    draft: str
    endpoint: str
    tokens: dict[tuple[str, Scope], str]

    def ask(self, route: Route, token: str | None, value: str) -> httpx.Response:
        """Ask a route for the thing of this name, with a body that it takes."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.gateway.http.request(route.method, route.at(value), headers=headers, json=route.body)

    def owners(self, route: Route) -> str:
        """The name of the owner's thing that a route asks for."""
        return getattr(self, route.thing) if route.has_parameter else ""


@pytest.fixture(scope="module")
def world(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = configured(kafka, tmp_path_factory.mktemp("world"))
    broker.create_topics(settings)
    made = {(name, scope): make_token(name, at=0, scopes=[scope]) for name in (OWNER, STRANGER) for scope in Scope}
    put_accounts(settings, AccountRecord(OWNER, ""), AccountRecord(STRANGER, ""), *(one for _, one in made.values()))
    message = f"{1_795_348_800:08x}{7:016x}"
    _remember(settings, message)
    tokens = {key: secret for key, (secret, _) in made.items()}
    with serving(settings) as gateway:
        eventually(lambda: gateway.http.get("/health/ready").status_code == 200)
        yield World(gateway, message, NUMBER, made[OWNER, Scope.READ][1].id, REQUEST, DRAFT, ENDPOINT, tokens)


def _remember(settings: Settings, message: str) -> None:
    """A message, a movement, an opt-out, a draft and an endpoint of the owner."""
    told = StatusRecord(
        id=message, request_id=REQUEST, index=0, account=OWNER, sender=SENDER, recipient=NUMBER,
        international_prefix="39", country_code="IT", state=STATE[Detailed.DELIVERED], detailed_state="DELIVERED",
        final=True, sequence=6, error=None, encoding="GSM-7", characters_count=9, message_count=1, parts_delivered=1,
        price="0.0500", total_price="0.0500", currency="EUR", carrier="sim", carrier_reference=None, dry_run=False,
        custom={}, at="2026-11-22T12:00:00.000Z",
    )  # fmt: skip
    source, target = (side.format(OWNER) for side in SIDES[Kind.TOP_UP])
    moved = LedgerEntry(
        account=OWNER, sequence=1, kind=Kind.TOP_UP, currency="EUR", source=source, target=target, amount="7421.93",
        balance="7421.93", reserved="0.00", at="2026-11-22T10:00:00.000Z", reference=REQUEST,
    )  # fmt: skip
    names = Gateway(settings, 0, None).names
    engine = open_database(settings)
    Writer(engine).write(
        names.status,
        [Told(msgspec.json.encode(told))],
        {0: 1},
        Moved(names.ledger, [msgspec.json.encode(moved)], {0: 1}),
    )
    engine.dispose()
    gone = OptOut(OWNER, NUMBER, "2026-11-22T10:00:00.000Z", "api")
    broker.produce(settings, names.opt_outs, [(gone.key, gone.value, None)])
    draft = Draft(OWNER, DRAFT, msgspec.Raw(msgspec.json.encode({"recipient": NUMBER, "message": "Hello"})), AT, AT)
    broker.produce(settings, names.drafts, [(draft.key, draft.value, None)])
    told_at = Endpoint(
        id=ENDPOINT, account=OWNER, url="https://owner.example/", events=[], secrets=[], created_at=AT, updated_at=AT
    )
    broker.produce(settings, names.endpoints, [(told_at.key, told_at.value, None)])


def refused(answer: httpx.Response, status: int, code: int) -> str:
    """It is this problem; its challenge (RFC 6750, section 3)."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert (body["status"], body["code"], body["trace"]) == (status, code, answer.headers["x-request-id"])
    return answer.headers.get("www-authenticate", "")


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_nobody_is_told_anything(world: World, route: Route) -> None:
    challenge = refused(world.ask(route, None, world.owners(route)), 401, errors.UNAUTHENTICATED)
    assert challenge == 'Bearer realm="sms-pipeline"'
    for wrong in ("smsp_" + "z" * 43, "nonsense"):
        challenge = refused(world.ask(route, wrong, world.owners(route)), 401, errors.UNAUTHENTICATED)
        assert 'error="invalid_token"' in challenge


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_token_may_only_what_its_scope_says(world: World, route: Route) -> None:
    for scope in set(Scope) - {route.scope}:
        answer = world.ask(route, world.tokens[OWNER, scope], world.owners(route))
        challenge = refused(answer, 403, errors.INSUFFICIENT_SCOPE)
        assert f'error="insufficient_scope", scope="{route.scope}"' in challenge
        told = f"this token's scope is {scope}; this operation wants {route.scope}"
        assert answer.json()["message"] == told


@pytest.mark.parametrize("route", [one for one in ROUTES if one.has_parameter and one not in SHARED], ids=" ".join)
def test_things_of_another_account_are_not_there(world: World, route: Route) -> None:
    refused(world.ask(route, world.tokens[STRANGER, route.scope], world.owners(route)), 404, errors.NOT_FOUND)


@pytest.mark.parametrize("route", LISTS, ids=" ".join)
def test_lists_of_another_account_hold_nothing_of_mine(world: World, route: Route) -> None:
    answer = world.ask(route, world.tokens[STRANGER, route.scope], "")
    marks = [OWNER, NUMBER, NUMBER[1:], REQUEST, SENDER, world.message, world.token, DRAFT, ENDPOINT, "7421.93"]
    assert not [mark for mark in marks if mark in answer.text]
    if route.method == "GET" and route not in SHARED and "tokens" not in route.path:
        data = answer.json().get("data", [])
        assert not data or isinstance(data, dict), "a list of somebody who has nothing is empty"


def test_the_owner_finds_what_nobody_else_does(world: World) -> None:
    """Else the tests above would pass on an empty world."""
    read, admin = world.tokens[OWNER, Scope.READ], world.tokens[OWNER, Scope.ADMIN]
    assert world.ask(Route("GET", "/messages/{id}"), read, world.message).json()["data"]["recipient"] == NUMBER
    assert world.ask(Route("GET", "/opt-outs/{number}"), read, NUMBER).status_code == 200
    for path, name in (
        ("/batches/{id:path}", REQUEST), ("/drafts/{id}", DRAFT), ("/callbacks/endpoints/{id}", ENDPOINT)
    ):  # fmt: skip
        assert world.ask(Route("GET", path), read, name).status_code == 200, path
    assert world.ask(Route("GET", "/balance"), read, "").json()["data"]["balance"] == "7421.93"
    assert world.token in world.ask(Route("GET", "/tokens"), admin, "").text
