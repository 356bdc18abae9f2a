"""Freeze a version: run its stages on a real broker, stop them one after the other in mid-work, keep every topic.

    PYTHONPATH=CHECKOUT:CHECKOUT/tests:CHECKOUT/tests/streaming python freeze.py DIRECTORY

Written for the checkout it made these files with (see README.md); a later version is frozen with its own driving
code. Requests say by their id how far they came. They are received in 2100, so that their validity never ends.
"""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broker
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from working import Worker, balance, names, wait_for

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.config import Billing, Kafka, Settings, Storage
from pipeline.ops.system import command
from pipeline.records import Credit, Settlement, Submitted, Tick, encode
from pipeline.streaming import client, topics

#: As long as the prefixes that tests make, by which it is replaced.
PREFIX = "tearlier0."
PARTITIONS = 3
RECEIVED_MS = 4_102_444_800_000
#: One account a partition, and one that cannot pay.
ACCOUNTS = {"initech": 10_000_000, "globex": 10_000_000, "acme": 10_000_000, "poor": 60_000}
PRICES = "country,operator,prefix,price\nIT,,,0.0500\nDE,,,0.0700\nFR,,,0.0600\n"
STAGES = ["validate", "encode", "moderate", "price", "dispatch", "track"]
IT, DE, LANDLINE, NO_PRICE, NO_ROUTE = "+393330000", "+4915123450", "+390669812345", "+447912345678", "+33612345678"


