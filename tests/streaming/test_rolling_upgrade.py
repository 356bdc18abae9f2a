"""A rolling upgrade: this version goes on where an earlier one was stopped, beside a later one, in the same groups.

What the earlier one wrote is frozen in `earlier/` (its README says how), the later one is `tomorrow/`: this version,
with an element more at the end of every array it writes. The test plays the gateway: it brings the receipts.
"""

import asyncio
import base64
import json
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import broker
import msgspec
import pytest
from aiokafka import TopicPartition
from earlier.freeze import ACCOUNTS, DE, IT, LANDLINE, PREFIX, PRICES, STAGES
from tomorrow.grown import NEWS, encode
from working import Worker, balance, names, request, statuses, wait_for

from pipeline import ids, records
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.config import Billing, Settings
from pipeline.ops.ports import free_port
from pipeline.ops.system import command
from pipeline.records import Batch, Resolution
from pipeline.stages.book import Decision, Ledger
from pipeline.stages.dispatch import Attempt
from pipeline.stages.encode import Seen
from pipeline.stages.fate import Progress, Sent
from pipeline.stages.resolve import Orphans
from pipeline.stages.track import Parked
from pipeline.streaming import client, topics

HERE = Path(__file__).parent
EARLIER = HERE / "earlier"
CARRIERS = ("sim", "plain")
#: The tables' values by stage and first octet of the key. Of `i`, `t` and `x` the value is octets, or none.
VALUES: dict[tuple[str, bytes], type] = {
    ("encode", b"r"): Seen, ("price", b"a"): Ledger, ("price", b"d"): Decision, ("dispatch", b"d"): Attempt,
    ("track", b"b"): Batch, ("track", b"p"): Progress, ("track", b"s"): Sent, ("track", b"k"): Parked,
    ("track", b"o"): Orphans,
}  # fmt: skip
#: What must become of the requests that the earlier version began. (The id of `done` was used
#: once more for something else, and only two of its recipients had a name to be greeted by.)
FATES: dict[str, dict[str, int]] = {
    "done": {"DELIVERED": 2, "REJECTED": 7},
    "done-dry": {"NEW": 2},
    "done-urgent": {"DELIVERED": 1},
    "done-prohibited": {"REJECTED": 2},
    "done-poor": {"DELIVERED": 1, "REJECTED": 1},
    "done-noroute": {"REJECTED": 1},
    "open": {"DELIVERED": 4},
    "answered": {"DELIVERED": 4, "REJECTED": 1},
    "answered-urgent": {"DELIVERED": 1},
    "answered-refused": {"REJECTED": 3},
    "answered-poor": {"REJECTED": 2},
    "answered-prohibited": {"REJECTED": 2},
    "doubted": {"DELIVERED": 4},
    "doubted-urgent": {"UNDELIVERABLE": 1},
    **{f"routed-{n}": {"DELIVERED": 4} for n in range(3)},
    **{f"routed-urgent-{n}": {"DELIVERED": 1} for n in range(3)},
    **{name: {"DELIVERED": 4, "REJECTED": 1} for name in ("priced", "moderated", "encoded", "validated")},
    **{
        f"{name}-{account}": {"DELIVERED": 1}
        for name in ("priced", "moderated", "encoded", "validated")
        for account in ("globex", "initech")
    },
}
TOPICS = (
    "validated", "encoded", "moderated", "priced", "dispatch.sim", "dispatch.plain", "outcomes", "receipts",
    "references", "settlements", "encode-state-changelog", "price-state-changelog", "dispatch-state-changelog",
    "track-state-changelog",
)  # fmt: skip


class Row(NamedTuple):
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def frozen(topic: str, prefix: str = PREFIX) -> list[Row]:
    """The earlier version's records; topics that they name begin with `prefix`."""
    assert len(prefix) == len(PREFIX), "the names stand in arrays that tell their length"

    def octets(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text).replace(PREFIX.encode(), prefix.encode())

    rows = map(json.loads, (EARLIER / f"{topic}.ndjson").read_text().splitlines())
    return [Row(r["partition"], r["offset"], octets(r.get("key")), octets(r.get("value"))) for r in rows]


