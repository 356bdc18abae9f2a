"""One seed: the system, its load, the faults that strike meanwhile, the quiet afterwards, the verdict."""

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pipeline.carriers.simulator import Behaviour
from pipeline.ops.child import StartError
from pipeline.ops.rig import Carrier, Rig
from pipeline.ops.system import command

from . import evidence, faults, load
from .oracle import Finding, Verdict, Wrong, judge
from .traffic import Traffic, Watch
from .world import RECOVERY_SECONDS, Recovery, World, until

PARTITIONS = 4
#: How long a receipt may be late here, after its message's validity.
GRACE_SECONDS = 10
#: Until everything sent has its end or is in doubt, once nothing strikes any more.
_DRAIN_SECONDS = 120.0
#: Until anything else that must come has come.
_QUIET_SECONDS = 30.0

_HABITS = {
    "sure": Behaviour(
        idempotent=True, receipt_delay=(0.0, 2.0), retry_after=0, reject=0.01, undeliverable=0.03, expired=0.01,
        throttle=0.02, unavailable=0.02, error=0.02, cut=0.03, duplicate=0.1, early=0.05, disorder=0.1,
        without_reference=0.3,
    ),
    "blind": Behaviour(
        idempotent=False, receipt_delay=(0.0, 2.0), retry_after=0, reject=0.01, undeliverable=0.03, expired=0.01,
        throttle=0.02, unavailable=0.02, error=0.01, cut=0.01, duplicate=0.1, early=0.05, disorder=0.1,
        without_reference=0.3,
    ),
    "mute": Behaviour(idempotent=False, silent=1.0, cut=0.3, reject=0.01),
}  # fmt: skip
#: Slow enough that work is under way whenever a fault strikes.
_SETTINGS = {
    "sure": {"idempotent": True, "throughput": 1000, "batch": 50, "connections": 12, "timeout": 3.0, "patience": 60.0},
    "blind": {"idempotent": False, "throughput": 400, "batch": 20, "connections": 12, "timeout": 3.0, "patience": 60.0},
}
_SETTINGS["mute"] = _SETTINGS["blind"]
_ROUTES = [{"prefix": prefix, "carriers": [name]} for prefix, name in (("39", "sure"), ("34", "blind"), ("33", "mute"))]


@dataclass(frozen=True)
class Wanted:
    """What to run. `faults`: by name."""

    seed: int
    messages: int
    faults: list[str]
    kills: int

    @property
    def command(self) -> str:
        """How to run it again."""
        chosen = "" if set(self.faults) == set(faults.FAULTS) else f" --faults {','.join(self.faults)}"
        return f"python -m tests.chaos --seeds {self.seed} --messages {self.messages} --kills {self.kills}{chosen}"


@dataclass
class Report:
    """What came of it. `directory`: kept where something is wrong."""

    wanted: Wanted
    verdict: Verdict
    kills: int = 0
    others: int = 0
    recoveries: list[Recovery] = field(default_factory=list)
    doubt_bound: int = 0
    reached: set[str] = field(default_factory=set)
    seconds: float = 0.0
    directory: Path | None = None

    @property
    def good(self) -> bool:
        return not self.verdict.findings


def run(wanted: Wanted, *, keep: bool = False) -> Report:
    """Run a seed. Its directory is removed where nothing is wrong, unless `keep`."""
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{wanted.seed}-"))
    failpoints = directory / "failpoints"
    failpoints.mkdir()
    draw = random.Random(f"rig {wanted.seed}")
    rig = Rig(
        carriers=_carriers(wanted.seed),
        routes=_ROUTES,
        overrides=_overrides(),
        environment={"SMS_FAILPOINTS": str(failpoints)},
        workers=draw.choice((1, 1, 2)),
        keep=directory,
    )
    report = Report(wanted, Verdict(), directory=directory)
    supervisor = (directory / "supervisor.log").open("w")
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(supervisor))
    try:
        with rig:
            world = World(rig, failpoints, faults.points(wanted.seed))
            try:
                report.verdict, report.doubt_bound = world.drive(_story(world, wanted))
            finally:
                report.kills, report.recoveries, report.reached = world.kills, world.recoveries, world.reached
                report.others = world.others
    except StartError as error:
        report.verdict.findings.append(Finding(Wrong.LOST, "system", f"the supervisor gave up: {error}"))
    except Exception:
        report.verdict.findings.append(Finding(Wrong.LOST, "suite", traceback.format_exc()))
    finally:
        supervisor.close()
        structlog.reset_defaults()
    report.seconds = time.monotonic() - began
    if report.good and not keep:
        shutil.rmtree(directory)
        report.directory = None
    else:
        text = "\n".join(f"{finding.kind}\t{finding.about}\t{finding.what}" for finding in report.verdict.findings)
        (directory / "findings.txt").write_text(f"{wanted.command}\n{text}\n")
    return report


