"""The whole system on one machine: embedded Kafka, the workers, the gateway, and (for demo and bench) a carrier.

Few processes, for small machines: dispatch and track have one each, because what calls carriers and what tells the
world must not wait for one another; the stages before them share one. `workers` multiplies these.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from pipeline.config import EMBEDDED, Settings
from pipeline.ops import observe
from pipeline.ops.child import StartError
from pipeline.ops.kafka import EmbeddedKafka
from pipeline.ops.metrics import CHILD_DEATHS
from pipeline.ops.ports import free_port, refused
from pipeline.ops.supervisor import Child, Supervisor
from pipeline.streaming import topics

log = structlog.get_logger()

#: Stages that share a process. Started from the last stage to the first, so stopped (in reverse) from the first on.
GROUPS: dict[str, list[str]] = {
    "store": ["store"],
    "callbacks": ["callbacks"],
    "track": ["track"],
    "dispatch": ["dispatch"],
    "intake": ["validate", "encode", "moderate", "price"],
}
#: Where a running system tells commands how to reach it, in the storage directory.
RUNNING_FILE = "running.json"
_READY_SECONDS = 120.0
_STOP_SECONDS = 40.0


class System:
    """Starts everything, keeps it running, takes it down. `extra`: further children, from the gateway's port and the
    environment; started first, so stopped last (carrier simulators). `silence`: seconds after which a process that
    does not say that it lives is killed."""

    def __init__(
        self,
        settings: Settings,
        config_file: Path | None,
        *,
        workers: int = 1,
        ephemeral: bool = False,
        environment: Mapping[str, str] | None = None,
        extra: Callable[[int, dict[str, str]], Sequence[Child]] | None = None,
        silence: float = 60.0,
    ) -> None:
        self.settings = settings
        self._config_file = config_file
        self._workers = workers
        self._ephemeral = ephemeral
        self._environment = dict(environment or {})
        self._extra = extra
        self._kafka: EmbeddedKafka | None = None
        self.directory = settings.storage.directory
        self.supervisor = Supervisor(self.directory / "logs", silence=silence, on_hurry=self._kill_kafka)
        self.metrics_urls: dict[str, str] = {}
        self._metrics_port: int | None = None
        self._announced = False
        self.gateway_port = settings.gateway.port or free_port()
        self.bootstrap_servers = settings.kafka.bootstrap_servers

    @property
    def gateway_url(self) -> str:
        return f"{self.settings.gateway.scheme}://{self.settings.gateway.host}:{self.gateway_port}"

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        kafka = self._kafka.pid if self._kafka else None
        return ({"kafka": kafka} if kafka else {}) | self.supervisor.pids

    def run(self, on_ready: Callable[[str], None]) -> int:
        """Start, tell `on_ready` the addresses, stay until SIGTERM or SIGINT, drain, stop. The exit code.

        What the supervisor counts is served at `/metrics`, as every process does; its port stands in `running.json`.
        """
        host, port = self.settings.gateway.host, self.gateway_port
        if why := refused(host, port):  # else the supervisor would take whoever answers there for the gateway
            raise StartError(f"gateway.port: {host}:{port} cannot be used: {why}")
        host, port = self.settings.metrics.host, self.settings.metrics.port
        try:
            self._metrics_port = observe.serve(host, port, lambda: True)
        except OSError as error:
            raise StartError(f"metrics.port: {host}:{port} cannot be used: {error.strerror}") from error
        try:
            self.start()
            if self.supervisor.wait_ready(_READY_SECONDS, self.keep_kafka):
                on_ready(f"ready gateway={self.gateway_url} kafka={self.bootstrap_servers}")
            return self.supervisor.run_until_signal(self.keep_kafka)
        finally:
            self.stop()

    def start(self) -> None:
        """Start Kafka and every process; `supervisor.wait_ready` tells when they consume."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, until the supervisor listens
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.bootstrap_servers == EMBEDDED:
            self._kafka = EmbeddedKafka(self.directory / "kafka", keep=not self._ephemeral, port=free_port())
            self.bootstrap_servers = self._kafka.start()
        kafka = self.settings.kafka.model_copy(update={"bootstrap_servers": self.bootstrap_servers})
        asyncio.run(topics.ensure(self.settings.model_copy(update={"kafka": kafka})))
        self._write_running()
        self.supervisor.start(self._children())

    def tick(self) -> None:
        """Do what is due now: start what died again, see who is ready. For whoever runs the system inside a program of
        its own, every second or so, in the main thread."""
        self.supervisor.tick(self.keep_kafka)

    def scale(self, group: str, number: int) -> None:
        """Run `number` processes of a group of stages from now on; those taken away drain first."""
        if group not in GROUPS or group == "store" or number < 0:
            raise ValueError(f"{number} processes of {group}")
        running = [name for name in self.metrics_urls if name.rpartition("-")[0] == group]
        for place in range(len(running), number):
            self.supervisor.add(self._worker(group, place, GROUPS[group]))
        for name in running[number:]:
            del self.metrics_urls[name]
        self.supervisor.remove(*running[number:])

    def keep_kafka(self) -> None:
        """Bring the embedded broker back if it died; one that merely stands still is waited for."""
        if self._kafka and not self._kafka.alive():
            log.error("kafka.died", log=str(self._kafka.log_path))
            CHILD_DEATHS.labels("kafka", "death").inc()
            self._kafka.restart()

    def stop(self) -> None:
        """Stop the processes, then Kafka; forget the data where it was asked for. At once when a second SIGTERM or
        SIGINT comes meanwhile."""
        self.supervisor.stop(last=self._stop_kafka)
        if self._ephemeral:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _stop_kafka(self) -> None:
        if self._announced:  # else it is that of another, who is the reason why this one could not start
            (self.directory / RUNNING_FILE).unlink(missing_ok=True)
        if self._kafka:
            self._kafka.stop()

    def _kill_kafka(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._kafka and (pid := self._kafka.pid):
                os.kill(pid, signal.SIGKILL)

    def _write_running(self) -> None:
        path = self.directory / RUNNING_FILE
        found: dict[str, Any] = {"pid": os.getpid(), "kafka": self.bootstrap_servers, "gatewayPort": self.gateway_port}
        if self._metrics_port:
            found["metricsPort"] = self._metrics_port
        path.with_suffix(".tmp").write_text(json.dumps(found))
        path.with_suffix(".tmp").rename(path)
        self._announced = True

    def _children(self) -> list[Child]:
        children = list(self._extra(self.gateway_port, self._environment)) if self._extra else []
        for group, stages in GROUPS.items():
            for number in range(1 if group == "store" else self._workers):
                children.append(self._worker(group, number, stages))
        environment = self._child_environment() | {"SMS_GATEWAY__PORT": str(self.gateway_port)}
        return [*children, self._child("gateway", "gateway", ["gateway"], self.gateway_url, environment)]

    def _worker(self, group: str, number: int, stages: list[str]) -> Child:
        name, port = f"{group}-{number}", free_port()
        arguments = ["worker", *stages, "--instance", name, "--metrics-port", str(port)]
        url = f"http://{self.settings.metrics.host}:{port}"
        return self._child(name, group, arguments, url, self._child_environment())

    def _child(self, name: str, group: str, arguments: list[str], url: str, environment: Mapping[str, str]) -> Child:
        """A process of this program that serves health and metrics at `url`."""
        self.metrics_urls[name] = f"{url}/metrics"
        return Child(
            name,
            [*command(), *arguments, *self._config_arguments()],
            ready_url=f"{url}/health/ready",
            live_url=f"{url}/health/live",
            env=environment,
            stop_timeout=_STOP_SECONDS,
            group=group,
        )

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
