"""The faults, one function each under a name, and when they strike: drawn from the seed."""

import asyncio
import contextlib
import itertools
import random
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from pipeline.ops.system import GROUPS

from .world import KAFKA, WORKERS, World, alive, until

#: A worker that stands still so long has lost its partitions (session timeout: 10 s).
_STILL_SECONDS = (11.0, 13.0)
#: A failpoint is reached by the next record, unless its stage has nothing to do.
_ARMED_SECONDS = 15.0
#: Each strike has so much time to itself on average.
SECONDS_A_STRIKE = 3.0

_STEPS = ("decided", "first-written", "acted", "learned-written", "produced", "logged", "written", "acknowledged")
_WITHOUT_TABLE = ("validate", "moderate")
_STAGES = [*GROUPS["intake"], *GROUPS["dispatch"], *GROUPS["track"]]
#: Every place where a process may end: each step of each stage that has it, and those beside the stages.
FAILPOINTS = [
    *(f"{stage}.{step}" for stage in _STAGES for step in _STEPS if step != "logged" or stage not in _WITHOUT_TABLE),
    "dispatch.calling", "store.written", "store.committed", "gateway.receipts-produced",
]  # fmt: skip


def points(seed: int) -> Iterator[str]:
    """Failpoints in the order in which a seed arms them; the next seed goes on where this one is likely to end."""
    order = random.Random(0).sample(FAILPOINTS, len(FAILPOINTS))
    return itertools.cycle(order[6 * seed % len(order) :] + order[: 6 * seed % len(order)])


