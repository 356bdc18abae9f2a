"""A carrier that does not recognise repeats takes messages, cuts the line before it answers, and sends no receipts.

An operator looks at what is in doubt and settles it: some are given up, some sent once more.
"""

import json
import time
import urllib.request
from collections import Counter
from decimal import Decimal

import pytest
from endtoend import Status, numbers, wait_for
from wholesystem import CREDIT, System, Systems

from schemas import errors

pytestmark = pytest.mark.e2e

#: Seconds for which a receipt is waited for behind a message's validity.
GRACE = 8


@pytest.fixture(scope="module")
def system(systems: Systems) -> System:
    overrides = {"SMS_CARRIERS__SIM__IDEMPOTENT": "false", "SMS_LIMITS__RECEIPT_GRACE_SECONDS": str(GRACE)}
    return systems.get("doubt", ["--no-idempotent", "--silent", "1"], overrides)


def behave(system: System, **phase: float) -> None:
    """How the carrier answers from now on."""
    request = urllib.request.Request(f"{system.rig.simulator_url}/phase", json.dumps(phase).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


def accepted(system: System) -> Counter[str]:
    """How often the carrier took each message."""
    return Counter(json.loads(line)["reference"] for line in system.rig.journal.read_text().splitlines())


def doubts(system: System) -> float:
    return sum(system.rig.metrics()["sms_in_doubt_total"].values())


def in_doubt(system: System, count: int) -> list[Status]:
    """What `status --in-doubt` lists, once it is so many."""
    lines: list[str] = []

    def look() -> bool:
        lines[:] = system.cli("status", "--in-doubt", "--json").splitlines()
        return len(lines) == count

    wait_for(look, what=f"{count} messages in doubt")
    return sorted(map(json.loads, lines), key=lambda message: (message["requestId"], message["index"]))


def test_an_operator_settles_what_is_in_doubt(system: System) -> None:
    user, cli = system.user, system.cli
    behave(system, cut=1.0)
    request = user.send(numbers(4))
    first, second, third, fourth = (message["id"] for message in in_doubt(system, 4))
    told = user.wait_told(request, lambda told: told["detailedState"] == "IN_DOUBT")
    assert (told["sequence"], told["final"], told["error"]["code"]) == (2, False, errors.IN_DOUBT)
    price = Decimal(told["totalPrice"])
    user.money(lambda balance, reserved: (balance, reserved) == (CREDIT, 4 * price))
    assert accepted(system) == dict.fromkeys([first, second, third, fourth], 1)

    failed = cli.json("fail", first)
    assert (failed["result"], failed["detailedState"]) == ("done", "FAILED")
    assert failed["error"]["code"] == errors.FAILED_BY_OPERATOR
    user.money(lambda balance, reserved: (balance, reserved) == (CREDIT, 3 * price))

    before = doubts(system)
    assert cli.json("resend", third, "--wait", "0")["result"] == "pending"  # cut once more
    wait_for(lambda: doubts(system) > before, what="the resent one in doubt again")
    behave(system)
    resent = cli.json("resend", second)
    assert (resent["result"], resent["detailedState"], resent["carrier"]) == ("done", "SUBMITTED", "sim")
    wait_for(lambda: cli.json("resend", third)["result"] == "done", what="the one resent twice")
    assert [one["index"] for one in in_doubt(system, 1)] == [3]
    assert accepted(system) == {first: 1, second: 2, third: 3, fourth: 1}
    user.money(lambda balance, reserved: (balance, reserved) == (CREDIT - 2 * price, price))

    sequences = [one["sequence"] for one in user.told(request) if one["id"] == second]
    assert sequences == [1, 2, 3]
    assert cli.json("fail", "--in-doubt", "--yes")["id"] == fourth
    user.money(lambda balance, reserved: (balance, reserved) == (CREDIT - 2 * price, 0))
    assert user.no_dead_letters_but([]) == []


def test_what_nobody_settles_ends_with_its_validity_and_costs_nothing(system: System) -> None:
    before = system.user.money()
    behave(system, cut=1.0)
    told = system.user.fate(system.user.send(numbers(1, first=50), options={"validitySeconds": 3}))
    assert (told["detailedState"], told["error"]["code"]) == ("NO_RECEIPT", errors.NO_RECEIPT)
    assert system.user.money(lambda balance, reserved: reserved == before[1]) == before
    assert accepted(system)[told["id"]] == 1


def test_what_is_resent_too_late_expires(system: System) -> None:
    """Its receipt might still be waited for, but nobody wants the message any more: the carrier is not asked."""
    before = system.user.money()
    behave(system, cut=1.0)
    sent_at = time.time()
    request = system.user.send(numbers(1, first=60), options={"validitySeconds": 3})
    doubtful = system.user.wait_told(request, lambda told: told["detailedState"] == "IN_DOUBT")
    in_doubt(system, 1)
    behave(system)
    wait_for(lambda: time.time() > sent_at + 4, what="the end of its validity")
    assert system.cli.json("resend", doubtful["id"])["detailedState"] == "EXPIRED"
    assert system.user.money(lambda balance, reserved: reserved == before[1]) == before
    assert accepted(system)[doubtful["id"]] == 1
