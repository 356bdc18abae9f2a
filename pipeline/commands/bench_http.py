"""`bench --http`: how many requests a second the gateway takes, and how many recipients, beside a FastAPI route that
does nothing.

All are asked by the same load generator in turns, so that what else the machine does hits all. The gateway is asked
twice: while the stages stand still (SIGSTOP), so that it and Kafka have the machine as the bare route has it, and while
the whole system works on what it takes. Before the bare route's turn all of that has come to its end. Posts in bulk
come last, one measurement behind the other, while the system works on the ones before.
"""

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.ops.child import StartError, spawn, terminate
from pipeline.ops.load import Load, Spec
from pipeline.ops.ports import free_port
from pipeline.ops.usage import cpu_seconds
from schemas.states import Detailed

if TYPE_CHECKING:
    from pipeline.ops.rig import Rig

#: Different requests, sent in turn.
_CODES, _POSTS = 1_000, 20
#: Posts in bulk at a time: enough that the gateway always has one.
_BULK_CONNECTIONS = 4
_WIDTH = 120
_POLL_SECONDS = 0.2
_START_SECONDS = 20.0
_PATIENCE_SECONDS = 300.0
_FINAL = {state.name for state in Detailed if state >= Detailed.DELIVERED}


async def open_account(rig: "Rig") -> None:
    """The account that sends."""
    async with rig.producer() as producer:
        await rig.open_account(producer)


class HttpBench:
    """Measures the gateway of a running system whose account is open. `seconds`: of each measurement in a round;
    `connections`: requests at a time, of singles; `per_post`: recipients of a post in bulk."""

    def __init__(
        self, rig: "Rig", *, connections: int, seconds: float, rounds: int, console: Console, per_post: int = 1_000
    ) -> None:
        self._rig, self._connections, self._seconds, self._rounds = rig, connections, seconds, rounds
        self._per_post = per_post
        self._console = console
        self._spec_file = rig.directory / "load.json"
        self._due = 0.0  # final states

    def run(self) -> dict[str, Any]:
        """Figures of the bare route, singles and posts in bulk, and the ratio of singles to the bare route."""
        port = free_port()
        gateway = self._rig.system.gateway_port
        codes, posts = (
            [_code(number) for number in range(_CODES)],
            [_post(number, self._per_post) for number in range(_POSTS)],
        )
        measured: dict[str, list[_Measured]] = {"bare": [], "single": [], "system": [], "bulk": []}
        bare = spawn([sys.executable, "-m", "pipeline.ops.bare", str(port)], log=self._rig.directory / "bare.log")
        try:
            self._until(lambda: _listens(port), _START_SECONDS, "the bare route does not start")
            self._due = self._final()
            pid = self._rig.system.pids["gateway"]
            self._measure(port, codes, self._connections, bare.pid)  # both servers and the broker run in first
            self._measure(gateway, codes, self._connections, pid, taken=1)
            for _ in range(self._rounds):
                self.drain()
                measured["bare"].append(self._measure(port, codes, self._connections, bare.pid))
                with self._stages_standing_still():
                    measured["single"].append(self._measure(gateway, codes, self._connections, pid, taken=1))
                self.drain()
                measured["system"].append(self._measure(gateway, codes, self._connections, pid, taken=1))
                rates = [f"{measured[name][-1].rate:,.0f}" for name in ("bare", "single", "system")]
                told = "{} bare, {} singles a second, {} while the system works on them".format(*rates)
                self._console.print(f"  {told}")
            for _ in range(self._rounds):
                measured["bulk"].append(self._measure(gateway, posts, _BULK_CONNECTIONS, pid, taken=self._per_post))
                self._console.print(f"  {measured['bulk'][-1].rate * self._per_post:,.0f} recipients a second in bulk")
        finally:
            terminate(bare, 10)
        return {"connections": self._connections, "secondsEach": self._seconds, **_figures(measured, self._per_post)}

    def drain(self) -> None:
        """Wait until the system has brought to an end what was measured so far."""
        self._until(lambda: self._final() >= self._due, _PATIENCE_SECONDS, "messages have no final state")

    @contextmanager
    def _stages_standing_still(self) -> Iterator[None]:
        others = [pid for name, pid in self._rig.system.pids.items() if name not in ("gateway", "kafka")]
        try:
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def _measure(self, port: int, bodies: list[str], connections: int, pid: int, taken: int = 0) -> "_Measured":
        """Load a server for a while. `taken`: recipients that the system takes with each request."""
        spec = Spec(port, "/messages", self._rig.token, bodies, connections, self._seconds, min(0.5, self._seconds))
        self._spec_file.write_bytes(msgspec.json.encode(spec))
        result = self._spec_file.with_name("load-result.json")
        log = self._rig.directory / "load.log"
        before = cpu_seconds(pid)
        process = spawn([sys.executable, "-m", "pipeline.ops.load", str(self._spec_file), str(result)], log=log)
        self._until(lambda: process.poll() is not None, self._seconds + _PATIENCE_SECONDS, "the load does not end")
        if process.returncode:
            raise StartError(f"the load generator failed: {log.read_text()[-1000:]}")
        load = msgspec.json.decode(result.read_bytes(), type=Load)
        self._due += load.statuses.get(201, 0) * taken
        return _Measured(load, cpu_seconds(pid) - before)

    def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Keep the system going until it is done. Raises StartError."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise StartError(f"{what} within {seconds:g} s")
            self._rig.tick()
            time.sleep(_POLL_SECONDS)

    def _final(self) -> float:
        """Messages that came to their end."""
        seen = self._rig.metrics().get("sms_messages_state_total", {})
        return sum(value for labels, value in seen.items() if labels[0] in _FINAL)


