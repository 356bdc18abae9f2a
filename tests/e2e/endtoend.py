"""A user of the whole system: produces to the intake, reads status, dead letters and balances, with plain aiokafka."""

import asyncio
import json
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from typer.testing import CliRunner

from pipeline.cli import app

#: What any one thing may take on a loaded machine before it counts as not coming.
PATIENCE = 45.0

Place = tuple[str, int, int]  # topic, partition, offset
Status = dict[str, Any]


class User:
    """Use it with `with`. What arrives is collected by a thread; the methods wait for it with a deadline."""

    def __init__(self, bootstrap: str, *, prefix: str = "sms.", account: str = "demo") -> None:
        self.account = account
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._news = threading.Condition()
        self._told: dict[str | None, list[Status]] = defaultdict(list)
        self._dead: dict[Place, ConsumerRecord] = {}
        self._money: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def produce(self, value: bytes | None, *, lane: str = "", partition: int | None = None, **more: Any) -> Place:
        """Put a record on the intake; where it stands once it is acknowledged."""
        topic = f"{self._prefix}intake{lane}"
        sent = self.run(self._producer.send_and_wait(topic, value, partition=partition, **more))
        return topic, sent.partition, sent.offset

    def send(
        self,
        recipients: list[Any],
        message: str = "Hello",
        *,
        lane: str = "",
        partition: int | None = None,
        key: bytes | None = None,
        **fields: Any,
    ) -> str:
        """Produce a request; its requestId. `fields` replace or add to those of the contract."""
        request = {"requestId": uuid.uuid4().hex, "account": self.account, "sender": "ACME", "recipients": recipients}
        request |= {"message": message, **fields}
        self.produce(json.dumps(request).encode(), lane=lane, partition=partition, key=key)
        return str(request["requestId"])

    def fates(self, request_id: str | None, count: int = 1, seconds: float = PATIENCE) -> list[Status]:
        """The final status records of a request's messages by index, once there are `count`; a record that was told
        again counts once."""
        found: dict[str, Status] = {}

        def look() -> bool:
            found.update({told["id"]: told for told in self._told[request_id] if told["final"]})
            return len(found) >= count

        self._wait_for(
            look,
            seconds,
            lambda: f"{request_id}: {count} final records due, there are {self._told[request_id]}"[:5000],
        )
        return sorted(found.values(), key=lambda told: int(told["index"]))

    def fate(self, request_id: str | None) -> Status:
        """The final status record of a request for one."""
        (told,) = self.fates(request_id)
        return told

    def told(self, request_id: str) -> list[Status]:
        """Every status record of a request so far, in the order of arrival."""
        with self._news:
            return list(self._told[request_id])

    def wait_told(self, request_id: str | None, condition: Callable[[Status], bool]) -> Status:
        """The first status record of a request that meets the condition."""
        found: list[Status] = []

        def look() -> bool:
            found[:] = [told for told in self._told[request_id] if condition(told)]
            return bool(found)

        self._wait_for(look, PATIENCE, lambda: f"{request_id}: there are {self._told[request_id]}"[:5000])
        return found[0]

    def everything(self) -> dict[str | None, list[Status]]:
        """Every status record so far, by request."""
        with self._news:
            return {name: list(told) for name, told in self._told.items()}

    def dead_letter(self, place: Place, seconds: float = PATIENCE) -> ConsumerRecord:
        """The dead letter of an intake record."""
        self._wait_for(lambda: place in self._dead, seconds, lambda: f"no dead letter of {place}")
        return self._dead[place]

    def no_dead_letters_but(self, places: Iterable[Place]) -> list[str]:
        """The reasons of dead letters of other records."""
        known = set(places)
        with self._news:
            return [f"{place}: {headers(found)['reason']}" for place, found in self._dead.items() if place not in known]

    def money(
        self, condition: Callable[[Decimal, Decimal], bool] = lambda balance, reserved: True, account: str | None = None
    ) -> tuple[Decimal, Decimal]:
        """Balance and reserved money of the account, once they meet the condition."""
        name = account or self.account

        def now() -> tuple[Decimal, Decimal]:
            found = self._money[name]
            return Decimal(found["balance"]), Decimal(found["reserved"])

        self._wait_for(
            lambda: name in self._money and condition(*now()), PATIENCE, lambda: f"{name} has {self._money.get(name)}"
        )
        return now()

    def _wait_for(self, condition: Callable[[], bool], seconds: float, tell: Callable[[], str]) -> None:
        with self._news:
            assert self._news.wait_for(condition, seconds), tell()

    async def _open(self) -> None:
        size = 32 * 1024 * 1024
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", max_request_size=size, compression_type="zstd"
        )
        await self._producer.start()
        topics = [self._prefix + name for name in ("status", "dead-letters", "balances")]
        self._consumer = AIOKafkaConsumer(
            *topics, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=size
        )
        await self._consumer.start()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for record in self._consumer:
            with self._news:
                self._take(record)
                self._news.notify_all()

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic.endswith("status"):
            told = json.loads(record.value)
            assert record.key.decode() == told["id"]
            self._told[told["requestId"]].append(told)
        elif record.topic.endswith("balances"):
            money = json.loads(record.value)
            known = self._money.get(money["account"])
            if known is None or known["sequence"] <= money["sequence"]:
                self._money[money["account"]] = money
        else:
            found = headers(record)
            if "mark" in found:  # what was done with a dead letter
                return
            self._dead[found["topic"], int(found["partition"]), int(found["offset"])] = record

    async def _close(self) -> None:
        self._reading.cancel()
        await self._consumer.stop()
        await self._producer.stop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it in the thread's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


class Cli:
    """The commands, run against the system whose settings the environment gives."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *arguments: str) -> str:
        """What a command prints; it must end with 0."""
        result = CliRunner().invoke(app, list(arguments), env=self._environment, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


def headers(record: ConsumerRecord) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


def codes(told: Iterable[Status]) -> list[int | None]:
    """The error codes of status records."""
    return [one["error"]["code"] if one["error"] else None for one in told]


def numbers(count: int, prefix: str = "+39333", first: int = 0) -> list[str]:
    """Mobile numbers of one country."""
    return [f"{prefix}{number:07d}" for number in range(first, first + count)]


def assert_one_final_each(told: Iterable[Status]) -> None:
    """Every message moves forward, ends once, and nothing follows the end."""
    by_message: dict[str, dict[int, Status]] = defaultdict(dict)
    for status in told:
        by_message[status["id"]][status["sequence"]] = status  # a repeat of a record changes nothing
    for message, by_sequence in by_message.items():
        final = [sequence for sequence, status in by_sequence.items() if status["final"]]
        in_doubt = by_sequence[max(by_sequence)]["detailedState"] == "IN_DOUBT"  # it ends when its time is over
        assert final == ([] if in_doubt else [max(by_sequence)]), (message, by_sequence)


def wait_for(done: Callable[[], Any], seconds: float = PATIENCE, what: str = "it") -> Any:
    """What `done` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"{what} did not come in {seconds:g} s"
        time.sleep(0.05)
    return found


def runs(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> dict[int, str]:
    """Processes that a process started, and those they started: id to command line."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            children[int(stat.rpartition(")")[2].split()[1])].append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children[waiting.pop()]:
            try:
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            waiting.append(child)
    return found
