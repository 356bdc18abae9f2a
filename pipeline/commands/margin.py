"""`margin`: what is left of what all accounts pay, once the carriers are paid. For the operator of the platform."""

import time
from typing import Annotated

import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail
from pipeline.commands.statements import Since, Until, show_spend, times
from pipeline.commands.stored import answering, opened


def register(app: typer.Typer) -> None:
    app.command()(margin)


def margin(
    by: Annotated[str, typer.Option(help="carrier, country, operator, day or account.")] = "carrier",
    since: Since = None,
    until: Until = None,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show what all accounts' messages earned that carriers took, what they cost, and what is left.

    Costs are those of the price list; where that of some messages is not known neither is their line's. The last 30
    days, unless told otherwise. With --json: an object a line.
    """
    bounds = times(since, until)
    settings = config.load(config_file)
    engine = opened(settings)
    from pipeline.store.queries import ReadModel
    from pipeline.store.spending import MARGIN_BY
    from pipeline.store.statement import period

    if by not in MARGIN_BY:
        fail(f"--by {by}: {', '.join(MARGIN_BY)} are known", 2)
    with answering():
        asked = period(*bounds, time.time_ns() // 1_000_000)
        found = ReadModel(engine).margin(by, *asked, settings.billing.refund)
    show_spend(found, by, settings.billing.currency, margin=True, json=json)
