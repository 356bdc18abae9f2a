from collections.abc import Callable

import pytest
from working import STAGES, Worker

from pipeline.config import Settings


@pytest.mark.parametrize("time", [1, 2, 3])
def test_workers_that_start_together_all_become_ready(settings: Settings, start: Callable[..., Worker], time: int):
    """On topics that none of them finds: whoever comes first creates, and groups form while others join."""
    workers = [start(settings, STAGES, f"w{n}") for n in range(3)]
    for worker in workers:
        worker.wait_ready(60)
    for worker in workers:
        worker.kill()
