"""What is asked of the read model. Blocking, milliseconds; call it in a thread."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sql

from pipeline.store.tables import messages
from schemas.states import STATE, Detailed


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as of its latest status record. `error` and `custom` are JSON, money decimal strings; `sent_at` is
    when a carrier took it; `message` its text as sent.
    """

    account: str
    id: str
    request_id: str | None
    index: int
    sender: str | None
    recipient: str
    international_prefix: str | None
    country_code: str | None
    state: str
    detailed_state: str
    sequence: int
    encoding: str | None
    characters_count: int
    message_count: int
    parts_delivered: int
    price: str
    total_price: str
    currency: str
    carrier: str | None
    carrier_reference: str | None
    dry_run: bool
    message: str | None
    error: str | None
    custom: str
    updated_at: str
    sent_at: str | None
    delivered_at: str | None


_select = sql.select(*(messages.c[field] for field in StoredMessage.__struct_fields__))


class ReadModel:
    """Questions to the database that the projector keeps."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    def get(self, account: str, id_: str) -> StoredMessage | None:
        """The account's message of this id; None also where it is another account's."""
        query = _select.where(messages.c.account == account, messages.c.id == id_)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return StoredMessage(*row) if row else None

    def page(self, account: str, skip: int, limit: int) -> list[StoredMessage]:
        """`limit` messages of the account behind the newest `skip`, newest first."""
        query = _select.where(messages.c.account == account).order_by(messages.c.id.desc()).offset(skip).limit(limit)
        with self._engine.connect() as connection:
            return [StoredMessage(*row) for row in connection.execute(query)]

    def counts(self, account: str | None = None, request_ids: Sequence[str] | None = None) -> dict[str, int]:
        """Messages by detailedState, of one account or all, of some requests or all."""
        key = messages.c.account, messages.c.request_id, messages.c.detailed_state
        # Grouped as the index is sorted: read in one pass, five times faster than by state alone.
        query = sql.select(messages.c.detailed_state, sql.func.count()).group_by(*key)
        if account is not None:
            query = query.where(messages.c.account == account)
        if request_ids is not None:
            query = query.where(messages.c.request_id.in_(request_ids))
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for state, number in connection.execute(query):
                found[state] = found.get(state, 0) + number
        return found

    def totals(self, account: str | None = None, request_ids: Sequence[str] | None = None) -> dict[str, int]:
        """Messages by the contract's state; every state is there, those of no message with 0."""
        found = dict.fromkeys(STATE.values(), 0)
        for state, number in self.counts(account, request_ids).items():
            found[STATE[Detailed[state]]] += number
        return found

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()
