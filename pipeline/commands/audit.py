"""`audit`: who administered what."""

import sys
from typing import Annotated

import msgspec
import typer
from aiokafka import ConsumerRecord

from pipeline import audit as audit_log
from pipeline.billing.price_rows import parse_time
from pipeline.commands.common import ConfigOption, JsonOption, fail, running, show_json
from pipeline.commands.reading import Take, ask, catch_up, poll, reading
from pipeline.config import Settings
from pipeline.streaming.topics import TopicNames
from schemas.audit import AuditRecord
from schemas.errors import Error


def register(app: typer.Typer) -> None:
    app.command()(audit)


def audit(
    account: Annotated[str | None, typer.Option(help="Only acts that concern this account.")] = None,
    since: Annotated[str | None, typer.Option(help="A date or an RFC 3339 time; inclusive.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show administrative acts, the oldest first: when, who, what, to whom. With --json: an object a line."""
    begin = 0 if since is None else parse_time(since)
    if isinstance(begin, Error):
        fail(f"--since {begin.message}", 2)

    def take(record: ConsumerRecord) -> None:
        told = audit_log.read(record.value or b"")
        if told is None:
            print(f"sms-pipeline: the record at {record.partition}:{record.offset} cannot be read", file=sys.stderr)
        elif account in (None, told.account) and record.timestamp >= begin:
            _show(told, json)

    ask(_read(running(config_file), begin, take, follow))


async def _read(settings: Settings, begin: int, take: Take, follow: bool) -> None:
    async with reading(settings, TopicNames(settings.kafka.topic_prefix).audit) as consumer:
        places = await consumer.offsets_for_times(dict.fromkeys(consumer.assignment(), begin))
        for place, found in places.items():
            if found is None:
                await consumer.seek_to_end(place)
            else:
                consumer.seek(place, found.offset)
        await catch_up(consumer, take)
        while follow:
            await poll(consumer, take)


def _show(told: AuditRecord, json: bool) -> None:
    if json:
        show_json(msgspec.to_builtins(told))
        return
    details = "  ".join(f"{name}={_brief(value)}" for name, value in told.details.items())
    print(f"{told.at}  {told.actor:<24}  {told.action:<20}  {told.account or '':<16}  {details}".rstrip(), flush=True)


def _brief(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
