"""What is asked of the read model. Blocking, milliseconds; call it in a thread."""

from collections import defaultdict
from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sql

from pipeline.store import spending
from pipeline.store import statistics as counting
from pipeline.store.search import Page, Wanted, search
from pipeline.store.spending import Spend
from pipeline.store.statistics import Count
from pipeline.store.stored import StoredMessage, select_stored
from pipeline.store.tables import ledger, messages
from schemas import errors
from schemas.ledger import Kind
from schemas.states import STATE, Detailed


class Movement(msgspec.Struct, frozen=True):
    """A movement of an account's money (schemas/ledger.py), in micro-units; `balance` and `reserved` are after it."""

    account: str
    sequence: int
    kind: str
    amount: int
    balance: int
    reserved: int
    currency: str
    batch: str | None
    request_id: str | None
    messages: int
    parts: int
    reference: str | None
    reason: str | None
    price_list: str | None
    bundle: str | None
    bundle_left: int | None
    at: str


#: Not refused because another request had used its id: `error` is JSON that begins with the code.
_not_reused = sql.or_(
    messages.c.error.is_(None), messages.c.error.not_like(f'{{"code":{errors.REQUEST_ID_REUSED},%', escape="/")
)
#: Values in one statement.
_VARIABLES = 10_000
_movements = sql.select(*(ledger.c[field] for field in Movement.__struct_fields__)).order_by(ledger.c.sequence.desc())


class ReadModel:
    """Questions to the database that the projector keeps."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    @property
    def engine(self) -> sql.Engine:
        """The database, for questions that stand in modules of their own."""
        return self._engine

    def get(self, account: str, id_: str) -> StoredMessage | None:
        """The account's message of this id; None also where it is another account's."""
        query = select_stored.where(messages.c.account == account, messages.c.id == id_)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return StoredMessage(*row) if row else None

    def holds(self, accounts: Sequence[str], id_: str) -> bool:
        """Whether one of these accounts has a message of this id. A look at the key for each."""
        starts = range(0, len(accounts), _VARIABLES)
        queries = (
            sql.select(messages.c.id).where(
                messages.c.account.in_(accounts[at : at + _VARIABLES]), messages.c.id == id_
            )
            for at in starts
        )
        with self._engine.connect() as connection:
            return any(connection.execute(query).first() for query in queries)

    def page(self, account: str, skip: int, limit: int) -> list[StoredMessage]:
        """`limit` messages of the account behind the newest `skip`, newest first."""
        return self.search(account, Wanted(), None, limit, skip).messages

    def search(self, account: str, wanted: Wanted, behind: str | None, limit: int, skip: int = 0) -> Page:
        """A page of the account's messages that have what is wanted (see search.search)."""
        with self._engine.connect() as connection, connection.begin():
            return search(connection, account, wanted, behind, limit, skip)

    def counted(self, account: str, by: Sequence[str], first: str, past: str) -> list[Count]:
        """The account's messages requested on some days, by some of statistics.BY (see statistics.counts)."""
        with self._engine.connect() as connection, connection.begin():
            return counting.counts(connection, account, by, first, past)

    def firsts_of(self, requests: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[StoredMessage, int]]:
        """Of requests (account, request id) that are known the message to the first recipient, and how many messages
        are known. A request that was refused because its id had been used is not this one."""
        by_account: defaultdict[str, list[str]] = defaultdict(list)
        for account, request_id in requests:
            by_account[account].append(request_id)
        found: dict[tuple[str, str], tuple[StoredMessage, int]] = {}
        with self._engine.connect() as connection:
            for account, request_ids in by_account.items():
                mine = messages.c.account == account, messages.c.request_id.in_(request_ids), _not_reused
                for row in connection.execute(select_stored.where(*mine, messages.c.index == 0)).all():
                    first = StoredMessage(*row)
                    count = sql.select(sql.func.count()).where(*mine, messages.c.request_id == first.request_id)
                    found[account, first.request_id or ""] = first, connection.execute(count).scalar_one()
        return found

    def reserved_since(self, account: str, since: str) -> tuple[int, int]:
        """Messages accepted of an account, and micro-units reserved for them, since a time (RFC 3339, UTC)."""
        there = ledger.c
        sums = sql.func.coalesce(sql.func.sum(there.messages), 0), sql.func.coalesce(sql.func.sum(there.amount), 0)
        query = sql.select(*sums).where(there.account == account, there.at >= since, there.kind == Kind.RESERVE.value)
        with self._engine.connect() as connection:
            count, amount = connection.execute(query).one()
        return int(count), int(amount)

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

    def last_movement(self, account: str) -> Movement | None:
        """The account's last movement, which tells its balance; None where it never had money."""
        return next(iter(self.movements(account, limit=1)), None)

    def movements(
        self,
        account: str,
        *,
        kinds: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Movement]:
        """The account's movements, newest first, at most `limit`: of these kinds (none: all), `since` (inclusive) to
        `until` (exclusive; RFC 3339 in UTC with milliseconds), behind the one of sequence `before`."""
        query = _movements.where(ledger.c.account == account).limit(limit)
        if kinds:
            query = query.where(ledger.c.kind.in_(kinds))
        if since is not None:
            query = query.where(ledger.c.at >= since)
        if until is not None:
            query = query.where(ledger.c.at < until)
        if before is not None:
            query = query.where(ledger.c.sequence < before)
        with self._engine.connect() as connection:
            return [Movement(*row) for row in connection.execute(query)]

    def spend(self, account: str, by: str, since: int, until: int, refunds: Collection[str]) -> list[Spend]:
        """What carriers took of the account's messages, by one of SPEND_BY (see spending.spend)."""
        with self._engine.connect() as connection, connection.begin():
            return spending.spend(connection, [account], by, since, until, refunds)

    def margin(self, by: str, since: int, until: int, refunds: Collection[str]) -> list[Spend]:
        """What carriers took of all accounts' messages, by one of MARGIN_BY (see spending.spend)."""
        with self._engine.connect() as connection, connection.begin():
            return spending.spend(connection, spending.accounts(connection), by, since, until, refunds)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()
