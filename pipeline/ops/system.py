"""The whole system on one machine: embedded Kafka, the workers, the gateway, and (for demo and bench) a carrier.

Few processes, for small machines: dispatch and track have one each, because what calls carriers and what tells the
world must not wait for one another; the stages before them share one. `workers` multiplies these.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from pipeline.config import EMBEDDED, Settings
from pipeline.ops.child import StartError
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.ops.supervisor import Child, Supervisor
from pipeline.streaming import topics

log = structlog.get_logger()

#: Stages that share a process. Started from the last stage to the first, so stopped (in reverse) from the first on.
GROUPS: dict[str, list[str]] = {
    "store": ["store"],
    "track": ["track"],
    "dispatch": ["dispatch"],
    "intake": ["validate", "encode", "moderate", "price"],
}
#: Where a running system tells commands how to reach it, in the storage directory.
RUNNING_FILE = "running.json"
_READY_SECONDS = 120.0
_STOP_SECONDS = 40.0


class System:
    """Starts everything, keeps it running, takes it down. `extra` children come last (a carrier simulator)."""

    def __init__(
        self,
        settings: Settings,
        config_file: Path | None,
        *,
        workers: int = 1,
        ephemeral: bool = False,
        environment: Mapping[str, str] | None = None,
        extra: Callable[[int], Sequence[Child]] | None = None,
    ) -> None:
        self.settings = settings
        self._config_file = config_file
        self._workers = workers
        self._ephemeral = ephemeral
        self._environment = dict(environment or {})
        self._extra = extra
        self._kafka: EmbeddedKafka | None = None
        self.directory = settings.storage.directory
        self.supervisor = Supervisor(self.directory / "logs")
        self.metrics_urls: dict[str, str] = {}
        self.gateway_port = settings.gateway.port or free_port()
        self.bootstrap_servers = settings.kafka.bootstrap_servers

    @property
    def gateway_url(self) -> str:
        return f"http://{self.settings.gateway.host}:{self.gateway_port}"

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        kafka = self._kafka.pid if self._kafka else None
        return ({"kafka": kafka} if kafka else {}) | self.supervisor.pids

    def run(self, on_ready: Callable[[str], None]) -> int:
        """Start, tell `on_ready` the addresses, stay until SIGTERM or SIGINT, drain, stop. The exit code."""
        try:
            self.start()
            if self.supervisor.wait_ready(_READY_SECONDS, self.tick):
                on_ready(f"ready gateway={self.gateway_url} kafka={self.bootstrap_servers}")
            return self.supervisor.run_until_signal(self.tick)
        finally:
            self.stop()

    def start(self) -> None:
        """Start Kafka and every process; `supervisor.wait_ready` tells when they consume."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.bootstrap_servers == EMBEDDED:
            self._kafka = EmbeddedKafka(self.directory / "kafka", keep=not self._ephemeral)
            self.bootstrap_servers = self._kafka.start()
        kafka = self.settings.kafka.model_copy(update={"bootstrap_servers": self.bootstrap_servers})
        asyncio.run(topics.ensure(self.settings.model_copy(update={"kafka": kafka})))
        self._write_running()
        self.supervisor.start(self._children())

    def tick(self) -> None:
        """Bring the embedded broker back if it died."""
        if self._kafka and not self._kafka.alive():
            log.error("kafka.died", log=str(self._kafka.log_path))
            self._kafka.restart()

    def stop(self) -> None:
        """Stop the processes, then Kafka; forget the data where it was asked for."""
        self.supervisor.stop()
        (self.directory / RUNNING_FILE).unlink(missing_ok=True)
        if self._kafka:
            self._kafka.stop()
        if self._ephemeral:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _write_running(self) -> None:
        path = self.directory / RUNNING_FILE
        found: dict[str, Any] = {"pid": os.getpid(), "kafka": self.bootstrap_servers, "gatewayPort": self.gateway_port}
        path.with_suffix(".tmp").write_text(json.dumps(found))
        path.with_suffix(".tmp").rename(path)

    def _children(self) -> list[Child]:
        children = []
        for group, stages in GROUPS.items():
            for number in range(1 if group == "store" else self._workers):
                children.append(self._worker(f"{group}-{number}", stages))
        environment = self._child_environment() | {"SMS_GATEWAY__PORT": str(self.gateway_port)}
        children.append(
            Child(
                "gateway", [*command(), "gateway", *self._config_arguments()],
                ready_url=f"{self.gateway_url}/health/ready", env=environment, stop_timeout=_STOP_SECONDS,
            )
        )  # fmt: skip
        self.metrics_urls["gateway"] = f"{self.gateway_url}/metrics"
        return children + list(self._extra(self.gateway_port) if self._extra else [])

    def _worker(self, name: str, stages: list[str]) -> Child:
        port = free_port()
        url = f"http://{self.settings.metrics.host}:{port}"
        self.metrics_urls[name] = f"{url}/metrics"
        arguments = ["worker", *stages, *self._config_arguments(), "--instance", name, "--metrics-port", str(port)]
        return Child(
            name, [*command(), *arguments], ready_url=f"{url}/health/ready",
            env=self._child_environment(), stop_timeout=_STOP_SECONDS,
        )  # fmt: skip

    def _config_arguments(self) -> list[str]:
        return ["--config", str(self._config_file.absolute())] if self._config_file else []

    def _child_environment(self) -> dict[str, str]:
        return self._environment | {
            "SMS_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SMS_STORAGE__DIRECTORY": str(self.directory.absolute()),
        }


def command() -> list[str]:
    """How this very program is started, as it shows in the process list."""
    script = Path(sys.executable).with_name("sms-pipeline")
    if not script.exists():
        raise StartError(f"{script} is missing; install the project into this environment (`make setup`)")
    return [sys.executable, str(script)]


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
