"""`ledger verify` on a whole system that has sent, was killed and goes on sending; and on ledgers that were altered."""

import json
import os
import signal
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from endtoend import numbers, wait_for
from typer.testing import CliRunner
from wholesystem import GOOD, System, Systems

from pipeline import ids
from pipeline.cli import app
from pipeline.commands import ledger
from pipeline.streaming.topics import TopicNames

pytestmark = pytest.mark.e2e

NAMES = TopicNames("sms.")


@pytest.fixture(scope="module")
def system(systems: Systems) -> System:
    """Its carrier takes most, rejects some, and loses some. A system of its own: its ledger is altered at the end."""
    carrier = ["--receipt-delay", "0", "0.05", "--reject", "0.1", "--undeliverable", "0.1"]
    carrier += ["--early", "0.2", "--duplicate", "0.1"]
    routes, refund = [{"prefix": "", "carriers": ["sim"]}], ["REJECTED", "UNDELIVERABLE"]
    overrides = {"SMS_ROUTES": json.dumps(routes), "SMS_BILLING__REFUND": json.dumps(refund)}
    return systems.get("ledger", carrier, overrides)


def verify(system: System) -> tuple[int, dict[str, Any]]:
    """Exit code and answer."""
    environment = system.cli._environment
    result = CliRunner().invoke(app, ["ledger", "verify", "--json"], env=environment, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def entries(system: System) -> list[dict[str, Any]]:
    """The ledger, by partition."""

    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(
            NAMES.ledger, bootstrap_servers=system.rig.settings.kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[dict[str, Any]] = []
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += [json.loads(record.value) for record in records]
            return found
        finally:
            await consumer.stop()

    return system.user.run(read())


def tamper(system: System, **fields: Any) -> None:
    """Put an entry on the ledger that the price stage did not make."""
    key = fields["account"].encode()
    place = ids.partition_of(key, system.rig.settings.kafka.partitions)
    sent = system.user._producer.send_and_wait(NAMES.ledger, json.dumps(fields).encode(), key=key, partition=place)
    system.user.run(sent)


def test_what_was_sent_adds_up(system: System) -> None:
    system.cli("account", "create", "other", "--credit", "2.00")
    system.cli("account", "adjust", "other", "0.50", "--reason", "goodwill")
    system.cli("account", "bundle", "other", "--parts", "10", "--expires", "2100-01-01", "--price", "0.20")
    requests = [system.user.send(numbers(60, first=100 * n)) for n in range(5)]
    requests += [system.user.send(numbers(30), account="other")]  # which can pay for some of these
    for request, count in zip(requests, [60] * 5 + [30], strict=True):
        system.user.fates(request, count)
    system.user.money(lambda balance, reserved: reserved == 0)
    system.user.money(lambda balance, reserved: reserved == 0, account="other")
    code, found = verify(system)
    assert (code, found["differences"], found["consistent"], found["total"]) == (0, [], True, "0.00")
    assert found["accounts"] == 2 and found["batches"] == found["batchesCompared"] >= 6
    assert {"capture", "release", "refund", "bundle"} <= {one["kind"] for one in entries(system)}
    charged = Decimal(found["sides"]["revenue"])
    assert charged > 0
    assert Decimal(found["balances"]) == Decimal("1000002.50") - charged
    shown = system.cli("ledger", "verify")
    assert "sum of all sides" in shown and shown.splitlines()[-1].split() == ["differences", "0"]


def test_it_may_run_while_there_is_traffic_and_after_a_kill(system: System) -> None:
    sent = [system.user.send(numbers(200, first=1000 * n)) for n in range(10)]
    assert verify(system)[1]["differences"] == []
    for name, pid in system.rig.system.pids.items():
        if "price" in name or "track" in name:
            os.kill(pid, signal.SIGKILL)
    sent += [system.user.send(numbers(200, first=100_000 + 1000 * n)) for n in range(5)]
    system.rig.wait_ready()
    for request in sent:
        system.user.fates(request, 200, seconds=90)
    code, found = verify(system)
    assert (code, found["differences"], found["batchesMoving"]) == (0, [], 0)
    system.pids = system.rig.system.pids


def test_the_gateway_tells_the_same(system: System) -> None:
    balance, _ = system.user.money()
    token = system.rig.token

    def told() -> Any:
        import urllib.request

        asked = urllib.request.Request(system.rig.system.gateway_url + "/balance")
        asked.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(asked, timeout=20) as answer:
            data = json.load(answer)["data"]
        return Decimal(data["balance"]) == balance and data

    assert wait_for(told, what="the balance")["reserved"] == "0.00"


def test_an_altered_ledger_is_found(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PATIENCE_SECONDS", 1.0)
    assert verify(system)[0] == 0
    mine = [one for one in entries(system) if one["account"] == "other"]
    last = max(mine, key=lambda one: one["sequence"])
    tamper(system, **mine[0] | {"amount": "2.01"})  # an old entry once more, and another amount
    code, found = verify(system)
    assert (code, [one["wrong"] for one in found["differences"]]) == (1, ["repeat"])
    more = {"kind": "top-up", "amount": "5.00", "from": "bank", "to": "other/available", "reference": "forged"}
    money = {"balance": f"{Decimal(last['balance']) + 5}", "sequence": last["sequence"] + 1}
    kept = ("account", "currency", "at", "reserved")  # whatever the last entry was for
    tamper(system, **{name: last[name] for name in kept}, **more, **money)
    code, found = verify(system)
    assert (code, sorted(one["wrong"] for one in found["differences"])) == (1, ["repeat", "table"])
    sent = {"batch": f"{0x6921F100:08x}0123456789", "messages": 1, "requestId": "x"}
    ghost = {
        "account": "ghost",
        "currency": "EUR",
        "at": last["at"],
        "sequence": 1,
        "balance": "0.00",
        "reserved": "1.00",
    }
    sides = {"kind": "reserve", "from": "ghost/available", "to": "ghost/reserved", "amount": "1.00"}
    tamper(system, **ghost | sides | sent)
    system.user.run(system.user._producer.send_and_wait(NAMES.ledger, b"{", key=b"other"))
    kinds = sorted(one["wrong"] for one in verify(system)[1]["differences"])
    assert kinds == ["repeat", "table", "table", "unreadable"]


def test_what_carriers_took_and_nobody_paid_is_found(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PATIENCE_SECONDS", 1.0)
    before = verify(system)[1]["differences"]
    told = next(one for some in system.user.everything().values() for one in some if one["detailedState"] == "REJECTED")
    taken = told | {"detailedState": "SUBMITTED", "state": "PENDING", "final": False, "sequence": 3, "error": None}
    batch, _ = ids.split(told["id"]) or (b"", 0)
    place = ids.partition_of(batch, system.rig.settings.kafka.partitions)
    sent = system.user._producer.send_and_wait(
        NAMES.status, msgspec.json.encode(taken), key=told["id"].encode(), partition=place
    )
    system.user.run(sent)
    more = [one for one in verify(system)[1]["differences"] if one not in before]
    assert [(one["wrong"], one["batch"]) for one in more] == [("carriers", batch.hex())]
    assert GOOD not in str(more)
