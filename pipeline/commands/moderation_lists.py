"""`lists`: entries of the moderation's lists on their topic, beside those in files. In force within a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer
from aiokafka import ConsumerRecord

from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, producing, running, show_json
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.lists import Entry, Kind
from pipeline.streaming.topics import TopicNames

app = typer.Typer(
    name="lists", help="Prohibited terms and domains: show, add, remove, while the system runs.", no_args_is_help=True
)
KINDS = get_args(Kind)

KindArgument = Annotated[str, typer.Argument(metavar="LIST", help=f"One of {', '.join(KINDS)}.")]
Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT…", help="Terms or domains.")]
File = Annotated[Path | None, typer.Option(help="More of them, one a line; # begins a comment.")]
Accounts = Annotated[list[str], typer.Option("--account", help="In force for this account only; may be repeated.")]
Countries = Annotated[list[str], typer.Option("--country", help="For recipients there only (ISO); may be repeated.")]

_decode = msgspec.json.Decoder(Entry).decode


def register(parent: typer.Typer) -> None:
    parent.add_typer(app)


@app.command()
def add(
    kind: KindArgument,
    texts: Texts = None,
    file: File = None,
    flag: Annotated[bool, typer.Option("--flag", help="Report what holds the term, and let it pass.")] = False,
    account: Accounts = [],  # noqa: B006
    country: Countries = [],  # noqa: B006
    config_file: ConfigOption = None,
) -> None:
    """Add entries. One that is there already, for the same accounts and countries, is replaced."""
    entries = _entries(kind, texts, file, "flag" if flag else "block", account, country)
    wrong = [f"{entry.text!r}: {found}" for entry in entries if (found := entry.fault)]
    if wrong:
        fail("\n  ".join(["nothing was added:", *wrong]), 2)
    _write(running(config_file), "lists.add", entries, [(entry.key, entry.value) for entry in entries])
    print(f"{len(entries)} added")


@app.command()
def remove(
    kind: KindArgument,
    texts: Texts = None,
    file: File = None,
    account: Accounts = [],  # noqa: B006
    country: Countries = [],  # noqa: B006
    config_file: ConfigOption = None,
) -> None:
    """Remove entries, named as they were added. Entries in files are removed there."""
    settings = running(config_file)
    known = _known(settings)
    entries = _entries(kind, texts, file, "block", account, country)
    missing = [repr(entry.text) for entry in entries if entry.key not in known]
    if missing:
        fail(f"not on the topic's list for these accounts and countries: {', '.join(missing)}; see `lists show`")
    _write(settings, "lists.remove", entries, [(entry.key, None) for entry in entries])
    print(f"{len(entries)} removed")


@app.command()
def show(
    kind: Annotated[str | None, typer.Argument(metavar="[LIST]", help=f"One of {', '.join(KINDS)}.")] = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show the topic's entries; the files of the configuration are named on standard error. With --json: one a line."""
    if kind is not None:
        _check(kind)
    settings = running(config_file)
    entries = sorted(_known(settings).values(), key=lambda entry: (entry.list, entry.text))
    for entry in entries:
        if kind in (None, entry.list):
            if json:
                show_json(msgspec.to_builtins(entry))
            else:
                scope = ", ".join([*entry.accounts, *entry.countries]) or "everybody"
                print(f"{entry.list:<16}  {entry.severity:<5}  {scope:<16}  {entry.text}")
    for path in settings.moderation.files:
        typer.echo(f"and the entries of {path}", err=True)


def _check(kind: str) -> None:
    if kind not in KINDS:
        fail(f"no list {kind!r}; there are {', '.join(KINDS)}", 2)


def _entries(
    kind: str, texts: list[str] | None, file: Path | None, severity: str, accounts: list[str], countries: list[str]
) -> list[Entry]:
    _check(kind)
    given = [*(texts or []), *(_lines(file) if file else [])]
    if not given:
        fail("name at least one text, or a --file of them", 2)
    made = [
        {"list": kind, "text": text, "severity": severity, "accounts": sorted(accounts), "countries": sorted(countries)}
        for text in given
    ]
    return msgspec.convert(made, list[Entry])


def _lines(file: Path) -> Iterator[str]:
    try:
        content = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--file {file}: {error}", 2)
    for line in content.splitlines():
        if (text := line.strip()) and not text.startswith("#"):
            yield text


def _known(settings: Settings) -> dict[bytes, Entry]:
    """Every entry of the topic as of now, by key."""
    found: dict[bytes, Entry] = {}

    def take(record: ConsumerRecord) -> None:
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = _decode(record.value)

    ask(read_all(settings, TopicNames(settings.kafka.topic_prefix).lists, take))
    return found


def _write(settings: Settings, action: str, entries: list[Entry], rows: list[tuple[bytes, bytes | None]]) -> None:
    first, texts = entries[0], [entry.text for entry in entries]
    scope: dict[str, Any] = {
        "severity": first.severity,
        "accounts": list(first.accounts),
        "countries": list(first.countries),
    }

    async def work() -> None:
        topic = TopicNames(settings.kafka.topic_prefix).lists
        async with producing(settings) as producer:
            await audited(producer, settings, action, list=first.list, count=len(texts), texts=texts, **scope)
            for key, value in rows:
                await producer.send(topic, key=key, value=value)
            await producer.flush()

    ask(work())
