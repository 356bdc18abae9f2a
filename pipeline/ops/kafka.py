"""A real Apache Kafka broker (KRaft, broker and controller in one) as a child process on loopback.

Layout of its directory: `server.properties`, `broker.log` (what the broker prints) and `data/`. The child dies with
its parent by SIGKILL; KRaft and the logs recover at the next start, as after a power cut with the disk intact.
POSIX only.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from pipeline.ops import kafka_jars
from pipeline.ops.child import StartError, spawn, tail, terminate
from pipeline.ops.java import find_java
from pipeline.ops.ports import free_port

PORT_ATTEMPTS = 5  # a free port may be taken between looking and binding

# Threads, buffers and intervals are sized for one machine: against Kafka's defaults this cuts the idle CPU
# (2.5 to 1.6 % of a core, 1.9 % with 320 partitions) and saves 100 MB.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs=data

offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4

auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
# bounds the heap that requests waiting for a thread may hold
queued.max.request.bytes=134217728

# small segments, so that changelogs are compacted while small: the active segment never is
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216

num.network.threads=2
num.io.threads=4
background.threads=4
# no empty records into the metadata log twice a second; nobody follows it here
metadata.max.idle.interval.ms=0
# a broker that was killed is let in again only when the session of its former life is over
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
"""

JVM_FLAGS = (
    "-Xms128m",
    "-XX:+UseSerialGC",  # took a burst of 260 MB/s with the least CPU and memory of serial, parallel and G1
    "-XX:+ExitOnOutOfMemoryError",  # a broker half dead is worse than one that is started again
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.coordinator.group=info",  # rebalances, with their reasons
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)

log = structlog.get_logger(__name__)


