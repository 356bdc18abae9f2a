"""A whole system with a simulated carrier, in a directory of its own: what demo, bench and the tests stand on."""

import base64
import json
import secrets
import shutil
import tempfile
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from pipeline import config, ids, records
from pipeline.accounts import AccountRecord, put
from pipeline.config import Settings
from pipeline.ops.child import StartError
from pipeline.ops.ports import free_port
from pipeline.ops.supervisor import Child
from pipeline.ops.system import System, command
from pipeline.records import Credit
from pipeline.stages.fate import rfc3339
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import new_token

log = structlog.get_logger()

_READY_SECONDS = 120.0


@dataclass(frozen=True)
class Carrier:
    """A simulated carrier: the simulator's `options` (`["--undeliverable", "0.02"]`), and what the configuration says
    of it (`{"idempotent": False, "timeout": 2.0}`) where that differs from a quick carrier that recognises repeats."""

    options: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


_QUICK = {"type": "http", "idempotent": True, "throughput": 100_000, "batch": 500}


class Rig:
    """Start it with `with`; then `settings` reaches its Kafka and gateway, `token` is the account's, and `tick` must be
    called now and then, in the main thread, so that dead processes come back.

    `carriers`: simulated carriers by name, `routes` to them (default: everything to all, in their order); `carrier`:
    the options of the only one, "sim". `overrides`: further settings as environment (`{"SMS_KAFKA__PARTITIONS": "4"}`);
    `environment`: what only the child processes get. The directory is removed at the end unless it is given as `keep`.
    `silence`: seconds after which a process that hangs is killed.
    """

    account = "demo"

    def __init__(
        self,
        config_file: Path | None = None,
        *,
        carrier: list[str] | None = None,
        carriers: dict[str, Carrier] | None = None,
        routes: list[dict[str, Any]] | None = None,
        overrides: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        workers: int = 1,
        keep: Path | None = None,
        silence: float = 60.0,
    ) -> None:
        self.directory = keep or Path(tempfile.mkdtemp(prefix="sms-pipeline-"))
        self._keep = keep is not None
        self._carriers = carriers or {"sim": Carrier(carrier or [])}
        self._secrets = {name: _secret() for name in self._carriers}
        self.simulator_urls = {name: f"http://127.0.0.1:{free_port()}" for name in self._carriers}
        self.journals = {name: self.directory / f"{self._child(name)}-journal.ndjson" for name in self._carriers}
        settings = self._settings(routes) | (overrides or {})
        base = config.load(config_file, environment=settings)
        self.system = System(
            base,
            config_file,
            workers=workers,
            ephemeral=not self._keep,
            environment=settings | (environment or {}),
            extra=self._simulators,
            silence=silence,
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
        self.wait_ready()
        base = self.settings
        kafka = base.kafka.model_copy(update={"bootstrap_servers": self.system.bootstrap_servers})
        gateway = base.gateway.model_copy(update={"port": self.system.gateway_port})
        self.settings = base.model_copy(update={"kafka": kafka, "gateway": gateway})

    def stop(self) -> None:
        self.system.stop()
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def tick(self) -> None:
        """Do what must be done now and then: start dead processes and the broker again, see who is ready.

        Raises StartError when a process dies again and again; KeyboardInterrupt when this program is to stop (SIGTERM
        and SIGINT are the supervisor's while the rig runs).
        """
        self.system.tick()
        self._raise_ending()

    def wait_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Wait until every process is (again) ready, ticking. Raises StartError when one is not in time, and like
        `tick`."""
        if not self.system.supervisor.wait_ready(timeout, self.system.keep_kafka):
            self._raise_ending()

    def _raise_ending(self) -> None:
        if self.system.supervisor.failure:
            raise StartError(self.system.supervisor.failure)
        if self.system.supervisor.stop_asked:
            raise KeyboardInterrupt

    @property
    def simulator_url(self) -> str:
        """Where the (first) carrier listens."""
        return next(iter(self.simulator_urls.values()))

    @property
    def journal(self) -> Path:
        """What the (first) carrier accepted, a JSON object a line."""
        return next(iter(self.journals.values()))

    async def open_account(self, producer: AIOKafkaProducer, credit: int = 10**13) -> None:
        """Make the account, with `credit` micro-units."""
        names = TopicNames(self.settings.kafka.topic_prefix)
        await put(producer, names.accounts, AccountRecord(self.account, rfc3339(0), [self._token_hash]))
        home = ids.partition_of(self.account.encode(), self.settings.kafka.partitions)
        value = records.encode([Credit(self.account, credit, "opening")])
        await producer.send_and_wait(names.credits, value, partition=home)

    def producer(self) -> AIOKafkaProducer:
        return client.producer(self.settings.kafka)

    def stats(self, carrier: str | None = None) -> dict[str, Any]:
        """What a carrier counts; without a name the first does."""
        url = self.simulator_urls[carrier] if carrier else self.simulator_url
        found: dict[str, Any] = json.loads(fetch(f"{url}/stats") or "{}")
        return found

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Every process's counters and gauges, summed: name to label values to value."""
        found: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
        for url in list(self.system.metrics_urls.values()):
            for family in text_string_to_metric_families(fetch(url)):
                for sample in family.samples:
                    found[sample.name][tuple(sample.labels.values())] += sample.value
        return found

    def _settings(self, routes: list[dict[str, Any]] | None) -> dict[str, str]:
        carriers = {
            name: {**_QUICK, "url": f"{self.simulator_urls[name]}/messages", "secret": self._secrets[name]}
            | carrier.settings
            for name, carrier in self._carriers.items()
        }
        return {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": config.EMBEDDED,
            "SMS_STORAGE__DIRECTORY": str(self.directory),
            "SMS_GATEWAY__PORT": "0",
            "SMS_CARRIERS": json.dumps(carriers),
            "SMS_ROUTES": json.dumps(routes or [{"prefix": "", "carriers": list(self._carriers)}]),
        }

    def _child(self, carrier: str) -> str:
        return "simulator" if len(self._carriers) == 1 else f"simulator-{carrier}"

    def _simulators(self, gateway_port: int, environment: dict[str, str]) -> list[Child]:
        return [self._simulator(name, gateway_port, environment) for name in self._carriers]

    def _simulator(self, name: str, gateway_port: int, environment: dict[str, str]) -> Child:
        url = self.simulator_urls[name]
        argv = [*command(), "simulator", "--port", url.rpartition(":")[2], "--journal", str(self.journals[name])]
        argv += ["--receipts-url", f"http://127.0.0.1:{gateway_port}/carriers/{name}/receipts"]
        argv += self._carriers[name].options
        env = environment | {"SMS_SIMULATOR_SECRET": self._secrets[name]}
        return Child(
            self._child(name), argv, ready_url=f"{url}/health/ready", env=env, stop_timeout=20, group="simulator"
        )


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def fetch(url: str) -> str:
    """The body of a GET on this machine; empty where nobody answers (a process that is starting again)."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  (our own loopback addresses)
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        log.debug("fetch.failed", url=url, error=str(error))
        return ""
