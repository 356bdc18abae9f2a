import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import broker
from driving import Cli, wait_for

from pipeline.ops.child import spawn, terminate
from pipeline.ops.ports import free_port
from pipeline.ops.system import command

STAGES = ["validate", "encode", "moderate", "price", "track", "store"]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker.broker(tmp_path_factory.mktemp("kafka") / "broker") as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def running(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The commands, on a system whose stages all run but for dispatch: what is sent stays accepted."""
    directory = tmp_path_factory.mktemp("running")
    cli = Cli(broker.settings_for(kafka, directory))
    port = free_port()
    argv = [*command(), "worker", *STAGES, "--metrics-port", str(port)]
    worker = spawn(argv, log=directory / "worker.log", env=cli.environment)
    try:
        wait_for(lambda: _ready(port), 60)
        yield cli
    finally:
        terminate(worker, 30)


@pytest.fixture
def still(kafka: str, tmp_path: Path) -> Cli:
    """The commands, on topics that no stage reads."""
    cli = Cli(broker.settings_for(kafka, tmp_path))
    broker.create_topics(cli.settings)
    return cli


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False
