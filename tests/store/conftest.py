import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import broker
import postgres

from pipeline.config import Settings, Storage
from pipeline.store.database import open_database


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker.broker(tmp_path_factory.mktemp("kafka") / "broker") as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A server's URL."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database whose tables are made: copying it is quicker than making them."""
    with postgres.database(postgresql) as url:
        open_database(Settings(storage=Storage(directory=tmp_path_factory.mktemp("none"), database=url))).dispose()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def another(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Settings]]:
    """Makes settings with an empty database, of each kind in turn; `bare`: without tables. Other arguments are more
    sections."""
    with ExitStack() as stack:

        def make(*, bare: bool = False, **sections: object) -> Settings:
            url = "sqlite"
            if request.param != "sqlite":
                template = "" if bare else request.getfixturevalue("migrated")
                url = stack.enter_context(postgres.database(request.getfixturevalue("postgresql"), template))
            storage = Storage(directory=tmp_path_factory.mktemp("store"), database=url)
            return Settings(storage=storage, **sections)  # type: ignore[arg-type]

        yield make
