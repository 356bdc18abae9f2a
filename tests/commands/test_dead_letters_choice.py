"""Which letters a command takes, what it remembers of them, and what it refuses. No stage runs."""

import asyncio
import os

import broker
import pytest
from driving import Cli

from pipeline.streaming import client, letters
from pipeline.streaming.letters import Letter
from pipeline.streaming.stage import Record
from pipeline.streaming.topics import TopicNames

NOON_MS = 1_790_000_000_000


def names(cli: Cli) -> TopicNames:
    return TopicNames(cli.settings.kafka.topic_prefix)


def file(cli: Cli, *records: tuple[Record, str, str]) -> None:
    """Put letters of (record, stage, reason) on their topic."""

    async def put() -> None:
        async with client.producer(cli.settings.kafka) as producer:
            for record, stage, reason in records:
                headers = letters.headers(record, stage=stage, reason=reason, stack="Traceback")
                await producer.send_and_wait(
                    names(cli).dead_letters, record.value, record.key, record.partition, headers=headers
                )

    asyncio.run(put())


def three(cli: Cli) -> None:
    """Two letters of validate in partition 1, one of encode in partition 0."""
    intake, validated = names(cli).intake(), names(cli).validated()
    file(
        cli,
        (Record(intake, 1, 5, NOON_MS, b"key", b"\xff one"), "validate", "not JSON in UTF-8: one"),
        (Record(intake, 1, 9, NOON_MS + 1, None, b""), "validate", "Too LONG"),
        (Record(validated, 0, 2, NOON_MS, None, b"three"), "encode", "KeyError: 'x'"),
    )


def states(cli: Cli) -> dict[str, str]:
    return {one["id"]: one["state"] for one in cli.json("dead-letters", "list", "--history")}


def test_replay_puts_back_the_bytes_and_remembers(still: Cli) -> None:
    three(still)
    assert still.json("dead-letters", "replay", "1:0") == [{"id": "1:0", "done": "replayed", "error": None}]
    (record,) = broker.read(still.settings, names(still).intake())
    assert (record.partition, record.key, record.value) == (1, b"key", b"\xff one")
    assert dict(record.headers) == {"origin-offset": b"5", "origin-timestamp": b"%d" % NOON_MS, "attempt": b"2"}
    assert [one["id"] for one in still.json("dead-letters", "list")] == ["1:1", "0:0"]
    (one,) = still.json("dead-letters", "show", "1:0")
    assert (one["state"], one["attempt"], one["firstOffset"], len(one["marks"])) == ("replayed", 1, 5, 1)
    assert "@" in one["marks"][0]["by"]
    assert "replayed" in still("dead-letters", "show", "1:0").stdout
    assert one["marks"][0]["by"] in still("dead-letters", "list", "--history").stdout


def test_what_was_replayed_is_replayed_again_only_on_demand(still: Cli) -> None:
    three(still)
    still("dead-letters", "replay", "1:0")
    assert "--again" in still.refused("dead-letters", "replay", "1:1", "1:0")
    assert len(broker.read(still.settings, names(still).intake())) == 1, "nothing is done where one is refused"
    assert still("dead-letters", "replay", "--again", "--yes", "1:0", "1:1").stdout == "2 replayed\n"
    found = [dict(record.headers) for record in broker.read(still.settings, names(still).intake())]
    assert [(one["origin-offset"], one["attempt"]) for one in found] == [(b"5", b"2"), (b"5", b"3"), (b"9", b"2")]


def test_what_was_dropped_is_never_replayed(still: Cli) -> None:
    three(still)
    assert still("dead-letters", "drop", "1:1").stdout == "1 dropped\n"
    for arguments in (["replay", "1:1"], ["replay", "--again", "1:1"], ["drop", "1:1"]):
        assert "was dropped at" in still.refused("dead-letters", *arguments)
    still("dead-letters", "replay", "--all", "--again", "--yes")
    assert states(still) == {"1:0": "replayed", "1:1": "dropped", "0:0": "replayed"}
    assert "was replayed at" in still.refused("dead-letters", "drop", "1:0")
    assert [r.value for r in broker.read(still.settings, names(still).intake())] == [b"\xff one"]
    assert still("dead-letters", "list").stdout == "no dead letters\n"


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--stage", "encode"], {"0:0"}),
        (["--reason", "too long"], {"1:1"}),
        (["--stage", "validate", "--reason", "json"], {"1:0"}),
        (["--topic", "intake"], {"1:0", "1:1"}),
    ],
)
def test_filters_choose_the_same_for_all_commands(still: Cli, filters: list[str], ids: set[str]) -> None:
    three(still)
    filters = [names(still).intake() if word == "intake" else word for word in filters]
    assert {one["id"] for one in still.json("dead-letters", "list", *filters)} == ids
    done = still.json("dead-letters", "drop", "--all", "--yes", *filters)
    assert {one["id"] for one in done} == ids
    assert {id_ for id_, state in states(still).items() if state == "dropped"} == ids
    assert "no such dead letter" in still.refused("dead-letters", "replay", "--all", "--yes", *filters)


