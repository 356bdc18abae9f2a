"""`ledger verify` on topics that are written here: what differs between the ledger, the accounts and the carriers."""

import json
import sys
from pathlib import Path
from typing import Any

import broker
import msgspec
import pytest
from driving import Cli

sys.path.insert(0, str(Path(__file__).parents[1] / "billing"))

from entries import UNIT, Books, batch

from pipeline import ids
from pipeline.billing import Account, format_amount
from pipeline.commands import ledger
from pipeline.stages.book import Ledger
from pipeline.streaming.topics import TopicNames
from schemas.ledger import Kind, LedgerEntry


class Topics:
    """What the stages would have written of a few accounts."""

    def __init__(self, cli: Cli) -> None:
        self.cli, self.books = cli, Books()
        self.names = TopicNames(cli.settings.kafka.topic_prefix)
        self.books.move(Kind.TOP_UP, 10 * UNIT, reference="R1")
        self.books.move(Kind.RESERVE, 2 * UNIT, batch=batch(1), messages=2)
        self.books.move(Kind.CAPTURE, UNIT, batch=batch(1))
        self.books.move(Kind.RELEASE, UNIT, batch=batch(1))

    def put(self, topic: str, key: str, value: bytes, home: bytes | None = None) -> None:
        place = ids.partition_of(home or key.encode(), self.cli.settings.kafka.partitions)
        broker.produce(self.cli.settings, topic, [(key.encode(), value, place)])

    def ledger(self, *entries: LedgerEntry, home: bytes | None = None) -> None:
        for entry in entries or self.books.entries:
            self.put(self.names.ledger, entry.account, msgspec.json.encode(entry), home)

    def account(self, money: Account, sequence: int, name: str = "acme") -> None:
        """The price stage's table and the balances topic."""
        value = msgspec.msgpack.encode(Ledger(money=money, sequence=sequence))
        self.put(self.names.changelog("price"), f"a{name}", value, name.encode())
        self.balance(money, sequence, name)

    def balance(self, money: Account, sequence: int, name: str = "acme") -> None:
        amounts = (money.balance, money.reserved, money.available)
        told = dict(zip(("balance", "reserved", "available"), map(format_amount, amounts), strict=True))
        told |= {"account": name, "currency": "EUR", "sequence": sequence}
        broker.produce(self.cli.settings, self.names.balances, [(name.encode(), json.dumps(told).encode(), 0)])

    def message(self, index: int, *states: str, number: int = 1) -> None:
        for sequence, state in enumerate(states, 1):
            told = {
                "id": batch(number) + f"{index:06x}", "index": index, "account": "acme", "detailedState": state,
                "final": state in ("DELIVERED", "REJECTED"), "sequence": sequence, "totalPrice": "1.0000",
                "messageCount": 1, "dryRun": False, "error": None,
            }  # fmt: skip
            home = bytes.fromhex(batch(number))
            self.put(self.names.status, str(told["id"]), json.dumps(told).encode(), home)

    def verify(self, code: int) -> dict[str, Any]:
        (found,) = self.cli.json("ledger", "verify", code=code)
        return found

    def wrong(self) -> list[tuple[str, int | None]]:
        """Kinds of differences, and of which entry."""
        return sorted((one["wrong"], one.get("sequence")) for one in self.verify(1)["differences"])


@pytest.fixture
def topics(still: Cli, monkeypatch: pytest.MonkeyPatch) -> Topics:
    monkeypatch.setattr(ledger, "_PATIENCE_SECONDS", 0.1)
    return Topics(still)


DONE = Account(9 * UNIT, 0)


def test_nothing_is_consistent(still: Cli) -> None:
    (found,) = still.json("ledger", "verify")
    assert (found["consistent"], found["entries"], found["total"]) == (True, 0, "0.00")


