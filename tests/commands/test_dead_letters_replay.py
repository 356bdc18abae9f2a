"""From poison to an accepted message: real stages dead-letter a request, are mended, and take its replay once."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import broker
import orjson
import pytest
from driving import Cli, wait_for

from pipeline import ids
from pipeline.ops.child import spawn, tail, terminate
from pipeline.ops.ports import free_port
from pipeline.ops.system import command
from pipeline.streaming.topics import TopicNames

STAGES = ["validate", "encode", "moderate", "price", "track"]
#: Bytes of a request that the stages take while they are broken; afterwards it is the usual.
SMALL = {"SMS_LIMITS__REQUEST_BYTES": "1024"}
RECIPIENTS = 80


@contextmanager
def stages(cli: Cli, **environment: str) -> Iterator[None]:
    """All stages but dispatch, in one process: what is sent stays accepted."""
    port = free_port()
    argv = [*command(), "worker", *STAGES, "--metrics-port", str(port), "--instance", "one"]
    log = cli.settings.storage.directory / "worker.log"
    worker = spawn(argv, log=log, env=cli.environment | environment)

    def ready() -> bool:
        assert worker.poll() is None, tail(log, 40)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        wait_for(ready, 60)
        yield
        assert worker.poll() is None, tail(log, 40)
    finally:
        terminate(worker, 30)


@pytest.fixture
def cli(kafka: str, tmp_path: Path) -> Cli:
    cli = Cli(broker.settings_for(kafka, tmp_path))
    broker.create_topics(cli.settings)
    return cli


def names(cli: Cli) -> TopicNames:
    return TopicNames(cli.settings.kafka.topic_prefix)


def request(**more: str) -> bytes:
    """More than 1,024 bytes."""
    recipients = [f"+39333{place:07d}" for place in range(RECIPIENTS)]
    return orjson.dumps({"account": "acme", "recipients": recipients, "message": "Hello"} | more)


def settled(cli: Cli) -> bool:
    """Whether no stage has anything before it (ask twice: a record may slip from one to the next meanwhile)."""
    return not any(behind for row in cli.json("topics") for behind in row["lag"].values())


def told(cli: Cli) -> list[tuple[str, str, str]]:
    """Every status record: id, recipient, state."""
    found = [orjson.loads(record.value) for record in broker.read(cli.settings, names(cli).status)]
    return [(one["id"], one["recipient"], one["detailedState"]) for one in found]


def open_letters(cli: Cli, count: int) -> list[str]:
    """The ids of the open letters, once there are so many."""

    def found() -> list[str]:
        return [one["id"] for one in cli.json("dead-letters", "list")]

    return wait_for(lambda: len(now := found()) == count and now, 30)


def test_a_request_refused_for_its_size_is_accepted_once_when_the_limit_is_raised(cli: Cli) -> None:
    """It has no request id: its ids come from where it stood at first."""
    value = request()
    with stages(cli, **SMALL):
        cli("account", "create", "acme", "--credit", "1000")
        broker.produce(cli.settings, names(cli).intake(), [(b"key", value, 1)])
        (first,) = open_letters(cli, 1)
        cli("dead-letters", "replay", first)  # too early: nothing was mended
        (second,) = open_letters(cli, 1)
    (one,) = cli.json("dead-letters", "show", second)
    assert (one["attempt"], one["firstOffset"], one["offset"], one["key"]) == (2, 0, 1, "key")
    assert told(cli) == []

    (source, _) = broker.read(cli.settings, names(cli).intake())
    request_hash = ids.record_hash(source.topic, 1, 0, source.timestamp, value)
    batch = ids.batch_id(request_hash, 0, source.timestamp)
    expected = {(ids.message_id(batch, place), f"+39333{place:07d}", "ACCEPTED") for place in range(RECIPIENTS)}
    with stages(cli):
        cli("dead-letters", "replay", "--all")
        accepted = wait_for(lambda: len(found := told(cli)) == RECIPIENTS and found, 30)
        assert set(accepted) == expected
        money = cli.json("account", "show", "acme")

        assert "was replayed" in cli.refused("dead-letters", "replay", second)
        cli("dead-letters", "replay", "--again", "--yes", first, second)
        records = broker.read(cli.settings, names(cli).intake())
        assert [(record.key, record.value) for record in records] == [(b"key", value)] * 5
        wait_for(lambda: settled(cli) and settled(cli), 30)
    assert told(cli) == accepted
    assert cli.json("account", "show", "acme") == money
    assert cli("dead-letters", "list").stdout == "no dead letters\n"


def test_replays_among_new_requests_and_repeats_by_the_client(cli: Cli) -> None:
    """The client sent it again under its request id, meanwhile; whoever comes first, it is sent once."""
    with stages(cli, **SMALL):
        cli("account", "create", "acme", "--credit", "1000")
        rows = [(None, request(requestId=f"r{number}"), number % 3) for number in range(6)]
        broker.produce(cli.settings, names(cli).intake(), rows)
        letters = open_letters(cli, 6)
        cli("dead-letters", "drop", letters[0])
    dropped = broker.read(cli.settings, names(cli).dead_letters)
    (lost,) = [orjson.loads(r.value)["requestId"] for r in dropped if f"{r.partition}:{r.offset}" == letters[0]]
    with stages(cli):
        broker.produce(cli.settings, names(cli).intake(), [(None, value, 2) for _, value, _ in rows[3:]])
        cli("dead-letters", "replay", "--all", "--reason", "split the request", "--yes")
        wait_for(lambda: settled(cli) and len(told(cli)) >= 5 * RECIPIENTS, 30)
        wait_for(lambda: settled(cli) and settled(cli), 30)
    found = told(cli)
    sent = {orjson.loads(value)["requestId"] for _, value, _ in rows} - (
        {lost} if lost in {"r0", "r1", "r2"} else set()
    )
    assert len(found) == len({id_ for id_, _, _ in found}) == len(sent) * RECIPIENTS


def test_poison_inside_comes_back_to_the_stage_that_failed_on_it(cli: Cli) -> None:
    """What no stage will ever read ends with the letters again, tried twice, and can be dropped."""
    poison = os.urandom(50)
    with stages(cli):
        broker.produce(cli.settings, names(cli).encoded(), [(None, poison, 2)])
        (first,) = open_letters(cli, 1)
        cli("dead-letters", "replay", first)
        (second,) = wait_for(lambda: (now := open_letters(cli, 1)) != [first] and now, 30)
    (one,) = cli.json("dead-letters", "show", second)
    assert (one["stage"], one["topic"], one["partition"]) == ("moderate", names(cli).encoded(), 2)
    assert (one["offset"], one["firstOffset"], one["attempt"]) == (1, 0, 2)
    cli("dead-letters", "drop", "--all")
    assert [one["state"] for one in cli.json("dead-letters", "list", "--history")] == ["replayed", "dropped"]
