"""`bench`: how many recipients a second, from intake to the carrier and to the last receipt, and how late a login code.

Everything is real: broker, stages, gateway, a simulated carrier and the read model, on this machine. While the
campaign runs, single messages go to the priority lane; their time to the carrier is taken from its journal.
"""

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from pipeline import ids
from pipeline.commands.common import ConfigOption, JsonOption, fail, show_json
from pipeline.commands.demo import requests
from pipeline.ops.usage import cpu_seconds, resident
from schemas.states import Detailed

if TYPE_CHECKING:
    from pipeline.ops.rig import Rig

_CARRIER = ["--receipt-delay", "0.1", "1.0", "--seed", "1"]
_POLL_SECONDS = 0.25
_PATIENCE_SECONDS = 120.0
_FINAL = {state.name for state in Detailed if state >= Detailed.DELIVERED}


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    config_file: ConfigOption = None,
    recipients: Annotated[int, typer.Option(min=1, max=10_000_000, help="Size of the campaign.")] = 100_000,
    single: Annotated[int, typer.Option(min=0, help="Login codes sent on the priority lane meanwhile.")] = 50,
    interval: Annotated[float, typer.Option(min=0.0, help="Seconds between login codes.")] = 0.2,
    workers: Annotated[int, typer.Option(help="Processes of each group of stages.", min=1, max=64)] = 1,
    personalised: Annotated[bool, typer.Option("--personalised", help="Every text of the campaign its own.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Measure the gateway instead, beside a bare route.")] = False,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="--http: requests at a time.")] = 256,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="--http: length of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="--http: times that all are measured in turn.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Measure throughput, latency of the priority lane, CPU and memory on this machine."""
    from pipeline.ops.rig import Rig

    console = Console(stderr=True)
    if http:
        _bench_http(console, config_file, workers, as_json, connections=connections, seconds=seconds, rounds=rounds)
        return
    console.print(f"Starting the system, then {recipients:,} recipients and {single} login codes …")
    with Rig(config_file, carrier=_CARRIER, workers=workers) as rig:
        result = asyncio.run(_Bench(rig, recipients, single, interval, personalised, console).run())
    if as_json:
        show_json(result)
    else:
        _show(console, result)
    if result["stored"] < recipients + single:
        fail(f"{recipients + single - result['stored']} messages have no final state")


def _bench_http(console: Console, config_file: Path | None, workers: int, as_json: bool, **how: Any) -> None:
    from pipeline.commands import bench_http
    from pipeline.ops.rig import Rig

    console.print("Starting the system and a bare FastAPI route, then loading them in turns …")
    with Rig(config_file, carrier=_CARRIER, workers=workers) as rig:
        asyncio.run(bench_http.open_account(rig))
        result = bench_http.HttpBench(rig, console=console, **how).run()
    if as_json:
        show_json(result)
    else:
        bench_http.show(console, result)


class _Bench:
    def __init__(
        self, rig: "Rig", recipients: int, single: int, interval: float, personalised: bool, console: Console
    ) -> None:
        self._rig, self._recipients, self._single, self._interval = rig, recipients, single, interval
        self._personalised = personalised
        self._console = console
        self._run = f"bench-{int(time.time())}"
        self._codes: dict[str, float] = {}  # message id to the moment it was produced
        self._memory: dict[str, dict[str, int]] = {}

    async def run(self) -> dict[str, Any]:
        total = self._recipients + self._single
        async with self._rig.producer() as producer:
            await self._rig.open_account(producer)
            campaign = requests(self._run, self._rig.account, self._recipients, personalised=self._personalised)
            self._measure_memory("before")
            cpu = self._cpu()
            started = time.time()
            for number, request in enumerate(campaign):
                await producer.send(self._topic(), request, key=f"{self._run}-{number}".encode())
            await producer.flush()
            codes = asyncio.create_task(self._send_codes(producer))
            final, last_final = await self._until_final(total)
            await codes
        stored, last_stored = await self._until_stored(total)
        self._measure_memory("after")
        stats = self._rig.stats()
        last_accepted, late = await asyncio.to_thread(self._read_journal)
        accepted = last_accepted - started
        received, saved = last_final - started, last_stored - started
        return {
            "recipients": self._recipients,
            "accepted": stats["distinctReferences"],
            "sentTwice": stats["repeatedReferences"],
            "final": final,
            "stored": stored,
            "seconds": {"accepted": _r(accepted), "lastReceipt": _r(received), "stored": _r(saved)},
            "recipientsPerSecond": {
                "accepted": _r(self._recipients / accepted, 0),
                "lastReceipt": _r(self._recipients / received, 0),
                "stored": _r(self._recipients / saved, 0),
            },
            "single": late,
            "cpuSeconds": {name: _r(value - cpu.get(name, 0.0)) for name, value in self._cpu().items()},
            "memoryMegabytes": self._memory,
        }

    def _topic(self, lane: str = "") -> str:
        from pipeline.streaming.topics import TopicNames

        return TopicNames(self._rig.settings.kafka.topic_prefix).intake(lane)

    async def _send_codes(self, producer: AIOKafkaProducer) -> None:
        from pipeline.streaming.topics import PRIORITY

        for number in range(self._single):
            request_id, now = f"{self._run}-code-{number}", time.time()
            value = msgspec.json.encode(
                {
                    "requestId": request_id,
                    "account": self._rig.account,
                    "sender": "LOGIN",
                    "recipient": f"+39320{number:07d}",
                    "message": f"Your code is {number:06d}",
                }
            )
            stamp = int(now * 1000)
            batch = ids.batch_id(ids.request_hash(self._rig.account, request_id), 0, stamp)
            self._codes[ids.message_id(batch, 0)] = now
            await producer.send(self._topic(PRIORITY), value, key=request_id.encode(), timestamp_ms=stamp)
            await asyncio.sleep(self._interval)

    async def _until_final(self, total: int) -> tuple[int, float]:
        """Messages with a final state, and when the last of them had it."""
        done, at, shown, milestone = 0, time.time(), 0.0, 200_000
        while done < total and time.time() - at < _PATIENCE_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
            self._rig.tick()
            seen = (await asyncio.to_thread(self._rig.metrics))["sms_messages_state_total"]
            now = int(sum(value for labels, value in seen.items() if labels[0] in _FINAL))
            if now > done:
                done, at = now, time.time()
            if done >= milestone:
                self._measure_memory(f"at {milestone:,}")
                milestone += 200_000
            if time.time() - shown > 2:
                shown = time.time()
                self._console.print(f"  {done:>10,} of {total:,} final")
        return done, at

    async def _until_stored(self, total: int) -> tuple[int, float]:
        """Messages that the read model shows in a final state, and when the last of them stood there."""
        from pipeline.store.database import open_database
        from pipeline.store.queries import ReadModel

        queries = ReadModel(open_database(self._rig.settings))
        done, at = 0, time.time()
        try:
            while done < total and time.time() - at < _PATIENCE_SECONDS:
                self._rig.tick()
                found = await asyncio.to_thread(queries.totals)
                now = sum(count for state, count in found.items() if state not in ("NEW", "PENDING"))
                if now > done:
                    done, at = now, time.time()
                if done < total:
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            queries.close()
        return done, at

    def _read_journal(self) -> tuple[float, dict[str, Any]]:
        """From the carrier's journal: when the campaign's last message was accepted, and how late the codes were."""
        decode = msgspec.json.Decoder(_Accepted).decode
        last, late = "", []
        with self._rig.journal.open("rb") as journal:
            for line in journal:
                entry = decode(line)
                produced = self._codes.get(entry.reference)
                if produced is None:
                    last = max(last, entry.accepted_at)
                else:
                    late.append(_seconds(entry.accepted_at) - produced)
        return _seconds(last), _percentiles(late)

    def _processes(self) -> dict[str, int]:
        return self._rig.system.pids

    def _measure_memory(self, moment: str) -> None:
        for name, pid in self._processes().items():
            self._memory.setdefault(name, {})[moment] = resident(pid)

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._processes().items()}


class _Accepted(msgspec.Struct, rename="camel"):
    """What the bench reads of a line of the carrier's journal."""

    reference: str
    accepted_at: str


def _percentiles(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"count": 0}
    values.sort()
    p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
    return {
        "count": len(values),
        "p50": _r(values[len(values) // 2], 3),
        "p99": _r(p99, 3),
        "max": _r(values[-1], 3),
    }


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _r(value: float, digits: int = 2) -> float:
    return round(value, digits)


def _show(console: Console, result: dict[str, Any]) -> None:
    table = Table(title=f"{result['recipients']:,} recipients")
    for column in ("until", "seconds", "recipients a second"):
        table.add_column(column, justify="left" if column == "until" else "right")
    for name, seconds in result["seconds"].items():
        table.add_row(name, f"{seconds:,}", f"{result['recipientsPerSecond'][name]:,.0f}")
    console.print(table)
    console.print(f"login codes to the carrier: {result['single']}")
    memory = Table(title="megabytes resident, CPU seconds")
    moments = list(next(iter(result["memoryMegabytes"].values()), {}))
    for column in ("process", *moments, "CPU s"):
        memory.add_column(column)
    for name, values in result["memoryMegabytes"].items():
        memory.add_row(name, *(str(values.get(m, "")) for m in moments), str(result["cpuSeconds"].get(name, "")))
    console.print(memory)
