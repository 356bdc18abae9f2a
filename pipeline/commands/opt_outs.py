"""`opt-outs`: who has asked an account, or everybody here, not to write any more.

Records on a compacted topic, which every worker and gateway follows. What is there already is left as it is, with the
time at which it was asked for.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from aiokafka import ConsumerRecord
from rich.console import Console
from rich.progress import Progress

from pipeline import optouts
from pipeline.commands.accounts import existing
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, producing, running
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.optouts import EVERYBODY, OptOut, OptOuts
from pipeline.stages.fate import rfc3339
from pipeline.streaming import outbox
from pipeline.streaming.topics import TopicNames

opt_outs = typer.Typer(
    name="opt-outs",
    help="Opt-outs: numbers that an account must not write to any more. The account '*' (quoted) is every account.",
    no_args_is_help=True,
)

Account = Annotated[str, typer.Argument(help="Whose opt-outs; '*' (quoted, or the shell replaces it): everybody's.")]
Numbers = Annotated[list[str] | None, typer.Argument(metavar="NUMBER", help="In E.164 format.")]
File = Annotated[Path | None, typer.Option("--file", help="A number a line (- for standard input).")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what is no number; else nothing is changed where one is none.")
]

#: Faults told one by one; a file of another kind has as many as lines.
_MOST_TOLD = 100
#: Records written before the broker is waited for.
_AT_ONCE = 50_000


def register(app: typer.Typer) -> None:
    app.add_typer(opt_outs)


@opt_outs.command()
def add(
    account: Account,
    numbers: Numbers = None,
    file: File = None,
    skip_bad: SkipBad = False,
    config_file: ConfigOption = None,
) -> None:
    """Note that these do not want to hear from an account any more; what it sends them is refused (3012)."""
    wanted = _numbers(numbers or [], file, skip_bad)
    changed = _change(running(config_file), account, wanted, there=True)
    print(f"opt-outs of {_named(account)}: {changed} added, {len(wanted) - changed} were there already")


@opt_outs.command()
def remove(
    account: Account,
    numbers: Numbers = None,
    file: File = None,
    skip_bad: SkipBad = False,
    config_file: ConfigOption = None,
) -> None:
    """Let an account write to these again. Who opted out of every account stays so ('*' removes that)."""
    wanted = _numbers(numbers or [], file, skip_bad)
    changed = _change(running(config_file), account, wanted, there=False)
    print(f"opt-outs of {_named(account)}: {changed} removed, {len(wanted) - changed} were not there")


@opt_outs.command("list")
def list_all(
    account: Annotated[str | None, typer.Argument(help="Only this account's; '*': who opted out of all.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """List opt-outs by account and number. With --json: an object a line (account, recipient, at, source)."""
    settings = running(config_file)
    found = ask(_stored(settings, account))
    if json:
        for one in found:
            print(one.value.decode())
        return
    if not found:
        print("no opt-outs")
        return
    # By hand: rich takes half a millisecond a row, and there may be a million.
    width = max(7, *(len(one.account) for one in found))
    print(f"{'account':<{width}}  {'recipient':<16}  {'at':<24}  source")
    for one in found:
        print(f"{one.account:<{width}}  {one.recipient:<16}  {one.at or '':<24}  {one.source or ''}".rstrip())
    if any(one.account == EVERYBODY for one in found):
        print(f"{EVERYBODY} is every account")


def _named(account: str) -> str:
    return "every account (*)" if account == EVERYBODY else account


def _numbers(given: Iterable[str], file: Path | None, skip_bad: bool) -> list[str]:
    """The numbers, each once. Each that is none is told, and ends the command unless they are to be left out."""
    found: dict[str, None] = {}
    wrong = 0
    for line, text in _texts(given, file):
        if optouts.is_number(text):
            found[text] = None
            continue
        wrong += 1
        if wrong <= _MOST_TOLD:
            where = f"line {line}: " if line else ""
            print(f"sms-pipeline: {where}{text[:40]!r}: {optouts.fault(text)}", file=sys.stderr)
    if wrong > _MOST_TOLD:
        print(f"sms-pipeline: and {wrong - _MOST_TOLD} more", file=sys.stderr)
    if wrong and not skip_bad:
        fail(f"{wrong} are no numbers, nothing was changed; --skip-bad leaves them out", 2)
    if wrong:
        print(f"sms-pipeline: {wrong} that are no numbers left out", file=sys.stderr)
    if not found:
        fail("no numbers: name them, or give --file", 2)
    return list(found)


def _texts(given: Iterable[str], file: Path | None) -> Iterator[tuple[int, str]]:
    """What was given, under 0, then each line of the file that is not blank, under its number."""
    yield from ((0, text) for text in given)
    if file is None:
        return
    try:
        with nullcontext(sys.stdin.buffer) if file == Path("-") else file.open("rb") as lines:
            for line, octets in enumerate(lines, 1):
                if text := octets.decode(errors="replace").removeprefix("\ufeff").strip():
                    yield line, text
    except OSError as error:
        fail(f"--file {file}: {error.strerror}", 2)


def _change(settings: Settings, account: str, numbers: list[str], *, there: bool) -> int:
    """Have the numbers among the account's opt-outs, or not; how many had to be changed."""
    if account == EVERYBODY:
        print(f"sms-pipeline: {EVERYBODY} changes what every account may send", file=sys.stderr)

    async def work() -> int:
        known = await _known(settings, account)
        wanted = [number for number in numbers if known.holds(account, number) is not there]
        await _write(settings, account, wanted, there=there)
        return len(wanted)

    return ask(work())


