from collections.abc import Iterator
from pathlib import Path

import pytest
from stepping import Table, tables


@pytest.fixture(scope="module")
def shared_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """One store for all examples of a property, which clear it."""
    yield from tables(tmp_path_factory.mktemp("table"))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    yield from tables(tmp_path / "table")
