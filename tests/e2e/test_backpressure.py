"""A carrier ten times slower than the intake fills its own topic: not memory, not another carrier's queue, and no
consumer group. Then it refuses everything for a while, and afterwards takes its backlog at its own throughput."""

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from endtoend import User, assert_one_final_each, numbers, wait_for

from pipeline.ops.rig import Carrier, Rig

pytestmark = pytest.mark.e2e

#: Messages to each carrier. Those to the slow one have a long text each: 5 MB of them wait in its topic.
REQUESTS, EACH = 6, 400
PARTS = 5
#: Of the slow carrier, parts a second; the stages before it pass on more than ten times as many.
THROUGHPUT = 800
REFUSING_SECONDS = 4.0
#: By how much the dispatch worker's memory may grow: its streams' buffers hold 180 records each.
GROWTH_BYTES = 64_000_000
#: A login code, from the intake to its receipt, on a machine that does much else.
CODE_SECONDS = 5.0
PREFIXES = {"fast": "+39320", "slow": "+491512"}
CREDIT = 10**11
QUICK = ["--receipt-delay", "0", "0.2"]
BACKLOG = "sms.dispatch.slow"


class Watch:
    """What is seen while the campaign is under way. The rig wants to be ticked all the time."""

    def __init__(self, rig: Rig, user: User) -> None:
        self.rig, self.user = rig, user
        self.rss = resident(rig)
        self.most_rss = self.backlog = self.most_backlog = 0
        self.sending = True
        self._codes: dict[str, tuple[str, float]] = {}  # to each carrier: the request under way, and since when
        self._sent = 0
        self.late: dict[str, list[float]] = {carrier: [] for carrier in PREFIXES}  # seconds to the receipt

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Look around and send login codes until the condition holds; how long that took."""
        began = time.monotonic()

        def look() -> bool:
            self._look()
            return condition()

        wait_for(look, seconds, "what the campaign waits for")
        return time.monotonic() - began

    def _look(self) -> None:
        self.rig.tick()
        lag = self.rig.metrics()["sms_stage_lag_records"]
        self.backlog = int(lag.get(("dispatch", BACKLOG), 0))
        self.most_backlog = max(self.most_backlog, self.backlog)
        self.most_rss = max(self.most_rss, resident(self.rig))
        for carrier, (request, sent) in list(self._codes.items()):
            if any(told["final"] for told in self.user.told(request)):
                self.late[carrier].append(time.monotonic() - sent)
                del self._codes[carrier]
        for carrier in PREFIXES.keys() - self._codes.keys() if self.sending else ():
            self._sent += 1
            (number,) = numbers(1, PREFIXES[carrier], self._sent)
            request = self.user.send([number], "Your code is 1234", lane=".priority")
            self._codes[carrier] = request, time.monotonic()

    def codes_are_through(self) -> bool:
        """Send no more; whether all are told of."""
        self.sending = False
        return not self._codes


def test_a_slow_carrier_holds_its_own_queue_only() -> None:
    carriers = {
        "fast": Carrier(QUICK),
        "slow": Carrier(QUICK, {"throughput": THROUGHPUT, "batch": 20}),
    }
    routes = [{"prefix": "39", "carriers": ["fast"]}, {"prefix": "49", "carriers": ["slow"]}]
    overrides = {"SMS_KAFKA__PARTITIONS": "4"}
    with (
        Rig(carriers=carriers, routes=routes, overrides=overrides) as rig,
        User(rig.settings.kafka.bootstrap_servers) as user,
    ):
        user.run(_open_account(rig))
        user.money(lambda balance, reserved: balance > 0)
        user.fates(user.send([*numbers(20), *numbers(20, "+491512")]), 40)  # what is loaded late is loaded now
        generations, pids = groups(rig), rig.system.pids
        watch = Watch(rig, user)
        slow, fast = campaign(user)

        # The other carrier's messages end while the slow one's wait in its topic.
        took = watch.until(lambda: ended(user, fast) == REQUESTS * EACH)
        left = REQUESTS * EACH - rig.stats("slow")["accepted"]
        assert left > REQUESTS * EACH / 4, f"the carriers were as fast as each other: {took:.1f} s"
        assert watch.most_backlog > 4

        # The slow one refuses what it is offered: nothing is lost, nothing else stands still.
        behave(rig, "slow", unavailable=1.0)
        refused = rig.stats("slow")
        over = time.monotonic() + REFUSING_SECONDS
        watch.until(lambda: time.monotonic() > over)
        assert rig.stats("slow")["accepted"] <= refused["accepted"] + 2 * THROUGHPUT // PARTS
        assert rig.stats("slow")["throttled"] > refused["throttled"]
        assert watch.backlog > 0
        behave(rig, "slow")

        # Its backlog drains at its throughput.
        before = rig.stats("slow")["accepted"]
        drained = watch.until(lambda: ended(user, slow) == REQUESTS * EACH)
        rate = (rig.stats("slow")["accepted"] - before) * PARTS / drained
        assert THROUGHPUT / 2 < rate < 1.2 * THROUGHPUT
        watch.until(watch.codes_are_through)
        check(watch, generations, pids)


def check(watch: Watch, generations: dict[str, int], pids: dict[str, int]) -> None:
    rig, user = watch.rig, watch.user
    assert watch.most_rss - watch.rss < GROWTH_BYTES
    assert rig.system.pids == pids
    assert groups(rig) == generations, "a consumer group was rebalanced"
    assert "stage.not_ready" not in (rig.directory / "logs" / "dispatch-0.log").read_text().partition("stage.ready")[2]
    assert max(watch.late["fast"]) < CODE_SECONDS, watch.late
    assert max(watch.late["slow"]) < REFUSING_SECONDS + CODE_SECONDS, watch.late
    for told in user.everything().values():
        assert_one_final_each(told)
    ends = {one["id"]: one["state"] for told in user.everything().values() for one in told if one["final"]}
    assert set(ends.values()) == {"DELIVERED"}
    taken = Counter(json.loads(line)["reference"] for name in rig.journals for line in rig.journals[name].open())
    assert set(taken.values()) == {1}
    assert ends.keys() <= taken.keys()
    assert user.no_dead_letters_but([]) == []


def campaign(user: User) -> tuple[list[str], list[str]]:
    """Requests to the slow and to the fast carrier, in turn."""
    slow, fast = [], []
    for n in range(REQUESTS):
        recipients = [
            {"number": number, "fields": {"text": f"{number} " + "x" * (153 * (PARTS - 1))}}
            for number in numbers(EACH, "+491514", n * EACH)
        ]
        slow.append(user.send(recipients, "{{text}}"))
        fast.append(user.send(numbers(EACH, first=n * EACH)))
    return slow, fast


def ended(user: User, requests: list[str]) -> int:
    return sum(told["final"] for request in requests for told in user.told(request))


def behave(rig: Rig, carrier: str, **phase: float) -> None:
    """How the carrier answers from now on."""
    url = f"{rig.simulator_urls[carrier]}/phase"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(phase).encode(), method="PUT"), timeout=5).close()


def groups(rig: Rig) -> dict[str, int]:
    """The generation of every consumer group, as the broker last told it."""
    log = (rig.directory / "kafka" / "broker.log").read_text()
    return {group: int(generation) for group, generation in re.findall(r"Stabilized group (\S+) generation (\d+)", log)}


def resident(rig: Rig) -> int:
    """Memory of the dispatch worker, in bytes."""
    return int(Path(f"/proc/{rig.system.pids['dispatch-0']}/statm").read_text().split()[1]) * 4096


async def _open_account(rig: Rig) -> None:
    async with rig.producer() as producer:
        await rig.open_account(producer, CREDIT)
