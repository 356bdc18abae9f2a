"""The projector, run until the read model has what it is to have."""

import asyncio
import time

from pipeline.store.database import open_database
from pipeline.store.projector import run_projector
from pipeline.store.queries import ReadModel


def project(settings, until) -> None:
    """Run the projector until `until(read model)` holds, then stop it."""

    async def run() -> None:
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(run_projector(settings, ready=ready, stop=stop))
        await asyncio.wait_for(ready.wait(), 20)
        model = ReadModel(open_database(settings))
        deadline = time.monotonic() + 20
        while not until(model):
            assert not task.done() and time.monotonic() < deadline, model.counts()
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(task, 10)
        model.close()

    asyncio.run(run())
