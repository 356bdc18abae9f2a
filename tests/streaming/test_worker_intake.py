"""A worker at its ordinary and its worst records."""

import os
from collections.abc import Callable, Iterator

import broker
import pytest
from working import STAGES, Worker, balance, names, number, open_account, request, statuses, wait_for

from pipeline.config import Settings
from pipeline.streaming import client


@pytest.fixture(scope="module")
def running(make_settings: Callable[[], Settings]) -> Iterator[Settings]:
    settings = make_settings()
    worker = Worker(settings, STAGES, "one")
    try:
        worker.wait_ready()
        open_account(settings)
        wait_for(lambda: balance(settings))
        yield settings
        assert worker.process.poll() is None, "the worker died on the way"
    finally:
        worker.stop()


def states(settings: Settings, *requests: str) -> dict[str, list[str]]:
    """The states told of each of these requests."""
    found: dict[str, list[str]] = {name: [] for name in requests}
    for status in statuses(settings):
        if status["requestId"] in found:
            found[status["requestId"]].append(status["detailedState"])
    return found


def test_the_same_request_from_everywhere_is_one_set_of_messages(running: Settings):
    value = request("repeated", number(1), number(2))
    for partition in (0, 1, 2, 0, 1):
        broker.produce(running, names(running).intake(), [(None, value, partition)])
    broker.produce(running, names(running).intake(".priority"), [(None, value, 2)])
    broker.produce(running, names(running).intake(), [(None, request(f"after-{p}", number(3)), p) for p in range(3)])
    wait_for(lambda: all(states(running, "after-0", "after-1", "after-2").values()))
    mine = [s for s in statuses(running) if s["requestId"] == "repeated"]
    assert sorted((s["index"], s["recipient"]) for s in mine) == [(0, number(1)), (1, number(2))]


def test_another_content_under_the_same_id_is_refused(running: Settings):
    for text in ("one", "two", "two"):
        broker.produce(running, names(running).intake(), [(None, request("reused", number(1), message=text), 0)])
    broker.produce(running, names(running).intake(), [(None, request("behind", number(1)), 0)])
    wait_for(lambda: states(running, "behind")["behind"])
    wait_for(lambda: len(states(running, "reused")["reused"]) == 2)
    assert sorted(states(running, "reused")["reused"]) == ["ACCEPTED", "REJECTED"]


@pytest.mark.parametrize("lane", ["", ".priority"])
def test_single_messages_that_wait_are_worked_on_together(running: Settings, lane: str):
    """Five hundred in one partition are a few windows' work, not a step each: so few records leave the stage."""
    requests = [f"crowd{lane}-{place}" for place in range(500)]
    before = len(broker.read(running, names(running).validated(lane)))
    rows = [(None, request(name, number(place)), 0) for place, name in enumerate(requests)]
    broker.produce(running, names(running).intake(lane), rows)  # type: ignore[arg-type]
    wait_for(lambda: all(states(running, *requests).values()))
    assert len(broker.read(running, names(running).validated(lane))) - before < 150


POISON = [b"not json", b"\xff\x00\x80", b"[]", b'{"account": "acme"}', b'{"account": 5, "recipients": ["+39"]}', b""]


def test_poison_goes_to_the_dead_letters_untouched_and_its_neighbours_pass(running: Settings):
    topic, rows = names(running).intake(), []
    for place, poison in enumerate(POISON):
        rows += [(None, request(f"good-{place}", number(place)), 1), (b"key-%d" % place, poison, 1)]
    broker.produce(running, topic, [*rows, (None, request("good-last", number(9)), 1)])
    good = [f"good-{place}" for place in range(len(POISON))] + ["good-last"]
    wait_for(lambda: all(states(running, *good).values()))
    assert states(running, *good) == {name: ["ACCEPTED"] for name in good}
    letters = {r.key: r for r in broker.read(running, names(running).dead_letters) if (r.key or b"").startswith(b"key")}
    sources = {r.key: r for r in broker.read(running, topic) if r.key in letters}
    assert {key: letter.value for key, letter in letters.items()} == {b"key-%d" % n: p for n, p in enumerate(POISON)}
    for key, letter in letters.items():
        headers = {name: value.decode() for name, value in letter.headers}
        assert set(headers) == {"reason", "stage", "topic", "partition", "offset", "timestamp", "attempt", "stack"}
        assert (headers["timestamp"], headers["attempt"]) == (str(sources[key].timestamp), "1")
        assert (headers["stage"], headers["topic"], headers["partition"]) == ("validate", topic, "1")
        assert int(headers["offset"]) == sources[key].offset
        assert headers["stack"].startswith("Traceback")
        assert headers["reason"].strip()
        assert "pipeline.streaming" not in headers["reason"]


@pytest.mark.parametrize(
    ("stage", "topic"),
    [
        ("encode", "validated"),
        ("moderate", "encoded"),
        ("price", "moderated"),
        ("price", "credits"),
        ("price", "settlements"),
        ("track", "outcomes"),
        ("track", "receipts"),
        ("track", "references"),
        ("track", "ticks"),
    ],
)
def test_poison_inside_is_set_aside_too(running: Settings, stage: str, topic: str):
    place = running.kafka.topic_prefix + topic
    poison = b"\xc1 poison of " + topic.encode()
    broker.produce(running, place, [(None, poison, 0)])

    def found() -> list[dict[str, str]]:
        letters = [r for r in broker.read(running, names(running).dead_letters) if r.value == poison]
        return [{name: value.decode() for name, value in r.headers} for r in letters]

    (headers,) = wait_for(found)
    assert (headers["stage"], headers["topic"], headers["partition"]) == (stage, place, "0")


def test_a_record_without_value_is_set_aside(running: Settings):
    topic = names(running).intake()
    broker.produce(running, topic, [(b"none", None, 0), (None, request("behind-none", number(1)), 0)])
    wait_for(lambda: states(running, "behind-none")["behind-none"])
    assert [r.key for r in broker.read(running, names(running).dead_letters) if r.key == b"none"] == [b"none"]


def test_a_poison_record_of_the_largest_size_is_set_aside(settings: Settings, start: Callable[..., Worker]):
    """As large as the intake takes: with its headers the dead letter is larger still."""
    broker.create_topics(settings)
    worker = start(settings, ["validate"], "one").wait_ready()
    poison = os.urandom(client.MAX_RECORD_BYTES - 500)
    broker.produce(settings, names(settings).intake(), [(None, poison, 0)])

    def found() -> list[bytes]:
        assert worker.process.poll() is None, "the worker ended itself over it, and will at every start"
        return [r.value for r in broker.read(settings, names(settings).dead_letters)]

    assert wait_for(found) == [poison]
