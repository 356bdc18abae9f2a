"""Money in a whole system: limits, bundles, penalties and price lists, and a ledger that explains every balance."""

import time
from decimal import Decimal
from importlib import resources
from typing import Any

import broker
import msgspec
from endtoend import codes, numbers
from wholesystem import GOOD, System

from pipeline.billing import Account, format_amount
from pipeline.billing.audit import Audit
from pipeline.streaming.topics import TopicNames
from schemas.ledger import LedgerEntry

GERMAN = "+4915112345678"


def audited(plain: System) -> Audit:
    """The whole ledger of the system, as anybody can read it."""
    audit = Audit()
    settings = plain.rig.settings
    for record in broker.read(settings, TopicNames(settings.kafka.topic_prefix).ledger):
        audit.take(msgspec.json.decode(record.value, type=LedgerEntry))
    return audit


def shown(plain: System, account: str) -> dict[str, Any]:
    found: dict[str, Any] = plain.cli.json("account", "show", account)
    return found


def settled(plain: System, account: str) -> dict[str, Any]:
    """The account once nothing is reserved any more."""
    deadline = time.monotonic() + 20
    while (found := shown(plain, account))["reserved"] != "0.00":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_limits_are_in_force_within_moments(plain: System) -> None:
    plain.cli("account", "create", "tight", "--credit", "100")
    plain.cli("account", "limit", "tight", "--country", "it", "--messages-a-day", "3")
    assert shown(plain, "tight")["limits"] == {"countries": ["IT"], "messagesADay": 3}
    deadline = time.monotonic() + 5
    while codes(plain.told([GERMAN], account="tight", options={"dryRun": True})) != [3022]:
        assert time.monotonic() < deadline
    assert codes(plain.told([*numbers(2), GERMAN], account="tight")) == [None, None, 3022]
    assert codes(plain.told(numbers(2, first=10), account="tight")) == [None, 3025]
    plain.cli("account", "limit", "tight", "--clear")
    deadline = time.monotonic() + 5
    while codes(plain.told([GERMAN], account="tight")) != [None]:
        assert time.monotonic() < deadline


def test_a_bundle_pays_before_the_wallet(plain: System) -> None:
    plain.cli("account", "create", "prepaid", "--credit", "10")
    expires = ("--expires", "2099-01-01", "--country", "IT", "--name", "italy")
    plain.cli("account", "bundle", "prepaid", "--parts", "3", "--price", "0.12", *expires)
    told = plain.told([*numbers(4), GERMAN], account="prepaid")
    prices = [one["totalPrice"] for one in told]
    assert prices[:3] == ["0.0000"] * 3 and Decimal(prices[3]) > 0 < Decimal(prices[4])
    found = settled(plain, "prepaid")
    assert Decimal(found["balance"]) == 10 - Decimal("0.12") - sum(map(Decimal, prices))
    assert "bundles" not in found  # it is used up


def test_a_penalty_is_charged_and_an_imported_price_is_in_force(plain: System, tmp_path: Any) -> None:
    plain.cli("account", "create", "fined", "--credit", "10")
    assert codes(plain.told(numbers(2), "taste the forbidden fruit", account="fined")) == [2044, 2044]
    assert shown(plain, "fined")["balance"] == "8.00"  # 1.00 a part
    plain.cli("account", "unblock", "fined")
    prices = tmp_path / "prices.csv"
    sample = (resources.files("pipeline.billing") / "sample-prices.csv").read_text()
    header, *rows = [line for line in sample.splitlines() if line and not line.startswith("#")]
    own = dict.fromkeys(header.split(","), "") | {"country": "IT", "price": "0.0300"}
    lines = [f"{header},account", *(f"{row}," for row in rows), ",".join([*own.values(), "fined"])]
    prices.write_text("\n".join(lines) + "\n")  # the others' prices stay
    plain.cli("prices", "import", str(prices), "--now")
    deadline = time.monotonic() + 15
    while True:
        told = plain.told([GOOD], account="fined")
        if [one["totalPrice"] for one in told] == ["0.0300"]:
            break
        assert time.monotonic() < deadline, told


def test_the_ledger_explains_every_balance(plain: System) -> None:
    for account in ("tight", "prepaid", "fined"):
        settled(plain, account)
    plain.user.money(lambda balance, reserved: reserved == 0)
    audit = audited(plain)
    assert (audit.faults, audit.total) == ([], 0)
    for account in ("tight", "prepaid", "fined", "demo"):
        money = audit.accounts.get(account, Account())
        found = shown(plain, account)
        assert (format_amount(money.balance), format_amount(money.reserved)) == (found["balance"], found["reserved"])
