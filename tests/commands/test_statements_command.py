"""`account adjust`, `statement` and `spend`, on a system whose price stage and store run."""

import csv
import io
from pathlib import Path

import broker
import msgspec
import pytest
from driving import Cli, wait_for

from pipeline.records import decode_credits
from pipeline.store.database import open_database
from pipeline.store.writer import Writer
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
    """The commands on a read model that has 30 messages of an account."""
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
    Writer(engine).write("status", [(msgspec.json.encode(record), None) for record in records], {0: 1})
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
    assert "operator" in stored.refused(*spend, "--by", "operator", code=2)
    assert stored.json("account", "spend", "globex") == []


def test_without_a_read_model(still: Cli, tmp_path: Path) -> None:
    assert "no read model" in still.refused("account", "statement", "acme")
    assert "no read model" in still.refused("account", "spend", "acme")
