"""`account adjust`, `account statement`, `account spend`: an account's money, put right and explained.

Statement and spend are the read model's, which follows the pipeline within moments; the running system is not asked.
"""

import sys
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import config
from pipeline.billing import parse_amount
from pipeline.billing.price_rows import format_time, parse_time
from pipeline.commands.accounts import Name, account, existing
from pipeline.commands.common import ConfigOption, JsonOption, fail, running, show_json
from pipeline.commands.counting import Reference, Timeout, count_in
from pipeline.commands.reading import ask
from pipeline.commands.stored import answering, opened
from pipeline.records import Credit
from schemas.errors import Error
from schemas.ledger import Kind

if TYPE_CHECKING:
    from pipeline.store.spending import Spend

_MOST_REASON = 500

Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="A date or an RFC 3339 time; inclusive.")]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="A date or an RFC 3339 time; exclusive.")]


def register(app: typer.Typer) -> None:
    """`app` has `account` already."""
    account.command(context_settings={"ignore_unknown_options": True})(adjust)  # so that -5 is an amount
    account.command()(statement)
    account.command()(spend)


def adjust(
    name: Name,
    amount: Annotated[str, typer.Argument(help="Decimal amount, such as 5.00 or -5.00.")],
    reason: Annotated[str, typer.Option(help="Why; stands in the statement.")],
    reference: Reference = None,
    timeout: Timeout = 30.0,
    config_file: ConfigOption = None,
) -> None:
    """Correct an account's money, for it or (below zero) against it. Ends when it is counted.

    No more is taken than is available.
    """
    micros = parse_amount(amount)
    if isinstance(micros, Error):
        fail(micros.message, 2)
    if not micros:
        fail(f"amount {amount}: something is wanted", 2)
    if not 0 < len(reason.strip()) <= _MOST_REASON:
        fail(f"--reason: 1 to {_MOST_REASON} characters", 2)
    if reference is not None and not 0 < len(reference) <= 128:
        fail("--reference: 1 to 128 characters", 2)
    settings = running(config_file)

    async def work() -> None:
        await existing(settings, name)
        made = Credit(name, micros, reference or uuid.uuid4().hex, Kind.ADJUSTMENT.value, reason.strip())
        await count_in(settings, made, timeout)

    ask(work())


def statement(
    name: Name,
    since: Since = None,
    until: Until = None,
    kind: Annotated[list[Kind], typer.Option(help="Only movements of this kind; may be repeated.")] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="At most so many (default: 100; with --csv all).", min=1)] = None,
    csv: Annotated[bool, typer.Option("--csv", help="All of it as CSV.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show an account's movements, newest first, with its balance after each. With --json: an object a line."""
    if csv and json:
        fail("--csv or --json, not both", 2)
    bounds = [None if moment is None else format_time(moment) for moment in times(since, until)]
    engine = opened(config.load(config_file))
    from pipeline.store.queries import Movement, ReadModel
    from pipeline.store.statement import csv_chunks, pages, told

    model = ReadModel(engine)

    def read(before: int | None, limit: int) -> list[Movement]:
        return model.movements(name, kinds=kind, since=bounds[0], until=bounds[1], before=before, limit=limit)

    with answering():
        if model.last_movement(name) is None:
            fail(f"the read model knows no movement of account {name}")
        found = pages(read, None, limit or (None if csv else 100))
        if csv:
            for chunk in csv_chunks(found):
                sys.stdout.write(chunk)
            return
        views = [told(one) for some in found for one in some]
    if json:
        for view in views:
            show_json(view)
        return
    line = "{:>8}  {:<24}  {:<10}  {:>14}  {:>14}  {:>14}  {}"
    print(line.format("sequence", "at", "kind", "amount", "balance", "available", "about"))
    for view in views:
        about = [view["reason"], view["reference"], view["batch"] and f"batch {view['batch']}", _parts(view)]
        cells = [view[field] for field in ("sequence", "at", "kind", "amount", "balance", "available")]
        print(line.format(*cells, ", ".join(filter(None, about))).rstrip())


def _parts(view: dict[str, object]) -> str | None:
    """What a bundle pays."""
    return f"{view['parts']} parts of bundle {view['bundle']}, {view['bundleLeft']} left" if view["bundle"] else None


def spend(
    name: Name,
    by: Annotated[str, typer.Option(help="day, country, operator or carrier.")] = "day",
    margin: Annotated[bool, typer.Option("--margin", help="Also what the messages cost us, and what is left.")] = False,
    since: Since = None,
    until: Until = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show what an account's messages cost that carriers took, by day of the request (UTC), country, operator or
    carrier. What was given back is not counted.

    The last 30 days, unless told otherwise. With --json: an object a line.
    """
    bounds = times(since, until)
    settings = config.load(config_file)
    engine = opened(settings)
    from pipeline.store.queries import ReadModel
    from pipeline.store.spending import SPEND_BY
    from pipeline.store.statement import period

    if by not in SPEND_BY:
        fail(f"--by {by}: {', '.join(SPEND_BY)} are known", 2)
    with answering():
        asked = period(*bounds, time.time_ns() // 1_000_000)
        found = ReadModel(engine).spend(name, by, *asked, settings.billing.refund)
    show_spend(found, by, settings.billing.currency, margin=margin, json=json)


def show_spend(found: "Sequence[Spend]", by: str, currency: str, *, margin: bool, json: bool) -> None:
    """Print what was spent, `margin`: with our costs; as objects or as a table with its sums."""
    from pipeline.store.spending import together
    from pipeline.store.statement import told_margin, told_spend

    tell = told_margin if margin else told_spend
    if json:
        for one in found:
            show_json(tell(one))
        return
    names = list(found[0].about) if found else [by]
    columns = ["messages", "parts", "amount", *(["cost", "margin", "uncosted"] if margin else [])]
    line = "  ".join(["{:<16}"] * len(names) + ["{:>10}"] * 2 + ["{:>14}"] * (len(columns) - 2))
    print(line.format(*names, *(currency if column == "amount" else column for column in columns)))
    for one in [*found, *([together(found)] if len(found) > 1 else [])]:
        view = tell(one)
        about = [one.about.get(name) or "" for name in names] if one.about else ["in all", *[""] * (len(names) - 1)]
        print(line.format(*about, *("-" if view[column] is None else view[column] for column in columns)))


def times(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Unix ms; None where nothing is given."""
    found: list[int | None] = []
    for option, text in (("--from", since), ("--to", until)):
        moment = None if text is None else parse_time(text)
        if isinstance(moment, Error):
            fail(f"{option} {moment.message}", 2)
        found.append(moment)
    return found[0], found[1]