def test_more_than_one_is_asked_about(still: Cli) -> None:
    three(still)
    asked = still("dead-letters", "drop", "--all", stdin="n\n", code=1)
    assert "Drop 3 dead letters (2 from validate of" in asked.stderr
    assert set(states(still).values()) == {"open"}
    assert still("dead-letters", "drop", "--all", stdin="y\n").stdout.endswith("3 dropped\n")  # after the echoed y


def test_a_letter_that_cannot_go_back_stays_open_and_the_others_go(still: Cli) -> None:
    three(still)
    stranger = Record("elsewhere", 0, 1, NOON_MS, None, b"x")
    beyond = Record(names(still).intake(), 99, 1, NOON_MS, None, b"x")
    headers = [letters.headers(record, stage="validate", reason="r") for record in (stranger, beyond)]
    large = Record(names(still).intake(), 2, 1, NOON_MS, None, b"large")

    async def put() -> None:
        async with client.producer(still.settings.kafka, compression_type=None) as producer:
            for told in [*headers, []]:
                await producer.send_and_wait(names(still).dead_letters, b"x", partition=2, headers=told)
            value = os.urandom(client.MAX_RECORD_BYTES + 1000)  # nothing to compress
            told = letters.headers(large, stage="validate", reason="large")
            for sent in (b"before", value, b"behind"):
                await producer.send_and_wait(names(still).dead_letters, sent, partition=2, headers=told)

    asyncio.run(put())
    found = {one["id"]: one for one in still.json("dead-letters", "replay", "--all", "--yes", code=1)}
    assert {id_ for id_, one in found.items() if one["done"]} == {"1:0", "1:1", "0:0", "2:3", "2:5"}
    assert "elsewhere" in found["2:0"]["error"]
    assert "partition 99" in found["2:1"]["error"]
    assert "where its record stood" in found["2:2"]["error"]
    assert "MessageSizeTooLarge" in found["2:4"]["error"]
    assert {id_ for id_, state in states(still).items() if state == "open"} == {
        id_ for id_, one in found.items() if one["error"]
    }


def test_letters_of_an_earlier_version_lend_their_own_time(still: Cli) -> None:
    headers = [("reason", b"r"), ("stage", b"validate"), ("topic", names(still).intake().encode())]
    headers += [("partition", b"0"), ("offset", b"4"), ("stack", b"")]

    async def put() -> int:
        async with client.producer(still.settings.kafka) as producer:
            sent = await producer.send_and_wait(names(still).dead_letters, b"x", partition=0, headers=headers)
            return sent.timestamp

    at = asyncio.run(put())
    still("dead-letters", "replay", "0:0")
    (record,) = broker.read(still.settings, names(still).intake())
    assert dict(record.headers)["origin-timestamp"] == b"%d" % at


def test_many_letters(still: Cli) -> None:
    intake = names(still).intake()
    headers = [letters.headers(Record(intake, 0, n, NOON_MS, None, b""), stage="v", reason="r") for n in range(2500)]

    async def put() -> None:
        async with client.producer(still.settings.kafka) as producer:
            for n, told in enumerate(headers):
                await producer.send(names(still).dead_letters, b"%d" % n, partition=0, headers=told)

    asyncio.run(put())
    assert still("dead-letters", "replay", "--all", "--yes").stdout == "2500 replayed\n"
    assert [int(record.value) for record in broker.read(still.settings, intake)] == list(range(2500))
    assert set(states(still).values()) == {"replayed"}
    assert still("dead-letters", "replay", "--all", "--again", "--yes").stdout == "2500 replayed\n"


def test_marks_are_told_from_letters_by_their_header(still: Cli) -> None:
    three(still)
    still("dead-letters", "drop", "--all", "--yes")
    every = broker.read(still.settings, names(still).dead_letters)
    marks = [record for record in every if "mark" in dict(record.headers)]
    assert (len(every), len(marks), {record.value for record in marks}) == (6, 3, {b""})
    assert sum(isinstance(letters.read(record), Letter) for record in every) == 3
    assert "no dead letter 0:1" in still.refused("dead-letters", "show", "0:1")


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "--all"),
        (["--all", "0:0"], 2, "--all"),
        (["0:0", "--reason", "x"], 2, "--all"),
        (["0"], 2, "PARTITION:OFFSET"),
        (["a:b"], 2, "PARTITION:OFFSET"),
        (["0:-1"], 2, "PARTITION:OFFSET"),
        (["0:" + "9" * 40], 2, "PARTITION:OFFSET"),
        (["0:99999"], 1, "no dead letter 0:99999"),
        (["99:0"], 1, "no dead letter 99:0"),
        (["0:" + "9" * 18], 1, "no dead letter"),
        (["--all"], 1, "no such dead letter"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "drop"])
def test_bad_arguments(running: Cli, command: str, arguments: list[str], code: int, named: str) -> None:
    arguments = ["--stage", "none", *arguments] if arguments == ["--all"] else arguments
    assert named in running.refused("dead-letters", command, *arguments, code=code)