class EmbeddedKafka:
    """One broker in one directory of its own.

    `keep` False: every start begins empty, and `stop` removes the directory. True: data stays for the next start.
    `port` 0: any free port, another at each start; `restart` keeps it.
    """

    def __init__(self, directory: Path, *, keep: bool = False, port: int = 0, heap_mb: int = 512) -> None:
        self.directory = directory.absolute()
        self.keep = keep
        self.log_path = self.directory / "broker.log"
        self._data = self.directory / "data"
        self._properties = self.directory / "server.properties"
        self._fixed_port = port
        self._ports = (port, 0)  # broker, controller
        self._heap_mb = heap_mb
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Return "127.0.0.1:PORT" of the last start."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int | None:
        """Return the process id of the broker, None when it does not run."""
        return self._process.pid if self._process and self.alive() else None

    def alive(self) -> bool:
        """Tell whether the broker's process runs. Costs one waitpid: call it as often as you like."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60) -> str:
        """Start the broker, wait until it answers and return "127.0.0.1:PORT". The time for a first download of its
        jars is not counted. Raises StartError, which quotes the end of the broker's log where there is one."""
        if self.alive():
            raise RuntimeError("the broker runs already")
        deadline = self._prepare(timeout)
        for _ in range(PORT_ATTEMPTS):
            self._ports = _free_ports(self._fixed_port)
            if self._launch(deadline):
                return self.bootstrap_servers
        raise StartError(f"{self._label()} found no port to itself in {PORT_ATTEMPTS} attempts")

    def restart(self, timeout: float = 60) -> str:
        """Start the broker again on the same ports and data, whether it died or still runs. Raises like `start`."""
        if not self._process:
            raise RuntimeError("restart comes after start")
        terminate(self._process, timeout)
        deadline = time.monotonic() + timeout
        while not self._launch(deadline):
            if time.monotonic() > deadline:
                raise StartError(f"{self._label()} cannot bind {self.bootstrap_servers} again: the port is in use")
        return self.bootstrap_servers

    def stop(self, timeout: float = 20) -> None:
        """SIGTERM, after `timeout` seconds SIGKILL; then remove the directory unless `keep`. Harmless when repeated."""
        if self._process:
            if not terminate(self._process, timeout):
                log.warning("broker killed: it did not stop in time", timeout=timeout)
            self._process = None
            if not self.keep:
                shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _prepare(self, timeout: float) -> float:
        """Get jars, Java and a formatted directory of ours. Returns the deadline of the start."""
        self._command = [str(find_java()), f"-Xmx{self._heap_mb}m", *JVM_FLAGS]
        self._command += ["-cp", os.pathsep.join(map(str, kafka_jars.resolve()))]
        deadline = time.monotonic() + timeout
        if self.directory.exists() and any(self.directory.iterdir()) and not self._properties.exists():
            raise StartError(f"{self.directory} holds other files: give the broker a directory of its own")
        self._wait_unlocked(min(deadline, time.monotonic() + 5))
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._data.mkdir(parents=True, exist_ok=True)
        if not (self._data / "meta.properties").exists():
            self._format(deadline)
        return deadline

    def _wait_unlocked(self, deadline: float) -> None:
        """Wait until no broker holds the data: one whose parent has just died may take a moment to go."""
        try:
            lock = (self._data / ".lock").open("r+b")  # the lock a broker holds as long as it lives
        except FileNotFoundError:
            return
        with lock:
            while True:
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError:
                    if time.monotonic() > deadline:
                        raise StartError(f"another broker is running in {self.directory}") from None
                time.sleep(0.05)

    def _format(self, deadline: float) -> None:
        self._write_properties(_free_ports(0))
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={_new_cluster_id()}", "-c", self._properties.name]
        process = self._java(*tool)
        try:
            process.wait(deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() != 0:
            raise self._failure("could not format its directory")

    def _write_properties(self, ports: tuple[int, int]) -> None:
        port, controller_port = ports
        self._properties.write_text(PROPERTIES.format(port=port, controller_port=controller_port))

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        # in the directory, by relative paths: a properties file is Latin-1 and splits `log.dirs` at commas
        return spawn([*self._command, *arguments], log=self.log_path, directory=self.directory)

    def _launch(self, deadline: float) -> bool:
        """Start the process and wait for its answer. False when one of its ports was taken meanwhile."""
        self._write_properties(self._ports)
        cluster = _read_cluster_id(self._data / "meta.properties")
        began, log_size = time.monotonic(), self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = self._java("kafka.Kafka", self._properties.name)
        try:
            while not _answers(self._ports[0], cluster):
                if self._process.poll() is not None:
                    if b"Address already in use" in self.log_path.read_bytes()[log_size:]:
                        return False
                    raise self._failure(f"ended with code {self._process.returncode} before it was ready")
                if time.monotonic() > deadline:
                    raise self._failure("did not answer in time")
                time.sleep(0.05)
        except BaseException:
            terminate(self._process, 0)
            raise
        seconds = round(time.monotonic() - began, 2)
        log.info("broker ready", bootstrap_servers=self.bootstrap_servers, pid=self._process.pid, seconds=seconds)
        return True

    def _failure(self, what: str) -> StartError:
        return StartError(f"{self._label()} {what}; the end of {self.log_path}:\n{tail(self.log_path)}")

    def _label(self) -> str:
        return f"the embedded broker in {self.directory}"


def _free_ports(fixed: int) -> tuple[int, int]:
    """Return two free loopback ports, the first being `fixed` unless that is 0. Raises StartError when it is taken."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier broker may linger
        try:
            first.bind(("127.0.0.1", fixed))
        except OSError as error:
            raise StartError(f"the embedded broker cannot use port {fixed}: {error.strerror}") from error
        return first.getsockname()[1], free_port()


def _new_cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _read_cluster_id(meta: Path) -> str:
    return next(line for line in meta.read_text().splitlines() if line.startswith("cluster.id=")).partition("=")[2]


def _answers(port: int, cluster: str) -> bool:
    """Tell whether the broker of `cluster` answers a Metadata request (API 3, version 4) and names itself a member:
    registered, unfenced, and not some other broker that took the port."""
    header = struct.pack(">hhih", 3, 4, 0, -1)  # API key, version, correlation id, no client id
    request = header + struct.pack(">i?", 0, False)  # no topics, none created
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                answer = stream.read(size)
    except (OSError, struct.error):  # refused, too slow, or cut
        return False
    (brokers,) = struct.unpack_from(">i", answer, 8)  # after correlation id and throttle time
    return brokers == 1 and cluster.encode() in answer
