"""`make scale` in its short form: the long one takes minutes and is run by hand, and must not rot meanwhile."""

import subprocess
import sys
from pathlib import Path


def test_the_measurement_of_ten_million_messages_runs_with_a_few() -> None:
    root = Path(__file__).parents[2]
    arguments = [sys.executable, "-m", "tests.store.scale", "--messages", "3000", "--changes", "5000"]
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") >= 25
    assert "state changes a second" in done.stdout
