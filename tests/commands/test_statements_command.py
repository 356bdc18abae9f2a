"""`account adjust`, `statement` and `spend`, and `margin`, on a system whose price stage and store run."""

import csv
import io
from pathlib import Path

import broker
import msgspec
import pytest
from driving import Cli, wait_for

from pipeline.billing import PriceList
from pipeline.records import decode_credits
from pipeline.store.database import open_database
from pipeline.store.writer import Told, Writer
from pipeline.streaming.topics import TopicNames
from schemas.ledger import Kind
from schemas.status import StatusRecord

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z


def movements(cli: Cli, name: str, count: int) -> list[dict[str, object]]:
    """The account's statement, once it has so many movements."""

    def look() -> list[dict[str, object]] | None:
        result = cli.json("account", "statement", name) if known(cli, name) else []
        return result if len(result) >= count else None

    found: list[dict[str, object]] = wait_for(look)
    assert len(found) == count
    return found


def known(cli: Cli, name: str) -> bool:
    engine = open_database(cli.settings)
    try:
        with engine.connect() as connection:
            return bool(connection.exec_driver_sql(f"SELECT 1 FROM ledger WHERE account = '{name}'").first())
    finally:
        engine.dispose()


def test_an_adjustment_counts_once_and_stands_in_the_statement(running: Cli) -> None:
    running("account", "create", "adjusted", "--credit", "10")
    told = running("account", "adjust", "adjusted", "2.50", "--reason", "goodwill", "--reference", "A1").stdout
    assert "balance 12.50 EUR" in told
    running("account", "adjust", "adjusted", "-0.000001", "--reason", "a slip")
    again = running("account", "adjust", "adjusted", "2.50", "--reason", "goodwill", "--reference", "A1").stdout
    assert "counted before" in again
    assert running.json("account", "show", "adjusted")[0]["balance"] == "12.499999"
    last, first, opening = movements(running, "adjusted", 3)
    assert (last["sequence"], last["kind"], last["amount"], last["reason"]) == (3, "correction", "0.000001", "a slip")
    assert (first["kind"], first["reference"], first["balance"]) == ("adjustment", "A1", "12.50")
    assert (opening["kind"], opening["amount"], opening["available"]) == ("top-up", "10.00", "10.00")


def test_no_more_is_taken_than_is_there(running: Cli) -> None:
    running("account", "create", "meagre", "--credit", "1")
    assert "refused: correction of 5.00" in running.refused("account", "adjust", "meagre", "-5", "--reason", "x")
    assert running.json("account", "show", "meagre")[0]["balance"] == "1.00"


def test_what_is_no_adjustment(still: Cli) -> None:
    still("account", "create", "strict")
    for amount in ("0", "1e3", "0.0000001", "-1,5"):
        assert amount in still.refused("account", "adjust", "strict", amount, "--reason", "x", code=2)
    assert "--reason" in still.refused("account", "adjust", "strict", "1", "--reason", "  ", code=2)
    assert "no account ghost" in still.refused("account", "adjust", "ghost", "1", "--reason", "x")
    assert broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).credits) == []


def test_an_adjustment_is_durable_though_nobody_counts_it(still: Cli) -> None:
    still("account", "create", "patient")
    options = ["--reason", "why", "--reference", "R9", "--timeout", "0.5"]
    result = still("account", "adjust", "patient", "-7.5", *options, code=1)
    assert "durable but not counted" in result.stderr
    (record,) = broker.read(still.settings, TopicNames(still.settings.kafka.topic_prefix).credits)
    (credit,) = decode_credits(record.value)
    assert (credit.amount, credit.kind, credit.reason) == (-7_500_000, Kind.ADJUSTMENT, "why")


def test_a_statement_of_some_kinds_as_csv_and_for_people(running: Cli) -> None:
    running("account", "create", "explained", "--credit", "10")
    for number in range(3):
        running("account", "adjust", "explained", "1", "--reason", f"nr {number}, really")
    movements(running, "explained", 4)
    statement = ["account", "statement", "explained"]
    found = running.json(*statement, "--kind", "adjustment", "--limit", "2")
    assert [one["reason"] for one in found] == ["nr 2, really", "nr 1, really"]
    rows = list(csv.DictReader(io.StringIO(running(*statement, "--csv").stdout)))
    assert [(row["sequence"], row["balance"]) for row in rows] == [
        ("4", "13.00"),
        ("3", "12.00"),
        ("2", "11.00"),
        ("1", "10.00"),
    ]
    shown = running(*statement).stdout.splitlines()
    assert len(shown) == 5 and "nr 2, really" in shown[1]
    assert running.json(*statement, "--to", "2001-01-01") == []
    assert len(running.json(*statement, "--from", "2001-01-01")) == 4
    assert "--from" in running.refused(*statement, "--from", "noon", code=2)
    assert "no movement of account ghost" in running.refused("account", "statement", "ghost")


