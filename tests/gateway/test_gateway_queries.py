"""`GET /messages`, `/messages/{id}` and `/statistics` over real HTTP, on a read model that is written as the projector
does. The accounts are shared: acme has messages, globex one of its own."""

import msgspec
import pytest
from serving import eventually, put_accounts

from pipeline.store.database import open_database
from pipeline.store.writer import Told, Writer
from pipeline.tokens import Scope, make_token
from schemas import errors
from schemas.states import STATE, Detailed, is_final
from schemas.status import StatusRecord

#: 2026-11-22T12:00:00Z
NOON = 1_795_348_800
#: A message an hour, oldest first.
STATES = [Detailed.DELIVERED] * 40 + [Detailed.ACCEPTED] * 4 + [Detailed.UNDELIVERABLE, Detailed.IN_DOUBT]
#: As it is kept: without what is the default.
CALLBACK = '{"url":"https://example.com/","retry":3,"headers":{"Authorization":"Bearer abc"}}'


def message(account, number, state, **fields):
    return StatusRecord(**({
        "id": f"{NOON + number * 3600:08x}{number:010x}000000", "request_id": f"r{number}", "index": 0,
        "account": account, "sender": "ACME", "recipient": f"+39333{number:07d}", "international_prefix": "39",
        "country_code": "IT" if number % 5 else "ES", "state": STATE[state], "detailed_state": state.name,
        "final": is_final(state), "sequence": 6, "error": None, "encoding": "GSM-7", "characters_count": 9,
        "message_count": 2, "parts_delivered": 2, "price": "0.0500", "total_price": "0.1000", "currency": "EUR",
        "carrier": "sim", "carrier_reference": None, "dry_run": False, "custom": {"order": number % 10},
        "at": "2026-11-22T12:00:00.000Z",
    } | fields))  # fmt: skip


@pytest.fixture(scope="module")
def gateway(gateway):
    told = [Told(msgspec.json.encode(message("acme", n, state)), "Hi", "TIM") for n, state in enumerate(STATES)]
    told[1] = told[1]._replace(options='{"transliterate":true,"tariff":"IT"}', callback=CALLBACK)
    told[43] = told[43]._replace(options='{"tariff":"IT"}')
    told.append(Told(msgspec.json.encode(message("globex", 100, Detailed.DELIVERED)), "secret"))
    submitted = message("acme", 0, Detailed.SUBMITTED, sequence=3, at="2026-11-22T11:59:58.000Z")
    engine = open_database(gateway.settings)
    Writer(engine).write(gateway.names.status, [Told(msgspec.json.encode(submitted)), *told], {0: 1})
    engine.dispose()
    return gateway


def id_of(number):
    return message("acme", number, Detailed.DELIVERED).id


def refused(answer, word, status=422):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, errors.MALFORMED_REQUEST), answer.text
    assert word in body["message"], body["message"]


def numbers(acme, **parameters):
    """The numbers of the messages found, all pages together."""
    found, cursor = [], None
    while True:
        answer = acme.get("/messages", params=parameters | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"data", "nextCursor"}
        found += [int(one["id"][8:18], 16) for one in body["data"]]
        if (cursor := body["nextCursor"]) is None:
            return found