class Earlier:
    """The version's processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = names(settings)
        self.ports = {"sim": free_port(), "plain": free_port()}
        self.workers: dict[str, Worker] = {}
        self.simulators: dict[str, subprocess.Popen[bytes]] = {}
        carriers = {
            name: {"type": "http", "url": f"http://127.0.0.1:{port}/messages", "idempotent": name == "sim",
                   "throughput": 1000, "batch": 10, "timeout": 100, "patience": 100}
            for name, port in self.ports.items()
        }  # fmt: skip
        routes = [{"prefix": "39", "carriers": ["sim"]}, {"prefix": "49", "carriers": ["plain"]}]
        terms = settings.storage.directory / "prohibited.txt"
        terms.write_text("forbidden fruit\n")
        os.environ["SMS_CARRIERS"], os.environ["SMS_ROUTES"] = json.dumps(carriers), json.dumps(routes)
        os.environ["SMS_MODERATION__TERMS"] = json.dumps([str(terms)])

    def start(self, *stages: str) -> None:
        for stage in stages:
            self.workers[stage] = Worker(self.settings, [stage], stage)
        for stage in stages:
            self.workers[stage].wait_ready(120)

    def stop(self, *stages: str) -> None:
        for stage in stages:
            self.workers[stage].stop()

    def carry(self, latency: float = 0.0) -> None:
        """(Re)start the carriers; they accept at once and answer after `latency` seconds."""
        for name, port in self.ports.items():
            if name in self.simulators:
                self.simulators[name].kill()
                self.simulators[name].wait()
            arguments = ["simulator", "--port", str(port), "--journal", str(self.journal(name))]
            arguments += ["--latency", str(latency), "--idempotent" if name == "sim" else "--no-idempotent"]
            self.simulators[name] = subprocess.Popen([*command(), *arguments], stdout=subprocess.DEVNULL)

    def journal(self, carrier: str) -> Path:
        return self.settings.storage.directory / f"{carrier}-journal.ndjson"

    def accepted(self, request_id: str, account: str = "acme") -> dict[str, tuple[str, str]]:
        """What carriers took of a request: message id to carrier and its id."""
        prefix = batch_of(request_id, account).hex()
        found = {}
        for carrier in self.ports:
            for line in self.journal(carrier).read_text().splitlines() if self.journal(carrier).exists() else []:
                entry = json.loads(line)
                if entry["reference"].startswith(prefix):
                    found[entry["reference"]] = (carrier, entry["id"])
        return found

    def send(self, request_id: str, *recipients: Any, account: str = "acme", lane: str = "", **more: Any) -> None:
        body = {"requestId": request_id, "account": account, "sender": "ACME", "recipients": list(recipients)}
        value = json.dumps(body | {"message": "Hello"} | more).encode()
        self.put(self.names.intake(lane), value, ids.partition_of(request_id.encode(), PARTITIONS), RECEIVED_MS)

    def put(self, topic: str, value: bytes, partition: int, at: int | None = None, key: bytes | None = None) -> None:
        async def send() -> None:
            async with client.producer(self.settings.kafka) as producer:
                await producer.send_and_wait(topic, value, partition=partition, timestamp_ms=at, key=key)

        asyncio.run(send())

    def receive(self, carrier: str, status: str, identity: str, reference: str | None) -> None:
        """A receipt as the gateway puts it: by our reference, or by the carrier's id where that is missing."""
        if reference:
            topic, home = self.names.receipts, bytes.fromhex(reference)[: ids.BATCH_BYTES]
        else:
            topic, home = self.names.references, f"{carrier}\0{identity}".encode()
        found = ReceiptBatch(carrier, int(time.time() * 1000), [Receipt(identity, reference, status, "000", None)])
        self.put(topic, receipts.encode(found), ids.partition_of(home, PARTITIONS))

    def wait(self, topic: str, found: Callable[[bytes], bool]) -> None:
        """Until a record of a topic is as asked."""
        wait_for(lambda: any(found(r.value) for r in broker.read(self.settings, topic)), 60, lambda: topic)

    def told(self, request_id: str, state: str, count: int) -> None:
        """Until so many messages of a request were told to be in a state."""

        def found() -> bool:
            told = [json.loads(r.value) for r in broker.read(self.settings, self.names.status)]
            return sum((t["requestId"], t["detailedState"]) == (request_id, state) for t in told) >= count

        wait_for(found, 60, lambda: f"{request_id} {state}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def batch_of(request_id: str, account: str = "acme") -> bytes:
    return ids.batch_id(ids.request_hash(account, request_id), 0, RECEIVED_MS)


def it(first: int, count: int = 2) -> list[str]:
    return [f"{IT}{n:03d}" for n in range(first, first + count)]


def de(first: int, count: int = 2) -> list[str]:
    return [f"{DE}{n:03d}" for n in range(first, first + count)]


def story(run: Earlier) -> None:
    """What happens, until nothing runs any more."""
    run.carry()
    run.start(*STAGES)
    for account, credit in ACCOUNTS.items():
        record = json.dumps({"name": account, "createdAt": "2026-01-01T00:00:00Z", "tokens": []}).encode()
        run.put(run.names.accounts, record, 0, key=account.encode())
        home = ids.partition_of(account.encode(), PARTITIONS)
        run.put(run.names.credits, encode([Credit(account, credit, "opening")]), home, key=account.encode())
    for account in ACCOUNTS:
        wait_for(lambda name=account: balance(run.settings, name))

    # Finished: delivered, refused in every stage, personalised, dry, urgent, repeated, and its id used once more.
    fields = [{"number": number, "fields": {"name": f"Ada{n}"}} for n, number in enumerate(it(0))]
    callback = {"method": "JSON", "field": "data", "url": "https://example.com/sms", "retry": 3}
    text = "Hello {{name}}, this is a text of more than one part €" + "." * 130
    recipients = [*fields, *de(0), LANDLINE, it(0)[0], NO_PRICE]
    done = {"message": text, "custom": {"n": 1}, "callback": callback}
    run.send("done", *recipients, **done)
    run.send("done-dry", *it(10), options={"dryRun": True})
    run.send("done-urgent", *it(20, 1), lane=".priority", account="globex")
    run.send("done-prohibited", *it(30), message="forbidden fruit", account="initech")
    run.send("done-poor", *it(40), account="poor")
    run.send("done-noroute", NO_ROUTE)
    run.told("done-noroute", "REJECTED", 1)
    run.told("done-prohibited", "BLOCKED", 2)
    run.told("done-poor", "REJECTED", 1)
    run.told("done", "SUBMITTED", 2)
    run.send("done", *recipients, **done)
    run.send("done", *it(50), message="Something else")
    run.told("done", "REJECTED", 7)
    for place, (message, (carrier, identity)) in enumerate(sorted(run.accepted("done").items())):
        run.receive(carrier, "DELIVRD", identity, message if place % 2 else None)
    run.told("done", "DELIVERED", 2)

    # Under way: sent, and not heard of since; a receipt before its batch; a receipt of whom nobody knows.
    run.send("open", *it(60), *de(60))
    run.told("open", "SUBMITTED", 4)
    run.receive("sim", "DELIVRD", "early", ids.message_id(batch_of("answered"), 0))
    run.receive("sim", "DELIVRD", "nobody-knows", None)
    news = Submitted(batch_of("moderated"), "acme", "sim", RECEIVED_MS, [0], bytes([10]), ["told-early"])
    run.put(run.names.outcomes(), encode([news]), ids.partition_of(batch_of("moderated"), PARTITIONS))
    parked = {b"k" + batch_of("answered"), b"k" + batch_of("moderated"), b"osim\0nobody-knows"}
    changelog = run.names.changelog("track")
    wait_for(lambda: parked <= {r.key for r in broker.read(run.settings, changelog)}, 60)
    run.stop("track")

    # News that track does not hear any more.
    run.send("answered", *it(70), *de(70), LANDLINE)
    run.send("answered-urgent", *de(75, 1), lane=".priority", account="initech")
    run.send("answered-refused", LANDLINE, NO_PRICE, NO_ROUTE, account="globex")
    run.send("answered-poor", *it(80), account="poor")
    run.send("answered-prohibited", *it(85), message="forbidden fruit", account="globex")
    wait_for(lambda: len(run.accepted("answered")) == 4 and run.accepted("answered-urgent", "initech"), 60)
    for place, (message, (carrier, identity)) in enumerate(sorted(run.accepted("answered").items())):
        run.receive(carrier, "DELIVRD", identity, message if place % 2 else None)
    run.wait(run.names.outcomes(), lambda value: b"answered-prohibited" in value)

    # Dispatch dies in the middle of calls that the carriers took; more waits behind them.
    run.carry(latency=600.0)
    time.sleep(2)
    run.send("doubted", *it(90), *de(90))
    run.send("doubted-urgent", *de(95, 1), lane=".priority", account="globex")
    wait_for(lambda: len(run.accepted("doubted")) == 4 and run.accepted("doubted-urgent", "globex"), 60)
    for n in range(3):
        run.send(f"routed-{n}", *it(100 + 10 * n), *de(100 + 10 * n), account=list(ACCOUNTS)[n])
        run.send(f"routed-urgent-{n}", *it(105 + 10 * n, 1), lane=".priority", account=list(ACCOUNTS)[n])
    for carrier, lane, name in (("sim", "", b""), ("plain", "", b""), ("sim", ".priority", b"urgent-")):
        for n in range(3):
            told = b"routed-%s%d" % (name, n)
            run.wait(run.names.dispatch(carrier, lane), lambda value, told=told: told in value)
    time.sleep(2.5)  # commits
    run.workers["dispatch"].kill()
    for simulator in run.simulators.values():
        simulator.kill()

    # The other stages stop from the last to the first.
    for stage, state, topic in (
        ("price", "priced", run.names.priced), ("moderate", "moderated", run.names.moderated),
        ("encode", "encoded", run.names.encoded), ("validate", "validated", run.names.validated),
    ):  # fmt: skip
        run.send(state, *it(150), *de(150), LANDLINE, message=f"Hello from {state}")
        for lane, account in ((".priority", "globex"), ("", "initech")):
            run.send(f"{state}-{account}", *it(160, 1), lane=lane, account=account)
        run.wait(topic(), lambda value, name=state: f"Hello from {name}".encode() in value)
        run.wait(topic(), lambda value, name=f"{state}-initech": name.encode() in value)
        run.wait(topic(".priority"), lambda value, name=f"{state}-globex": name.encode() in value)
        run.stop(stage)
    home = ids.partition_of(b"acme", PARTITIONS)
    run.put(run.names.credits, encode([Credit("acme", 1_000_000, "second")]), home)
    run.put(run.names.settlements, encode([Settlement(batch_of("priced"), "acme", 50_000, 0)]), home)
    for partition in range(PARTITIONS):
        run.put(run.names.ticks, encode([Tick(int(time.time()))]), partition)


async def keep(settings: Settings, directory: Path) -> None:
    """Write down every topic and how far each group had read it."""
    admin = client.admin(settings.kafka)
    await admin.start()
    committed: dict[str, list[list[Any]]] = {}
    for stage in topics.STAGES:
        found = await admin.list_consumer_group_offsets(f"{settings.kafka.topic_prefix}{stage}")
        committed[stage] = sorted([tp.topic.removeprefix(PREFIX), tp.partition, o.offset] for tp, o in found.items())
    await admin.close()
    (directory / "committed.json").write_text(json.dumps(committed, indent=1) + "\n")
    for topic in topics.catalogue(settings):
        rows = await asyncio.to_thread(broker.read, settings, topic.name)
        if rows:
            lines = "".join(json.dumps(row_of(record)) + "\n" for record in rows)
            (directory / f"{topic.name.removeprefix(PREFIX)}.ndjson").write_text(lines)


def row_of(record: Any) -> dict[str, Any]:
    octets = {"key": record.key, "value": record.value}
    text = {name: base64.b64encode(found).decode() for name, found in octets.items() if found is not None}
    return {"partition": record.partition, "offset": record.offset, **text}


async def let_come_from_the_future(settings: Settings) -> None:
    admin = client.admin(settings.kafka)
    await admin.start()
    for lane in topics.LANES:
        config = {"message.timestamp.after.max.ms": str(2**63 - 1)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, names(settings).intake(lane), config)])
    await admin.close()


def main(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, broker.broker(Path(scratch) / "broker") as bootstrap:
        prices = Path(scratch, "prices.csv")
        prices.write_text(PRICES)
        kafka = Kafka(bootstrap_servers=bootstrap, partitions=PARTITIONS, topic_prefix=PREFIX)
        os.environ["SMS_BILLING__MINIMUM"] = "0.01"
        settings = Settings(
            kafka=kafka, storage=Storage(directory=Path(scratch)), billing=Billing(prices=prices, minimum="0.01"),
            carriers={name: {"url": "http://127.0.0.1:1/messages"} for name in ("sim", "plain")},
        )  # fmt: skip
        run = Earlier(settings)
        asyncio.run(topics.ensure(settings))
        asyncio.run(let_come_from_the_future(settings))
        try:
            story(run)
            asyncio.run(keep(settings, directory))
            for carrier in run.ports:
                (directory / f"carrier-{carrier}.ndjson").write_text(run.journal(carrier).read_text())
        finally:
            for worker in run.workers.values():
                if worker.process.poll() is None:
                    os.kill(worker.process.pid, signal.SIGKILL)
            for simulator in run.simulators.values():
                simulator.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
