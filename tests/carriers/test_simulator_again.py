"""The simulator after a restart, which must still be the same carrier, and in phases of other habits."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.carriers.base import Accepted, Answered, SlowDown, Unknown
from pipeline.carriers.http import HttpCarrier
from pipeline.carriers.simulator import Behaviour, Journal, Receipts, Stats, create_app
from pipeline.config import HttpCarrier as Config


class Gateway:
    """Takes receipts, and keeps their carrier's ids."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.ids += [receipt["id"] for receipt in json.loads(body)["receipts"]]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
def started(serve, tmp_path: Path):
    """`async with started(behaviour, gateway) as (carrier, web, stats)`: each time a new process on one journal."""

    @asynccontextmanager
    async def start(behaviour: Behaviour, gateway: Any = None) -> AsyncIterator[Any]:
        async with serve(gateway or Gateway()) as url:
            stats = Stats()
            with Journal(tmp_path / "journal.ndjson") as journal:
                receipts = Receipts(f"{url}/receipts" if gateway else None, None, stats)
                async with (
                    serve(create_app(behaviour, journal, receipts, stats)) as address,
                    httpx.AsyncClient(base_url=address, trust_env=False) as web,
                ):
                    carrier = HttpCarrier("sim", Config(url=f"{address}/messages", timeout=1.0))
                    yield carrier, web, stats
                    await carrier.close()

    return start


def ids(outcome: Any) -> list[str]:
    assert isinstance(outcome, Answered)
    return [result.id for result in outcome.results if isinstance(result, Accepted)]


def test_a_key_from_before_a_restart_is_known(started, batch) -> None:
    async def run() -> None:
        behaviour = Behaviour(cut=0.5, seed=3)
        async with started(behaviour) as (carrier, _, stats):
            outcomes = {str(n): await carrier.submit(batch(10, first=10 * n), str(n)) for n in range(10)}
            assert stats.accepted == 100
        async with started(behaviour) as (carrier, _, stats):
            for n, before in outcomes.items():
                for _ in range(20):
                    after = await carrier.submit(batch(10, first=10 * int(n)), n)
                    if isinstance(after, Answered):
                        break
                assert isinstance(before, Unknown) or ids(before) == ids(after)
            assert (stats.accepted, stats.repeated_references) == (0, 0)
            assert len(ids(await carrier.submit(batch(1, first=5), "another key"))) == 1
            assert stats.repeated_references == 1, "it was accepted before the restart"

    asyncio.run(run())


def test_receipts_owed_at_a_restart_are_sent_after_it(started, batch) -> None:
    async def run() -> None:
        gateway = Gateway()
        async with started(Behaviour(receipt_delay=(60, 60)), gateway) as (carrier, _, _):
            taken = ids(await carrier.submit(batch(10), "k"))
        assert gateway.ids == []
        async with started(Behaviour(receipt_delay=(0, 0)), gateway) as (_, _, stats), asyncio.timeout(10):
            while stats.receipts_pending:  # noqa: ASYNC110  (another server's figure)
                await asyncio.sleep(0.02)
        assert sorted(gateway.ids) == sorted(taken)

    asyncio.run(run())


def test_a_phase_begins_and_ends_at_once(started, batch) -> None:
    async def run() -> None:
        async with started(Behaviour(retry_after=0)) as (carrier, web, _):
            assert isinstance(await carrier.submit(batch(1), "a"), Answered)
            assert (await web.put("/phase", json={"unavailable": 1.0})).status_code == 204
            assert isinstance(await carrier.submit(batch(1), "b"), SlowDown)
            assert (await web.put("/phase", json={"latency": 5.0})).status_code == 204
            assert isinstance(await carrier.submit(batch(1), "c"), Unknown)
            assert (await web.put("/phase", json={})).status_code == 204
            assert isinstance(await carrier.submit(batch(1), "d"), Answered)
            for wrong in ({"silent": 1.0}, {"cut": 0.9, "error": 0.9}, {"cut": 2}):
                assert (await web.put("/phase", json=wrong)).status_code == 422

    asyncio.run(run())
