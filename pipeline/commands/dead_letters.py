"""`dead-letters`: records that no stage could read, and why."""

import base64
from typing import Annotated, Any

import typer
from aiokafka import ConsumerRecord, TopicPartition

from pipeline.commands.common import ConfigOption, JsonOption, fail, running, show_json
from pipeline.commands.reading import ask, read_all, reading
from pipeline.config import Settings
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames

dead_letters = typer.Typer(
    name="dead-letters", help="Records that no stage could read, untouched, and why.", no_args_is_help=True
)

#: How long a record that is there may take to come.
_FETCH_MS = 20_000


def register(app: typer.Typer) -> None:
    app.add_typer(dead_letters)


@dead_letters.command("list")
def list_all(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """List dead letters, oldest first. With --json: an object a line."""
    settings = running(config_file)
    found: list[dict[str, Any]] = []
    ask(read_all(settings, _topic(settings), lambda record: found.append(_summary(record))))
    found.sort(key=lambda letter: letter["at"])
    if json:
        for letter in found:
            show_json(letter)
        return
    if not found:
        print("no dead letters")
        return
    from rich.table import Table
    from rich.text import Text

    from pipeline.commands import tables

    table = Table("id", "at", "stage", "from", "reason", box=None)
    table.add_column("bytes", justify="right")
    for letter in found:
        source = f"{letter['topic']} {letter['partition']}:{letter['offset']}"
        table.add_row(letter["id"], letter["at"], letter["stage"], source, Text(letter["reason"]), str(letter["bytes"]))
    tables.show(table)


@dead_letters.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` names it.")],
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show a dead letter whole: reason, origin, stack, and the record's bytes (base64 where they are not UTF-8)."""
    partition, colon, offset = id_.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        fail(f"{id_}: write it as PARTITION:OFFSET, as `sms-pipeline dead-letters list` names it", 2)
    settings = running(config_file)
    record = ask(_fetch(settings, int(partition), int(offset)))
    if record is None:
        fail(f"no dead letter {id_}; see `sms-pipeline dead-letters list`")
    value, encoding = _readable(record.value or b"")
    key = None if record.key is None else _readable(record.key)[0]
    letter = _summary(record) | {"key": key, "stack": _headers(record).get("stack", "")}
    if json:
        show_json(letter | {"value": value, "valueEncoding": encoding})
        return
    for name, text in letter.items():
        if name != "stack":
            print(f"{name:<10} {text}")
    print(f"\n{letter['stack'].strip()}\n\n{value}")


def _topic(settings: Settings) -> str:
    return TopicNames(settings.kafka.topic_prefix).dead_letters


async def _fetch(settings: Settings, partition: int, offset: int) -> ConsumerRecord | None:
    place = TopicPartition(_topic(settings), partition)
    async with reading(settings, place.topic) as consumer:
        if place not in consumer.assignment():
            return None
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if not begin <= offset < end:
            return None
        consumer.assign([place])
        consumer.seek(place, offset)
        polled = await consumer.getmany(place, timeout_ms=_FETCH_MS, max_records=1)
        records = polled.get(place, [])
        return records[0] if records and records[0].offset == offset else None


def _summary(record: ConsumerRecord) -> dict[str, Any]:
    """Where the letter lies (`id`), and from where it came."""
    headers = _headers(record)
    return {
        "id": f"{record.partition}:{record.offset}",
        "at": rfc3339(record.timestamp),
        "reason": headers.get("reason", ""),
        "stage": headers.get("stage", ""),
        "topic": headers.get("topic", ""),
        "partition": _number(headers.get("partition")),
        "offset": _number(headers.get("offset")),
        "bytes": len(record.value or b""),
    }


def _headers(record: ConsumerRecord) -> dict[str, str]:
    return {name: value.decode("utf-8", "replace") for name, value in record.headers}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _readable(octets: bytes) -> tuple[str, str]:
    """The bytes as text, and how: utf-8, or base64 where they are none."""
    try:
        return octets.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(octets).decode(), "base64"