Strike = Callable[[World, random.Random], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`kills`: each strike is a SIGKILL of one of our own processes. `weight`: how often it is drawn among its kind."""

    name: str
    kills: bool
    weight: int
    strike: Strike


FAULTS: dict[str, Fault] = {}


def fault(name: str, *, kills: bool = False, weight: int = 1) -> Callable[[Strike], Strike]:
    """Register a fault under its name."""

    def register(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, kills, weight, strike)
        return strike

    return register


@fault("kill-random", kills=True, weight=4)
async def kill_random(world: World, draw: random.Random) -> None:
    """SIGKILL of any worker, at any moment (the first that runs, where all of them are starting again)."""

    def strike() -> bool:
        names = world.names(*WORKERS)
        draw.shuffle(names)
        return any(world.kill(name) for name in names)

    await until(strike, _ARMED_SECONDS)


@fault("kill-failpoint", kills=True, weight=6)
async def kill_failpoint(world: World, draw: random.Random) -> None:
    """SIGKILL at a step of a stage, by the next record that reaches it; where none does, at a random moment."""
    point = next(world.points)
    group = next((group for group, stages in GROUPS.items() if point.partition(".")[0] in stages), "gateway")
    armed = world.failpoints / point
    before: dict[str, int] = {}

    def struck() -> bool:
        if not armed.exists():
            return True
        before.update(world.pids)
        return False

    armed.touch()
    fired = await until(struck, _ARMED_SECONDS)
    if not fired:
        try:
            armed.unlink()
        except FileNotFoundError:  # at the last moment
            fired = True
    since = time.monotonic()
    world.note("failpoint", point=point, fired=fired)
    if not fired:
        await kill_random(world, draw)
        return
    world.reached.add(point)
    hosts = [name for name in before if name == group or name.rpartition("-")[0] == group]
    await until(lambda: any(not alive(before[name]) for name in hosts), 1.0)
    world.killed(next((name for name in hosts if not alive(before[name])), group), since)


@fault("kill-gateway", kills=True)
async def kill_gateway(world: World, draw: random.Random) -> None:
    """SIGKILL of the gateway: requests and receipts under way are repeated by those who sent them."""
    if not world.kill("gateway"):
        await kill_random(world, draw)


@fault("kill-store", kills=True)
async def kill_store(world: World, draw: random.Random) -> None:
    """SIGKILL of the read model's projector."""
    if not world.kill("store-0"):
        await kill_random(world, draw)


@fault("stop-worker")
async def stop_worker(world: World, draw: random.Random) -> None:
    """SIGSTOP for longer than the session lasts, then SIGCONT: a zombie, which must not write or send any more."""
    names = world.names(*WORKERS)
    if not names:
        return
    name = draw.choice(names)
    group = name.rpartition("-")[0]
    async with world.group_locks[group]:
        pid = world.signal(name, signal.SIGSTOP)
        try:
            with world.still(group):
                await asyncio.sleep(draw.uniform(*_STILL_SECONDS))
        finally:
            woken = world.signal(name, signal.SIGCONT)
        if pid is not None and woken == pid:
            ended = await until(lambda: not alive(pid), 5.0)
            world.note("zombie", name=name, ended=ended)


@fault("pause-broker")
async def pause_broker(world: World, draw: random.Random) -> None:
    """SIGSTOP of the broker for some seconds."""
    async with world.broker_lock:
        with world.still(KAFKA):
            world.signal(KAFKA, signal.SIGSTOP)
            try:
                await asyncio.sleep(draw.uniform(2.0, 12.0))
            finally:
                world.signal(KAFKA, signal.SIGCONT)


@fault("kill-broker")
async def kill_broker(world: World, draw: random.Random) -> None:
    """SIGKILL of the broker; the rig starts it again on its data."""
    async with world.broker_lock:
        with world.still(KAFKA):
            pid = world.signal(KAFKA, signal.SIGKILL)
            await until(lambda: world.pids.get(KAFKA, pid) != pid, 60.0)


@fault("scale")
async def scale(world: World, draw: random.Random) -> None:
    """One more process of a group, and after some time as many as before: partitions and tables move twice."""
    group = draw.choice(WORKERS)
    async with world.group_locks[group]:
        number = len([name for name in world.rig.system.metrics_urls if name.rpartition("-")[0] == group])
        world.note("scale", group=group, number=number + 1)
        await world.main(lambda: world.rig.system.scale(group, number + 1))
        await until(lambda: _ready(world, f"{group}-{number}"), 20.0)
        await asyncio.sleep(draw.uniform(0.5, 5.0))
        world.note("scale", group=group, number=number)
        await world.main(lambda: world.rig.system.scale(group, number))


async def _ready(world: World, name: str) -> bool:
    return await world.works(name, GROUPS[name.rpartition("-")[0]])


@fault("disk-full")
async def disk_full(world: World, draw: random.Random) -> None:
    """No file of a worker may grow: its table's writes fail, and it may die of it; its replacement has room again."""
    names = world.names(*WORKERS)
    if not names:
        return
    name = draw.choice(names)
    log = world.rig.directory / "logs" / f"{name}.log"
    limit = log.stat().st_size + 16 * 1024  # its log still tells why

    pid = world.pids[name]
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
    died = await until(lambda: not alive(pid), draw.uniform(5.0, 10.0))
    world.note("disk full", name=name, pid=pid, limit=limit, died=died)
    if not died:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@fault("carrier-killed")
async def carrier_killed(world: World, draw: random.Random) -> None:
    """SIGKILL of a carrier, in the middle of calls; it comes back with its journal."""
    world.signal(f"simulator-{draw.choice(sorted(world.rig.simulator_urls))}", signal.SIGKILL)


@fault("carrier-late")
async def carrier_late(world: World, draw: random.Random) -> None:
    """A carrier answers after we stopped waiting."""
    await _phase(world, draw, {"latency": 4.0})


@fault("carrier-cuts")
async def carrier_cuts(world: World, draw: random.Random) -> None:
    """A carrier takes messages and cuts the connection, again and again."""
    await _phase(world, draw, {"cut": 0.5, "error": 0.2, "throttle": 0.0, "unavailable": 0.0})


@fault("carrier-busy")
async def carrier_busy(world: World, draw: random.Random) -> None:
    """A carrier says 503 to everything, or 429 to most."""
    busy = draw.choice(({"unavailable": 1.0}, {"throttle": 0.8}))
    await _phase(world, draw, {"error": 0.0, "cut": 0.0, "unavailable": 0.0, "throttle": 0.0, **busy})


async def _phase(world: World, draw: random.Random, habits: dict[str, Any]) -> None:
    carrier = draw.choice(sorted(world.rig.simulator_urls))
    began = time.time()
    await _habits(world, carrier, habits)
    await asyncio.sleep(draw.uniform(3.0, 7.0))
    await _habits(world, carrier, {})
    world.phases.append((carrier, began, time.time()))


async def _habits(world: World, carrier: str, habits: dict[str, Any]) -> None:
    async def told() -> bool:
        try:
            answer = await world.web.put(f"{world.rig.simulator_urls[carrier]}/phase", json=habits)
        except httpx.HTTPError:
            return False
        return answer.is_success

    world.note("phase", carrier=carrier, habits=habits, told=await until(told, 10.0))


def schedule(seed: int, names: list[str], kills: int) -> list[tuple[float, Fault, random.Random]]:
    """Strikes in the order of time (shares of the run): `kills` that kill, and half as many others, spread evenly."""
    draw = random.Random(f"faults {seed}")
    killing = [name for name in names if FAULTS[name].kills]
    others = [name for name in names if not FAULTS[name].kills]
    chosen = draw.choices(killing, [FAULTS[name].weight for name in killing], k=kills) if killing else []
    if others:
        count = max(1, kills // 2)
        chosen += draw.sample(others, min(count, len(others))) + draw.choices(others, k=max(0, count - len(others)))
    draw.shuffle(chosen)
    return [
        ((place + draw.random()) / len(chosen), FAULTS[name], random.Random(f"{seed} {place} {name}"))
        for place, name in enumerate(chosen)
    ]