def test_pages_by_cursor_and_by_skip(gateway):
    with gateway.as_("acme") as acme:
        everything = list(reversed(range(len(STATES))))
        assert numbers(acme) == numbers(acme, limit=7) == numbers(acme, limit=1000) == everything
        skipped = acme.get("/messages", params={"skip": 40, "limit": 10}).json()
        assert ([int(one["id"][8:18], 16) for one in skipped["data"]], skipped["nextCursor"]) == (everything[40:], None)
        of_a_time = {"from": "2026-11-22T14:00:00Z", "to": "2026-11-22T17:00:00Z"}
        assert numbers(acme, **of_a_time) == [4, 3, 2] and numbers(acme, **of_a_time, limit=1) == [4, 3, 2]
        assert len(acme.get("/messages", params=of_a_time | {"skip": 1}).json()["data"]) == 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"state": "NEW"}, [43, 42, 41, 40]),
        ({"state": ["UNDELIVERABLE", "IN_DOUBT"]}, [45, 44]),
        ({"state": "PENDING", "countryCode": "it"}, []),
        ({"state": "PENDING", "countryCode": "es"}, [45]),
        ({"recipient": "+393330000007"}, [7]),
        ({"recipient": "393330000007"}, [7]),
        ({"recipient": "+39 333-000 0007"}, [7]),
        ({"recipient": "0039 333 0000007"}, [7]),
        ({"recipient": "+390612345678"}, []),
        ({"requestId": ["r3", "r9", "other"]}, [9, 3]),
        ({"requestId": "r100"}, []),
        ({"countryCode": "ES", "state": "NEW"}, [40]),
        ({"sender": "Nobody"}, []),
        ({"custom.order": "3", "state": "DELIVERED"}, [33, 23, 13, 3]),
        ({"custom.order": "3", "custom.other": "x"}, []),
        ({"batch": "r1"}, [1]),
        ({"batch": "r"}, []),
    ],
)
def test_filters(gateway, asked, expected):
    with gateway.as_("acme") as acme:
        assert numbers(acme, **asked) == numbers(acme, **asked, limit=2) == expected


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"state": "GONE"}, "state: 'GONE' is not one of NEW, PENDING"),
        ({"cursor": "nonsense!"}, "cursor: "),
        ({"skip": 1, "state": "NEW"}, "skip: "),
        ({"skip": 100_001}, "skip: "),
        ({"limit": 0}, "limit: "),
        ({"limit": 1001}, "limit: "),
        ({"from": "yesterday"}, "from: "),
        ({"colour": "red"}, "colour: unknown parameter"),
        ({"custom.": "x"}, "custom.: "),
        ({'custom.a"b': "x"}, 'custom.a"b: '),
        ({"custom.a": "x" * 257}, "custom.a: "),
        ({f"custom.{n}": "x" for n in range(6)}, "custom: at most 5"),
        ({"requestId": ["x"] * 11}, "requestId: "),
        ({"countryCode": "ITA"}, "countryCode: 'ITA' is no country; give two letters"),
        ({"recipient": "3933"}, "recipient: '3933' is no number in E.164 format"),
        ({"recipient": "+39 333 12x4567"}, "recipient: "),
        ({"recipient": "+"}, "recipient: "),
        ({"from": "2026-11-23", "to": "2026-11-22"}, "from: 2026-11-23 is not before to, 2026-11-22"),
        ({"from": "2026-11-22", "to": "2026-11-22T00:00:00Z"}, "from: "),
    ],
)
def test_what_is_no_filter_is_refused_by_name(gateway, asked, word):
    with gateway.as_("acme") as acme:
        refused(acme.get("/messages", params=asked), word)


@pytest.mark.parametrize("path", ["messages", "statistics", "statement", "statistics/spend", "callbacks/deliveries"])
def test_any_time_of_rfc_3339_is_taken(gateway, path):
    period = {"from": "2026-11-22T13:00:00.123456789+01:00", "to": "2026-11-23t09:30:00.1z"}
    with gateway.as_("acme") as acme:
        answer = acme.get(f"/{path}", params=period)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (
            "/messages?states=NEW",
            "are batch, countryCode, cursor, from, limit, recipient, requestId, sender, skip, state, ",
        ),
        ("/messages/aa?limit=1", "is none here"),
        ("/statistics?foo=1", "are by, from, to"),
        ("/statistics/spend?country=IT", "are by, from, to"),
        ("/statement?foo=1", "are cursor, format, from, kind, limit, to"),
        ("/balance?at=2026-11-22", "is none here"),
        ("/callbacks/deliveries?foo=1", "are cursor, endpoint, from, limit, message, state, to"),
        ("/prices?operator=TIM", "are country, cursor, limit"),
        ("/batches?state=NEW", "are cursor, limit"),
        ("/drafts?limit=1", "is none here"),
        ("/opt-outs?custom.a=1", "are cursor, limit"),
    ],
)
def test_a_parameter_that_there_is_not_is_refused_with_those_that_there_are(gateway, path, there):
    name = path.partition("?")[2].partition("=")[0]
    with gateway.as_("acme") as acme:
        refused(acme.get(path), f"{name}: unknown parameter; there {there}")
    assert gateway.http.get(path).status_code == 401


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/prices?country=Italy", "country: 'Italy' is no country; give two letters"),
        ("/callbacks/deliveries?endpoint=nope", "endpoint: 'nope' is no endpoint's id"),
        *((f"{path}?from=2026-11-22&to=2026-11-21", "from: 2026-11-22 is not before to")
          for path in ("/statistics", "/statistics/spend", "/statement", "/callbacks/deliveries")),
    ],
)  # fmt: skip
def test_a_filter_that_can_match_nothing_is_refused(gateway, path, word):
    with gateway.as_("acme") as acme:
        refused(acme.get(path), word)


def test_a_message_says_what_its_request_did(gateway):
    with gateway.as_("acme") as acme:
        plain = acme.get(f"/messages/{id_of(2)}").json()["data"]
        assert "callback" not in plain and plain["options"]["tariff"] == "WW" and plain["message"] == "Hi"
        asked = acme.get(f"/messages/{id_of(1)}").json()["data"]
        whole = {"method": "JSON", "field": "data", "custom": {}} | msgspec.json.decode(CALLBACK)
        assert asked["callback"] == whole
        assert asked["options"] == plain["options"] | {"transliterate": True, "tariff": "IT"}
        assert acme.get("/messages", params={"requestId": "r1"}).json()["data"] == [asked]


