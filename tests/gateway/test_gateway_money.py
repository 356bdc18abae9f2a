"""`/balance`, `/statement`, `/statistics/spend` and `/prices` over real HTTP, on a read model that is written as the
projector does. The accounts are shared: acme has movements and messages, globex a few of its own."""

import csv
import io

import msgspec
import pytest

from pipeline.billing import PriceList, format_amount
from pipeline.stages.fate import BY_RECEIPT
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.spending import SPEND_BY
from pipeline.store.writer import Moved, Told, Writer
from schemas import errors
from schemas.ledger import SIDES, Kind, LedgerEntry
from schemas.states import STATE, Detailed, is_final
from schemas.status import StatusError, StatusRecord

#: 2026-11-22T12:00:00Z
NOON = 1_795_348_800
COSTS = PriceList.parse(["country,operator,prefix,price,carrier,cost", "IT,,,0.05,sim,0.0123"])


def movement(account, sequence, kind, **about):
    source, target = (side.format(account) for side in SIDES[kind])
    fields = {"amount": "0.50", "balance": format_amount(100_000_000 - sequence), "reserved": "1.25"}
    at = f"2026-11-{sequence // 10 + 1:02d}T10:00:00.{sequence:03d}Z"
    return LedgerEntry(
        account=account, sequence=sequence, kind=kind, currency="EUR", source=source, target=target, at=at,
        **(fields | about),
    )  # fmt: skip


def message(account, number, state=Detailed.DELIVERED, **fields):
    return StatusRecord(**({
        "id": f"{NOON + number * 3600:08x}{number:016x}", "request_id": f"r{number}", "index": 0, "account": account,
        "sender": "ACME", "recipient": f"+39333{number:07d}", "international_prefix": "39", "country_code": "IT",
        "state": STATE[state], "detailed_state": state.name, "final": is_final(state), "sequence": 3, "error": None,
        "encoding": "GSM-7", "characters_count": 9, "message_count": 2, "parts_delivered": 2, "price": "0.0500",
        "total_price": "0.1000", "currency": "EUR", "carrier": "sim", "carrier_reference": None, "dry_run": False,
        "custom": {}, "at": "2026-11-22T12:00:00.000Z",
    } | fields))  # fmt: skip


@pytest.fixture(scope="module")
def gateway(gateway):
    kinds = [Kind.TOP_UP, Kind.RESERVE, Kind.CAPTURE]
    entries = [movement("acme", n, kinds[n % 3], reason=f'"{n}", =A1') for n in range(1, 251)]
    entries += [movement("globex", n, Kind.REFUND) for n in range(1, 4)]
    records = [message("acme", n) for n in range(24)]
    records += [message("acme", 30, country_code="DE", carrier="telco", total_price="7.00")]
    records += [message("acme", 31, Detailed.REJECTED), message("globex", 40, total_price="99.00")]
    refused = StatusError(errors.CARRIER_REJECTED, f"{BY_RECEIPT} REJECTD", True)
    records += [message("globex", 41, Detailed.REJECTED, error=refused)]  # which was given back
    engine = open_database(gateway.settings)
    told = [Told(msgspec.json.encode(record), None, "TIM" if record.carrier == "sim" else None) for record in records]
    encoded = [msgspec.json.encode(entry) for entry in entries]
    Writer(engine, lambda at: COSTS).write(
        gateway.names.status, told, {0: 1}, Moved(gateway.names.ledger, encoded, {0: 1})
    )
    engine.dispose()
    return gateway


