"""`prices`: what a part costs, where, for whom, and since when.

The configured file holds until the first import. Imported lists are versions on a compacted topic, which every worker
and gateway follows; each is in force from its own moment on, and none is ever changed.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from aiokafka import ConsumerRecord
from rich.table import Table

from pipeline import config
from pipeline.billing import format_price
from pipeline.billing.price_book import PriceBook, Version
from pipeline.billing.price_diff import Change, diff
from pipeline.billing.price_format import AMOUNTS, fields
from pipeline.billing.price_rows import format_time, parse_time
from pipeline.billing.prices import PriceList
from pipeline.commands import tables
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, operator, producing, running, show_json
from pipeline.commands.reading import ask, read_all
from pipeline.config import Settings
from pipeline.lists import price_list
from pipeline.prices import AHEAD_MS, PriceRecord, Register, imported, put
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

prices = typer.Typer(name="prices", help="The price list: show, import, compare.")

At = Annotated[str | None, typer.Option(metavar="TIME", help="As of then: a date or an RFC 3339 time (default: now).")]
Side = Annotated[str, typer.Argument(help="A version, or a file.")]

#: What a row is about, in the order of a table's columns.
_KEYS = ("account", "carrier", "country", "operator", "prefix", "validFrom", "validUntil")
#: Faults told one by one; a file of another kind has as many as lines.
_MOST_TOLD = 100
#: Between the import's clock and the acknowledgement, so that AHEAD_MS are left even then.
_TO_WRITE_MS = 500

Row = dict[str, str]


def register(app: typer.Typer) -> None:
    app.add_typer(prices)


@prices.callback(invoke_without_command=True)
def configured(context: typer.Context, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """The price list, per part. Without a command: the configured file (or the sample), which holds until the first
    import.

    An account's own prices go first. Then the longest prefix decides, then the operator, then the country. With
    --json: an object a line.
    """
    if context.invoked_subcommand:
        if json or config_file:
            fail(f"options stand behind the command: sms-pipeline prices {context.invoked_subcommand} --…", 2)
        return
    settings = config.load(config_file)
    found = price_list(settings)
    if not json:
        print(settings.billing.prices or "the sample list; set billing.prices to use your own")
    _show(_rows(found), settings.billing.currency, json)


@prices.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(help="CSV or JSON.")],
    valid_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="In force from then (default: as the list says, else at once).")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="In force at once (5 seconds), whatever the list says.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the list, change nothing.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Import a list as a new version. One fault refuses it: all are told, and the prices in force stay."""
    if now and valid_from is not None:
        fail("--now or --valid-from, not both", 2)
    stated = None if valid_from is None else _time("--valid-from", valid_from)
    found = _read(file)
    if not found.rows.prices:
        fail(f"{file}: there is no price in it", 2)
    begin = None if now else stated if stated is not None else found.valid_from or None
    if dry_run:
        record, written = _record(file, found, begin), False
    else:
        record, written = ask(_import(running(config_file), file, found, begin))
    if json:
        counts = {kind: len(getattr(found.rows, kind)) for kind in AMOUNTS}
        told = {"version": record.version, "name": record.name, "validFrom": record.valid_from}
        show_json({**told, **counts, "imported": written, "dryRun": dry_run})
        return
    holds = ", ".join(f"{len(getattr(found.rows, kind))} {kind}" for kind in AMOUNTS)
    did = "would be in force" if dry_run else "is in force" if written else "was imported before: in force"
    print(f"version {record.version} ({record.name}: {holds}) {did} from {record.valid_from}")


async def _import(settings: Settings, file: Path, found: PriceList, begin: int | None) -> tuple[PriceRecord, bool]:
    """The version's record, and whether it had to be written."""
    book = await _book(settings)
    async with producing(settings) as producer:
        record = _record(file, found, begin)
        if book.version(record.version):
            return record, False
        told = {"version": record.version, "name": record.name, "validFrom": record.valid_from}
        await audited(producer, settings, "prices.import", **told)
        await put(producer, TopicNames(settings.kafka.topic_prefix).prices, record)
    if _now() > _time("validFrom", record.valid_from or ""):
        typer.echo("sms-pipeline: Kafka took long; messages of the last seconds have the prices before", err=True)
    return record, True


