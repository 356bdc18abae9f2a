"""A stage's function driven by hand: real store, real view, real outbox, and a worker that may die between any two
writes. Only the broker is left out: what an outbox holds is read back as the bytes it would produce."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rocksdict

from pipeline.config import HttpCarrier, Kafka, Settings
from pipeline.records import Batch, Content, Destination
from pipeline.streaming.outbox import Outbox
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.state import View

#: The partition every test works on; topics of one partition keep all that belongs together in it.
PARTITION = 0
SETTINGS = Settings(
    kafka=Kafka(partitions=1, topic_prefix="t."), carriers={"sim": HttpCarrier(url="http://sim.invalid/messages")}
)
NOON_MS = 1_790_000_000_000


@dataclass
class Sent:
    """What left a window, as the broker would hold it."""

    rows: dict[str, list[bytes]] = field(default_factory=dict)
    keyed: dict[str, list[tuple[bytes | None, bytes]]] = field(default_factory=dict)
    headers: dict[str, list[list[tuple[str, bytes]]]] = field(default_factory=dict)

    def items(self, topic: str, decode: Callable[[bytes], list[Any]]) -> list[Any]:
        """What the shared records of a topic hold, in order."""
        return [item for row in self.rows.get(topic, []) for item in decode(row)]


class Table:
    """One partition's store, opened as Faust opens it."""

    def __init__(self, directory: Path) -> None:
        self.store = rocksdict.Rdict(str(directory), options=rocksdict.Options(raw_mode=True))

    def clear(self) -> None:
        """Forget everything, for the next example."""
        for key in self.keys(b""):
            self.store.delete(key)

    def keys(self, prefix: bytes) -> list[bytes]:
        """Every stored key that begins so."""
        return [key for key, _ in self.store.items(from_key=prefix or None) if key.startswith(prefix)]

    def view(self) -> View:
        return View(self.store, PARTITION)

    def get(self, key: bytes, kind: type[Any]) -> Any:
        """What is stored under a key now."""
        return self.view().get(key, kind)

    def write(self, writes: dict[bytes, bytes | None]) -> None:
        for key, value in writes.items():
            if value is None:
                self.store.delete(key)
            else:
                self.store.put(key, value)

    def window(
        self,
        decide: Decide,
        rows: list[Record],
        *,
        first: int | None = None,
        learned: bool | int = True,
        sent: bool = True,
        later: bool = True,
        draining: asyncio.Event | None = None,
    ) -> Sent:
        """The steps of pipeline.streaming.stage for one window.

        The worker dies after `first` of the writes that go first; having acted, before what it learned is written
        (`learned` False, or so many of the writes); before the outputs (`sent` False); or before the state is written
        (`later` False). What it had sent by then is returned: it cannot be taken back.
        """
        view = self.view()

        async def save() -> None:
            self.write(view.take_first())

        step = Step(view, Outbox(), draining=draining or asyncio.Event(), save=save)

        async def work() -> Sent:
            for row in rows:
                waiting = decide(row, step)
                if waiting is not None:
                    await waiting
            decided = step.view.take_first()
            if first is not None:
                self.write(dict(list(decided.items())[:first]))
                return Sent()
            self.write(decided)
            await asyncio.gather(*(action(step) for action in step.acts))
            if learned is not True:
                self.write(dict(list(step.view.take_first().items())[:learned]))
                return Sent()
            self.write(step.view.take_first())
            if not sent:
                return Sent()
            found = read_back(step.outbox)
            if later:
                self.write(step.view.take_later())
            return found

        return asyncio.run(work())


def read_back(outbox: Outbox) -> Sent:
    """The records an outbox would produce, by topic and in order."""
    found = Sent()
    for (topic, _), rows in outbox.drain().items():
        for key, value, headers, _at in rows:
            found.headers.setdefault(topic, []).append(headers)
            found.rows.setdefault(topic, []).append(value or b"")
            found.keyed.setdefault(topic, []).append((key, value or b""))
    return found


class Log:
    """A topic of one partition: appended to, read by offset."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.rows: list[Record] = []

    def append(self, value: bytes, timestamp_ms: int = NOON_MS) -> Record:
        row = Record(self.topic, PARTITION, len(self.rows), timestamp_ms, None, value)
        self.rows.append(row)
        return row


def decides(sources: list[Source]) -> dict[str, Decide]:
    """The function of each topic."""
    return {source.topic: source.decide for source in sources}


def record(topic: str, value: bytes, offset: int = 0, timestamp_ms: int = NOON_MS) -> Record:
    return Record(topic, PARTITION, offset, timestamp_ms, None, value)


def batch(
    number: int = 0,
    recipients: int = 3,
    *,
    account: str = "acme",
    parts: int = 1,
    country: str = "IT",
    dry_run: bool = False,
    **more: Any,
) -> Batch:
    """An encoded batch of so many recipients, each with the same text of so many parts."""
    prefix = {"IT": "39", "DE": "49"}.get(country, "1")
    fields: dict[str, Any] = {
        "id": (NOON_MS // 1000).to_bytes(4, "big") + number.to_bytes(5, "big"),
        "request": number.to_bytes(16, "big"),
        "slice": 0,
        "fingerprint": b"%08d" % number,
        "account": account,
        "request_id": f"request-{number}",
        "sender": "ACME",
        "message": "Hello",
        "dry_run": dry_run,
        "fail_on_multiple": False,
        "transliterate": False,
        "validity_seconds": 172_800,
        "received_at": NOON_MS,
        "custom": b"{}",
        "callback": None,
        "index": list(range(recipients)),
        "numbers": [f"+{prefix}333{number:03d}{place:04d}" for place in range(recipients)],
        "where": [0] * recipients,
        "destinations": [Destination(country, prefix, "")],
        "contents": [Content("Hello", "GSM-7", 5, parts)],
    }
    return Batch(**(fields | more))


def tables(directory: Path) -> Iterator[Table]:
    table = Table(directory)
    yield table
    table.store.close()