def _habits(seed: int) -> dict[str, Behaviour]:
    return {name: behaviour.model_copy(update={"seed": seed}) for name, behaviour in _HABITS.items()}


def _carriers(seed: int) -> dict[str, Carrier]:
    found = {}
    for name, behaviour in _habits(seed).items():
        options = ["--idempotent" if behaviour.idempotent else "--no-idempotent"]
        for habit, value in behaviour.model_dump(exclude={"idempotent"}, exclude_defaults=True).items():
            options += [f"--{habit.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else [value])]
        found[name] = Carrier(options, _SETTINGS[name])
    return found


def _overrides() -> dict[str, str]:
    return {
        "SMS_KAFKA__PARTITIONS": str(PARTITIONS),
        "SMS_LIMITS__RECEIPT_GRACE_SECONDS": str(GRACE_SECONDS),
    }


async def _story(world: World, wanted: Wanted) -> tuple[Verdict, int]:
    plan = load.plan(wanted.seed, wanted.messages, PARTITIONS)
    strikes = faults.schedule(wanted.seed, wanted.faults, wanted.kills)
    seconds = max(10.0, faults.SECONDS_A_STRIKE * len(strikes))
    traffic, watch = Traffic(world, plan), Watch(world.rig.settings)
    await traffic.open_accounts()
    if not await until(watch.opened, _QUIET_SECONDS):
        raise RuntimeError("the accounts did not get their credit")
    world.note("begin", messages=plan.messages, sendings=len(plan.sendings), strikes=len(strikes), seconds=seconds)
    async with asyncio.TaskGroup() as together:
        together.create_task(traffic.send(seconds))
        for at, fault, draw in strikes:
            together.create_task(_strike(world, at * seconds, fault, draw))
    world.note("all sent and struck")
    absent = await world.absent()
    world.note("everybody is back", absent=absent)
    reached = await until(lambda: watch.ended(plan, or_in_doubt=True), _DRAIN_SECONDS)
    world.note("everything ended or in doubt", reached=reached)
    await _quiet(world)
    await _resolve(world)
    world.note("everything ended", reached=await until(lambda: watch.ended(plan), _QUIET_SECONDS))
    world.note("everything settled", reached=await until(watch.settled, _QUIET_SECONDS))
    await _quiet(world)
    await world.close()
    await watch.stop()
    found = await evidence.gather(world, plan, traffic.acknowledged, _habits(wanted.seed))
    verdict = judge(found)
    verdict.findings += [Finding(Wrong.LOST, "gateway", refused) for refused in traffic.refused]
    verdict.findings += [Finding(Wrong.STUCK, name, f"not ready {RECOVERY_SECONDS:g} s later") for name in absent]
    world.note("judged", findings=len(verdict.findings))
    return verdict, found.doubt_bound


async def _strike(world: World, after: float, fault: faults.Fault, draw: random.Random) -> None:
    await asyncio.sleep(after)
    world.note("strike", fault=fault.name)
    world.others += not fault.kills
    await fault.strike(world, draw)


async def _quiet(world: World) -> None:
    """Until nothing moves any more; what does not come to rest is what the oracle will find."""

    async def told() -> bool:
        stats = [await asyncio.to_thread(world.rig.stats, name) for name in world.rig.simulator_urls]
        return all(found.get("receiptsPending") == 0 for found in stats)

    async def read() -> bool:
        return await evidence.all_read(world.rig.settings)

    for what, condition in (("no receipt is on its way", told), ("every record is read", read)):
        world.note(what, reached=await until(condition, _QUIET_SECONDS))


async def _resolve(world: World) -> None:
    """What is in doubt now was never taken, since no receipt of it will come: the operator gives it up."""
    argv = [*command(), "fail", "--in-doubt", "--yes", "--json"]
    kafka = world.rig.settings.kafka
    environment = {
        **os.environ,
        "SMS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SMS_KAFKA__PARTITIONS": str(kafka.partitions),
        "SMS_STORAGE__DIRECTORY": str(world.rig.directory),
    }
    done = await asyncio.to_thread(subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=120)
    world.note("resolved", code=done.returncode, lines=done.stdout.count("\n"), error=done.stderr[-500:])