def problem(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return body["message"]


def sequences(answer):
    return [one["sequence"] for one in answer.json()["data"]]


def test_without_a_token_there_is_nothing(gateway):
    for path in ("/balance", "/statement", "/statement?format=csv", "/statistics/spend", "/prices"):
        problem(gateway.http.get(path), 401, errors.UNAUTHENTICATED)


def test_the_balance_is_that_of_the_last_movement(gateway):
    with gateway.as_("acme") as acme:
        expected = {"balance": "99.99975", "reserved": "1.25", "available": "98.74975", "currency": "EUR"}
        assert acme.get("/balance").json() == {"data": expected}
    with gateway.as_("globex") as globex:
        assert globex.get("/balance").json()["data"]["balance"] == "99.999997"
    with gateway.as_("blocked") as blocked:  # which never had any
        nothing = dict.fromkeys(("balance", "reserved", "available"), "0.00") | {"currency": "EUR"}
        assert blocked.get("/balance").json() == {"data": nothing}


def test_pages_of_a_statement_follow_each_other(gateway):
    with gateway.as_("acme") as acme:
        first = acme.get("/statement").json()
        assert [one["sequence"] for one in first["data"]] == list(range(250, 150, -1))
        assert first["data"][0] == {
            "sequence": 250, "at": "2026-11-26T10:00:00.250Z", "kind": "reserve", "amount": "0.50",
            "balance": "99.99975", "reserved": "1.25", "available": "98.74975", "currency": "EUR", "batch": None,
            "requestId": None, "messages": 0, "parts": 0, "reference": None, "reason": '"250", =A1',
            "priceList": None, "bundle": None, "bundleLeft": None,
        }  # fmt: skip
        seen, cursor = [], ""
        while cursor is not None:
            page = acme.get("/statement", params={"limit": 60, "cursor": cursor} if cursor else {"limit": 60}).json()
            seen += [one["sequence"] for one in page["data"]]
            cursor = page["nextCursor"]
        assert seen == list(range(250, 0, -1))


def test_a_statement_of_some_kinds_and_times(gateway):
    with gateway.as_("acme") as acme:
        assert sequences(acme.get("/statement?kind=top-up&limit=3")) == [249, 246, 243]
        assert sequences(acme.get("/statement?kind=top-up&kind=capture&limit=3")) == [249, 248, 246]
        assert sequences(acme.get("/statement?from=2026-11-05&to=2026-11-06")) == list(range(49, 39, -1))
        at = "2026-11-05T10:00:00.045"
        assert sequences(acme.get("/statement", params={"from": f"{at}Z", "to": "2026-11-06"})) == [49, 48, 47, 46, 45]
        assert sequences(acme.get("/statement", params={"from": f"{at}+01:00", "to": f"{at}Z"})) == [44, 43, 42, 41, 40]
        assert sequences(acme.get("/statement?kind=penalty")) == []


def test_another_account_sees_nothing_of_it(gateway):
    with gateway.as_("globex") as globex:
        assert sequences(globex.get("/statement?cursor=200")) == [3, 2, 1]
        assert globex.get("/statement?format=csv").text.count("\n") == 4
        assert globex.get("/statistics/spend?by=day&from=2026-11-01&to=2026-12-01").json()["data"] == [
            {"day": "2026-11-24", "messages": 2, "parts": 4, "amount": "99.00", "currency": "EUR"}
        ]
    with gateway.as_("blocked") as blocked:
        assert blocked.get("/statement").json() == {"data": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("from=yesterday", "from: "), ("to=2026-13-01", "to: "), ("cursor=abc", "cursor: 'abc'"), ("cursor=-1", "none"),
        ("cursor=" + "9" * 30, "cursor"), ("limit=0", "limit"), ("limit=1001", "limit"),
        ("kind=capture&kind=theft", "kind: 'theft'"), ("format=xml", "format"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused(gateway, query, word):
    with gateway.as_("acme") as acme:
        assert word in problem(acme.get(f"/statement?{query}"), 422, errors.MALFORMED_REQUEST)


@pytest.mark.parametrize(
    ("query", "accept"), [("format=csv", "*/*"), ("", "text/csv"), ("", "text/csv; q=0.9, */*;q=0.1")]
)
def test_a_statement_as_csv(gateway, query, accept):
    with gateway.as_("acme") as acme:
        answer = acme.get(f"/statement?{query}", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [int(row["sequence"]) for row in rows] == list(range(250, 0, -1))
        assert (rows[0]["balance"], rows[0]["reason"], rows[0]["batch"]) == ("99.99975", '"250", =A1', "")
        some = acme.get("/statement?format=csv&limit=2&kind=capture&cursor=100").text
        assert [line.split(",")[0] for line in some.splitlines()] == ["sequence", "98", "95"]
        json = acme.get("/statement?format=json&limit=1", headers={"Accept": "text/csv"})
        assert sequences(json) == [250]


def test_spend_by_day_country_operator_and_carrier(gateway):
    def spend(by):
        with gateway.as_("acme") as acme:
            found = acme.get(f"/statistics/spend?by={by}&from=2026-11-22&to=2026-12-22").json()["data"]
        return [(one[by], one["messages"], one["parts"], one["amount"]) for one in found]

    assert spend("day") == [("2026-11-22", 12, 24, "1.20"), ("2026-11-23", 13, 26, "8.20")]
    assert spend("country") == [("DE", 1, 2, "7.00"), ("IT", 24, 48, "2.40")]
    assert spend("carrier") == [("telco", 1, 2, "7.00"), ("sim", 24, 48, "2.40")]
    assert spend("operator") == [(None, 1, 2, "7.00"), ("TIM", 24, 48, "2.40")]
    with gateway.as_("acme") as acme:
        problem(acme.get("/statistics/spend?by=account"), 422, errors.MALFORMED_REQUEST)
        problem(acme.get("/statistics/spend?by=colour"), 422, errors.MALFORMED_REQUEST)
        problem(acme.get("/statistics/spend?from=2020-01-01&to=2026-01-01"), 422, errors.MALFORMED_REQUEST)
        assert acme.get("/statistics/spend").status_code == 200


@pytest.mark.parametrize("by", SPEND_BY)
def test_an_account_is_not_told_what_its_messages_cost_us(gateway, by):
    """Though the read model knows it."""
    period = "from=2026-11-22&to=2026-12-22"
    with gateway.as_("acme") as acme:
        more = f"/statistics/spend?by={by}&{period}"
        lines = acme.get(more).json()["data"]
        assert all(
            line.keys() - SPEND_BY[by] - {"day"} == {"messages", "parts", "amount", "currency"} for line in lines
        )
        told = " ".join(acme.get(path).text for path in (more, f"/statement?{period}", "/messages?limit=50", "/prices"))
    assert "cost" not in told.lower() and "margin" not in told
    model = ReadModel(open_database(gateway.settings))
    assert [one.uncosted for one in model.spend("acme", "country", NOON, NOON + 99 * 3600, ())] == [1, 0]
    model.close()


def test_prices_in_force(gateway):
    with gateway.as_("acme") as acme:
        answer = acme.get("/prices?country=it").json()
        assert {one["country"] for one in answer["data"]} == {"IT"} and answer["nextCursor"] is None
        (whole,) = [one for one in answer["data"] if not one["operator"] and not one["prefix"]]
        assert whole["currency"] == "EUR" and float(whole["price"]) > 0
        everything = acme.get("/prices").json()
        assert len({one["country"] for one in everything["data"]}) >= 40
        seen, cursor = [], ""
        while cursor is not None:
            page = acme.get("/prices", params={"limit": 7, "cursor": cursor} if cursor else {"limit": 7}).json()
            seen += page["data"]
            cursor = page["nextCursor"]
        assert seen == everything["data"]
        assert acme.get("/prices?country=ZZ").json()["data"] == []
        assert "cursor" in problem(acme.get("/prices?cursor=x"), 422, errors.MALFORMED_REQUEST)
