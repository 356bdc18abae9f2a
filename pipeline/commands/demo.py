"""`demo`: the whole system, a simulated carrier and a bulk send, watched to the last receipt."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.commands.common import ConfigOption, JsonOption, show_json
from schemas.states import Detailed

if TYPE_CHECKING:
    from pipeline.ops.rig import Rig

#: The demo's carrier: some messages are refused, some do not arrive, receipts come within a second, some twice.
_CARRIER = ["--undeliverable", "0.02", "--expired", "0.01", "--reject", "0.01", "--duplicate", "0.02"]
_CARRIER += ["--without-reference", "0.05", "--receipt-delay", "0.1", "1.0", "--seed", "1"]
_PER_REQUEST = 10_000
_ACCEPTED, _SUBMITTED = 1, 2
#: Without any news for this long, the demo gives up and says what is missing.
_PATIENCE_SECONDS = 60.0

#: Bars, in the order of the flow: the metric of messages in, by stage.
_STAGES = ("validate", "encode", "moderate", "price", "dispatch")


class _News(msgspec.Struct, rename="camel"):
    """What the demo reads of a status record."""

    request_id: str
    index: int
    detailed_state: str
    final: bool
    carrier: str | None


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    config_file: ConfigOption = None,
    recipients: Annotated[int, typer.Option(min=1, max=10_000_000, help="Messages to send.")] = 10_000,
    as_json: JsonOption = False,
    workers: Annotated[int, typer.Option(help="Processes of each group of stages.", min=1, max=64)] = 1,
) -> None:
    """Start everything with a simulated carrier, send to N recipients and follow each message to its end."""
    from pipeline.ops.rig import Rig

    console = Console(stderr=True)
    console.print(f"Starting Kafka, the stages, the gateway and a simulated carrier, then sending to {recipients:,} …")
    with Rig(config_file, carrier=_CARRIER, workers=workers) as rig:
        fates = asyncio.run(_Demo(rig, recipients, console).run())
    if as_json:
        show_json(fates)
    else:
        _show(console, fates)
    settled = fates["delivered"] + fates["undeliverable"] + fates["expired"] + fates["rejected"]
    raise typer.Exit(0 if settled == recipients else 1)


class _Demo:
    def __init__(self, rig: "Rig", recipients: int, console: Console) -> None:
        self._rig, self._recipients, self._console = rig, recipients, console
        self._states = bytearray(recipients)  # the latest state of each message, by place
        self._seen = bytearray(recipients)  # _ACCEPTED and _SUBMITTED, once each: records may be told twice
        self._submitted = self._final = 0
        self._run = f"demo-{int(time.time())}"

    async def run(self) -> dict[str, float]:
        from pipeline.streaming import client
        from pipeline.streaming.topics import TopicNames

        names = TopicNames(self._rig.settings.kafka.topic_prefix)
        consumer = client.consumer(self._rig.settings.kafka, names.status)
        async with self._rig.producer() as producer, consumer:
            await self._rig.open_account(producer)
            started = time.perf_counter()
            watching = asyncio.create_task(self._watch(consumer))
            for number, request in enumerate(requests(self._run, self._rig.account, self._recipients)):
                await producer.send(names.intake(), request, key=f"{self._run}-{number}".encode())
            await producer.flush()
            await self._show_progress(watching)
            await watching
            seconds = time.perf_counter() - started
        count = [self._states.count(state) for state in range(256)]
        return {
            "requested": self._recipients,
            "accepted": sum(1 for seen in self._seen if seen & _ACCEPTED),
            "rejected": sum(count[Detailed.REJECTED :]),
            "submitted": self._submitted,
            "delivered": count[Detailed.DELIVERED],
            "undeliverable": count[Detailed.UNDELIVERABLE] + count[Detailed.DELETED] + count[Detailed.FAILED],
            "expired": count[Detailed.EXPIRED] + count[Detailed.NO_RECEIPT],
            "inDoubt": count[Detailed.IN_DOUBT],
            "seconds": round(seconds, 2),
            "recipientsPerSecond": round(self._recipients / seconds, 1),
        }

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Follow the public status topic, as any user would, until every message is final."""
        decode = msgspec.json.Decoder(_News).decode
        last_news = time.monotonic()
        while self._final < self._recipients and time.monotonic() - last_news < _PATIENCE_SECONDS:
            for found in (await consumer.getmany(timeout_ms=500)).values():
                last_news = time.monotonic()
                for record in found:
                    self._note(decode(record.value))

    def _note(self, news: _News) -> None:
        place = int(news.request_id.rpartition("-")[2]) * _PER_REQUEST + news.index
        state = Detailed[news.detailed_state]
        taken = news.carrier is not None or Detailed.SUBMITTED <= state < Detailed.REJECTED
        if state == Detailed.ACCEPTED:
            self._seen[place] |= _ACCEPTED
        elif taken and state != Detailed.REJECTED and not self._seen[place] & _SUBMITTED:
            self._seen[place] |= _SUBMITTED
            self._submitted += 1
        if news.final and self._states[place] < Detailed.DELIVERED:
            self._final += 1
        self._states[place] = max(self._states[place], state)

    async def _show_progress(self, watching: "asyncio.Task[None]") -> None:
        columns = TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=self._console) as progress:
            bars = {name: progress.add_task(name, total=self._recipients) for name in (*_STAGES, "submitted", "final")}
            while not watching.done():
                self._rig.tick()
                seen = (await asyncio.to_thread(self._rig.metrics))["sms_stage_messages_in_total"]
                for name in _STAGES:
                    done = sum(value for labels, value in seen.items() if name in labels)
                    progress.update(bars[name], completed=done)
                progress.update(bars["submitted"], completed=self._submitted)
                progress.update(bars["final"], completed=self._final)
                await asyncio.wait([watching], timeout=0.5)
            progress.update(bars["submitted"], completed=self._submitted)
            progress.update(bars["final"], completed=self._final)


_NAMES = ("Ada", "Grace", "Hedy", "Katherine", "Radia", "Margherita", "Sofía")


def requests(run: str, account: str, recipients: int, *, personalised: bool = False) -> "list[bytes]":
    """Intake records of 10,000 Italian mobile numbers each; request ids are `run`-0, `run`-1 …

    `personalised`: every text its own, of the same length on average.
    """
    encode = msgspec.json.Encoder().encode
    made = []
    for number, start in enumerate(range(0, recipients, _PER_REQUEST)):
        numbers = [f"+39333{n % 10_000_000:07d}" for n in range(start, min(start + _PER_REQUEST, recipients))]
        text = "Hello! This is a message of the demo, of a usual length."
        to: list[Any] = list(numbers)
        if personalised:
            text = "Hello {{name}}! This is a message of the demo, your code is {{code}}"
            to = [
                {"number": number, "fields": {"name": _NAMES[n % len(_NAMES)], "code": start + n}}
                for n, number in enumerate(numbers)
            ]
        made.append(
            encode(
                {
                    "requestId": f"{run}-{number}",
                    "account": account,
                    "sender": "DEMO",
                    "recipients": to,
                    "message": text,
                }
            )
        )
    return made


def _show(console: Console, fates: dict[str, float]) -> None:
    table = Table(title="What became of the messages")
    table.add_column("fate")
    table.add_column("messages", justify="right")
    for name, value in fates.items():
        table.add_row(name, f"{value:,}")
    console.print(table)