def grown(now: Any, earlier: Any) -> bool:
    """Whether arrays, at any depth, have only grown at their ends."""
    if isinstance(now, list) and isinstance(earlier, list):
        return len(now) >= len(earlier) and all(map(grown, now, earlier))
    return bool(now == earlier)


@pytest.mark.parametrize(("stage", "kind"), VALUES, ids=lambda part: part if isinstance(part, str) else part.decode())
def test_the_values_of_every_table_are_read_as_the_earlier_version_wrote_them(stage: str, kind: bytes) -> None:
    struct = VALUES[stage, kind]
    values = [r.value for r in frozen(f"{stage}-state-changelog") if r.key and r.key[:1] == kind and r.value]
    assert values
    for value in values:
        columns, found = msgspec.msgpack.decode(value), msgspec.msgpack.decode(value, type=struct)
        assert grown(msgspec.msgpack.decode(msgspec.msgpack.encode(found)), columns)
        assert msgspec.msgpack.decode(encode(found), type=struct) == found, "a later version's value"


def test_no_table_holds_what_nobody_reads() -> None:
    for stage in ("encode", "price", "dispatch", "track"):
        kinds = {row.key[:1] for row in frozen(f"{stage}-state-changelog") if row.key}
        known = {kind for name, kind in VALUES if name == stage}
        assert kinds - known <= ({b"i", b"t", b"x"} if stage == "track" else set())


