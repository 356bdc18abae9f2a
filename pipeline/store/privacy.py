"""What is not kept of a message: text and number past their age, and all that names a recipient who asked for it.

What was erased stays erased: the writer asks here before it stores, so that neither a late receipt nor a topic that is
read again brings anything back. Statistics, prices and states stay.
"""

import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import sqlalchemy as sql

from pipeline.config import Privacy
from pipeline.ids import SECOND_DIGITS
from pipeline.store import tables
from pipeline.store.database import WRITES

#: Stands for the digits of an erased number.
ERASED = "***"
#: Account of an erasure that holds for all.
EVERYONE = ""
_DAY_SECONDS = 24 * 3600
#: Messages a transaction.
_CHUNK = 500


class Ages(msgspec.Struct, frozen=True):
    """Texts, and numbers, of messages whose ids are below these are not kept; "" erases none."""

    texts: str = ""
    numbers: str = ""

    @classmethod
    def of(cls, privacy: Privacy, now: float) -> "Ages":
        """As of a moment, in Unix seconds."""
        return cls(_before(privacy.erase_text_days, now), _before(privacy.erase_numbers_days, now))


class Erasures(msgspec.Struct, frozen=True):
    """Who asked to be erased: until when, by account and hash."""

    salt: bytes
    until: Mapping[tuple[str, str], str]

    @classmethod
    def read(cls, connection: sql.Connection) -> "Erasures":
        """Those of the database."""
        salt = connection.execute(sql.select(tables.projection.c.salt)).scalar_one()
        rows = connection.execute(sql.select(tables.erasures))
        return cls(bytes.fromhex(salt), {(row.account, row.recipient_hash): row.until for row in rows})

    def hash(self, recipient: str) -> str:
        """A number's, keyed: the table alone names nobody."""
        return blake2b(recipient.encode("utf-8", "replace"), digest_size=16, key=self.salt).hexdigest()

    def holds(self, account: str, recipient: str, id_: str) -> bool:
        """Whether this message is to be erased: it was requested before its recipient asked for it."""
        if not self.until:
            return False
        hashed = self.hash(recipient)
        second = id_[:SECOND_DIGITS]
        return any(second <= self.until.get((whose, hashed), "") for whose in (account, EVERYONE))


def masked(prefix: str | None) -> str:
    """What stands for an erased number of this international prefix."""
    return f"+{prefix or ''}{ERASED}"


def erase(engine: sql.Engine, recipient: str, account: str | None = None, now: float | None = None) -> int:
    """Erase a recipient's number, texts and custom data from every message requested by now, of one account or of all;
    the number of messages. It holds for what is read again later; a message sent after is a new one's.
    """
    until = f"{int(time.time() if now is None else now):08x}"
    writing = engine.execution_options(**{WRITES: True})
    with writing.begin() as connection:
        _note(connection, account or EVERYONE, recipient, until)
    erased = 0
    for name in [account] if account else _accounts(engine):
        there = tables.messages.c
        mine = sql.select(there.id).where(there.account == name, there.recipient == recipient)
        mine = mine.where(there.id < until + "g").limit(_CHUNK)
        while True:
            with writing.begin() as connection:
                ids = connection.scalars(mine).all()
                connection.execute(without_recipient(name, ids))
            erased += len(ids)
            if len(ids) < _CHUNK:
                break
    return erased


def without_recipient(account: str, ids: Any) -> sql.Update:
    """Messages without number, text and custom data. An error's words may hold the number."""
    there = tables.messages.c
    instead = sql.literal("+") + sql.func.coalesce(there.international_prefix, "") + sql.literal(ERASED)
    error = sql.func.replace(there.error, there.recipient, instead)
    return (
        sql.update(tables.messages)
        .where(there.account == account, there.id.in_(ids))
        .values(recipient=instead, message=None, custom="{}", error=error)
    )


def without_number(account: str, ids: Any) -> sql.Update:
    """Messages without number."""
    there = tables.messages.c
    instead = sql.literal("+") + sql.func.coalesce(there.international_prefix, "") + sql.literal(ERASED)
    error = sql.func.replace(there.error, there.recipient, instead)
    return (
        sql.update(tables.messages)
        .where(there.account == account, there.id.in_(ids))
        .values(recipient=instead, error=error)
    )


def without_text(account: str, ids: Any) -> sql.Update:
    """Messages without text, and without custom data, which may repeat it."""
    there = tables.messages.c
    return (
        sql.update(tables.messages).where(there.account == account, there.id.in_(ids)).values(message=None, custom="{}")
    )


def _note(connection: sql.Connection, account: str, recipient: str, until: str) -> None:
    there = tables.erasures
    hashed = Erasures.read(connection).hash(recipient)
    this = sql.and_(there.c.account == account, there.c.recipient_hash == hashed)
    connection.execute(sql.delete(there).where(this))
    connection.execute(sql.insert(there).values(account=account, recipient_hash=hashed, until=until))
    connection.execute(sql.update(tables.projection).values(epoch=tables.projection.c.epoch + 1))


def _accounts(engine: sql.Engine) -> list[str]:
    from pipeline.store.spending import accounts

    with engine.connect() as connection:
        return list(accounts(connection))


def _before(days: float, now: float) -> str:
    return f"{max(int(now - days * _DAY_SECONDS), 0):08x}" if days else ""
