"""The callbacks stage as a worker process, and messages whose moves it is told."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any, Self

import broker
from working import Worker

from pipeline import ids
from pipeline.callbacks.endpoints import Endpoint, new_id, new_secret
from pipeline.callbacks.records import Delivery, decode_delivery
from pipeline.config import Billing, Settings
from pipeline.records import Batch, Content, Destination, Notice, encode
from pipeline.stages.fate import Teller, rfc3339
from pipeline.stages.telling import options_of
from pipeline.streaming import client, outbox
from pipeline.streaming.topics import TopicNames
from schemas.errors import CARRIER_REJECTED, Error
from schemas.states import Detailed

PARTITIONS = 3
_count = itertools.count(1)

PENDING, DELIVERED, REJECTED = Detailed.SUBMITTED, Detailed.DELIVERED, Detailed.REJECTED


def batch(recipients: int = 1, *, account: str = "acme", callback: dict[str, Any] | None = None, **more: Any) -> Batch:
    """An accepted batch, unlike every other."""
    now = time.time_ns() // 1_000_000
    number = next(_count)
    fields: dict[str, Any] = {
        "id": (now // 1000).to_bytes(4, "big") + (number + (now << 16)).to_bytes(9, "big")[-5:],
        "request": number.to_bytes(16, "big"),
        "slice": 0,
        "fingerprint": b"",
        "account": account,
        "request_id": f"request-{number}",
        "sender": "ACME",
        "message": "Hello",
        "dry_run": False,
        "fail_on_multiple": False,
        "transliterate": False,
        "validity_seconds": 172_800,
        "received_at": now,
        "custom": b'{"order":7}',
        "callback": json.dumps(callback).encode() if callback else None,
        "index": list(range(recipients)),
        "numbers": [f"+39333{place:07d}" for place in range(recipients)],
        "where": [0] * recipients,
        "destinations": [Destination("IT", "39", "")],
        "contents": [Content("Hello", "GSM-7", 5, 1)],
        "prices": [50_000],
        "currency": "EUR",
    }
    return Batch(**(fields | more))


def notice(about: Batch, state: Detailed, positions: list[int] | None = None) -> Notice:
    """The news that these messages are in `state`."""
    teller, at = Teller(about), time.time_ns() // 1_000_000
    error = Error(CARRIER_REJECTED, "no") if state == REJECTED else None
    statuses = [
        teller.tell(position, state, at, carrier="sim", error=error)[1]
        for position in (range(len(about)) if positions is None else positions)
    ]
    return Notice(about.id, about.account, about.callback, options_of(about), ["Hello"], [0] * len(statuses), statuses)


def message(about: Batch, position: int = 0) -> str:
    return ids.message_id(about.id, about.index[position])


class Stage:
    """A worker process with the callbacks stage on topics of its own."""

    def __init__(self, kafka: str, directory: Path, **environment: str) -> None:
        prices = directory / "prices.csv"
        prices.write_text("country,operator,prefix,price\nIT,,,0.0500\n")
        self.settings: Settings = broker.settings_for(
            kafka, directory, partitions=PARTITIONS, billing=Billing(prices=prices)
        )
        broker.create_topics(self.settings)
        self.names = TopicNames(self.settings.kafka.topic_prefix)
        self.environment = {
            "SMS_CALLBACKS__ALLOW": '["127.0.0.0/8"]',
            "SMS_CALLBACKS__RETRY_SECONDS": "0.1",
            "SMS_LOG_LEVEL": "INFO",
        } | environment
        self.worker: Worker | None = None

    def __enter__(self) -> Self:
        self.start().wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker:
            self.worker.stop()

    def start(self, instance: str = "one") -> Worker:
        self.worker = Worker(self.settings, ["callbacks"], instance, self.environment)
        return self.worker

    def tell(self, *news: Notice) -> None:
        """Put news on the topic, in order, as track does."""

        async def put() -> None:
            producer = client.producer(self.settings.kafka)
            await producer.start()
            try:
                box = outbox.Outbox()
                for one in news:
                    home = ids.partition_of(one.batch, PARTITIONS)
                    box.record(self.names.callbacks, home, encode([one]))
                await box.flush(producer)
            finally:
                await producer.stop()

        asyncio.run(put())

    def endpoint(
        self, url: str, *, account: str = "acme", events: tuple[str, ...] = ("message.*",), **more: Any
    ) -> Endpoint:
        """Make an endpoint; it is known once this returns and some moments have passed."""
        now = rfc3339(time.time_ns() // 1_000_000)
        made = Endpoint(
            id=new_id(), account=account, url=url, events=list(events), secrets=[new_secret(now)], created_at=now,
            updated_at=now, **more,
        )  # fmt: skip
        self.put(made)
        return made

    def put(self, endpoint: Endpoint) -> None:
        broker.produce(self.settings, self.names.endpoints, [(endpoint.key, endpoint.value, 0)])
        time.sleep(0.3)

    def deliveries(self) -> list[Delivery]:
        """The log, by partition and offset."""
        found = broker.read(self.settings, self.names.callback_deliveries)
        return [decode_delivery(record.value) for record in found]
