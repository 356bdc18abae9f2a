"""The embedded broker, for real: one broker shared where a test does not need its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.ops.child import StartError
from pipeline.ops.kafka import EmbeddedKafka

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("shared") / "kafka") as broker:
        yield broker


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


async def produce(servers: str, topic: str, *values: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    if topic not in await admin.list_topics():
        await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=8 * 1024 * 1024) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(servers: str, topic: str, count: int) -> list[bytes]:
    settings = {"group_id": "readers", "auto_offset_reset": "earliest", "max_partition_fetch_bytes": 8 * 1024 * 1024}
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, **settings) as consumer:
        return [(await asyncio.wait_for(anext(consumer), 20)).value for _ in range(count)]


def test_large_records_pass_through_a_consumer_group(broker: EmbeddedKafka) -> None:
    large = b"x" * 7_000_000
    asyncio.run(produce(broker.bootstrap_servers, "large", large))
    assert asyncio.run(consume(broker.bootstrap_servers, "large", 1)) == [large]


def test_it_listens_on_loopback_only(broker: EmbeddedKafka) -> None:
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))  # what listens on all addresses answers here


def test_a_second_broker_in_the_same_directory_is_refused(broker: EmbeddedKafka) -> None:
    with pytest.raises(StartError, match="another broker is running in"):
        EmbeddedKafka(broker.directory).start(timeout=0.5)
    assert broker.alive()


def test_a_taken_port_is_refused_by_number(broker: EmbeddedKafka, tmp_path: Path) -> None:
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(StartError, match=f"cannot use port {port}"):
        EmbeddedKafka(tmp_path / "kafka", port=port).start()


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StartError, match="a directory of its own"):
        EmbeddedKafka(tmp_path).start()
    assert (tmp_path / "thesis.txt").exists()


def test_a_broker_that_cannot_run_quotes_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"(?s)the end of .*broker\.log:.*[Ii]nitial heap size"):
        EmbeddedKafka(tmp_path / "kafka", heap_mb=16).start()


def test_data_is_kept_across_a_stop_and_a_kill_then_removed(tmp_path: Path) -> None:
    directory = tmp_path / "josé, kafka"  # neither the comma nor the accent may matter
    broker = EmbeddedKafka(directory, keep=True)
    first = broker.start()
    asyncio.run(produce(first, "fates", b"one"))
    broker.stop()
    assert not broker.alive()
    assert broker.pid is None

    broker = EmbeddedKafka(directory, keep=True)
    second = broker.start()
    assert second != first, "free ports are new at every start, and the old data copes"
    asyncio.run(produce(second, "fates", b"two"))
    pid = broker.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not broker.alive())
    assert broker.restart() == second
    assert broker.pid != pid
    assert asyncio.run(consume(second, "fates", 2)) == [b"one", b"two"]
    broker.stop()
    assert directory.exists()

    broker = EmbeddedKafka(directory)
    broker.start()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(consume(broker.bootstrap_servers, "fates", 1), 2))
    broker.stop()
    broker.stop()
    assert not directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_the_broker_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, structlog; from pathlib import Path; from pipeline.ops.kafka import EmbeddedKafka\n"
        "structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))\n"
        "broker = EmbeddedKafka(Path(sys.argv[1])); broker.start(); print(broker.pid, flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "kafka")]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin and parent.stdout
    with parent.stdin, parent.stdout:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
        parent.wait()
    wait_for(lambda: gone(pid), 5)
    with EmbeddedKafka(tmp_path / "kafka") as next_one:  # what the dead one left does not stand in the way
        assert next_one.alive()
