"""Messages as the read model knows them, for commands: its faults are said in a line."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.commands.common import fail
from pipeline.config import Settings

if TYPE_CHECKING:
    from pipeline.store.queries import StoredMessage

#: Takes what `pipeline.store.lookup.find` takes behind the engine.
Find = Callable[..., "list[StoredMessage]"]


def finder(settings: Settings) -> Find:
    """Asks the read model of these settings. Ends the command where there is none, or it does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    from pipeline.store.database import FILE, SQLITE, open_database
    from pipeline.store.lookup import find

    file = settings.storage.directory / FILE
    if settings.storage.database == SQLITE and not file.exists():
        fail(f"no read model at {file}; a running system keeps it (`sms-pipeline up`, or `worker store`)")

    def ask(account: str | None = None, **wanted: Any) -> "list[StoredMessage]":
        try:
            return find(engine, account, **wanted)
        except SQLAlchemyError as error:
            fail(f"the read model does not answer: {error.args[0] if error.args else error}")

    try:
        engine = open_database(settings)
    except SQLAlchemyError as error:
        fail(f"the read model cannot be opened: {error.args[0] if error.args else error}")
    return ask