async def _write(settings: Settings, account: str, numbers: list[str], *, there: bool) -> None:
    """Put opt-outs, or tombstones, on the topic, many at a time; returns once all are durable."""
    place = TopicNames(settings.kafka.topic_prefix).opt_outs, 0
    now = rfc3339(time.time_ns() // 1_000_000)
    console = Console(stderr=True)
    async with producing(settings) as producer:
        if numbers:
            action = "opt-outs.add" if there else "opt-outs.remove"
            await audited(producer, settings, action, None if account == EVERYBODY else account, count=len(numbers))
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("opt-outs", total=len(numbers))
            for start in range(0, len(numbers), _AT_ONCE):
                some = [OptOut(account, number, now, "command") for number in numbers[start : start + _AT_ONCE]]
                rows: list[outbox.Row] = [(one.key, one.value if there else None, [], None) for one in some]
                await outbox.send(producer, place, rows)
                progress.advance(bar, len(some))


async def _known(settings: Settings, account: str) -> OptOuts:
    """The account's opt-outs as of now."""
    await _check(settings, account)
    known, begin = OptOuts(), optouts.key(account, "")

    def take(record: ConsumerRecord) -> None:
        if record.key and record.key.startswith(begin):
            known.take(record.key, record.value)

    await read_all(settings, TopicNames(settings.kafka.topic_prefix).opt_outs, take)
    return known


async def _stored(settings: Settings, account: str | None) -> list[OptOut]:
    """The opt-outs of an account, or all, as their records have them."""
    if account is not None:
        await _check(settings, account)
    begin = b"" if account is None else optouts.key(account, "")
    values: dict[bytes, bytes] = {}

    def take(record: ConsumerRecord) -> None:
        if record.value is None:
            values.pop(record.key, None)
        elif record.key and record.key.startswith(begin):
            values[record.key] = record.value

    await read_all(settings, TopicNames(settings.kafka.topic_prefix).opt_outs, take)
    found = [one for key, value in values.items() if (one := optouts.read(key, value))]
    return sorted(found, key=lambda one: (one.account, one.recipient))


async def _check(settings: Settings, account: str) -> None:
    """End the command where there is no such account."""
    if account != EVERYBODY:
        await existing(settings, account)
