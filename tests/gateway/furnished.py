"""A gateway on which an account has one of everything, so that every operation has something to answer with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import broker
import httpx
import msgspec
from provided import NUMBER, PROHIBITED, forbid, fund, known
from serving import TOKENS, Gateway, configured, eventually, put_accounts, serving

from pipeline import ids
from pipeline.accounts import AccountRecord
from pipeline.callbacks.records import Delivery, Event, Outcome
from pipeline.config import Gateway as GatewaySettings
from pipeline.lists import Entry
from pipeline.records import encode
from pipeline.store.batches import Batches
from pipeline.store.database import open_database
from pipeline.store.writer import Moved, Told, Writer
from pipeline.tokens import Scope, hash_token, make_token
from schemas.batch import BadLine, BatchRecord
from schemas.ledger import SIDES, Kind, LedgerEntry
from schemas.states import STATE, Detailed
from schemas.status import StatusError, StatusRecord

REQUEST, CARRIER = "a-request", "sim"
#: When the messages were requested (Unix seconds): in the statistics of the last days.
SENT = 1_795_348_800
DELIVERED, REJECTED = f"{SENT:08x}{7:010x}000000", f"{SENT:08x}{7:010x}000001"


class Furnished(NamedTuple):
    """`token`: one that may everything; `things`: the value of a path's parameter, by the path's first part."""

    gateway: Gateway
    token: str
    things: dict[str, str]

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.gateway.url, headers=headers, timeout=30)


@contextmanager
def furnished(
    kafka: str, directory: Path, changes: dict[str, Any] | None = None, **gateway: Any
) -> Iterator[Furnished]:
    """`changes`: other sections of the settings; `gateway`: settings of that one."""
    generous = {"requests_per_second": 1e6, "failures_per_minute": 1_000_000, "access_log": False}
    settings = configured(kafka, directory)
    section = GatewaySettings(port=0, **{**generous, **gateway})
    settings = settings.model_copy(update={"gateway": section, **(changes or {})})
    broker.create_topics(settings)
    secret, token = make_token("acme", at=0, scopes=list(Scope))
    at = "2026-11-22T10:00:00.000Z"
    put_accounts(
        settings,
        *(AccountRecord(name, at, [hash_token(TOKENS[name])]) for name in ("acme", "globex")),
        AccountRecord("blocked", at, [hash_token(TOKENS["blocked"])], blocklisted=True),
        token,
    )
    _remember(settings)
    with serving(settings) as running:
        eventually(lambda: running.http.get("/health/ready").status_code == 200)
        asked = {"recipient": NUMBER, "message": "Hello"}
        with running.as_("acme") as acme:
            eventually(lambda: acme.post("/estimate", json=asked).status_code == 200)
        for account in ("acme", "globex"):
            fund(running, account, "100.00")
            known(running, account, "100.00")
        forbid(running, Entry("term", PROHIBITED))
        world = Furnished(running, secret, {"messages": DELIVERED, "opt-outs": "+393335550000", "carriers": CARRIER})
        _make(world)
        yield world


def _make(world: Furnished) -> None:
    """What is made over HTTP."""

    def id_of(answer: httpx.Response) -> str:
        assert answer.status_code in (201, 202), answer.text
        return str(answer.json()["data"]["id"])

    with world.client() as client:
        message = {"recipient": NUMBER, "message": "Hello"}
        world.things["drafts"] = id_of(client.post("/drafts", json=message))
        endpoint = {"url": "https://client.example/told", "events": ["message.*"]}
        world.things["callbacks"] = id_of(client.post("/callbacks/endpoints", json=endpoint))
        world.things["tokens"] = id_of(client.post("/tokens", json={"name": "another", "expiresAt": "2999-01-01"}))
        assert client.put(f"/opt-outs/{world.things['opt-outs']}").status_code == 201
        parts = {"request": (None, '{"message": "Hi"}', "application/json"),
                 "recipients": ("people.csv", f"number\n{NUMBER}\nnobody,too many\n")}  # fmt: skip
        upload = client.post("/batches", files=parts)
        world.things["batches"] = id_of(upload)


def _remember(settings: Any) -> None:
    """What other processes tell: two messages, two movements, two attempts at a callback."""
    at = "2026-11-22T12:00:00.000Z"
    told = StatusRecord(
        id=DELIVERED, request_id=REQUEST, index=0, account="acme", sender="MyCompany", recipient=NUMBER,
        international_prefix="39", country_code="IT", state=STATE[Detailed.DELIVERED], detailed_state="DELIVERED",
        final=True, sequence=6, error=None, encoding="GSM-7", characters_count=9, message_count=1, parts_delivered=1,
        price="0.0500", total_price="0.0500", currency="EUR", carrier=CARRIER, carrier_reference="a1b2", dry_run=False,
        custom={"order": 7}, at=at,
    )  # fmt: skip
    wrong = msgspec.structs.replace(
        told, id=REJECTED, index=1, recipient="12", international_prefix=None, country_code=None, encoding=None,
        state="REJECTED", detailed_state="REJECTED", error=StatusError(2011, "recipient: no + at the start", True),
        carrier=None, carrier_reference=None, parts_delivered=0,
    )  # fmt: skip
    sides = [side.format("acme") for side in SIDES[Kind.TOP_UP]]
    moved = LedgerEntry(
        account="acme", sequence=1, kind=Kind.TOP_UP, currency="EUR", source=sides[0], target=sides[1], amount="7.00",
        balance="7.00", reserved="0.00", at="2026-11-22T10:00:00.000Z", reference="invoice 7",
    )  # fmt: skip
    promised = msgspec.structs.replace(
        moved, sequence=2, kind=Kind.RESERVE, reserved="0.05", batch=DELIVERED[:18], request_id=REQUEST, messages=1,
        parts=1, reference=None, price_list="sample",
    )  # fmt: skip
    callback = '{"url":"https://client.example/told","retry":2}'
    said = "Hi, there", "Vodafone", '{"sendAt":"2026-11-22T11:00:00Z"}', callback
    names = Gateway(settings, 0, None).names
    engine = open_database(settings)
    rows = [Told(msgspec.json.encode(told), *said), Told(msgspec.json.encode(wrong))]
    Writer(engine).write(
        names.status, rows, {0: 1}, Moved(names.ledger, [msgspec.json.encode(one) for one in (moved, promised)], {0: 1})
    )
    uploaded = BatchRecord(
        account="acme", id="an-upload", created_at=at, recipients=2, requests=1, bad_line_count=1, digest="00",
        bad_lines=[BadLine(2, "no number")], sender="MyCompany", message="Hi",
    )  # fmt: skip
    Batches(engine).put([uploaded])
    engine.dispose()
    event = Event(f"{DELIVERED}:6", "message.delivered", at, DELIVERED, b"{}")
    tried = Delivery(
        f"{DELIVERED}:6", "acme", "", "https://client.example/told", Outcome.RETRYING, 1, SENT * 1000, 41, 503, "",
        SENT * 1000 + 5000, [event], callback.encode(),
    )  # fmt: skip
    given_up = msgspec.structs.replace(
        tried, outcome=Outcome.GIVEN_UP, attempt=2, status=None, error="no answer", milliseconds=-1, endpoint="ep_1"
    )
    home = ids.partition_of(b"acme", settings.kafka.partitions)
    records = [(b"acme", encode(one), home) for one in (tried, given_up)]
    broker.produce(settings, names.callback_deliveries, records)
