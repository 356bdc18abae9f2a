"""What messages cost us in a whole system: operators and costs reach the read model, and no account is told them."""

import json
import urllib.error
import urllib.request
from decimal import Decimal
from typing import Any

import pytest
from endtoend import numbers, wait_for
from wholesystem import System

from pipeline.config import Settings
from pipeline.lists import price_list

pytestmark = pytest.mark.e2e

PERIOD = ("--from", "2026-01-01")
#: The prefix of some numbers, their country and operator, and how many of them are sent to.
SENT = {"+39333": ("IT", "TIM", 3), "+39347": ("IT", "Vodafone", 2), "+491761": ("DE", "O2", 1)}
LINE = {"operator", "country", "messages", "parts", "amount", "currency"}


def spent(plain: System) -> dict[tuple[str, str], dict[str, Any]]:
    """What the account spent by operator, once all of its messages are in the read model."""

    def look() -> list[dict[str, Any]] | None:
        shown = plain.cli("account", "spend", "margins", "--by", "operator", "--margin", *PERIOD, "--json")
        found = [json.loads(line) for line in shown.splitlines()]
        return found if sum(one["messages"] for one in found) == 6 else None

    return {(one["country"], one["operator"]): one for one in wait_for(look, what="the read model")}


def asked_by_the_account(plain: System) -> list[dict[str, Any]]:
    """The same over HTTP, once the gateway knows the account's token."""
    token = plain.cli("account", "token", "margins").strip()
    url = f"{plain.rig.system.gateway_url}/statistics/spend?by=operator"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})

    def answer() -> Any:
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            assert error.code == 401
            return None

    found: list[dict[str, Any]] = wait_for(answer, what="an answer")
    return found


def test_operators_costs_and_margins_of_what_was_sent(plain: System) -> None:
    plain.cli("account", "create", "margins", "--credit", "100")
    recipients = [number for prefix, (_, _, count) in SENT.items() for number in numbers(count, prefix)]
    told = plain.told(recipients, "x" * 161, account="margins")  # two parts
    assert {one["state"] for one in told} == {"DELIVERED"}
    sample, total = price_list(Settings()), Decimal(0)
    found = spent(plain)
    assert len({sample.cost("sim", *where) for where in found}) == 2  # to O2 it costs another sum than to TIM
    for country, operator, count in SENT.values():
        line = found.pop((country, operator))
        part = sample.cost("sim", country, operator)
        assert part is not None
        assert (line["messages"], line["parts"], line["uncosted"]) == (count, 2 * count, 0)
        assert Decimal(line["cost"]) == Decimal(part * 2 * count) / 10**6
        assert Decimal(line["margin"]) == Decimal(line["amount"]) - Decimal(line["cost"])
        assert Decimal(line["amount"]) == sum(Decimal(one["totalPrice"]) for one in told[:count])
        told, total = told[count:], total + Decimal(line["margin"])
    assert not found
    accounts = [json.loads(line) for line in plain.cli("margin", "--by", "account", *PERIOD, "--json").splitlines()]
    assert [Decimal(one["margin"]) for one in accounts if one["account"] == "margins"] == [total]
    lines = asked_by_the_account(plain)
    assert [(one["operator"], one.keys()) for one in lines if one["country"] == "DE"] == [("O2", LINE)]
    assert all(one.keys() == LINE for one in lines)
