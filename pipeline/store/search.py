"""Pages of an account's messages by what they have in common, newest first.

A page begins behind a message (the cursor), so that what arrives meanwhile moves nothing. Where an index tells which
messages fit (recipient, request, most states) it is walked; all else is looked for among the messages that are walked
over. A page looks at so many of them at most: it may then hold fewer messages than asked for, even none, and the next
one goes on where it stopped.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql

from pipeline.ids import SECOND_DIGITS
from pipeline.store.database import SQLITE
from pipeline.store.stored import StoredMessage, select_stored
from pipeline.store.tables import COMMON_STATE, batches, messages
from schemas.states import Detailed

#: Messages a page looks at.
MOST_LOOKED_AT = 3_000
#: Looked at first; then twice as many, and so on: where many fit few are looked at in vain.
_FIRST_LOOK = 500


class Wanted(msgspec.Struct, frozen=True):
    """What messages are to have; what is empty is not asked. `states`: detailed ones. `requests`: their ids; that of an
    upload stands for its requests, which are `id/1` and so on. `batch`: an upload's id, or a request's. `since`
    (inclusive) and `until` (exclusive): Unix seconds of the request. `custom`: members of the custom object and their
    values, as text."""

    states: frozenset[str] = frozenset()
    recipient: str = ""
    requests: tuple[str, ...] = ()
    batch: str = ""
    country: str = ""
    sender: str = ""
    since: int | None = None
    until: int | None = None
    custom: tuple[tuple[str, str], ...] = ()


class Page(msgspec.Struct, frozen=True):
    """`behind`: the message id behind which the next page begins; None where there is none."""

    messages: list[StoredMessage]
    behind: str | None


def cursor(behind: str) -> str:
    """How a client is told of it: opaque, in letters of a URL."""
    return base64.urlsafe_b64encode(behind.encode()).decode().rstrip("=")


def read_cursor(text: str) -> str | None:
    """The id; None for what is no cursor of ours."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return found if found and cursor(found) == text and found.isprintable() else None


def search(
    connection: sql.Connection, account: str, wanted: Wanted, behind: str | None, limit: int, skip: int = 0
) -> Page:
    """A page of the account's messages, newest first. `skip`: only where nothing but times is wanted."""
    there = messages.c
    bounds = [there.account == account, *_times(wanted)]
    if wanted.batch and _is_request(connection, account, wanted.batch):
        if wanted.requests and wanted.batch not in wanted.requests:
            return Page([], None)
        wanted = msgspec.structs.replace(wanted, requests=(wanted.batch,), batch="")
    if wanted.batch:
        theirs = _of_batch(connection, account, wanted.batch)
        if theirs is None:
            return Page([], None)
        bounds += theirs
    ways, rest = _ways(wanted, sqlite=connection.dialect.name == SQLITE)
    ways += [[*way, *_in(sorted(wanted.states))] for way in _uploads(connection, account, wanted.requests)]
    if ways == [[]] and not rest:
        query = select_stored.where(*bounds, *_behind(behind)).order_by(there.id.desc())
        rows = connection.execute(query.offset(skip).limit(limit + 1)).all()
        return _page([StoredMessage(*row) for row in rows], limit, None)
    found: list[StoredMessage] = []
    looked, look = 0, _FIRST_LOOK
    while looked < MOST_LOOKED_AT:
        look = min(look, MOST_LOOKED_AT - looked)
        ids = _ids(connection, ways, [*bounds, *_behind(behind)], look)
        if not ids:
            return _page(found, limit, None)
        # Without an index to walk, what was looked at is one stretch of the table.
        these = [there.id.in_(ids)] if ways != [[]] else [there.id >= ids[-1], there.id <= ids[0]]
        query = select_stored.where(there.account == account, *these, *rest).order_by(there.id.desc())
        found += [StoredMessage(*row) for row in connection.execute(query.limit(limit + 1 - len(found)))]
        if len(found) > limit or len(ids) < look:
            return _page(found, limit, None)
        looked, look, behind = looked + look, look * 2, ids[-1]
    return _page(found, limit, behind)


def _page(found: list[StoredMessage], limit: int, behind: str | None) -> Page:
    """`found`: one more than the limit where there are more; `behind`: up to where was looked."""
    if len(found) > limit:
        return Page(found[:limit], found[limit - 1].id)
    return Page(found, behind)


Condition = sql.ColumnElement[bool]