def test_what_headers_of_callbacks_hold_is_not_for_those_who_may_only_read(gateway):
    tokens = {}
    for scope in (Scope.SEND, Scope.ADMIN, None):
        tokens[scope], record = make_token("acme", at=0, scopes=[Scope.READ, *([scope] if scope else [])])
        put_accounts(gateway.settings, record)
    body = {"recipient": "+393331234567", "message": "Hi", "callback": msgspec.json.decode(CALLBACK)}
    with gateway.as_("acme") as acme:
        fresh = acme.post("/messages", json=body).json()["data"]["id"]
        draft = acme.post("/drafts", json=body).json()["data"]["id"]
    paths = (f"/messages/{id_of(1)}", f"/messages/{fresh}", "/messages?requestId=r1", "/batches/r1/messages",
             f"/drafts/{draft}")  # fmt: skip
    for scope, secret in tokens.items():
        headers = {"Authorization": f"Bearer {secret}"}
        eventually(lambda headers=headers: gateway.http.get("/messages", headers=headers).status_code == 200)
        for path in paths:
            answer = gateway.http.get(path, headers=headers)
            assert answer.status_code == 200, answer.text
            data = answer.json()["data"]
            one = data[0] if isinstance(data, list) else data.get("request", data)
            assert one["callback"]["url"] == body["callback"]["url"], (scope, path)
            told = body["callback"]["headers"] if scope else {"Authorization": "***"}
            assert one["callback"]["headers"] == told, (scope, path)
            assert ("Bearer abc" in answer.text) == (scope is not None)


def test_a_worldwide_message_has_no_price_before_a_carrier_took_it(gateway):
    with gateway.as_("acme") as acme:
        prices = [acme.get(f"/messages/{id_of(n)}").json()["data"] for n in (42, 43, 0)]
        assert [(one["price"], one["totalPrice"]) for one in prices] == [(0, 0), (0.05, 0.1), (0.05, 0.1)]


def test_another_accounts_messages_are_not_found(gateway):
    with gateway.as_("globex") as globex:
        for asked in ({}, {"recipient": "+393330000100"}, {"state": "DELIVERED"}, {"requestId": "r100"}):
            assert numbers(globex, **asked) == [100]
        for asked in ({"recipient": "+393330000007"}, {"requestId": "r3"}, {"state": "IN_DOUBT"}, {"batch": "r"}):
            assert numbers(globex, **asked) == []
        assert globex.get(f"/messages/{id_of(1)}").status_code == 404
        assert [one["messages"] for one in globex.get("/statistics", params=MONTH).json()["data"]] == [1]
    for path in ("/messages", "/messages/aa", "/statistics"):
        assert gateway.http.get(path).status_code == 401


MONTH = {"from": "2026-11-01", "to": "2026-12-01"}


def test_statistics(gateway):
    with gateway.as_("acme") as acme:
        days = acme.get("/statistics", params=MONTH).json()["data"]
        assert [(one["day"], one["messages"], one["parts"]) for one in days] == [
            ("2026-11-22", 12, 24), ("2026-11-23", 24, 48), ("2026-11-24", 10, 20),
        ]  # fmt: skip
        assert days[0]["deliveryTime"] == {"deliveries": 1, "p50": 1.99, "p90": 1.99, "p99": 1.99}
        assert days[2]["deliveryTime"] == {"deliveries": 0, "p50": None, "p90": None, "p99": None}
        assert days[2]["states"] == {
            "NEW": 4, "PENDING": 1, "DELIVERED": 4, "EXPIRED": 0, "UNDELIVERABLE": 1, "REJECTED": 0,
        }  # fmt: skip
        states = acme.get("/statistics", params=MONTH | {"by": "state"}).json()["data"]
        assert [(one["state"], one["detailedState"], one["messages"]) for one in states] == [
            ("DELIVERED", "DELIVERED", 40), ("NEW", "ACCEPTED", 4), ("PENDING", "IN_DOUBT", 1),
            ("UNDELIVERABLE", "UNDELIVERABLE", 1),
        ]  # fmt: skip
        by = acme.get("/statistics", params=MONTH | {"by": ["country", "operator", "carrier"]}).json()["data"]
        assert [(one["country"], one["operator"], one["carrier"]) for one in by] == [
            ("IT", "TIM", "sim"), ("ES", "TIM", "sim"),
        ]  # fmt: skip
        assert acme.get("/statistics", params={"from": "2025-01-01", "to": "2025-02-01"}).json() == {"data": []}
        refused(acme.get("/statistics", params={"by": "colour"}), "by: 'colour'")
        refused(acme.get("/statistics", params={"by": ["day", "country", "state", "carrier"]}), "at most three")
        refused(acme.get("/statistics", params={"from": "2020-01-01", "to": "2026-01-01"}), "366 days")
        assert acme.get("/statistics", params={"from": "9999-12-31"}).status_code in (200, 422)
        assert acme.get("/statistics", params={"to": "9999-12-31T23:00:00Z", "from": "2106-02-01"}).status_code == 200
