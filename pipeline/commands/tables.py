"""Tables for a person at a terminal, and for whoever pipes them into grep."""

from rich.console import Console
from rich.table import Table

#: Where the output is no terminal nothing is cut or wrapped: ids are copied and lines searched.
_PIPE_WIDTH = 1000


def show(table: Table) -> None:
    """Print a table; what users wrote is shown as it is, never read as markup."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)
