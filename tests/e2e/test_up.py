"""`sms-pipeline up` as it is run: kept alive by its supervisor, stopped by a signal, started again with all it knew."""

import base64
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from endtoend import Cli, User, assert_one_final_each, descendants, numbers, runs, wait_for

from pipeline.ops.child import terminate
from pipeline.ops.ports import free_port
from pipeline.ops.rig import fetch
from pipeline.ops.system import command

pytestmark = pytest.mark.e2e

CONFIG = """
[kafka]
partitions = 4
[storage]
directory = "data"
[gateway]
port = {gateway}
[carriers.sim]
url = "http://127.0.0.1:{carrier}/messages"
secret = "{secret}"
idempotent = true
throughput = 1000
batch = 50
[[routes]]
prefix = ""
carriers = ["sim"]
"""
READY_SECONDS, STOP_SECONDS = 90.0, 90.0
KILLS = 2  # of each worker, one right after the other
WORKERS = ("validate", "dispatch", "track", "store")


class Up:
    """`up` on one directory, and the carrier it speaks to, which outlives it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "up.log"
        self.config = directory / "sms-pipeline.toml"
        self.gateway, self.carrier = free_port(), free_port()
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.config.write_text(CONFIG.format(gateway=self.gateway, carrier=self.carrier, secret=self.secret))
        self.cli = Cli({})

    def start_carrier(self) -> subprocess.Popen[bytes]:
        argv = [*command(), "simulator", "--port", str(self.carrier), "--journal", str(self.directory / "journal")]
        argv += ["--receipts-url", f"http://127.0.0.1:{self.gateway}/carriers/sim/receipts"]
        argv += ["--receipt-delay", "0", "0.2"]
        environment = os.environ | {"SMS_SIMULATOR_SECRET": self.secret}
        with (self.directory / "carrier.log").open("ab") as log:
            carrier = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        wait_for(lambda: fetch(f"http://127.0.0.1:{self.carrier}/stats"), what="the carrier")
        return carrier

    def start(self) -> tuple[subprocess.Popen[bytes], str]:
        """The process and its Kafka, once it says that it is ready."""
        argv = [*command(), "up", "--config", str(self.config)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, cwd="/")
        line = _first_line(process)
        words = line.split()
        assert (words[0], words[1]) == ("ready", f"gateway=http://127.0.0.1:{self.gateway}"), line
        return process, words[2].removeprefix("kafka=")

    def run(self, *arguments: str) -> Any:
        return self.cli(*arguments, "--config", str(self.config))

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(fetch(f"http://127.0.0.1:{self.carrier}/stats"))
        return found

    def get(self, path: str, token: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.gateway}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            assert refusal.code in (404, 503), refusal.read()
            return None


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    deadline, line = time.monotonic() + READY_SECONDS, b""
    while not line.endswith(b"\n"):
        assert select.select([process.stdout], [], [], deadline - time.monotonic())[0], "not ready in time"
        piece = os.read(process.stdout.fileno(), 4096)
        assert piece, f"up ended with {process.wait(10)}"
        line += piece
    return line.decode().rstrip()


@pytest.fixture
def up(alone: None, tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    carrier = up.start_carrier()
    try:
        yield up
    finally:
        terminate(carrier, 10)


def worker_of(process: subprocess.Popen[bytes], stage: str) -> int | None:
    """The process id of the worker that runs a stage, as the process list shows it."""
    for pid, line in descendants(process.pid).items():
        _, found, arguments = line.partition("sms-pipeline worker ")
        if found and stage in arguments.split(" --")[0].split():
            return pid
    return None


def assert_gone(pids: list[int], ports: list[int], seconds: float) -> None:
    wait_for(lambda: not any(map(runs, pids)), seconds, f"the end of {[pid for pid in pids if runs(pid)]}")
    for port in ports:
        wait_for(partial(_closed, port), 2, f"the end of who listens on {port}")


def _closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def listening(pids: list[int]) -> list[int]:
    """TCP ports that these processes listen on."""
    mine = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                mine.add(os.readlink(entry))
            except OSError:
                continue
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_killed_stopped_and_started_again(up: Up) -> None:
    process, kafka = up.start()
    try:
        token, first = _survives_killed_workers(up, process, kafka)
        _stops_without_a_trace(process, int(kafka.rpartition(":")[2]), up.gateway)
        process, kafka = up.start()
        _refuses_to_run_twice(up)
        _knows_everything(up, kafka, token, first)
        pids = list(descendants(process.pid))
        process.kill()
        process.wait(10)
        assert_gone(pids, [up.gateway], 10)
    finally:
        if process.poll() is None:
            terminate(process, STOP_SECONDS)


def _survives_killed_workers(up: Up, process: subprocess.Popen[bytes], kafka: str) -> tuple[str, dict[str, Any]]:
    """The account's token, and a message. Each worker is killed while 4,000 messages are on their way."""
    killed: list[int] = []
    up.run("account", "create", "acme", "--credit", "1000")
    token = up.run("account", "token", "acme").strip()
    with User(kafka, account="acme") as user:
        requests = [user.send(numbers(500, first=500 * place)) for place in range(8)]
        for done, stage in enumerate(WORKERS):
            user.wait_told(requests[done], lambda told: told["index"] == 0)
            for _ in range(KILLS):
                worker = worker_of(process, stage)
                assert worker, f"no worker runs {stage}"
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
                wait_for(partial(_restarted, process, stage, worker), what=f"the restart of {stage}")
        found = [told for request in requests for told in user.fates(request, 500, seconds=120)]
        assert {told["state"] for told in found} == {"DELIVERED"}
        for request in requests:
            assert sorted({told["index"] for told in user.told(request) if told["final"]}) == list(range(500))
            assert_one_final_each(user.told(request))
        stats = up.stats()
        assert (stats["distinctReferences"], stats["repeatedReferences"]) == (4000, 0)
        user.money(lambda balance, reserved: (balance, reserved) == (Decimal(800), Decimal(0)))
        assert user.no_dead_letters_but([]) == []
    _tells_of_deaths(up, killed)
    last = found[-1]
    wait_for(lambda: (seen := up.get(f"/messages/{last['id']}", token)) and seen["state"] == "DELIVERED")
    return token, last | {"requestId": requests[-1]}


