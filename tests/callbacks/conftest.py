import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "streaming"))

import broker
from calling import Stage
from receiving import Receiver


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker.broker(tmp_path_factory.mktemp("kafka") / "broker") as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def stage(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The callbacks stage in a worker process of its own. The tests share it: each has a receiver of its own, and where
    it has an endpoint an account of its own."""
    with Stage(kafka, tmp_path_factory.mktemp("callbacks")) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
