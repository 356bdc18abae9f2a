"""`read-model`: how it stands, reading the topics again, and erasing a recipient."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail, running, show_json
from pipeline.commands.stored import answering, opened
from pipeline.config import ConfigError, Settings
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

#: Longest wait for Kafka to tell where its topics end.
_KAFKA_SECONDS = 5.0

read_model = typer.Typer(name="read-model", help="The database that queries are answered from.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(read_model)
    read_model.command()(status)
    read_model.command()(rebuild)
    read_model.command()(erase)


def status(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show rows, size, age and lag. Counting takes seconds where there are millions of messages."""
    settings = config.load(config_file)
    engine = opened(settings)
    from pipeline.store.rebuild import standing

    with answering():
        found = standing(engine, settings)
    view: dict[str, Any] = msgspec.to_builtins(found)
    del view["nextOffsets"]
    view["oldest"] = found.oldest and datetime.fromtimestamp(found.oldest, UTC).isoformat().replace("+00:00", "Z")
    view["lag"] = _lag(config_file, found.next_offsets)
    if json:
        show_json(view)
        return
    for name, value in view.items():
        print(f"{name:<10} {_told(name, value)}")


def rebuild(
    empty: Annotated[
        bool, typer.Option("--empty", help="First forget everything; what the topics hold no more is then lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --empty.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Have the topics read again from their beginning.

    Safe while the system runs: its projector begins anew within moments, and queries are answered meanwhile. Rows are
    written over as they are read; older ones stay, unless --empty. `read-model status` shows the lag.
    """
    settings = config.load(config_file)
    engine = opened(settings)
    from pipeline.store.rebuild import rebuild as begin_anew

    if empty and not yes:
        typer.confirm("Forget every message older than the status topic (7 days)?", abort=True)
    with answering():
        begin_anew(engine, empty=empty)
    print("the topics are read again from their beginning; `sms-pipeline read-model status` shows the lag")


def erase(
    recipient: Annotated[str, typer.Option(help="The number, as the messages have it: +393331234567.")],
    account: Annotated[str | None, typer.Option(help="Only messages of this account (default: of all).")] = None,
    config_file: ConfigOption = None,
) -> None:
    """Erase a recipient: the number, texts and custom data of every message sent to it so far.

    States, prices and statistics stay. It holds for whatever is read again later. The topics forget after 7 days.
    """
    if not recipient.strip() or len(recipient) > 64:
        fail("--recipient: 1 to 64 characters", 2)
    engine = opened(config.load(config_file))
    from pipeline.store.privacy import erase as erase_from

    with answering():
        count = erase_from(engine, recipient.strip(), account)
    print(f"{count} messages erased")


def _lag(file: Path | None, offsets: dict[str, dict[int, int]]) -> int | None:
    """Records that wait to be read; None where Kafka does not answer."""
    try:
        settings = running(file)
        return asyncio.run(asyncio.wait_for(_behind(settings, offsets), _KAFKA_SECONDS))
    except (ConfigError, KafkaError, TimeoutError):
        return None


async def _behind(settings: Settings, offsets: dict[str, dict[int, int]]) -> int:
    names = TopicNames(settings.kafka.topic_prefix)
    places = [
        TopicPartition(topic, number)
        for topic in (names.status, names.ledger)
        for number in range(settings.kafka.partitions)
    ]
    consumer = client.consumer(settings.kafka)
    try:
        await consumer.start()
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    behind = 0
    for place in places:
        read = offsets.get(place.topic, {}).get(place.partition, 0)
        behind += ends[place] - max(read, begins[place])
    return behind


def _told(name: str, value: Any) -> str:
    if value is None:
        return "not known: Kafka does not answer" if name == "lag" else "-"
    return f"{value / 1_000_000:,.1f} MB" if name == "bytes" else f"{value:,}" if isinstance(value, int) else str(value)
