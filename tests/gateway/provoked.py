"""How each refusal is provoked: the requests, by the fault's name, on each operation that can answer it."""

import itertools
import json
import socket
import uuid
from typing import Any

import broker
import httpx
import msgspec
from described import resolved
from furnished import REQUEST, Furnished
from provided import NUMBER, PROHIBITED, SPANISH
from serving import TOKENS, put_accounts
from test_gateway_receipts import signed

from pipeline.accounts import AccountRecord, Hold
from pipeline.billing import Limits
from pipeline.drafts import Draft
from pipeline.tokens import Scope, make_token

ANDORRAN, FRENCH, HELD = "+376312345", "+33612345678", "+393331239999"
#: Nothing of the account's has these names.
NOBODYS = {
    "messages": "00000001" + "0" * 16, "batches": "nothing", "drafts": "f" * 16, "callbacks": "ep_" + "f" * 24,
    "tokens": "f" * 12, "opt-outs": "+393330000001", "carriers": "nobody",
}  # fmt: skip
#: What is wrong with a request to send.
CHANGES: dict[str, dict[str, Any]] = {
    "malformed": {"nobody": 1},
    "invalid-text": {"message": "\ud83d"},
    "invalid-recipient": {"recipient": "12"},
    "invalid-sender": {"sender": "x" * 65},
    "numeric-sender": {"sender": "1234567"},
    "empty-message": {"message": ""},
    "too-many-parts": {"message": "a" * 2000},
    "missing-field": {"message": "Hello {{name}}"},
    "multiple-parts": {"message": "a" * 161, "options": {"failOnMultipleMessages": True}},
    "too-many-recipients": {"recipient": ["1"] * 10_001},
    "url-not-callable": {"callback": {"url": "http://10.0.0.1/told"}},
    "send-at": {"options": {"sendAt": "2026-01-01T00:00:00Z"}},
    "quiet-hours": {"options": {"quietHours": {"from": "21:00", "to": "08:00"}}},
    "prohibited": {"message": f"A {PROHIBITED}!"},
    "prohibited-regional": {"message": f"A {PROHIBITED}!"},
    "wrong-country": {},
}
#: Who is refused in a dry run: an account of its own each, and what is asked.
SIMULATED: dict[str, tuple[Limits, str]] = {
    "opted-out": (Limits(), ""),
    "no-price": (Limits(), ANDORRAN),
    "no-credit": (Limits(), ""),
    "no-route": (Limits(credit=10**9), FRENCH),
    "country-not-allowed": (Limits(credit=10**9, countries=("FR",)), ""),
    "too-expensive": (Limits(credit=10**9, price=1), ""),
    "rate-limit": (Limits(credit=10**9, messages_a_second=0), ""),
    "daily-limit": (Limits(credit=10**9, messages_a_day=0), ""),
    "traffic-held": (Limits(credit=10**9), ""),
}
#: Refusals that are provoked elsewhere, or that nobody can ask for.
ELSEWHERE = {
    "slow": "takes seconds: test_gateway_connections.py",
    "unavailable": "wants Kafka to be away: test_gateway_away.py",
    "broken": "is a bug",
    "under-way": "two requests at one moment: test_idempotency.py",
    "slow-upload": "takes seconds: test_gateway_uploads.py",
    "sendItalianMessage no-price": "Italy has a price",
    "sendSpanishMessage no-price": "Spain has a price",
    "sendItalianMessage no-route": "Italy has a route",
    "sendSpanishMessage no-route": "Spain has a route",
    "sendOtp prohibited": "the text is ours",
}


class Tokens:
    """Accounts made for refusals, and their tokens. They stand on the topic before the gateway is asked."""

    def __init__(self, world: Furnished) -> None:
        self._world = world
        self.of: dict[str, str] = {}
        records: list[Any] = []
        for name, (limits, _) in SIMULATED.items():
            records.append(AccountRecord(name, "2026-11-22T10:00:00.000Z", [], limits=limits))
            self._make(records, name, name, list(Scope))
        slow = AccountRecord("slow", "2026-11-22T10:00:00.000Z", [], limits=Limits(requests_a_second=1))
        records.append(slow)
        self._make(records, "slow", "slow", list(Scope))
        self._make(records, "expired", "acme", list(Scope), expires=1)
        for scope in Scope:
            self._make(records, f"not {scope}", "acme", [one for one in Scope if one != scope])
        put_accounts(world.gateway.settings, *records)
        held = [(one.key, one.value, None) for one in
                (Hold("traffic-held", number[:-4], "guard", 0) for number in (HELD, SPANISH, NUMBER))]  # fmt: skip
        broker.produce(world.gateway.settings, world.gateway.names.accounts, held)
        with world.client(self.of["opted-out"]) as client:
            assert client.post("/opt-outs", json={"recipients": [NUMBER, SPANISH]}).status_code == 201

    def _make(
        self, records: list[Any], key: str, account: str, scopes: list[Scope], expires: int | None = None
    ) -> None:
        self.of[key], token = make_token(account, at=0, scopes=scopes, expires=expires)
        records.append(token)