def test_all_agree(topics: Topics) -> None:
    topics.ledger()
    topics.ledger(*topics.books.entries[2:])  # after a crash
    topics.account(DONE, 4)
    topics.message(0, "ACCEPTED", "SUBMITTED", "DELIVERED")
    topics.message(1, "ACCEPTED", "REJECTED")
    found = topics.verify(0)
    assert (found["entries"], found["repeats"], found["batchesCompared"], found["balances"]) == (4, 2, 1, "9.00")
    assert found["sides"] == {"bank": "-10.00", "revenue": "1.00"}


def test_a_batch_without_all_its_records_is_counted(topics: Topics) -> None:
    topics.ledger()
    topics.account(DONE, 4)
    topics.message(0, "ACCEPTED", "SUBMITTED")
    found = topics.verify(0)
    assert (found["batchesCompared"], found["batchesWithoutRecords"]) == (0, 1)
    assert "status records gone" in topics.cli("ledger", "verify").stdout


def test_the_accounts_say_otherwise(topics: Topics) -> None:
    topics.ledger()
    topics.account(Account(8 * UNIT, 0), 4)
    assert topics.wrong() == [("balances", 4), ("table", 4)]
    shown = topics.cli("ledger", "verify", code=1).stdout
    assert "table: acme #4: there it has 8.00 and 0.00 reserved, in the ledger 9.00 and 0.00 reserved" in shown


def test_the_ledger_lacks_what_the_accounts_have(topics: Topics) -> None:
    topics.ledger(*topics.books.entries[:3])
    topics.account(DONE, 4)
    assert topics.wrong() == [("balances", 4), ("table", 4)]


def test_the_ledger_has_what_the_accounts_lack(topics: Topics) -> None:
    topics.ledger()
    topics.account(Account(9 * UNIT, UNIT), 3)
    assert topics.wrong() == [("table", 4)]


def test_a_balance_that_was_never_told(topics: Topics) -> None:
    topics.ledger()
    value = msgspec.msgpack.encode(Ledger(money=DONE, sequence=4))
    topics.put(topics.names.changelog("price"), "aacme", value, b"acme")
    topics.balance(Account(10 * UNIT, 2 * UNIT), 2)
    assert topics.wrong() == [("balances", 4)]


def test_an_entry_in_anothers_partition(topics: Topics) -> None:
    others = (name for name in map(str, range(9)) if ids.partition_of(name.encode(), 3) != ids.partition_of(b"acme", 3))
    topics.ledger(home=next(others).encode())
    topics.account(DONE, 4)
    assert topics.wrong() == [("place", number) for number in (1, 2, 3, 4)]


def test_an_account_of_a_version_without_a_ledger(topics: Topics) -> None:
    value = msgspec.msgpack.encode([[5 * UNIT, 0], {}, 7, []])
    topics.put(topics.names.changelog("price"), "aelder", value, b"elder")
    topics.balance(Account(5 * UNIT, 0), 7, "elder")
    assert topics.verify(0)["accounts"] == 0


def test_captured_is_not_what_carriers_took(topics: Topics) -> None:
    topics.ledger()
    topics.account(DONE, 4)
    for index in (0, 1):
        topics.message(index, "ACCEPTED", "SUBMITTED")
    topics.message(0, "ACCEPTED", "SUBMITTED", number=2)
    found = topics.verify(1)["differences"]
    assert sorted((one["wrong"], one["batch"], one["what"]) for one in found) == [
        ("carriers", batch(1), "captured is 1.00, carriers took 2.00"),
        ("carriers", batch(2), "carriers took 1.00, and nothing was ever reserved"),
    ]


def test_what_the_price_stage_has_yet_to_settle_is_no_difference(topics: Topics) -> None:
    topics.ledger(*topics.books.entries[:2])
    topics.account(Account(10 * UNIT, 2 * UNIT), 2)
    for index in (0, 1):
        topics.message(index, "ACCEPTED", "SUBMITTED")
    assert topics.wrong() == [("carriers", None)]
    topics.put(topics.names.settlements, "", b"\x90", b"acme")
    assert topics.verify(0)["batchesMoving"] == 1
