"""`up`, `worker`, `gateway`, `simulator`: the processes of the system."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from pipeline import config, logs
from pipeline.carriers.simulator import server as simulator_server
from pipeline.carriers.simulator.behaviour import Behaviour
from pipeline.commands.common import ConfigOption, fail
from pipeline.config import EMBEDDED, Settings


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(worker)
    app.command()(gateway)
    app.command()(simulator)


def up(
    config_file: ConfigOption = None,
    workers: Annotated[int, typer.Option(help="Processes of each group of stages.", min=1, max=64)] = 1,
    ephemeral: Annotated[bool, typer.Option(help="Remove broker data, tables and read model at the stop.")] = False,
) -> None:
    """Run everything on this machine: Kafka (embedded unless configured), all stages, gateway. Ctrl-C drains."""
    from pipeline.lists import rules
    from pipeline.ops.system import System

    settings = _settings(config_file)
    rules(settings)  # a fault is said now, to whoever starts the system, and not by a worker
    system = System(settings, config_file, workers=workers, ephemeral=ephemeral)
    code = system.run(lambda line: print(line, flush=True))
    if system.supervisor.failure:
        fail(system.supervisor.failure, code)
    raise typer.Exit(code)


def worker(
    stages: Annotated[
        list[str], typer.Argument(help="validate encode moderate price dispatch track callbacks store, or all.")
    ],
    config_file: ConfigOption = None,
    instance: Annotated[
        str | None, typer.Option(help="Name of this process: it keeps its partitions and tables over restarts.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics and /health (0: a free one).")] = None,
) -> None:
    """Run one or more stages in this process, until SIGTERM."""
    from pipeline import worker as worker_module

    wanted = worker_module.NAMES if stages == ["all"] else stages
    unknown = [name for name in wanted if name not in worker_module.NAMES]
    if unknown:
        fail(f"no stage {', '.join(unknown)}; there are {', '.join(worker_module.NAMES)}", 2)
    settings = _settings(config_file)
    if settings.kafka.bootstrap_servers == EMBEDDED:
        fail("kafka.bootstrap_servers is 'embedded', which `up` starts; set it to your cluster's address", 2)
    if metrics_port is not None:
        metrics = settings.metrics.model_copy(update={"port": metrics_port})
        settings = settings.model_copy(update={"metrics": metrics})
    raise typer.Exit(worker_module.run(settings, wanted, instance))


def gateway(config_file: ConfigOption = None) -> None:
    """Run the HTTP gateway, until SIGTERM."""
    from pipeline.gateway.server import run

    settings = _settings(config_file)
    if settings.kafka.bootstrap_servers == EMBEDDED:
        fail("kafka.bootstrap_servers is 'embedded', which `up` starts; set it to your cluster's address", 2)
    run(settings)


def _settings(config_file: Path | None) -> Settings:
    """The settings; what this process logs is as they have it."""
    settings = config.load(config_file)
    logs.choose(settings.logging)
    return settings


Share = Annotated[float, typer.Option(min=0.0, max=1.0)]


def simulator(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.")] = 9090,
    journal: Annotated[Path, typer.Option(help="File that every accepted message is written to.")] = Path(
        "simulator-journal.ndjson"
    ),
    receipts_url: Annotated[str | None, typer.Option(help="{gateway}/carriers/{name}/receipts")] = None,
    secret: Annotated[str | None, typer.Option(envvar="SMS_SIMULATOR_SECRET", help="whsec_… to sign with.")] = None,
    token: Annotated[str | None, typer.Option(envvar="SMS_SIMULATOR_TOKEN", help="Bearer token to ask for.")] = None,
    seed: int = 0,
    idempotent: bool = True,
    latency: Annotated[float, typer.Option(help="Seconds before each answer.")] = 0.0,
    receipt_delay: Annotated[tuple[float, float], typer.Option(help="Least and most seconds.")] = (0.1, 1.0),
    retry_after: Annotated[int, typer.Option(help="Seconds, with 429 and 503.")] = 1,
    undeliverable: Share = 0.0,
    expired: Share = 0.0,
    reject: Share = 0.0,
    throttle: Share = 0.0,
    unavailable: Share = 0.0,
    error: Share = 0.0,
    cut: Share = 0.0,
    silent: Share = 0.0,
    duplicate: Share = 0.0,
    early: Share = 0.0,
    disorder: Share = 0.0,
    without_reference: Share = 0.0,
) -> None:
    """Run a carrier that is none: it answers, sends receipts and misbehaves as told, the same for the same seed."""
    try:
        behaviour = Behaviour(
            seed=seed,
            idempotent=idempotent,
            latency=latency,
            receipt_delay=receipt_delay,
            retry_after=retry_after,
            undeliverable=undeliverable,
            expired=expired,
            reject=reject,
            throttle=throttle,
            unavailable=unavailable,
            error=error,
            cut=cut,
            silent=silent,
            duplicate=duplicate,
            early=early,
            disorder=disorder,
            without_reference=without_reference,
        )
    except ValidationError as wrong:
        fail("; ".join(e["msg"] for e in wrong.errors()), 2)
    simulator_server.run(host, port, behaviour, journal, receipts_url, secret, token=token, announce=True)