class Provoking:
    """Asks one operation for one refusal after another."""

    def __init__(self, world: Furnished, tokens: Tokens, method: str, path: str, told: dict[str, Any]) -> None:
        self.world, self.tokens, self.method, self.path, self.told = world, tokens, method, path, told
        self.id: str = told["operationId"]

    def provoke(self, name: str) -> httpx.Response:
        """The answer that is the refusal."""
        own = getattr(self, f"_{name.replace('-', '_')}", None)
        if own:
            return own()
        if name in SIMULATED:
            return self._simulated(name)
        if name in CHANGES:
            return self._changed(name)
        raise AssertionError(f"say in tests/gateway/provoked.py how {self.id} is brought to answer {name}")

    def ask(self, token: str | None = "", **how: Any) -> httpx.Response:
        """Ask with the body of the example, and for what there is, unless told otherwise."""
        if not how.keys() & {"json", "content", "files", "data"}:
            how |= self._body()
        headers = dict(how.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.world.token}"
        thing = how.pop("thing", self.world.things.get(self.path.split("/")[1], ""))
        begin, _, rest = self.path.partition("{")
        url = begin + (thing + rest.partition("}")[2] if rest else "") + how.pop("query", "")
        return self.world.gateway.http.request(self.method, url, headers=headers, **how)

    def _body(self) -> dict[str, Any]:
        content = self.told.get("requestBody", {}).get("content", {})
        if self.id == "createBatch":
            return _upload({"message": "Hi"})
        if self.id == "takeReceipts":
            body = json.dumps(content["application/json"]["example"]).encode()
            return {"content": body, "headers": signed(body)}
        if not content:
            return {}
        body = dict(content["application/json"]["example"])
        return {"json": body}

    # Of the connection and the door
    def _no_http(self) -> httpx.Response:
        return self._raw(f"{self.method} {self.path} HTTP/1.1\r\nno header\r\n\r\n")

    def _long_target(self) -> httpx.Response:
        return self._raw(f"{self.method} {self.path}?{'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n")

    def _long_head(self) -> httpx.Response:
        return self._raw(f"{self.method} {self.path} HTTP/1.1\r\nHost: x\r\nX: {'x' * 40_000}\r\n\r\n")

    def _raw(self, text: str) -> httpx.Response:
        host, port = self.world.gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(text.encode())
            received = b""
            while piece := sock.recv(65536):
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [(line.partition(":")[0], line.partition(":")[2].strip()) for line in lines]
        return httpx.Response(int(first.split()[1]), headers=headers, content=body)

    def _nul(self) -> httpx.Response:
        return self.ask(query="?x=%00")

    def _no_token(self) -> httpx.Response:
        return self.ask(None)

    def _wrong_token(self) -> httpx.Response:
        return self.ask("nonsense", headers={"X-Forwarded-For": _address()})

    def _expired_token(self) -> httpx.Response:
        return self.ask(self.tokens.of["expired"], headers={"X-Forwarded-For": _address()})

    def _scope(self) -> httpx.Response:
        return self.ask(self.tokens.of[f"not {self.told['security'][0]['bearer'][0]}"])

    def _too_many_requests(self) -> httpx.Response:
        answers = (self.ask(self.tokens.of["slow"]) for _ in range(6))
        return next(one for one in answers if one.status_code == 429)

    def _too_many_failures(self) -> httpx.Response:
        headers = {"X-Forwarded-For": _address()}
        answers = (self.ask("nonsense", headers=headers) for _ in range(9))
        return next(one for one in answers if one.status_code == 429)

    # Of bodies and parameters
    def _no_json(self) -> httpx.Response:
        return self._sent(b"{")

    def _malformed(self) -> httpx.Response:
        if self.id == "sendDraft":
            return self._changed("malformed")
        return self._sent(b'{"receipts": 1}' if self.id == "takeReceipts" else b'{"nobody": 1}')

    def _invalid_text(self) -> httpx.Response:
        # A draft of a time when such were kept
        return self._drafted({"message": "\x00"}) if self.id == "sendDraft" else self._sent(b'{"message": "\\ud83d"}')

    def _sent(self, body: bytes) -> httpx.Response:
        if self.id == "createBatch":
            return self.ask(**_upload(body))
        return self.ask(content=body, headers=signed(body) if self.id == "takeReceipts" else {})

    def _large_body(self) -> httpx.Response:
        path = self.path
        for part in path.split("/"):
            if part.startswith("{"):
                path = path.replace(part, self.world.things[path.split("/")[1]])
        head = (
            f"Host: x\r\nAuthorization: Bearer {self.world.token}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        )
        return self._raw(f"{self.method} {path} HTTP/1.1\r\n{head}Content-Length: 99999999999\r\n\r\n")

    _large_upload = _large_body

    def _parameter(self) -> httpx.Response:
        names = [resolved(one)["name"] for one in self.told["parameters"]]
        return self.ask(query="?limit=0" if "limit" in names else "?by=nothing")

    def _unknown_parameter(self) -> httpx.Response:
        return self.ask(query="?nobody=1")

    def _bad_key(self) -> httpx.Response:
        return self.ask(headers={"Idempotency-Key": "not one word"})

    # Of things
    def _not_found(self) -> httpx.Response:
        return self.ask(thing=NOBODYS[self.path.split("/")[1]])

    def _too_late(self) -> httpx.Response:
        return self.ask(json={"requestId": REQUEST}) if self.id == "cancelRequest" else self.ask()

    def _draft_sent(self) -> httpx.Response:
        return self.ask(thing=self._draft({}, sent_at="2026-01-01T00:00:00.000Z"))

    def _too_many_drafts(self) -> httpx.Response:
        body = b'{"recipient": "%b", "message": "%b"}' % (NUMBER.encode(), b"a" * 250_000)
        account = "globex"
        made = [Draft(account, f"{number:016x}", msgspec.Raw(body), _AT, _AT) for number in range(70)]
        self._produce(self.world.gateway.names.drafts, [(one.key, one.value, None) for one in made])
        return self.ask(TOKENS[account], thing=made[0].id)

    def _too_many_endpoints(self) -> httpx.Response:
        answers = (self.ask(self.tokens.of["no-credit"]) for _ in range(21))
        return next(one for one in answers if one.status_code != 201)

    def _too_many_tokens(self) -> httpx.Response:
        records = [make_token("acme", at=0)[1] for _ in range(100)]
        put_accounts(self.world.gateway.settings, *records)
        return self.ask()

    def _endpoint_disabled(self) -> httpx.Response:
        with self.world.client() as client:
            body = {"url": "https://client.example/told", "events": ["message.*"], "enabled": False}
            made = client.post("/callbacks/endpoints", json=body).json()["data"]["id"]
        return self.ask(thing=made)

    def _no_secret(self) -> httpx.Response:
        return self.ask(thing="bare")

    def _wrong_signature(self) -> httpx.Response:
        return self.ask(content=b"{}")

    # Of sending
    def _blocklisted(self) -> httpx.Response:
        thing = self._draft({}, account="blocked") if self.id == "sendDraft" else ""
        return self.ask(TOKENS["blocked"], thing=thing)

    def _id_reused(self) -> httpx.Response:
        key = uuid.uuid4().hex
        if self.id == "sendDraft":
            thing = self._draft({})
            with self.world.client() as client:
                taken = client.post(
                    "/messages", json=self._sending() | {"requestId": f"draft-{thing}", "message": "Other"}
                )
            assert taken.status_code == 201
            return self.ask(thing=thing)
        headers = {"Idempotency-Key": key}
        if self.id == "createBatch":
            assert self.ask(headers=headers).status_code == 202
            return self.ask(headers=headers, **_upload({"message": "Other"}))
        first = {"recipient": NUMBER} if self.id == "sendOtp" else self._sending()
        other = {"recipient": NUMBER, "length": 9} if self.id == "sendOtp" else self._sending() | {"message": "Other"}
        assert self.ask(headers=headers, json=first).status_code == 201
        return self.ask(headers=headers, json=other)

    def _otp_length(self) -> httpx.Response:
        return self.ask(json={"recipient": NUMBER, "length": 3})

    def _invalid_recipient(self) -> httpx.Response:
        if self.path.startswith("/opt-outs/"):
            return self.ask(thing="nobody")
        bodies = {
            "createOptOuts": {"recipients": ["12"]},
            "sendOtp": {"recipient": "12"},
            "verifyOtp": {"recipient": "12", "code": "1"},
        }
        return self.ask(json=bodies[self.id]) if self.id in bodies else self._changed("invalid-recipient")

    def _too_many_recipients(self) -> httpx.Response:
        if self.id == "createBatch":
            return self.ask(**_upload({"message": "Hi"}, "\n".join(f"+3933312{number:05d}" for number in range(101))))
        if self.id == "createOptOuts":
            return self.ask(json={"recipients": [NUMBER] * 10_001})
        return self._changed("too-many-recipients")

    def _url_not_callable(self) -> httpx.Response:
        if self.path.startswith("/callbacks/"):
            return self.ask(json={"url": "http://10.0.0.1/told", "events": ["message.*"]})
        if self.id == "sendOtp":
            return self.ask(json={"recipient": NUMBER, "callback": {"url": "http://10.0.0.1/told"}})
        return self._changed("url-not-callable")

    def _wrong_country(self) -> httpx.Response:
        if self.id == "sendItalianMessage":
            return self.ask(json=self._sending() | {"recipient": SPANISH})
        if self.id == "sendSpanishMessage":
            return self.ask(json=self._sending() | {"recipient": NUMBER})
        change = {"recipient": SPANISH, "options": {"tariff": "IT"}}
        return self._drafted(change) if self.id == "sendDraft" else self.ask(json=self._sending() | change)

    def _prohibited(self) -> httpx.Response:
        return self._changed("prohibited", **({"dryRun": True} if self.path[1:3] in ("IT", "ES") else {}))

    def _prohibited_regional(self) -> httpx.Response:
        return self._changed("prohibited-regional", **({} if self.path[1:3] in ("IT", "ES") else {"tariff": "IT"}))

    def _changed(self, name: str, **options: Any) -> httpx.Response:
        change = CHANGES[name]
        body = change | ({"options": change.get("options", {}) | options} if options else {})
        if self.id == "sendDraft":
            return self._drafted(body)
        if self.id == "createBatch":
            return self.ask(**_upload({"message": "Hi"} | body))
        return self.ask(json=self._sending() | body)

    def _sending(self) -> dict[str, Any]:
        return {"recipient": SPANISH if self.path == "/ES-messages" else NUMBER, "message": "Hello"}

    def _drafted(self, change: dict[str, Any]) -> httpx.Response:
        return self.ask(thing=self._draft(change))

    def _draft(self, change: dict[str, Any], account: str = "acme", sent_at: str | None = None) -> str:
        """A draft as the topic has it, however it came there."""
        body = msgspec.Raw(json.dumps({"recipient": NUMBER, "message": "Hello"} | change).encode())
        made = Draft(account, uuid.uuid4().hex[:16], body, _AT, _AT, sent_at)
        self._produce(self.world.gateway.names.drafts, [(made.key, made.value, None)])
        return made.id

    def _produce(self, topic: str, records: list[Any]) -> None:
        broker.produce(self.world.gateway.settings, topic, records)

    def _simulated(self, name: str) -> httpx.Response:
        _, number = SIMULATED[name]
        body = {"recipient": number or self._sending()["recipient"], "options": {"dryRun": True}}
        return self.ask(self.tokens.of[name], json=body | ({} if self.id == "sendOtp" else {"message": "Hello"}))

    # Of uploads
    def _unreadable_upload(self) -> httpx.Response:
        return self.ask(content=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"})

    def _media_type(self) -> httpx.Response:
        return self.ask(content=b"{}", headers={"Content-Type": "application/json"})

    def _bad_lines(self) -> httpx.Response:
        return self.ask(**_upload({"message": "Hi", "onError": "refuse"}, f"number\n{NUMBER}\na,b\n"))

    def _no_recipients(self) -> httpx.Response:
        return self.ask(**_upload({"message": "Hi"}, "number\n"))


_AT = "2026-11-22T10:00:00.000Z"
_addresses = (f"203.0.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))


def _address() -> str:
    """An address from which no wrong token came yet."""
    return next(_addresses)


def _upload(request: dict[str, Any] | bytes, recipients: str = f"number\n{NUMBER}\n") -> dict[str, Any]:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return {
        "files": {"request": (None, body, "application/json"), "recipients": ("people.csv", recipients, "text/csv")}
    }
