"""Worker processes for tests: started as users start them, killed as machines kill them."""

import itertools
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import broker
import orjson

from pipeline import ids
from pipeline.config import Settings
from pipeline.ops.child import spawn, tail, terminate
from pipeline.ops.ports import free_port
from pipeline.ops.system import command
from pipeline.records import Credit, encode
from pipeline.streaming.topics import TopicNames

STAGES = ["validate", "encode", "moderate", "price", "track"]
_count = itertools.count()


def wait_for(done: Callable[[], Any], seconds: float = 30.0, what: Callable[[], str] = str) -> Any:
    """What `done` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"too late: {what()}"
        time.sleep(0.1)
    return found


class Worker:
    """A worker process on the topics of `settings`."""

    def __init__(
        self, settings: Settings, stages: list[str], instance: str | None, more: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings
        self._port = free_port()
        self.log = settings.storage.directory / f"worker-{next(_count)}.log"
        environment = {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SMS_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "SMS_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "SMS_STORAGE__DIRECTORY": str(settings.storage.directory),
            "SMS_BILLING__PRICES": str(settings.billing.prices),
        } | dict(more or {})
        arguments = ["worker", *stages, "--metrics-port", str(self._port)]
        arguments += ["--instance", instance] if instance else []
        self.process: subprocess.Popen[bytes] = spawn([*command(), *arguments], log=self.log, env=environment)

    def ready(self) -> bool:
        assert self.process.poll() is None, tail(self.log, 60)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def wait_ready(self, seconds: float = 60.0) -> "Worker":
        wait_for(self.ready, seconds, lambda: tail(self.log, 60))
        return self

    def kill(self) -> None:
        """SIGKILL, as the machine's memory killer would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            terminate(self.process, 30)


def names(settings: Settings) -> TopicNames:
    return TopicNames(settings.kafka.topic_prefix)


def open_account(settings: Settings, name: str = "acme", micros: int = 1_000_000_000) -> None:
    """An account with credit. Wait for `balance` before sending: top-ups have a topic of their own, and are worked on
    before the messages only where they are there first."""
    account = {"name": name, "createdAt": "2026-01-01T00:00:00Z", "tokens": []}
    broker.produce(settings, names(settings).accounts, [(name.encode(), orjson.dumps(account), 0)])
    home = ids.partition_of(name.encode(), settings.kafka.partitions)
    credit = encode([Credit(name, micros, "opening")])
    broker.produce(settings, names(settings).credits, [(name.encode(), credit, home)])


def balance(settings: Settings, name: str = "acme") -> dict[str, Any] | None:
    """The account's money as last told."""
    found = [r for r in broker.read(settings, names(settings).balances) if r.key == name.encode()]
    return orjson.loads(found[-1].value) if found else None


def request(request_id: str | None, *recipients: str, **more: Any) -> bytes:
    told = {"account": "acme", "recipients": list(recipients), "message": "Hello"} | more
    return orjson.dumps(told | ({"requestId": request_id} if request_id else {}))


def number(place: int) -> str:
    return f"+39333{place:07d}"


def statuses(settings: Settings) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in broker.read(settings, names(settings).status)]
