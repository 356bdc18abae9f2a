"""`prices`: what a part costs, where."""

import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, show_json


def register(app: typer.Typer) -> None:
    app.command()(prices)


def prices(json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """Show the active price list, per part. The longest prefix decides, then the operator, then the country.

    With --json: an object a line.
    """
    from pipeline.billing import format_price
    from pipeline.lists import price_list

    settings = config.load(config_file)
    currency = settings.billing.currency
    rows = [(*row, format_price(price)) for *row, price in price_list(settings).rows()]
    if json:
        for country, operator, prefix, price in rows:
            show_json(
                {"country": country, "operator": operator, "prefix": prefix, "price": price, "currency": currency}
            )
        return
    from rich.table import Table

    from pipeline.commands import tables

    print(settings.billing.prices or "the sample list; set billing.prices to use your own")
    table = Table("country", "operator", "prefix", box=None)
    table.add_column(currency, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    tables.show(table)
