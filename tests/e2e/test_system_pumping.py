"""The pumping guard in a whole system: a form that is made to send codes to a block of costly numbers is stopped, over
the death of who stopped it, until the operator lets it go on."""

import json
import os
import signal
import time
from typing import Any

import broker
import pytest
from endtoend import codes, numbers, wait_for
from wholesystem import System, Systems

from pipeline.streaming.topics import TopicNames

pytestmark = pytest.mark.e2e

BLOCK, OTHER = "+20100123", "+20122999"
LEAST = 20
HOUR_MS = 3600 * 1000
#: Of every request that is not of an earlier hour: no hour ends in the middle of a test.
NOW = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def system(systems: Systems) -> System:
    routes = [{"prefix": "", "carriers": ["sim"]}]
    overrides = {"SMS_ROUTES": json.dumps(routes), "SMS_PUMPING__LEAST": str(LEAST)}
    return systems.get("pumping", ["--receipt-delay", "0", "0.05"], overrides)


def block(count: int, first: int = 0, of: str = BLOCK) -> list[str]:
    """Numbers of one range."""
    return [f"{of}{number:04d}" for number in range(first, first + count)]


def ask(system: System, recipients: list[str], account: str, at: int = NOW) -> str:
    """A request of a time (Unix ms); its requestId."""
    name = f"{account} {time.monotonic_ns()}"
    request = {"requestId": name, "account": account, "sender": "ACME", "recipients": recipients, "message": "1234"}
    system.user.produce(json.dumps(request).encode(), lane=".priority", partition=0, timestamp_ms=at)
    return name


def familiar(system: System, account: str) -> None:
    """An account that has sent for some hours."""
    system.cli("account", "create", account, "--credit", "1000")
    for hours, count in ((5, 3 * LEAST), (3, LEAST)):
        asked = ask(system, numbers(count), account, NOW - hours * HOUR_MS)
        assert set(codes(system.user.fates(asked, count))) == {None}


def sent(system: System, recipients: list[str], account: str) -> list[int | None]:
    return codes(system.user.fates(ask(system, recipients, account), len(recipients)))


def events(system: System, account: str) -> list[dict[str, Any]]:
    settings = system.rig.settings
    told = [json.loads(record.value) for record in broker.read(settings, TopicNames("sms.").events)]
    return [one for one in told if (one["account"], one["kind"]) == (account, "traffic-held")]


def test_a_block_is_held_until_it_is_released(system: System) -> None:
    familiar(system, "pumped")
    found = [code for n in range(LEAST + 5) for code in sent(system, block(1, n), "pumped")]
    assert found == [None] * (LEAST - 1) + [3026] * 6
    assert sent(system, [*numbers(2), *block(2, of=OTHER)], "pumped") == [None] * 4
    (held,) = system.cli("account", "holds", "pumped", "--json").splitlines()
    assert (json.loads(held)["range"], json.loads(held)["state"]) == (BLOCK, "held")
    assert {one["range"] for one in events(system, "pumped")} == {BLOCK}
    for name, pid in system.rig.system.pids.items():
        if "price" in name:
            os.kill(pid, signal.SIGKILL)
    assert sent(system, block(3, 100), "pumped") == [3026] * 3
    assert sent(system, block(3, 100), "demo") == [None] * 3  # another account's traffic
    system.cli("account", "release", "pumped", BLOCK)
    wait_for(lambda: sent(system, block(1, 200), "pumped") == [None], what="the release")
    assert sent(system, block(2 * LEAST, 300), "pumped") == [None] * 2 * LEAST
    system.cli("account", "hold", "pumped", OTHER)
    wait_for(lambda: sent(system, block(1, of=OTHER), "pumped") == [3026], what="the hold")
    system.rig.wait_ready()
    system.pids = system.rig.system.pids
    system.assert_sound()


def test_the_ledger_still_explains_every_balance(system: System) -> None:
    found = json.loads(system.cli("ledger", "verify", "--json"))
    assert (found["differences"], found["total"]) == ([], "0.00")


def test_a_new_account_begins_with_what_it_likes(system: System) -> None:
    system.cli("account", "create", "fresh", "--credit", "1000")
    assert sent(system, block(10 * LEAST), "fresh") == [None] * 10 * LEAST
