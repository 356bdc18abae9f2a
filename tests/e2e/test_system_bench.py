"""`bench --http` on a running system, with tiny numbers."""

import re

import pytest
from rich.console import Console
from wholesystem import System

from pipeline.commands import bench_http
from pipeline.commands.bench_http import HttpBench

pytestmark = pytest.mark.e2e


def test_bench_holds_the_gateway_against_a_bare_route(plain: System) -> None:
    console = Console(record=True, width=120, quiet=True)
    bench = HttpBench(plain.rig, connections=2, seconds=0.2, rounds=1, console=console, per_post=3)
    found = bench.run()
    bench.drain()
    assert all(found[name]["otherAnswers"] == {} for name in ("bare", "single", "system", "bulk"))
    assert found["bare"]["requestsPerSecond"] > found["single"]["requestsPerSecond"] > 0
    assert found["system"]["requestsPerSecond"] > 0
    assert found["bulk"]["recipientsPerSecond"] == 3 * found["bulk"]["requestsPerSecond"] > 0
    assert 0 < found["ratio"] < 1
    assert len(found["roundsRatio"]) == len(found["bulk"]["rounds"]) == 1
    for name in ("bare", "single", "system", "bulk"):
        assert 0 < found[name]["p50"] <= found[name]["p99"]
    console = Console(record=True, width=120)
    bench_http.show(console, found)
    told = console.export_text()
    assert re.search(r"bare FastAPI route .*\d", told)
    assert f"singles: {found['ratio']} of the bare route's rate" in told
