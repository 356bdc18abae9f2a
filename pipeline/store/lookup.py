"""Messages by what an operator knows of them, whoever's they are."""

from collections.abc import Sequence

import sqlalchemy as sql

from pipeline.store.stored import StoredMessage, select_stored
from pipeline.store.tables import messages


def find(
    engine: sql.Engine,
    account: str | None = None,
    *,
    ids: Sequence[str] = (),
    request_ids: Sequence[str] = (),
    detailed_states: Sequence[str] = (),
    carriers: Sequence[str] = (),
    updated_before: str | None = None,
) -> list[StoredMessage]:
    """Messages that match everything given, oldest first. Without an account every row is looked at.

    `updated_before`: RFC 3339 as the status records have it, of the last news.
    """
    query = select_stored.order_by(messages.c.id)
    if account is not None:
        query = query.where(messages.c.account == account)
    if updated_before is not None:
        query = query.where(messages.c.updated_at < updated_before)
    wanted = {"id": ids, "request_id": request_ids, "detailed_state": detailed_states, "carrier": carriers}
    for column, values in wanted.items():
        if values:
            query = query.where(messages.c[column].in_(values))
    with engine.connect() as connection:
        return [StoredMessage(*row) for row in connection.execute(query)]
