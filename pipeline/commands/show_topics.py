"""`topics`: what there is in Kafka, how much, and how far behind each stage is."""

from typing import Any

import typer
from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from pipeline.commands.common import ConfigOption, JsonOption, running, show_json
from pipeline.commands.reading import ask, partition_counts
from pipeline.config import Settings
from pipeline.streaming import client
from pipeline.streaming import topics as catalogued

topics = typer.Typer(name="topics", help="The topics of the pipeline.", invoke_without_command=True)

Offsets = dict[TopicPartition, int]


def register(app: typer.Typer) -> None:
    app.add_typer(topics)


@topics.callback()
def show(context: typer.Context, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show every topic: what it holds, its partitions, records, and each stage's lag (records not yet worked on).

    `public` topics are part of the contract with others. With --json: an object a line.
    """
    if context.invoked_subcommand:
        return
    rows = ask(_rows(running(config_file)))
    if json:
        for row in rows:
            show_json(row)
    else:
        _show(rows)


@topics.command()
def create(config_file: ConfigOption = None) -> None:
    """Create every topic that is missing, and check the partitions of those that are there. Starting does the same."""
    settings = running(config_file)
    names = [topic.name for topic in catalogued.catalogue(settings)]

    async def work() -> int:
        before = await partition_counts(settings, names)
        await catalogued.ensure(settings)
        return len(before)

    before = ask(work())
    print(f"{len(names) - before} topics created, {before} were there")


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    """A JSON object a topic, in the order of the flow."""
    wanted = catalogued.catalogue(settings)
    partitions = await partition_counts(settings, [topic.name for topic in wanted])
    places = [TopicPartition(name, number) for name, count in partitions.items() for number in range(count)]
    begins, ends = await _bounds(places, settings)
    committed = await _committed(settings)
    return [
        {
            "topic": topic.name,
            "holds": topic.holds,
            "partitions": partitions.get(topic.name, topic.partitions),
            "public": topic.public,
            "exists": topic.name in partitions,
            "records": sum(ends[place] - begins[place] for place in places if place.topic == topic.name),
            "lag": _lag([place for place in places if place.topic == topic.name], begins, ends, committed),
        }
        for topic in wanted
    ]


async def _bounds(places: list[TopicPartition], settings: Settings) -> tuple[Offsets, Offsets]:
    """First and next offset of each partition."""
    if not places:
        return {}, {}
    consumer = client.consumer(settings.kafka)
    try:
        await consumer.start()
        consumer.assign(places)
        return await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    finally:
        await consumer.stop()


async def _committed(settings: Settings) -> dict[str, Offsets]:
    """Committed offsets of each stage; a stage that never ran has none."""
    from pipeline.ops.system import GROUPS

    admin = client.admin(settings.kafka)
    try:
        await admin.start()
        found = {}
        for stage in [stage for group in GROUPS.values() for stage in group if stage != "store"]:
            try:
                offsets = await admin.list_consumer_group_offsets(f"{settings.kafka.topic_prefix}{stage}")
            except GroupCoordinatorNotAvailableError:  # a new cluster: nobody has ever committed anything
                offsets = {}
            found[stage] = {place: committed.offset for place, committed in offsets.items() if committed.offset >= 0}
        return found
    finally:
        await admin.close()


def _lag(places: list[TopicPartition], begins: Offsets, ends: Offsets, committed: dict[str, Offsets]) -> dict[str, int]:
    """Records each stage has before it in these partitions of a topic; a stage that never read it is missing."""
    return {
        stage: sum(ends[place] - max(offsets.get(place, 0), begins[place]) for place in places)
        for stage, offsets in committed.items()
        if any(place in offsets for place in places)
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from pipeline.commands import tables

    table = Table(box=None)
    table.add_column("topic", no_wrap=True)
    table.add_column("")
    for header in ("partitions", "records"):
        table.add_column(header, justify="right")
    table.add_column("lag")
    table.add_column("holds", style="dim")
    for row in rows:
        lag = ", ".join(f"{stage} {behind}" for stage, behind in row["lag"].items())
        records = f"{row['records']}" if row["exists"] else "missing"
        public = "public" if row["public"] else ""
        table.add_row(row["topic"], public, str(row["partitions"]), records, lag, row["holds"])
    tables.show(table)
