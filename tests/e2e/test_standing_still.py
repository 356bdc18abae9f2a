"""A process that stands still is replaced where others wait for it, and waited for where it is the broker."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from endtoend import User, numbers

from pipeline.ops.rig import Rig

pytestmark = pytest.mark.e2e

SILENCE = 6.0


def test_workers_are_replaced_and_the_broker_is_waited_for(alone: None) -> None:
    overrides = {"SMS_KAFKA__PARTITIONS": "4"}
    with Rig(overrides=overrides, silence=SILENCE) as rig, User(rig.settings.kafka.bootstrap_servers) as user:
        user.run(_open_account(rig))
        for name in ("intake-0", "gateway"):
            _replaces(rig, user, name)
        _waits_for_the_broker(rig, user)
        assert rig.stats()["repeatedReferences"] == 0


def _replaces(rig: Rig, user: User, name: str) -> None:
    stopped, began = rig.system.pids[name], time.monotonic()
    os.kill(stopped, signal.SIGSTOP)
    _until(rig, lambda: rig.system.pids.get(name) not in (None, stopped))
    assert time.monotonic() - began > SILENCE - 1  # its last word was a little before
    _delivers(rig, user)
    rig.wait_ready()


def _waits_for_the_broker(rig: Rig, user: User) -> None:
    broker, until = rig.system.pids["kafka"], time.monotonic() + 1.5 * SILENCE
    os.kill(broker, signal.SIGSTOP)
    _until(rig, lambda: time.monotonic() > until)
    os.kill(broker, signal.SIGCONT)
    _delivers(rig, user)
    assert rig.system.pids["kafka"] == broker


def _delivers(rig: Rig, user: User) -> None:
    request = user.send(numbers(20))
    _until(rig, lambda: sum(told["final"] for told in user.told(request)) >= 20)
    assert {(told["state"], str(told["error"])) for told in user.fates(request, 20)} == {("DELIVERED", "None")}


def _until(rig: Rig, condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, rig.system.pids
        rig.tick()
        time.sleep(0.2)


async def _open_account(rig: Rig) -> None:
    async with rig.producer() as producer:
        await rig.open_account(producer)