class _Measured(msgspec.Struct, frozen=True):
    """A load, and the processor time that the server took for it."""

    load: Load
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return len(self.load.latencies) / self.load.seconds


def _figures(measured: dict[str, list[_Measured]], per_post: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: _summary(rounds) for name, rounds in measured.items()}
    bulk = found["bulk"]
    bulk["recipientsPerPost"] = per_post
    bulk["recipientsPerSecond"] = bulk["requestsPerSecond"] * per_post
    bare, single = found["bare"], found["single"]
    found["ratio"] = _ratio(single["requestsPerSecond"], bare["requestsPerSecond"])
    found["systemRatio"] = _ratio(found["system"]["requestsPerSecond"], bare["requestsPerSecond"])
    found["roundsRatio"] = [_ratio(a, b) for a, b in zip(single["rounds"], bare["rounds"], strict=True)]
    found["cpuRatio"] = _ratio(bare["cpuMicroseconds"], single["cpuMicroseconds"])
    return found


def _summary(rounds: Sequence[_Measured]) -> dict[str, Any]:
    """Rates over all rounds and of each, latencies in milliseconds, processor time in microseconds a request of the
    server and of the load generator, and what was not answered with 201."""
    latencies = sorted(one for each in rounds for one in each.load.latencies)
    statuses = sum((Counter(each.load.statuses) for each in rounds), Counter[int]())
    answers = max(1, statuses.total())
    return {
        "requestsPerSecond": round(len(latencies) / sum(each.load.seconds for each in rounds)),
        "rounds": [round(each.rate) for each in rounds],
        "p50": _milliseconds(latencies, 0.5),
        "p99": _milliseconds(latencies, 0.99),
        "cpuMicroseconds": round(sum(each.cpu_seconds for each in rounds) / answers * 1e6),
        "loadCpuMicroseconds": round(sum(each.load.cpu_seconds for each in rounds) / answers * 1e6),
        "otherAnswers": {str(status): count for status, count in statuses.items() if status != 201},
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The figures as a table, whole also where the output is no terminal."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = Table(title=f"{result['connections']} connections, rounds of {result['secondsEach']:g} s")
    for column in ("", "a second", "recipients a second", "p50 ms", "p99 ms", "CPU µs"):
        table.add_column(column, justify="right" if column else "left")
    names = {
        "bare": "bare FastAPI route",
        "single": "POST /messages, one",
        "system": "the same, stages at work",
        "bulk": f"POST /messages, {result['bulk']['recipientsPerPost']:,}",
    }
    for name, title in names.items():
        one = result[name]
        recipients = f"{one['recipientsPerSecond']:,}" if "recipientsPerSecond" in one else ""
        rate = f"{one['requestsPerSecond']:,}"
        table.add_row(title, rate, recipients, *(str(one[key]) for key in ("p50", "p99", "cpuMicroseconds")))
        if one["otherAnswers"]:
            console.print(f"{title}: not answered with 201: {one['otherAnswers']}")
    console.print(table)
    rounds = f"{result['roundsRatio']} by round"
    console.print(f"singles: {result['ratio']} of the bare route's rate ({rounds})")
    console.print(f"while the stages work on them on the same machine: {result['systemRatio']}")
    console.print(f"the load generator took {result['single']['loadCpuMicroseconds']} µs a request")


def _code(number: int) -> str:
    code = {"sender": "LOGIN", "recipient": f"+39320{number:07d}", "message": f"Your code is {number:06d}"}
    return msgspec.json.encode(code).decode()


def _post(number: int, size: int) -> str:
    recipients = [f"+39333{place:07d}" for place in range(number * size, (number + 1) * size)]
    return msgspec.json.encode({"sender": "ACME", "recipients": recipients, "message": "Sale today"}).decode()


def _milliseconds(ascending: Sequence[float], share: float) -> float | None:
    place = min(len(ascending) - 1, int(len(ascending) * share))
    return round(ascending[place] * 1000, 2) if ascending else None


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 2) if whole else 0.0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
