"""The stage's function driven by hand: repeats, crashes in the middle of a window, order, what a result means."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from calling import DELIVERED, PENDING, batch, notice
from stepping import SETTINGS, Log, Table, decides

from pipeline.callbacks import queues, stage
from pipeline.callbacks.endpoints import Endpoints
from pipeline.callbacks.records import Entry, Outcome, Result, decode_delivery
from pipeline.records import Batch, encode
from schemas.states import Detailed

CALLBACK = {"url": "https://client.example/hook", "retry": 2}
NEWS, RESULTS = "t.callbacks", "t.callback-results"


class Stage:
    """The stage on one store."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.logs = {topic: Log(topic) for topic in (NEWS, RESULTS)}
        self._decide = decides(stage.sources(SETTINGS, Endpoints()))
        self.logged: list = []

    def take(self, topic: str, *values: bytes, **crash: object) -> None:
        """Records in one window. With a crash it is cut short there, and comes again."""
        rows = [self.logs[topic].append(value) for value in values]
        if crash:
            self.table.window(self._decide[topic], rows, **crash)
        sent = self.table.window(self._decide[topic], rows)
        self.logged += [decode_delivery(value) for value in sent.rows.get("t.callback-deliveries", [])]

    def tell(self, about: Batch, *states: Detailed, **crash: object) -> None:
        self.take(NEWS, *(encode([notice(about, state)]) for state in states), **crash)

    def queue(self) -> list[tuple[bytes, str]]:
        """Keys and events of what may be called for."""
        return [(key, self.table.get(key, Entry).event.type) for key in self.table.keys(queues.QUEUE)]

    def settle(self, outcome: Outcome, *keys: bytes, due: int = 0, **crash: object) -> None:
        result = Result(list(keys), outcome, 1, due, 5, 200, "", "id", "https://client.example/hook")
        self.take(RESULTS, encode([result]), **crash)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Stage]:
    table = Table(tmp_path / "table")
    yield Stage(table)
    table.store.close()


def test_a_later_move_waits_for_an_earlier_one(one: Stage) -> None:
    one.tell(batch(1, callback=CALLBACK), PENDING, DELIVERED)
    ((key, type_),) = one.queue()
    assert type_ == "message.pending"
    one.settle(Outcome.DELIVERED, key)
    ((key, type_),) = one.queue()
    assert type_ == "message.delivered"
    one.settle(Outcome.GIVEN_UP, key)
    assert one.queue() == one.table.keys(b"s") == []
    assert [(d.outcome, d.events[0].type, d.callback is not None) for d in one.logged] == [
        (Outcome.DELIVERED, "message.pending", True), (Outcome.GIVEN_UP, "message.delivered", True)
    ]  # fmt: skip


@pytest.mark.parametrize("crash", [{"later": False}, {"sent": False}])
def test_a_repeated_window_changes_nothing(one: Stage, crash: dict) -> None:
    about = batch(3, callback=CALLBACK)
    one.tell(about, PENDING, **crash)
    before = one.queue()
    assert len(before) == 3
    one.tell(about, PENDING)  # told again by track, after a crash of its own
    one.tell(about, Detailed.ENROUTE)
    assert one.queue() == before
    one.settle(Outcome.DELIVERED, before[0][0], **crash)
    one.settle(Outcome.DELIVERED, before[0][0])
    assert one.queue() == before[1:]
    assert len(one.logged) == 1


def test_what_comes_late_is_not_told(one: Stage) -> None:
    about = batch(1, callback=CALLBACK)
    one.tell(about, DELIVERED)
    one.tell(about, PENDING)
    assert [type_ for _, type_ in one.queue()] == ["message.delivered"]


def test_a_failed_call_is_due_later(one: Stage) -> None:
    one.tell(batch(1, callback=CALLBACK), PENDING)
    ((key, _),) = one.queue()
    due = queues.due_of(key) + 5000
    one.settle(Outcome.RETRYING, key, due=due)
    ((again, _),) = one.queue()
    assert (queues.due_of(again), queues.lane_of(again)) == (due, queues.lane_of(key))
    assert one.table.get(again, Entry).attempt == 1
    assert (one.logged[0].due, one.logged[0].events[0].data) == (due, b"")


def test_lanes_are_accounts_and_hosts() -> None:
    lane = queues.callback_lane("acme", "https://client.example/a?b=1")
    assert lane == queues.callback_lane("acme", "https://CLIENT.example/c")
    assert lane != queues.callback_lane("globex", "https://client.example/a")
    assert lane != queues.callback_lane("acme", "https://client.example:444/a")
    assert len({lane, queues.endpoint_lane("acme"), queues.endpoint_lane("ep_1")}) == 3
