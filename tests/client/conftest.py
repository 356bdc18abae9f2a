import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from flaky import Flaky


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    with Flaky() as server:
        yield server