@pytest.fixture
def stored(still: Cli) -> Cli:
    """The commands on a read model that has 30 messages of an account, and two of another. A message to TIM costs us
    0.06, another to Italy 0.04; of those elsewhere nothing is known."""
    fields = {
        "request_id": "r", "index": 0, "account": "acme", "sender": "ACME", "recipient": "+393331234567",
        "international_prefix": "39", "country_code": "IT", "state": "DELIVERED", "detailed_state": "DELIVERED",
        "final": True, "sequence": 6, "error": None, "encoding": "GSM-7", "characters_count": 9, "message_count": 2,
        "parts_delivered": 2, "price": "0.0500", "total_price": "0.1000", "currency": "EUR", "carrier": "sim",
        "carrier_reference": "c", "dry_run": False, "custom": {}, "at": "2026-11-22T12:00:00.000Z",
    }  # fmt: skip
    records = [StatusRecord(id=f"{NOON + n * 3600:08x}{n:016x}", **fields) for n in range(30)]
    records[29].country_code = records[29].carrier = None
    engine = open_database(still.settings)
    operators = ["TIM"] * 10 + ["Vodafone"] * 20 + [None, None]
    records += [StatusRecord(**fields | {"id": f"{NOON:08x}{n:016x}", "account": "globex"}) for n in (90, 91)]
    told = [Told(msgspec.json.encode(record), None, one) for record, one in zip(records, operators, strict=True)]
    lines = ["country,operator,prefix,price,carrier,cost", "IT,,,0.05,sim,0.02", "IT,TIM,,,sim,0.03"]
    prices = PriceList.parse(lines)
    assert isinstance(prices, PriceList)
    Writer(engine, lambda at: prices).write("status", told, {0: 1})
    engine.dispose()
    return still


def test_spend(stored: Cli) -> None:
    spend = ["account", "spend", "acme", "--from", "2026-11-22", "--to", "2026-11-30"]
    assert stored.json(*spend) == [
        {"day": f"2026-11-{day}", "messages": count, "parts": 2 * count, "amount": amount, "currency": "EUR"}
        for day, count, amount in ((22, 12, "1.20"), (23, 18, "1.80"))
    ]
    assert [(one["country"], one["amount"]) for one in stored.json(*spend, "--by", "country")] == [
        ("IT", "2.90"),
        (None, "0.10"),
    ]
    lines = stored(*spend, "--by", "carrier").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["carrier", "messages", "parts", "EUR"],
        ["sim", "29", "58", "2.90"],
        ["1", "2", "0.10"],
        ["in", "all", "30", "60", "3.00"],
    ]
    assert [(one["operator"], one["country"], one["amount"]) for one in stored.json(*spend, "--by", "operator")] == [
        ("Vodafone", "IT", "1.90"),
        ("TIM", "IT", "1.00"),
        ("Vodafone", None, "0.10"),
    ]
    assert "operator" in stored.refused(*spend, "--by", "account", code=2)
    assert stored.json("account", "spend", "ghost") == []


def test_spend_with_what_is_left_of_it(stored: Cli) -> None:
    spend = ["account", "spend", "acme", "--from", "2026-11-22", "--to", "2026-11-30"]
    assert stored.json(*spend, "--margin") == [
        {"day": "2026-11-22", "messages": 12, "parts": 24, "amount": "1.20", "currency": "EUR",
         "cost": "0.68", "margin": "0.52", "uncosted": 0},
        {"day": "2026-11-23", "messages": 18, "parts": 36, "amount": "1.80", "currency": "EUR",
         "cost": None, "margin": None, "uncosted": 1},
    ]  # fmt: skip
    lines = stored(*spend, "--by", "operator", "--margin").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["operator", "country", "messages", "parts", "EUR", "cost", "margin", "uncosted"],
        ["Vodafone", "IT", "19", "38", "1.90", "0.76", "1.14", "0"],
        ["TIM", "IT", "10", "20", "1.00", "0.60", "0.40", "0"],
        ["Vodafone", "1", "2", "0.10", "-", "-", "1"],
        ["in", "all", "30", "60", "3.00", "-", "-", "1"],
    ]


def test_the_margin_of_all_accounts(stored: Cli) -> None:
    period = ["--from", "2026-11-22", "--to", "2026-11-30"]

    def margins(by: str) -> list[tuple[object, ...]]:
        names = (by, "messages", "amount", "cost", "margin", "uncosted")
        return [tuple(one[name] for name in names) for one in stored.json("margin", "--by", by, *period)]

    assert margins("account") == [("acme", 30, "3.00", None, None, 1), ("globex", 2, "0.20", "0.08", "0.12", 0)]
    assert margins("carrier") == [("sim", 31, "3.10", "1.44", "1.66", 0), (None, 1, "0.10", None, None, 1)]
    assert margins("country") == [("IT", 31, "3.10", "1.44", "1.66", 0), (None, 1, "0.10", None, None, 1)]
    assert margins("day") == [
        ("2026-11-22", 14, "1.40", "0.76", "0.64", 0),
        ("2026-11-23", 18, "1.80", None, None, 1),
    ]
    assert margins("operator")[:2] == [
        ("Vodafone", 19, "1.90", "0.76", "1.14", 0),
        ("TIM", 10, "1.00", "0.60", "0.40", 0),
    ]
    assert stored("margin", *period).stdout.splitlines()[0].split()[0] == "carrier"
    assert "account" in stored.refused("margin", "--by", "colour", code=2)
    assert stored.json("margin", "--to", "2001-01-01") == []
    assert stored("margin", "--to", "2001-01-01").stdout.split()[0] == "carrier"


def test_without_a_read_model(still: Cli, tmp_path: Path) -> None:
    assert "no read model" in still.refused("account", "statement", "acme")
    assert "no read model" in still.refused("account", "spend", "acme")
    assert "no read model" in still.refused("margin")