class Upgrade:
    """Topics as the earlier version left them, its carriers, and the receipts that they owe."""

    def __init__(self, settings: Settings, start: Callable[..., Worker]) -> None:
        self.settings, self.names = settings, names(settings)
        self.directory = settings.storage.directory
        self._start = start
        self._told: set[str] = set()
        self._simulators: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {}
        self.delivered: list[str] = []  # requests of this test

    def restore(self) -> None:
        """Put every record where it stood. The last two that a group committed of a partition are read again, as
        after a crash before the commit."""
        prefix = self.settings.kafka.topic_prefix
        asyncio.run(topics.ensure(self.settings))
        for file in sorted(EARLIER.glob("*.ndjson")):
            if not file.stem.startswith("carrier-"):
                rows = frozen(file.stem, prefix)
                broker.produce(self.settings, prefix + file.stem, [(row.key, row.value, row.partition) for row in rows])
        asyncio.run(self._commit(json.loads((EARLIER / "committed.json").read_text()), again=2))

    async def _commit(self, committed: dict[str, list[tuple[str, int, int]]], again: int) -> None:
        prefix = self.settings.kafka.topic_prefix
        for stage, found in committed.items():
            offsets = {TopicPartition(prefix + t, partition): max(0, o - again) for t, partition, o in found}
            async with client.consumer(self.settings.kafka, group_id=prefix + stage) as consumer:
                consumer.assign(list(offsets))
                await consumer.commit(offsets)

    def start_carriers(self) -> None:
        """They remember what they took of the earlier version."""
        carriers = {}
        for name in CARRIERS:
            port, prefix = free_port(), self.settings.kafka.topic_prefix
            journal = (EARLIER / f"carrier-{name}.ndjson").read_text().replace(PREFIX, prefix)
            self._journal(name).write_text(journal)
            arguments = ["simulator", "--port", str(port), "--journal", str(self._journal(name))]
            arguments.append("--idempotent" if name == "sim" else "--no-idempotent")
            self._simulators.append(subprocess.Popen([*command(), *arguments], stdout=subprocess.DEVNULL))
            url = f"http://127.0.0.1:{port}/messages"
            carriers[name] = {"url": url, "idempotent": name == "sim", "throughput": 1000, "batch": 10}
        terms = self.directory / "prohibited.txt"
        terms.write_text("forbidden fruit\n")
        routes = [{"prefix": "39", "carriers": ["sim"]}, {"prefix": "49", "carriers": ["plain"]}]
        self.environment = {
            "SMS_CARRIERS": json.dumps(carriers),
            "SMS_ROUTES": json.dumps(routes),
            "SMS_MODERATION__TERMS": json.dumps([str(terms)]),
            "SMS_BILLING__MINIMUM": "0.01",
        }

    def today(self) -> Worker:
        return self._start(self.settings, STAGES, "today", self.environment)

    def tomorrow(self) -> Worker:
        path = os.pathsep.join([str(HERE / "tomorrow"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return self._start(self.settings, STAGES, "tomorrow", self.environment | {"PYTHONPATH": path})

    def send(self, requests: int) -> None:
        """Requests of each account that can pay, in both lanes, over all partitions."""
        by_lane: dict[str, list[tuple[None, bytes, int]]] = defaultdict(list)
        for _ in range(requests):
            n = len(self.delivered)
            name, account = f"new-{n}", list(ACCOUNTS)[n % 3]
            numbers = [f"{IT}{n:03d}", f"{DE}{n:03d}", LANDLINE]
            by_lane[".priority" if n % 4 == 3 else ""].append((None, request(name, *numbers, account=account), n % 3))
            self.delivered.append(name)
        for lane, rows in by_lane.items():
            broker.produce(self.settings, self.names.intake(lane), rows)

    def bring_receipts(self) -> None:
        """What carriers took is delivered: told by our reference, by one of them also by its own id alone; by a gateway
        of this version or the next. (What the other took was never answered to the earlier version, nor its id.)"""
        rows: dict[str, list[tuple[None, bytes, int]]] = defaultdict(list)
        for carrier in CARRIERS:
            for line in self._journal(carrier).read_text().splitlines():
                entry = json.loads(line)
                message, identity = entry["reference"], entry["id"]
                if identity in self._told or message.startswith(self.undecided):
                    continue
                self._told.add(identity)
                by_id = carrier == "sim" and int(message, 16) // 2 % 2
                topic = self.names.references if by_id else self.names.receipts
                home = f"{carrier}\0{identity}".encode() if by_id else bytes.fromhex(message)[: ids.BATCH_BYTES]
                receipt = Receipt(identity, None if by_id else message, "DELIVRD", "000", None)
                written = (encode if len(self._told) % 2 else receipts.encode)(ReceiptBatch(carrier, 1, [receipt]))
                rows[topic].append((None, written, ids.partition_of(home, self.settings.kafka.partitions)))
        for topic, found in rows.items():
            broker.produce(self.settings, topic, found)

    @property
    def undecided(self) -> str:
        """The batch whose receipt never comes."""
        key = next(r.key for r in frozen("dispatch-state-changelog") if r.value and b"plain.priority" in r.value[:40])
        assert key
        return key[1:10].hex()

    def finals(self) -> dict[str, Counter[str]]:
        """How the messages of each request ended, as far as they did."""
        self.bring_receipts()
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for told in self.told().values():
            if told[-1]["final"]:
                found[told[-1]["requestId"]][told[-1]["state"]] += 1
        return found

    def told(self) -> dict[str, list[dict[str, Any]]]:
        """Every message's records in the order of their sequence, repeats left out."""
        by_message: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for status in statuses(self.settings):
            by_message[status["id"]][status["sequence"]] = status
        return {message: [by[place] for place in sorted(by)] for message, by in by_message.items()}

    def wait_finals(self, due: dict[str, dict[str, int]], seconds: float = 90.0) -> None:
        def missing() -> str:
            found = self.finals()
            return str({n: (dict(found[n]), due[n]) for n in due if found[n] != due[n]})

        wait_for(lambda: missing() == "{}", seconds, lambda: f"has, should have: {missing()}")

    def accepted(self) -> Counter[str]:
        """How often the carriers took each message."""
        lines = [line for carrier in CARRIERS for line in self._journal(carrier).read_text().splitlines()]
        return Counter(json.loads(line)["reference"] for line in lines)

    def _journal(self, carrier: str) -> Path:
        return self.directory / f"carrier-{carrier}.ndjson"

    def stop(self) -> None:
        for simulator in self._simulators:
            simulator.kill()
            simulator.wait()


@pytest.fixture
def upgrade(make_settings: Callable[[], Settings], start: Callable[..., Worker]) -> Iterator[Upgrade]:
    settings = make_settings()
    prices = settings.storage.directory / "prices.csv"
    prices.write_text(PRICES)
    carriers = {name: {"url": "http://127.0.0.1:1/messages"} for name in CARRIERS}
    billing = Billing(prices=prices, minimum="0.01")
    found = Upgrade(Settings(kafka=settings.kafka, storage=settings.storage, billing=billing, carriers=carriers), start)
    yield found
    found.stop()


def new_fates(upgrade: Upgrade) -> dict[str, dict[str, int]]:
    return {name: {"DELIVERED": 2, "REJECTED": 1} for name in upgrade.delivered}


def test_a_version_takes_over_from_an_earlier_and_works_beside_a_later_one(upgrade: Upgrade) -> None:
    upgrade.restore()
    upgrade.start_carriers()
    upgrade.send(12)
    today = upgrade.today().wait_ready()
    wait_for(lambda: len(upgrade.finals()) > 20)
    upgrade.send(12)
    tomorrow = upgrade.tomorrow().wait_ready()
    upgrade.send(24)
    wait_for(lambda: sum(name.startswith("new-") for name in upgrade.finals()) > 30, 60)
    upgrade.send(12)
    today.stop()  # the upgrade is over …
    assert today.process.returncode == 0
    upgrade.send(12)
    today = upgrade.today().wait_ready()  # … and taken back
    upgrade.send(12)
    tomorrow.stop()
    assert tomorrow.process.returncode == 0

    # A client repeats what the earlier version began; an operator gives up what that left in doubt.
    for row in frozen("intake")[:3]:
        broker.produce(upgrade.settings, upgrade.names.intake(), [(None, row.value, 0)])
    doubt = upgrade.undecided + "000000"
    wait_for(lambda: upgrade.told()[doubt][-1]["detailedState"] == "IN_DOUBT", 60, lambda: str(upgrade.told()[doubt]))
    word = encode(Resolution("fail", [bytes.fromhex(doubt)], "ada", 1))
    home = ids.partition_of(bytes.fromhex(upgrade.undecided), upgrade.settings.kafka.partitions)
    broker.produce(upgrade.settings, upgrade.names.resolutions, [(None, word, home)])
    upgrade.send(3)
    upgrade.wait_finals(FATES | new_fates(upgrade))
    check(upgrade)


def check(upgrade: Upgrade) -> None:
    """Nobody was told two ends, nothing was sent twice, the money is what the fates say, and every topic held all."""
    due = FATES | new_fates(upgrade)
    messages = upgrade.told()
    assert len(messages) == sum(sum(fates.values()) for fates in due.values())
    for told in messages.values():
        assert [one["final"] for one in told] == [False] * (len(told) - 1) + [True], told
    assert set(upgrade.accepted().values()) == {1}
    ends = [told[-1] for told in messages.values()]
    assert upgrade.accepted().keys() == {e["id"] for e in ends if e["state"] == "DELIVERED"} | {
        upgrade.undecided + "000000"
    }
    wait_for(lambda: money(upgrade) == due_money(ends), 20, lambda: f"{money(upgrade)}, {due_money(ends)}")
    assert broker.read(upgrade.settings, upgrade.names.dead_letters) == []
    for topic in TOPICS:
        assert versions(upgrade.settings, topic) == {"earlier", "today", "tomorrow"}, topic


def money(upgrade: Upgrade) -> dict[str, tuple[Decimal, Decimal]]:
    """Each account's balance, and what of it is reserved."""
    told = {account: balance(upgrade.settings, account) or {} for account in ACCOUNTS}
    return {account: (Decimal(one["balance"]), Decimal(one["reserved"])) for account, one in told.items()}


def due_money(ends: list[dict[str, Any]]) -> dict[str, tuple[Decimal, Decimal]]:
    """What must be left when every message has ended like this. One account was credited once more."""
    found = {account: Decimal(credit) / 1_000_000 for account, credit in ACCOUNTS.items()}
    found["acme"] += 1
    for end in ends:
        if end["state"] == "DELIVERED":
            found[end["account"]] -= Decimal(end["totalPrice"])
    return {account: (left, Decimal(0)) for account, left in found.items()}


def versions(settings: Settings, topic: str) -> set[str]:
    """Which versions wrote into one partition of a topic: into that of most."""
    before = Counter(row.partition for row in frozen(topic))
    found: dict[int, set[str]] = defaultdict(set)
    for record in broker.read(settings, settings.kafka.topic_prefix + topic):
        if record.offset < before[record.partition]:
            found[record.partition].add("earlier")
        elif record.value:
            found[record.partition].add("tomorrow" if records.encode_one(NEWS) in record.value else "today")
    return max(found.values(), key=len)
