"""The read model for commands: its faults are said in a line."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.commands.common import fail
from pipeline.config import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pipeline.store.stored import StoredMessage

#: Takes what `pipeline.store.lookup.find` takes behind the engine.
Find = Callable[..., "list[StoredMessage]"]


def finder(settings: Settings) -> Find:
    """Asks the read model of these settings for messages. Ends the command like `opened` and `answering`."""
    from pipeline.store.lookup import find

    engine = opened(settings)

    def ask(account: str | None = None, **wanted: Any) -> "list[StoredMessage]":
        with answering():
            return find(engine, account, **wanted)

    return ask


def with_uploads(settings: Settings, account: str, ids: list[str]) -> list[str]:
    """The account's requests of these ids; an upload's are those it was taken as. Ends the command like `finder`."""
    from pipeline.store.batches import Batches

    store = Batches(opened(settings))
    with answering():
        return [one for id_ in ids for one in store.requests(store.get(account, id_), id_)]


def opened(settings: Settings) -> "Engine":
    """The read model's database. Ends the command where there is none, or it cannot be opened."""
    from sqlalchemy.exc import SQLAlchemyError

    from pipeline.store.database import FILE, SQLITE, open_database

    file = settings.storage.directory / FILE
    if settings.storage.database == SQLITE and not file.exists():
        fail(f"no read model at {file}; a running system keeps it (`sms-pipeline up`, or `worker store`)")
    try:
        return open_database(settings)
    except SQLAlchemyError as error:
        fail(f"the read model cannot be opened: {error.args[0] if error.args else error}")


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """While the read model is asked: ends the command where it does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        fail(f"the read model does not answer: {error.args[0] if error.args else error}")
