import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import broker
import pytest
from aiokafka import TopicPartition
from driving import Cli, wait_for
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.streaming import client, topics
from pipeline.streaming.topics import TopicNames


def by_name(cli: Cli) -> dict[str, dict[str, Any]]:
    prefix = cli.settings.kafka.topic_prefix
    return {row["topic"].removeprefix(prefix): row for row in cli.json("topics")}


def test_topics_before_and_after_they_are_created(kafka: str, tmp_path: Path) -> None:
    cli = Cli(broker.settings_for(kafka, tmp_path, partitions=2))
    every = len(topics.catalogue(cli.settings))
    rows = by_name(cli)
    assert len(rows) == every
    assert not any(row["exists"] for row in rows.values())
    assert cli("topics", "create").stdout.splitlines()[-1] == f"{every} topics created, 0 were there"
    rows = by_name(cli)
    assert all(row["exists"] for row in rows.values())
    assert rows["status"] | {"holds": ""} == {
        "topic": f"{cli.settings.kafka.topic_prefix}status",
        "holds": "",
        "partitions": 2,
        "public": True,
        "exists": True,
        "records": 0,
        "lag": {},
    }
    assert (rows["accounts"]["partitions"], rows["encoded"]["public"]) == (1, False)


def test_records_and_lag(running: Cli) -> None:
    names = TopicNames(running.settings.kafka.topic_prefix)
    before = by_name(running)["intake"]["records"]
    broker.produce(running.settings, names.intake(), [(None, b"junk", 0), (None, b"junk", 2)])
    rows = wait_for(lambda: (found := by_name(running))["intake"]["lag"] == {"validate": 0} and found)
    assert rows["intake"]["records"] == before + 2
    table = running("topics").stdout
    assert any(names.intake() in line and "validate 0" in line for line in table.splitlines())


def test_lag_counts_what_a_stage_has_before_it(still: Cli) -> None:
    names = TopicNames(still.settings.kafka.topic_prefix)
    for partition in (0, 0, 0, 1, 1):
        broker.produce(still.settings, names.encoded(), [(None, b"x", partition)])

    async def commit() -> None:
        consumer = client.consumer(still.settings.kafka, group_id=f"{still.settings.kafka.topic_prefix}moderate")
        await consumer.start()
        consumer.assign([TopicPartition(names.encoded(), 0)])
        await consumer.commit({TopicPartition(names.encoded(), 0): 1})
        await consumer.stop()

    asyncio.run(commit())
    assert by_name(still)["encoded"]["lag"] == {"moderate": 4}


def test_missing_topics_and_brokers_are_said_in_a_line(kafka: str, tmp_path: Path) -> None:
    cli = Cli(broker.settings_for(kafka, tmp_path))
    for arguments in (
        ["dead-letters", "list"],
        ["account", "show", "acme"],
        ["send", "--account", "a", "--to", "+1", "--text", "x"],
    ):
        assert "topics create" in cli.refused(*arguments)
    cli.environment["SMS_KAFKA__BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    for arguments in (["topics"], ["account", "list"], ["send", "--account", "a", "--to", "+1", "--text", "x"]):
        assert "Kafka does not answer" in cli.refused(*arguments)


def test_dead_letters(running: Cli) -> None:
    names = TopicNames(running.settings.kafka.topic_prefix)
    assert all(letter["stage"] == "validate" for letter in running.json("dead-letters", "list"))
    broker.produce(running.settings, names.intake(), [(b"key", b"not [json]", 1), (None, b"\xff\x00", 1)])

    def ours() -> list[dict[str, Any]]:
        return [letter for letter in running.json("dead-letters", "list") if letter["partition"] == 1]

    text, binary = wait_for(lambda: len(found := ours()) == 2 and found)
    assert (text["topic"], text["bytes"], text["offset"] + 1) == (names.intake(), 10, binary["offset"])
    assert text["reason"].startswith("not JSON")
    assert text["id"] in running("dead-letters", "list").stdout

    (whole,) = running.json("dead-letters", "show", text["id"])
    assert (whole["key"], whole["value"], whole["valueEncoding"]) == ("key", "not [json]", "utf-8")
    assert "Unreadable" in whole["stack"]
    (whole,) = running.json("dead-letters", "show", binary["id"])
    assert (whole["key"], base64.b64decode(whole["value"]), whole["valueEncoding"]) == (None, b"\xff\x00", "base64")
    assert "not [json]" in running("dead-letters", "show", text["id"]).stdout


@pytest.mark.parametrize(("id_", "code"), [("0:999", 1), ("99:0", 1), ("0", 2), ("a:b", 2), ("1:-1", 2)])
def test_no_such_dead_letter(running: Cli, id_: str, code: int) -> None:
    assert id_ in running.refused("dead-letters", "show", id_, code=code)


def test_no_dead_letters(still: Cli) -> None:
    assert still("dead-letters", "list").stdout == "no dead letters\n"
    assert still.json("dead-letters", "list") == []


def test_prices(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        "country,operator,prefix,price\nIT,Vodafone,39340,0.07\nDE,,,0.0525\nIT,,,0.05\n"
    )
    config = tmp_path / "config.toml"
    config.write_text('[billing]\nprices = "prices.csv"\ncurrency = "USD"\n')
    result = CliRunner().invoke(app, ["prices", "--json", "--config", str(config)])
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"country": "DE", "operator": "", "prefix": "", "price": "0.0525", "currency": "USD"},
        {"country": "IT", "operator": "", "prefix": "", "price": "0.0500", "currency": "USD"},
        {"country": "IT", "operator": "vodafone", "prefix": "39340", "price": "0.0700", "currency": "USD"},
    ]
    assert "0.0525" in CliRunner().invoke(app, ["prices", "--config", str(config)]).stdout
