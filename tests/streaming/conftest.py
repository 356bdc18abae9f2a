import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import broker
from working import Worker

from pipeline.config import Billing, Settings


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker.broker(tmp_path_factory.mktemp("kafka") / "broker") as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def make_settings(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Settings with topics and a directory of their own."""

    def make() -> Settings:
        directory = tmp_path_factory.mktemp("system")
        prices = directory / "prices.csv"
        prices.write_text("country,operator,prefix,price\nIT,,,0.0500\n")
        return broker.settings_for(kafka, directory, billing=Billing(prices=prices, minimum="0.10"))

    return make


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Starts workers; what still runs at the end is stopped."""
    workers: list[Worker] = []

    def begin(
        settings: Settings, stages: list[str], instance: str | None = None, more: Mapping[str, str] | None = None
    ) -> Worker:
        workers.append(Worker(settings, stages, instance, more))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.stop()
