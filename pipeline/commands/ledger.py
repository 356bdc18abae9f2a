"""`ledger verify`: does the ledger explain every balance, and was captured what the carriers took?

Topics are read from the outside, while the system runs or not. What track and price tell each other takes a moment, and
a crash some more: what differs is read on for some seconds before it is called a difference.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import typer
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.progress import Progress

from pipeline.billing import format_amount
from pipeline.commands.common import ConfigOption, JsonOption, running, show_json
from pipeline.commands.reading import Take, ask, catch_up, reading, until_now
from pipeline.commands.verification import Verification
from pipeline.config import Settings
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames

#: Longer than a worker takes to come back and tell again what its crash left untold.
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.5

ledger = typer.Typer(name="ledger", help="The ledger of all movements of money.", no_args_is_help=True)


@ledger.callback()
def group() -> None:
    """The ledger of all movements of money."""


def register(app: typer.Typer) -> None:
    app.add_typer(ledger)


@ledger.command()
def verify(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Replay the ledger from its first entry; compare it with the accounts, and with what carriers took.

    Prints every difference; the exit code is 1 where there is one. The system may run meanwhile. With --json: one
    object, with `differences`.
    """
    settings = running(config_file)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        found = ask(_verify(settings, progress))
    if json:
        show_json(_view(found))
    else:
        _show(found, settings.billing.currency)
    if found.differences:
        raise typer.Exit(1)


async def _verify(settings: Settings, progress: Progress) -> Verification:
    names = TopicNames(settings.kafka.topic_prefix)
    async with AsyncExitStack() as stack:
        topics = (names.ledger, names.changelog("price"), names.balances, names.status)
        ledger, table, balances, status = [await stack.enter_async_context(reading(settings, t)) for t in topics]
        begins = await ledger.beginning_offsets(ledger.assignment())
        found = Verification(settings, begins, await ledger.end_offsets(ledger.assignment()))
        await _replay(table, found.account, progress, "the accounts")
        found.table_ends()
        await _replay(balances, found.balance, progress, "the balances")
        await _replay(ledger, found.entry, progress, "the ledger")
        await _replay(status, found.status, progress, "what carriers took")
        found.compare()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while found.waits() and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)
            await catch_up(balances, found.balance)
            await catch_up(ledger, found.entry)
            await catch_up(status, found.status)
    found.conclude(unsettled=found.waits() and await _unsettled(settings, names))
    return found


async def _replay(consumer: AIOKafkaConsumer, take: Take, progress: Progress, what: str) -> None:
    """Every record that is there now."""
    begins = await consumer.beginning_offsets(consumer.assignment())
    ends = await consumer.end_offsets(consumer.assignment())
    bar = progress.add_task(what, total=sum(ends.values()) - sum(begins.values()))
    async for records in until_now(consumer):
        for record in records:
            take(record)
        progress.advance(bar, len(records))


async def _unsettled(settings: Settings, names: TopicNames) -> bool:
    """Whether the price stage has settlements to read, whose movements are not in the ledger yet."""
    admin = client.admin(settings.kafka)
    try:
        await admin.start()
        read = await admin.list_consumer_group_offsets(f"{names.prefix}price")
    finally:
        await admin.close()
    async with reading(settings, names.settlements) as consumer:
        begins = await consumer.beginning_offsets(consumer.assignment())
        ends = await consumer.end_offsets(consumer.assignment())
    return any(end > (read[place].offset if place in read else begins[place]) for place, end in ends.items())


def _view(found: Verification) -> dict[str, Any]:
    audit = found.audit
    return {
        "consistent": not found.differences,
        "entries": audit.entries,
        "repeats": audit.repeats,
        "accounts": len(audit.standings),
        "accountsFromBefore": audit.brought,
        "sides": {side: format_amount(gained) for side, gained in sorted(audit.sides.items())},
        "balances": format_amount(_owned(found)),
        "total": format_amount(audit.total),
        "batches": len(audit.batches),
        "batchesCompared": found.compared,
        "batchesWithoutRecords": found.expired,
        "batchesMoving": found.moving,
        "differences": [msgspec.to_builtins(one) for one in found.differences],
    }


def _owned(found: Verification) -> int:
    return sum(one.balance for one in found.audit.accounts.values())


def _show(found: Verification, currency: str) -> None:
    """Every difference a line, then the sums."""
    for one in found.differences:
        print(one)
    audit = found.audit
    lines = [("entries", f"{audit.entries}" + (f" (and {audit.repeats} repeated)" if audit.repeats else ""))]
    lines.append(("accounts", f"{len(audit.standings)}"))
    if audit.brought:
        lines[-1] = ("accounts", f"{len(audit.standings)} ({audit.brought} with a balance from before the ledger)")
    lines.append(("batches", f"{len(audit.batches)}"))
    lines.append(("  compared with carriers", f"{found.compared}"))
    if found.moving:
        lines.append(("  moving just now", f"{found.moving}"))
    if found.expired:
        lines.append(("  status records gone", f"{found.expired}"))
    lines += [(f"gained by {side}", format_amount(gained)) for side, gained in sorted(audit.sides.items())]
    lines.append(("accounts' balances", format_amount(_owned(found))))
    lines.append(("sum of all sides", f"{format_amount(audit.total)} {currency}"))
    lines.append(("differences", f"{len(found.differences)}"))
    for name, value in lines:
        print(f"{name:<24}  {value}")