def _ids(
    connection: sql.Connection, ways: Sequence[Sequence[Condition]], bounds: list[Condition], most: int
) -> list[str]:
    """The newest ids along these ways, in order: each is a walk along an index, and they are merged."""
    there = messages.c
    walks = [sql.select(there.id).where(*bounds, *way).order_by(there.id.desc()).limit(most) for way in ways]
    if len(walks) == 1:
        return list(connection.scalars(walks[0]))
    merged = sql.union_all(*(sql.select(walk.subquery().c.id) for walk in walks)).subquery()
    return list(connection.scalars(sql.select(merged.c.id).order_by(merged.c.id.desc()).limit(most)))


def _ways(wanted: Wanted, *, sqlite: bool) -> tuple[list[list[Condition]], list[Condition]]:
    """Walks along an index, and what else is to be looked at. [[]]: along the account's messages."""
    there = messages.c
    rest = list(_equal(wanted)) + [_custom(key, value, sqlite=sqlite) for key, value in wanted.custom]
    states = sorted(wanted.states)
    if wanted.requests:
        ways = [
            [there.request_id == request, there.detailed_state == state]
            for request in wanted.requests
            for state in states or _ALL_STATES
        ]
        return ways, [*rest, *([there.recipient == wanted.recipient] if wanted.recipient else [])]
    if wanted.recipient:
        return [[there.recipient == wanted.recipient]], [*rest, *_in(states)]
    if states and COMMON_STATE not in states:
        return [[_literally(there.detailed_state, state), _uncommon] for state in states], rest
    return [[]], [*rest, *_in(states)]


def _equal(wanted: Wanted) -> Iterator[Condition]:
    there = messages.c
    for column, value in ((there.country_code, wanted.country), (there.sender, wanted.sender)):
        if value:
            yield column == value


def _in(states: list[str]) -> list[Condition]:
    return [messages.c.detailed_state.in_(states)] if states else []


def _literally(column: sql.ColumnElement[str], value: str) -> Condition:
    """Written out: whether a partial index serves is decided before values are known."""
    return column == sql.literal(value, literal_execute=True)


_uncommon = messages.c.detailed_state != sql.literal(COMMON_STATE, literal_execute=True)
_ALL_STATES = [state.name for state in Detailed]


def _times(wanted: Wanted) -> Iterator[Condition]:
    """Message ids begin with their request's time."""
    if wanted.since is not None:
        yield messages.c.id >= _first(wanted.since)
    if wanted.until is not None:
        yield messages.c.id < _first(wanted.until)


def _first(second: int) -> str:
    """The least id of a second."""
    return f"{max(second, 0):08x}" if second < 2**32 else "g"


def _behind(behind: str | None) -> list[Condition]:
    return [] if behind is None else [messages.c.id < behind]


def _uploads(connection: sql.Connection, account: str, requests: Sequence[str]) -> Iterator[list[Condition]]:
    """The messages of each upload that is among these ids. Other requests may have ids with a slash, too."""
    named = sql.select(batches.c.id).where(batches.c.account == account, batches.c.id.in_(requests))
    for upload in connection.scalars(named).all() if requests else ():
        if theirs := _of_batch(connection, account, upload):
            yield theirs


def _is_request(connection: sql.Connection, account: str, batch: str) -> bool:
    """The batch is no upload, and a request to several: its messages have its very id."""
    uploaded = sql.exists().where(batches.c.account == account, batches.c.id == batch)
    requested = sql.exists().where(messages.c.account == account, messages.c.request_id == batch)
    return bool(connection.scalar(sql.select(sql.and_(sql.not_(uploaded), requested))))


def _of_batch(connection: sql.Connection, account: str, batch: str) -> list[Condition] | None:
    """All requests of an upload are of one second: one stretch of the account's messages, of which others are few.
    None: nothing of it is known."""
    there = messages.c
    theirs = [there.request_id > f"{batch}/", there.request_id < f"{batch}0"]  # "0" follows "/"
    some = connection.scalar(sql.select(there.id).where(there.account == account, *theirs).limit(1))
    if some is None:
        return None
    second = some[:SECOND_DIGITS]
    return [*theirs, there.id >= second, there.id < f"{second}g"]


def _custom(key: str, value: str, *, sqlite: bool) -> Condition:
    """A member of `custom` is this text, or a whole number or truth value that is written so."""
    custom = messages.c.custom
    if not sqlite:
        member = sql.func.json_extract_path_text(sql.cast(custom, postgresql.JSON), key, type_=sql.Text)
        # PostgreSQL reads no JSON that holds U+0000.
        return sql.case((sql.func.strpos(custom, "\\u0000") == 0, member)) == value
    path = f'$."{key}"'
    found = sql.func.json_extract(custom, path)
    kind = sql.func.json_type(custom, path)
    return sql.case((kind.in_(("true", "false")), kind), else_=sql.cast(found, sql.Text)) == value
