from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.ops.supervisor import Supervisor


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """Makes the supervisor of a test, which stops what it started."""
    made: list[Supervisor] = []

    def make(**arguments: Any) -> Supervisor:
        made.append(Supervisor(tmp_path / "logs", **arguments))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()