@prices.command()
def show(
    version: Annotated[str | None, typer.Option(help="This version (default: the one in force).")] = None,
    country: Annotated[str | None, typer.Option(help="This country only, such as IT.")] = None,
    account: Annotated[str | None, typer.Option(help="As this account pays them.")] = None,
    at: At = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show a version of the list, by default the one in force. With --json: an object a line."""
    moment = _now() if at is None else _time("--at", at)
    settings = running(config_file)
    book = ask(_book(settings))
    found = book.at(moment) if version is None else _known(book, version)
    holding = None if at is None else moment
    rows = _rows(found, holding) if account is None else _resolved(found, account, moment)
    wanted = [row for row in rows if country is None or row.get("country") in (None, country.upper())]
    if json:
        _show((row | {"version": found.version} for row in wanted), settings.billing.currency, json)
        return
    known = book.version(found.version)
    name = known.name if known else _configured_name(settings)
    begin = format_time(known.valid_from) if known and known.valid_from is not None else "the beginning"
    print(f"version {found.version} ({name}), valid from {begin}")
    _show(wanted, settings.billing.currency, json)


@prices.command()
def versions(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """List the configured list and every version, as they come into force. With --json: an object a line."""
    settings = running(config_file)
    views = list(_versions(ask(_book(settings)), settings, _now()))
    if json:
        for view in views:
            show_json(view)
    else:
        _print(views, ["version", "name", "validFrom", "importedAt", "importedBy", "state"])


@prices.command("diff")
def show_diff(before: Side, after: Side, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show what is different between two lists: added, removed, changed with percent. With --json: an object a line."""
    sides = [Path(before), Path(after)]
    book = None if all(side.is_file() for side in sides) else ask(_book(running(config_file)))
    old, new = (_read(side) if book is None or side.is_file() else _known(book, str(side)) for side in sides)
    changes = [_change(change) for change in diff(old, new)]
    if json:
        for change in changes:
            show_json(change)
    elif changes:
        _print(changes, ["change", "kind", *_KEYS, "before", "after", "percent"])
        counts = Counter(change["change"] for change in changes)
        print(", ".join(f"{counts[what]} {what}" for what in ("added", "removed", "changed")))
    else:
        print("no difference")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _time(option: str, text: str) -> int:
    moment = parse_time(text)
    if isinstance(moment, Error):
        fail(f"{option} {moment.message}", 2)
    return moment


def _read(file: Path) -> PriceList:
    """The list in a file; faults end the command."""
    try:
        octets = file.read_bytes()
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        fail(f"{file}: line {line}: not UTF-8", 2)
    except OSError as error:
        fail(f"{file}: {error.strerror}", 2)
    found = PriceList.read(text)
    if isinstance(found, list):
        for fault in found[:_MOST_TOLD]:
            typer.echo(f"{file}: {fault}", err=True)
        if len(found) > _MOST_TOLD:
            typer.echo(f"and {len(found) - _MOST_TOLD} more", err=True)
        fail(f"{file} is refused as a whole (faults: {len(found)}); the prices in force stay", 2)
    return found


def _record(file: Path, found: PriceList, begin: int | None) -> PriceRecord:
    """The version a file is to be, in force from `begin` or as soon as can be."""
    now = _now()
    soon = now + AHEAD_MS + _TO_WRITE_MS
    record = imported(found, found.name or file.name, soon if begin is None else begin, now, operator())
    if isinstance(record, Error):
        fail(f"{file}: {record.message}; --now puts it in force as soon as can be", 2)
    return record


async def _book(settings: Settings) -> PriceBook:
    """Every version as of now."""
    known = Register(price_list(settings))

    def take(record: ConsumerRecord) -> None:
        known.take(record.key, record.value)

    await read_all(settings, TopicNames(settings.kafka.topic_prefix).prices, take)
    return known.book


def _known(book: PriceBook, version: str) -> PriceList:
    found = book.get(version)
    if found is None:
        fail(f"no version and no file {version}; see `sms-pipeline prices versions`", 2)
    return found


def _configured_name(settings: Settings) -> str:
    return settings.billing.prices.name if settings.billing.prices else "the sample list"


def _versions(book: PriceBook, settings: Settings, now: int) -> Iterator[dict[str, str | None]]:
    """The configured list, every version as they come into force, then what is only known for the trace."""
    active, first = book.at(now).version, book.configured.version
    state = "in force" if active == first else "configured"
    yield _version_view(Version(first, _configured_name(settings), 0, 0, ""), state)
    for version in book.versions():
        if version.version == active:
            state = "in force"
        elif version.valid_from is None:
            state = "for the trace"
        else:
            state = "to come" if version.valid_from > now else "past"
        if version.version != first:
            yield _version_view(version, state)


def _version_view(version: Version, state: str) -> dict[str, str | None]:
    return {
        "version": version.version,
        "name": version.name,
        "validFrom": format_time(version.valid_from) if version.valid_from else None,
        "importedAt": format_time(version.imported_at) if version.imported_at else None,
        "importedBy": version.imported_by or None,
        "state": state,
    }


def _rows(found: PriceList, at: int | None = None) -> Iterator[Row]:
    """A list's rows, those that hold at `at` if it is given, as they are shown."""
    rows = found.rows if at is None else found.rows.holding(at)
    for kind in AMOUNTS:
        for row in getattr(rows, kind):
            told = fields(kind, row)
            yield told if kind == "discounts" else {"country": "", "operator": "", "prefix": ""} | told


def _resolved(found: PriceList, account: str, at: int) -> Iterator[Row]:
    """What an account pays at `at`, for every key that has a price of its own or in the list."""
    view = found.for_account(account, at)
    mine = [row for row in found.rows.holding(at).prices if row.owner in ("", account)]
    for country, name, prefix in sorted({row[1:4] for row in mine}):
        price = view.price(country, name, prefix)
        assert price is not None, "the key is in one of both"
        yield {"country": country, "operator": name, "prefix": prefix, "price": format_price(price)}


def _show(rows: Iterable[Row], currency: str, json: bool) -> None:
    """Prices, discounts and costs as objects, or a table of each."""
    if json:
        for row in rows:
            show_json(row if "percent" in row else row | {"currency": currency})
        return
    rows = list(rows)
    for kind, amount in AMOUNTS.items():
        some = [row | {currency: row[amount]} for row in rows if amount in row]
        if some and kind != "prices":
            print(f"\n{kind}")
        if some:
            _print(some, [*_KEYS, amount if kind == "discounts" else currency])


def _print(rows: Sequence[Mapping[str, str | None]], columns: Iterable[str]) -> None:
    """A table of the columns that any row fills."""
    filled = [column for column in columns if any(row.get(column) for row in rows)]
    table = Table(box=None)
    for column in filled:
        table.add_column(column, justify="left" if column in _KEYS else "right")
    for row in rows:
        table.add_row(*(row.get(column) or "" for column in filled))
    tables.show(table)


def _change(change: Change) -> dict[str, str | None]:
    """A change as it is shown: the row's key, its amount before and after."""
    amount = AMOUNTS[change.kind]
    before, after = ({} if row is None else fields(change.kind, row) for row in (change.before, change.after))
    found: dict[str, str | None] = {"change": change.what, "kind": change.kind.removesuffix("s")}
    found |= {name: text for name, text in (before or after).items() if name != amount}
    return found | {"before": before.get(amount), "after": after.get(amount), "percent": change.percent}
