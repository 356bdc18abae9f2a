"""`callbacks`: endpoints of accounts, what became of calls to clients, and telling them again."""

import time
from typing import Annotated

import typer

from pipeline.billing.price_rows import parse_time
from pipeline.callbacks import deliveries, replay
from pipeline.callbacks.deliveries import STATES, Log, Wanted
from pipeline.callbacks.endpoints import Endpoints, told
from pipeline.callbacks.records import Delivery
from pipeline.commands.accounts import existing
from pipeline.commands.common import ConfigOption, JsonOption, fail, producing, running, show_json
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

callbacks = typer.Typer(
    name="callbacks",
    help="Callbacks: accounts' endpoints, attempts at telling clients, and telling them again.",
    no_args_is_help=True,
)

Account = Annotated[str, typer.Argument(help="Whose.")]
Message = Annotated[str | None, typer.Option(help="Only of this message.")]
Endpoint = Annotated[str | None, typer.Option(help="Only to this endpoint.")]
Since = Annotated[str | None, typer.Option("--from", help="A date or an RFC 3339 time; inclusive.")]
Until = Annotated[str | None, typer.Option("--to", help="A date or an RFC 3339 time; exclusive.")]

_DAY_MS = 24 * 3_600_000
#: A command may take its time over what it looks through.
_PATIENCE_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    app.add_typer(callbacks)


@callbacks.command()
def endpoints(account: Account, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """List an account's callback endpoints. With --json: an object a line. Secrets are never shown."""
    settings = running(config_file)
    known = Endpoints()

    async def work() -> None:
        await existing(settings, account)
        topic = TopicNames(settings.kafka.topic_prefix).endpoints
        await read_all(settings, topic, lambda record: known.take(record.key, record.value))

    ask(work())
    for one in known.of(account):
        if json:
            show_json(told(one))
        else:
            batch = f", up to {one.batch} a call" if one.batch > 1 else ""
            print(f"{one.id}  {'' if one.enabled else 'DISABLED  '}{one.url}  {', '.join(one.events)}{batch}")
    if not json and not list(known.of(account)):
        print("no endpoints")


@callbacks.command("deliveries")
def show_deliveries(
    account: Account,
    message: Message = None,
    endpoint: Endpoint = None,
    state: Annotated[str | None, typer.Option(help="delivered, retrying or given-up.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """List attempts at an account's callbacks, the newest first; they are kept for seven days."""
    wanted = _wanted(account, message, endpoint, state, since, until)
    settings = running(config_file)

    async def work() -> list[Delivery]:
        await existing(settings, account)
        log = Log(settings, most_seconds=_PATIENCE_SECONDS)
        try:
            found, more = await log.latest(wanted, None, limit)
            while more is not None and len(found) < limit:
                some, more = await log.latest(wanted, more, limit - len(found))
                found += some
            return found
        finally:
            await log.close()

    rows = ask(work())
    for row in rows:
        if json:
            show_json(deliveries.told(row))
        else:
            print(_line(row))
    if not json and not rows:
        print("no deliveries")


@callbacks.command("replay")
def tell_again(
    account: Account,
    message: Message = None,
    endpoint: Endpoint = None,
    state: Annotated[str, typer.Option(help="What had become of them: given-up, delivered or all.")] = "given-up",
    since: Since = None,
    until: Until = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Tell events again, under the ids they had: by default what was given up within the last 24 hours.

    What is still being tried is left to that. With --json: {"events": n}.
    """
    wanted = _wanted(account, message, endpoint, None if state == "all" else state, since, until)
    if wanted.since is None and not message:
        wanted = Wanted(account, message, endpoint, wanted.outcome, int(time.time() * 1000) - _DAY_MS, wanted.until)
    settings = running(config_file)
    count = ask(_replay(settings, wanted))
    if json:
        show_json({"events": count})
    else:
        print(f"{count} events are told again")


async def _replay(settings: Settings, wanted: Wanted) -> int:
    await existing(settings, wanted.account)
    topic = TopicNames(settings.kafka.topic_prefix).callbacks
    log, count, after = Log(settings, most_seconds=_PATIENCE_SECONDS), 0, None
    try:
        async with producing(settings) as producer:
            while True:
                events, after = await replay.collect(log, wanted, after)
                for home, value in replay.rows(events, settings.kafka.partitions):
                    await producer.send_and_wait(topic, value, partition=home)
                count += len(events)
                if after is None:
                    return count
    finally:
        await log.close()


def _wanted(
    account: str, message: str | None, endpoint: str | None, state: str | None, since: str | None, until: str | None
) -> Wanted:
    if state is not None and state not in STATES:
        fail(f"--state {state!r} is not one of {', '.join(STATES)}", 2)
    times: list[int | None] = []
    for option, text in (("--from", since), ("--to", until)):
        moment = parse_time(text) if text else None
        if isinstance(moment, Error):
            fail(f"{option}: {moment.message}", 2)
        times.append(moment)
    return Wanted(account, message, endpoint, STATES[state] if state else None, *times)


def _line(row: Delivery) -> str:
    shown = deliveries.told(row)
    first = row.events[0]
    events = f"{first.type} {first.message or first.id}" + (
        f" and {len(row.events) - 1} more" if row.events[1:] else ""
    )
    answer = shown["error"] or (f"HTTP {row.status}" if row.status else "")
    took = "" if shown["milliseconds"] is None else f"{shown['milliseconds']} ms"
    told = [shown["at"], f"{shown['state']:<9}", answer, took, f"try {row.attempt}", events, shown["url"] or ""]
    return "  ".join(part for part in told if part)
