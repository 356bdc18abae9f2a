"""A whole system with a simulated carrier, in a directory of its own: what demo, bench and the tests stand on."""

import base64
import json
import secrets
import shutil
import tempfile
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from pipeline import config, ids, records
from pipeline.accounts import AccountRecord, new_token, put
from pipeline.config import Settings
from pipeline.ops.child import StartError
from pipeline.ops.supervisor import Child
from pipeline.ops.system import System, command, free_port
from pipeline.records import Credit
from pipeline.stages.fate import rfc3339
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

_READY_SECONDS = 120.0


class Rig:
    """Start it with `with`; then `settings` reaches its Kafka and gateway, `token` is the account's, and `tick` must be
    called now and then so that dead processes come back.

    `carrier`: the simulator's options (`["--undeliverable", "0.02"]`); `overrides`: further settings as environment
    (`{"SMS_KAFKA__PARTITIONS": "4"}`). The directory is removed at the end unless `keep`.
    """

    account = "demo"

    def __init__(
        self,
        config_file: Path | None = None,
        *,
        carrier: list[str] | None = None,
        overrides: dict[str, str] | None = None,
        workers: int = 1,
        keep: Path | None = None,
    ) -> None:
        self.directory = keep or Path(tempfile.mkdtemp(prefix="sms-pipeline-"))
        self._keep = keep is not None
        self._carrier = carrier or []
        self._port = free_port()
        self._secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        environment = self._environment() | (overrides or {})
        base = config.load(config_file, environment=environment)
        self.system = System(
            base, config_file, workers=workers, ephemeral=not self._keep, environment=environment, extra=self._simulator
        )
        self.token, self._token_hash = new_token()
        self.settings: Settings = base

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it consumes. Raises StartError."""
        self.system.start()
        if not self.system.supervisor.wait_ready(_READY_SECONDS, self.system.tick):
            raise StartError(self.system.supervisor.failure or "stopped by a signal before it was ready")
        base = self.settings
        kafka = base.kafka.model_copy(update={"bootstrap_servers": self.system.bootstrap_servers})
        gateway = base.gateway.model_copy(update={"port": self.system.gateway_port})
        self.settings = base.model_copy(update={"kafka": kafka, "gateway": gateway})

    def stop(self) -> None:
        self.system.stop()
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def journal(self) -> Path:
        """What the carrier accepted, a JSON object a line."""
        return self.directory / "simulator-journal.ndjson"

    async def open_account(self, producer: AIOKafkaProducer, credit: int = 10**13) -> None:
        """Make the account, with `credit` micro-units."""
        names = TopicNames(self.settings.kafka.topic_prefix)
        await put(producer, names.accounts, AccountRecord(self.account, rfc3339(0), [self._token_hash]))
        home = ids.partition_of(self.account.encode(), self.settings.kafka.partitions)
        value = records.encode([Credit(self.account, credit, "opening")])
        await producer.send_and_wait(names.credits, value, partition=home)

    def producer(self) -> AIOKafkaProducer:
        return client.producer(self.settings.kafka)

    def stats(self) -> dict[str, Any]:
        """What the carrier counts."""
        found: dict[str, Any] = json.loads(fetch(f"{self.simulator_url}/stats") or "{}")
        return found

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Every process's counters and gauges, summed: name to label values to value."""
        found: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
        for url in self.system.metrics_urls.values():
            for family in text_string_to_metric_families(fetch(url)):
                for sample in family.samples:
                    found[sample.name][tuple(sample.labels.values())] += sample.value
        return found

    def _environment(self) -> dict[str, str]:
        carrier = {
            "type": "http",
            "url": f"{self.simulator_url}/messages",
            "secret": self._secret,
            "idempotent": True,
            "throughput": 100_000,
            "batch": 500,
        }
        return {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": config.EMBEDDED,
            "SMS_STORAGE__DIRECTORY": str(self.directory),
            "SMS_GATEWAY__PORT": "0",
            "SMS_CARRIERS": json.dumps({"sim": carrier}),
            "SMS_ROUTES": json.dumps([{"prefix": "", "carriers": ["sim"]}]),
        }

    def _simulator(self, gateway_port: int) -> list[Child]:
        argv = [*command(), "simulator", "--port", str(self._port), "--journal", str(self.journal)]
        argv += ["--receipts-url", f"http://127.0.0.1:{gateway_port}/carriers/sim/receipts", *self._carrier]
        secret = {"SMS_SIMULATOR_SECRET": self._secret}
        return [Child("simulator", argv, ready_url=f"{self.simulator_url}/health/ready", env=secret, stop_timeout=20)]


def fetch(url: str) -> str:
    """The body of a GET on this machine; empty where nobody answers (a process that is starting again)."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  (our own loopback addresses)
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        log.debug("fetch.failed", url=url, error=str(error))
        return ""
