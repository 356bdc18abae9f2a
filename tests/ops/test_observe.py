"""What a process tells of itself."""

import asyncio
import time
import urllib.error
import urllib.request

import pytest

from pipeline.ops import observe
from pipeline.streaming import pulse


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def test_ready_when_told_and_metrics_always() -> None:
    ready = False
    port = observe.serve("127.0.0.1", 0, lambda: ready)
    assert [get(port, path) for path in ("/health/ready", "/health/live", "/metrics", "/")] == [503, 200, 200, 404]
    ready = True
    assert get(port, "/health/ready") == 200


def test_live_while_the_loop_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    port = observe.serve("127.0.0.1", 0, lambda: True)

    async def beat_once() -> None:
        task = asyncio.create_task(pulse.keep())
        await asyncio.sleep(0)
        task.cancel()

    monkeypatch.setattr(pulse, "_last", float("inf"))
    assert pulse.age() == float("-inf")
    asyncio.run(beat_once())
    assert 0 <= pulse.age() < 5
    assert get(port, "/health/live") == 200
    monkeypatch.setattr(pulse, "_last", time.monotonic() - 6)
    assert get(port, "/health/live") == 503