def _tells_of_deaths(up: Up, killed: list[int]) -> None:
    """In its log, a line each; in its metrics."""
    lines = map(json.loads, filter(lambda line: line.startswith("{"), up.log.read_text().splitlines()))
    deaths = {line["pid"]: line for line in lines if line["event"] == "child died"}
    assert set(killed) <= deaths.keys()
    assert {deaths[pid]["cause"] for pid in killed} == {"SIGKILL"}
    # one found the moment it was started has lived 0.00 s
    assert all(deaths[pid]["lived"] >= 0 and deaths[pid]["restart_in"] > 0 for pid in killed)
    port = json.loads((up.directory / "data" / "running.json").read_text())["metricsPort"]
    page = fetch(f"http://127.0.0.1:{port}/metrics")
    for child in ("intake-0", "dispatch-0", "track-0", "store-0"):
        assert f'sms_child_deaths_total{{cause="SIGKILL",child="{child}"}} {KILLS}.0' in page


def _restarted(process: subprocess.Popen[bytes], stage: str, killed: int) -> bool:
    return worker_of(process, stage) not in (None, killed)


def _stops_without_a_trace(process: subprocess.Popen[bytes], *ports: int) -> None:
    pids = list(descendants(process.pid))
    assert len(pids) >= 6
    everywhere = listening(pids)
    assert set(ports) <= set(everywhere)
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_SECONDS) == 0
    assert process.stdout
    assert process.stdout.read() == b"", "more than the ready line"
    assert_gone(pids, everywhere, 1)


def _refuses_to_run_twice(up: Up) -> None:
    """And the commands go on finding the one that runs."""
    for port, why in ((str(up.gateway), "gateway.port"), ("0", "another broker is running")):
        argv, environment = [*command(), "up", "--config", str(up.config)], os.environ | {"SMS_GATEWAY__PORT": port}
        second = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment)
        assert second.returncode == 2
        assert why in second.stderr


def _knows_everything(up: Up, kafka: str, token: str, first: dict[str, Any]) -> None:
    """Accounts, money, messages, and that a request was seen before."""
    shown = json.loads(up.run("account", "show", "acme", "--json"))
    assert (shown["balance"], shown["reserved"]) == ("800.00", "0.00")
    seen = wait_for(lambda: up.get(f"/messages/{first['id']}", token), what="the message in the read model")
    assert (seen["state"], seen["recipient"]) == ("DELIVERED", first["recipient"])
    with User(kafka, account="acme") as user:
        user.send(numbers(500, first=3500), requestId=first["requestId"])
        told = user.fate(user.send(["+393339999999"]))
        assert told["state"] == "DELIVERED"
        user.money(lambda balance, reserved: (balance, reserved) == (Decimal("799.95"), Decimal(0)))
    assert up.stats()["distinctReferences"] == 4001


def test_a_second_sigterm_ends_it_at_once(up: Up) -> None:
    """A worker does not come to its end without a broker; the broker is paused, and killed only now."""
    process, kafka = up.start()
    pids = list(descendants(process.pid))
    everywhere = listening(pids)
    (broker,) = [pid for pid, line in descendants(process.pid).items() if "kafka.Kafka" in line]
    try:
        up.run("account", "create", "acme", "--credit", "1000")
        with User(kafka, account="acme") as user:
            request = user.send(numbers(500))
            user.wait_told(request, lambda told: told["index"] == 0)
        os.kill(broker, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "child stopped" in up.log.read_text(), what="the drain")
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert_gone(pids, everywhere, 1)
    finally:
        if process.poll() is None:
            process.kill()


def test_refusals_name_what_is_wrong(up: Up) -> None:
    up.config.write_text(up.config.read_text().replace('carriers = ["sim"]', 'carriers = ["simm"]'))
    ended = subprocess.run([*command(), "up", "--config", str(up.config)], capture_output=True, text=True, timeout=30)
    assert ended.returncode not in (0, None)
    assert "simm" in ended.stderr
    assert "Traceback" not in ended.stderr
