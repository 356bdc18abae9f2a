"""What messages cost those who sent them, and what they cost us: sums over the rows of those that carriers took."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sql

from pipeline.billing import parse_amount
from pipeline.stages.fate import BY_RECEIPT
from pipeline.store.costs import TAKEN
from pipeline.store.tables import messages


class Spend(msgspec.Struct, frozen=True):
    """Messages that carriers took, of one day, country, operator, carrier or account.

    `about`: which (a name is None where it is not known). `amount`: micro-units that were charged and not given back.
    `cost`: what carriers take for them, in micro-units, but for the `uncosted` of which that is not known.
    """

    about: dict[str, str | None]
    currency: str
    messages: int
    parts: int
    amount: int
    cost: int
    uncosted: int


#: What spend is told by, and the columns behind it. A day (UTC) is that of the request, as the messages' ids tell it.
#: Operators of several countries share a name, so the country stands beside it.
SPEND_BY: dict[str, dict[str, sql.Column[Any]]] = {
    "day": {},
    "country": {"country": messages.c.country_code},
    "operator": {"operator": messages.c.operator, "country": messages.c.country_code},
    "carrier": {"carrier": messages.c.carrier},
}
#: The same, of all accounts.
MARGIN_BY = SPEND_BY | {"account": {"account": messages.c.account}}

_DAY_SECONDS = 24 * 3600
#: How an error is written that a receipt told (writer.py).
_receipt = messages.c.error.like(f'{{"code":%,"message":"{BY_RECEIPT}%')
#: A carrier took the message: it told so, gave it an id, or its receipt speaks of it.
_taken = sql.or_(
    messages.c.sent_at.is_not(None),
    messages.c.carrier_reference.is_not(None),
    messages.c.detailed_state.in_(sorted(TAKEN)),
    _receipt,
)


def spend(
    connection: sql.Connection, accounts: Iterable[str], by: str, since: int, until: int, refunds: Collection[str]
) -> list[Spend]:
    """What carriers took of the messages that these accounts requested `since` (inclusive) to `until` (exclusive; Unix
    seconds), by one of MARGIN_BY: days in order, of others the dearest first. `refunds`: ends, told by a receipt, at
    which what was charged is given back (`billing.refund`)."""
    columns = MARGIN_BY[by]
    sums: defaultdict[tuple[str | None, ...], list[int]] = defaultdict(lambda: [0] * 5)
    for account in accounts:
        stretches = _days(connection, account, since, until) if by == "day" else [((), since, until)]
        for day, first, past in stretches:
            for row in connection.execute(_query(account, first, past, columns.values(), refunds)):
                *key, price, count, charged, parts, cost, costed = row
                micros = parse_amount(price)
                amount = micros * charged if isinstance(micros, int) else 0  # the topic is open to others
                total = sums[(*day, *key)]
                for place, number in enumerate((count, parts, amount, int(cost or 0), count - costed)):
                    total[place] += number
    names = list(columns) or [by]
    found = [Spend(dict(zip(names, key, strict=False)), key[-1] or "", *total) for key, total in sums.items()]
    if by == "day":
        return sorted(found, key=lambda one: str(one.about[by]))
    return sorted(found, key=lambda one: (-one.amount, [name or "" for name in one.about.values()]))


def together(found: Collection[Spend]) -> Spend:
    """The sums of all, about nothing in particular."""
    columns = ("messages", "parts", "amount", "cost", "uncosted")
    return Spend({}, "", *(sum(getattr(one, column) for one in found) for column in columns))


def accounts(connection: sql.Connection) -> Iterator[str]:
    """Every account that has messages. Asked one after the other: each is a step in the key."""
    name: str | None = ""
    while name is not None:
        name = connection.scalar(sql.select(sql.func.min(messages.c.account)).where(messages.c.account > name))
        if name is not None:
            yield name


def _query(
    account: str, since: int, until: int, keys: Iterable[sql.Column[Any]], refunds: Collection[str]
) -> sql.Select[Any]:
    """By keys, currency and price, for the database has prices as text, and sums are to be exact: messages, those of
    them that stay charged, parts, cost, and messages of known cost."""
    there, count = messages.c, sql.func.count
    refunded = sql.and_(there.detailed_state.in_(sorted(refunds)), _receipt)
    groups = *keys, there.currency, there.total_price
    charged = sql.func.sum(sql.case((refunded, 0), else_=1))
    return (
        sql.select(
            *groups, count(), charged, sql.func.sum(there.message_count), sql.func.sum(there.cost), count(there.cost)
        )
        .where(*_stretch(account, since, until), _taken, there.dry_run.is_(False))
        .group_by(*groups)
    )


def _stretch(account: str, since: int, until: int) -> Iterator[sql.ColumnElement[bool]]:
    """Message ids begin with their request's time: what an account requested in a time is one stretch of the table."""
    yield messages.c.account == account
    yield messages.c.id >= f"{since:08x}"
    yield messages.c.id < f"{until:08x}"


def _days(
    connection: sql.Connection, account: str, since: int, until: int
) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """The days (UTC) on which the account requested something, each with its first second and the first past it."""
    while since < until:
        query = sql.select(sql.func.min(messages.c.id)).where(*_stretch(account, since, until))
        first = connection.scalar(query)
        if first is None:
            return
        with contextlib.suppress(ValueError):  # no id of ours: the topic is open to others
            since = min(max(since, int(first[:8], 16)), until - 1)
        past = min((since // _DAY_SECONDS + 1) * _DAY_SECONDS, until)
        yield (datetime.fromtimestamp(since, UTC).date().isoformat(),), since, past
        since = past
