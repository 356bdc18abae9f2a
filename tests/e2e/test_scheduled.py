"""Scheduled and cancelled messages in a whole system: sent once and not early over a kill, or never; the books hold."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from endtoend import Status, codes, numbers, wait_for
from typer.testing import CliRunner
from wholesystem import GOOD, System, Systems

from pipeline.cli import app
from schemas import errors

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def system(systems: Systems) -> System:
    """Its carrier takes ten messages a second, so that others wait for it."""
    overrides = {"SMS_CARRIERS__SIM__THROUGHPUT": "10", "SMS_CARRIERS__SIM__BATCH": "1"}
    return systems.get("scheduled", ["--receipt-delay", "0", "0.05"], overrides)


def ask(system: System, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(system.rig.system.gateway_url + path, data, method=method)
    request.add_header("Authorization", f"Bearer {system.rig.token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def accepted(system: System) -> dict[str, list[str]]:
    """When the carrier took each message."""
    found: dict[str, list[str]] = {}
    for line in system.rig.journal.read_text().splitlines():
        entry = json.loads(line)
        found.setdefault(entry["reference"], []).append(entry["acceptedAt"])
    return found


def written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def known(system: System, message: str, state: str) -> None:
    """Wait until the read model has a message in this state."""

    def look() -> bool:
        status, body = ask(system, "GET", f"/messages/{message}")
        return status == 200 and body["data"]["detailedState"] == state

    wait_for(look, what=f"{state} of {message}")


def test_it_is_sent_once_at_its_time_though_track_is_killed(system: System) -> None:
    user = system.user
    price = Decimal(user.fate(user.send([GOOD]))["price"])
    balance, _ = user.money(lambda balance, reserved: reserved == 0)
    at = written(time.time() + 6)
    options = {"sendAt": at}
    many = user.send(numbers(3), options=options)
    one = user.send(numbers(1, first=10), lane=".priority", options=options)
    unwanted = user.send(numbers(1, first=20), options=options)
    stopped = user.send(numbers(2, first=30), options=options)
    status, body = ask(
        system, "POST", "/messages", {"recipient": numbers(1, first=40)[0], "message": "Hi", "options": options}
    )
    assert status == 201
    posted = body["data"]
    for request in (many, one, unwanted, stopped, posted["requestId"]):
        told = user.wait_told(request, lambda told: told["detailedState"] == "SCHEDULED")
        assert (told["state"], told["sequence"], told["sendAt"]) == ("NEW", 1, at)
    user.money(lambda now, reserved: (now, reserved) == (balance, 8 * price))
    system.cli("opt-outs", "add", user.account, *numbers(1, first=20))
    system.cli("cancel", "--account", user.account, "--request", stopped)
    known(system, posted["id"], "SCHEDULED")
    assert ask(system, "DELETE", f"/messages/{posted['id']}")[0] == 202
    for name, pid in system.rig.system.pids.items():
        if "track" in name:
            os.kill(pid, signal.SIGKILL)
    system.rig.wait_ready()
    system.pids = system.rig.system.pids

    sent = [*user.fates(many, 3), user.fate(one)]
    assert {told["detailedState"] for told in sent} == {"DELIVERED"}
    taken = accepted(system)
    for told in sent:
        (when,) = taken[told["id"]]
        assert when >= at
    gone = [*user.fates(stopped, 2), user.fate(posted["requestId"]), user.fate(unwanted)]
    assert codes(gone) == [errors.CANCELED] * 3 + [errors.OPTED_OUT]
    assert [told["detailedState"] for told in gone] == ["CANCELED"] * 3 + ["BLOCKED"]
    user.money(lambda now, reserved: (now, reserved) == (balance - 4 * price, 0))
    assert not taken.keys() & {told["id"] for told in gone}
    known(system, posted["id"], "CANCELED")
    status, body = ask(system, "DELETE", f"/messages/{posted['id']}")
    assert (status, body["code"]) == (409, errors.TOO_LATE)


def test_what_waits_for_a_slow_carrier_is_stopped_and_what_it_has_goes_on(system: System) -> None:
    user = system.user
    balance, _ = user.money(lambda balance, reserved: reserved == 0)
    before = len(accepted(system))
    request = user.send(numbers(60, first=100))
    wait_for(lambda: len(accepted(system)) > before + 3, what="the first calls")
    assert ask(system, "POST", "/messages/cancel", {"requestId": request})[0] == 202
    told = user.fates(request, 60)
    ends = Counter(one["detailedState"] for one in told)
    assert ends.keys() == {"DELIVERED", "CANCELED"} and ends["CANCELED"] > 20, ends
    taken = accepted(system)
    by_end: dict[str, set[str]] = {end: {one["id"] for one in told if one["detailedState"] == end} for end in ends}
    assert by_end["DELIVERED"] <= taken.keys() and not by_end["CANCELED"] & taken.keys()
    spent = sum(Decimal(one["totalPrice"]) for one in told if one["detailedState"] == "DELIVERED")
    user.money(lambda now, reserved: (now, reserved) == (balance - spent, 0))


def test_the_books_are_right(system: System) -> None:
    def verified() -> Status | None:
        result = CliRunner().invoke(app, ["ledger", "verify", "--json"], env=system.cli._environment)
        found: Status = json.loads(result.stdout)
        return found if result.exit_code == 0 and found["differences"] == [] and found["batchesMoving"] == 0 else None

    wait_for(verified, what="an even ledger")
    system.assert_sound()
