"""`python -m tests.chaos.recovery`: how long the work of a killed worker stands still, with all its state to recover.

A campaign fills the tables of a whole system; then each worker is killed several times while nothing else happens,
first with the store it left on disk, then with the store removed, so that the whole changelog is read again.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from pipeline.commands.demo import requests
from pipeline.ops.rig import Rig
from pipeline.ops.system import GROUPS
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from schemas.states import Detailed

from .world import WORKERS

_CARRIER = ["--receipt-delay", "0.1", "1.0", "--seed", "1"]
_FINAL = {state.name for state in Detailed if state >= Detailed.DELIVERED}
#: Without news for so long, the campaign is stuck.
_PATIENCE_SECONDS = 120.0
_READY_SECONDS = 600.0
_LOOK_SECONDS = 0.05
_QUIET_SECONDS = 3.0
_COLUMNS = ("worker", "keys", "store MB", "log MB", "log writes", "store", "kills", "p50 s", "max s", "recovering s")


class Recovery(NamedTuple):
    """Seconds from SIGKILL to ready again; of these, from the new process's first word to ready."""

    seconds: float
    recovering: float


def main() -> None:
    arguments = _arguments()
    with Rig(carrier=_CARRIER) as rig:
        asyncio.run(_fill(rig, arguments.messages))
        rows = list(_measure(rig, arguments.with_store, arguments.without_store))
    if arguments.json:
        print(json.dumps({"messages": arguments.messages, "workers": rows}, indent=1))
        return
    for row in [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *rows]:
        print("  ".join(f"{row[name]!s:>{max(8, len(name))}}" for name in _COLUMNS))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.recovery", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--with-store", type=int, default=5, metavar="KILLS", help="of each worker")
    parser.add_argument("--without-store", type=int, default=2, metavar="KILLS", help="of each worker")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


async def _fill(rig: Rig, messages: int) -> None:
    """Send a campaign and wait until every message has ended and stands in the read model."""
    intake = TopicNames(rig.settings.kafka.topic_prefix).intake()
    async with rig.producer() as producer:
        await rig.open_account(producer)
        for request in requests("recovery", rig.account, messages):
            await producer.send(intake, request)
        await producer.flush()
    queries = ReadModel(open_database(rig.settings))
    done, at = 0, time.monotonic()
    while done < messages:
        rig.tick()
        found = await asyncio.to_thread(queries.totals)
        now = sum(count for state, count in found.items() if state not in ("NEW", "PENDING"))
        if now > done:
            done, at = now, time.monotonic()
        if time.monotonic() - at > _PATIENCE_SECONDS:
            raise SystemExit(f"{messages - done} messages do not end")
        await asyncio.sleep(1)
    queries.close()


def _measure(rig: Rig, with_store: int, without_store: int) -> Iterator[dict[str, Any]]:
    for group in WORKERS:
        name = f"{group}-0"
        state = {"worker": group, **asyncio.run(_state(rig, group, name))}
        for kept, kills in ((True, with_store), (False, without_store)):
            found = [_recover(rig, name, keep_store=kept) for _ in range(kills)]
            if found:
                seconds = [recovery.seconds for recovery in found]
                yield state | {
                    "store": "kept" if kept else "removed",
                    "kills": kills,
                    "p50 s": round(statistics.median(seconds), 1),
                    "max s": round(max(seconds), 1),
                    "recovering s": round(statistics.median(recovery.recovering for recovery in found), 1),
                }


async def _state(rig: Rig, group: str, name: str) -> dict[str, int]:
    """How much there is to recover: keys and megabytes of the stores, and of the changelogs that they are made from."""
    names = TopicNames(rig.settings.kafka.topic_prefix)
    keys = rig.metrics()["sms_table_keys"]
    logs = [names.changelog(stage) for stage in GROUPS[group] if (stage,) in keys]
    places = [TopicPartition(log, n) for log in logs for n in range(rig.settings.kafka.partitions)]
    async with client.consumer(rig.settings.kafka) as consumer:
        written = await consumer.end_offsets(places)
    data = rig.directory / "kafka" / "data"
    return {
        "keys": int(sum(keys[stage,] for stage in GROUPS[group] if (stage,) in keys)),
        "store MB": _megabytes((rig.directory / "stores" / name).rglob("*")),
        "log MB": _megabytes(
            file for place in places for file in (data / f"{place.topic}-{place.partition}").glob("*.log")
        ),
        "log writes": sum(written.values()),
    }


def _megabytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file()) // 1_000_000


def _recover(rig: Rig, name: str, *, keep_store: bool) -> Recovery:
    """Kill a worker and wait until the one that replaces it reads records."""
    quiet = time.monotonic() + _QUIET_SECONDS
    while time.monotonic() < quiet:
        rig.tick()
        time.sleep(_LOOK_SECONDS)
    log, pid = rig.directory / "logs" / f"{name}.log", rig.system.pids[name]
    told = log.stat().st_size
    killed = time.time()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # its files are closed; the supervisor will see it die
    if not keep_store:
        shutil.rmtree(rig.directory / "stores" / name)
    while rig.system.pids.get(name) in (None, pid) or not _ready(rig.system.metrics_urls[name]):
        if time.time() > killed + _READY_SECONDS:
            raise SystemExit(f"{name} does not come back; see {log}")
        rig.tick()
        time.sleep(_LOOK_SECONDS)
    ready = time.time()
    first = json.loads(log.read_bytes()[told:].splitlines()[0])
    return Recovery(ready - killed, ready - datetime.fromisoformat(first["timestamp"]).timestamp())


def _ready(metrics_url: str) -> bool:
    try:
        with urllib.request.urlopen(metrics_url.replace("/metrics", "/health/ready"), timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
