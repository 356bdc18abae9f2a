"""An honest ledger for tests: entries as the price stage makes them."""

from typing import Any

from pipeline.billing import Account, format_amount
from schemas.ledger import SIDES, Kind, LedgerEntry

UNIT = 1_000_000


class Books:
    """Makes entries of accounts, each following on the one before."""

    def __init__(self) -> None:
        self.money: dict[str, Account] = {}
        self.sequences: dict[str, int] = {}
        self.entries: list[LedgerEntry] = []

    def move(self, kind: Kind, amount: int, account: str = "acme", **about: Any) -> LedgerEntry:
        """The next entry of an account. `amount`: micro-units."""
        money = self.money[account] = self.money.get(account, Account()).after(kind, amount)
        self.sequences[account] = self.sequences.get(account, 0) + 1
        source, target = (side.format(account) for side in SIDES[kind])
        entry = LedgerEntry(
            account=account, sequence=self.sequences[account], kind=kind, amount=format_amount(amount), currency="EUR",
            source=source, target=target, balance=format_amount(money.balance), reserved=format_amount(money.reserved),
            at="2026-11-22T10:00:00.000Z", **about,
        )  # fmt: skip
        self.entries.append(entry)
        return entry


def batch(number: int) -> str:
    return f"{0x6921F100:08x}{number:010x}"


def ordinary() -> list[LedgerEntry]:
    """Ten entries of an account, two of another: every kind of movement but the bundle's."""
    books = Books()
    books.move(Kind.TOP_UP, 10 * UNIT, reference="R1")
    books.move(Kind.TOP_UP, 5 * UNIT, "globex", reference="R1")
    books.move(Kind.RESERVE, 3 * UNIT, batch=batch(1), messages=3)
    books.move(Kind.CAPTURE, 2 * UNIT, batch=batch(1))
    books.move(Kind.RELEASE, UNIT, batch=batch(1))
    books.move(Kind.REFUND, UNIT, batch=batch(1))
    books.move(Kind.PENALTY, UNIT, batch=batch(2), reason="prohibited content")
    books.move(Kind.ADJUSTMENT, UNIT, reference="A1", reason="kindness")
    books.move(Kind.CORRECTION, UNIT, reference="A2", reason="error")
    books.move(Kind.RESERVE, 2 * UNIT, batch=batch(3), messages=2)
    books.move(Kind.RESERVE, UNIT, "globex", batch=batch(4), messages=1)
    books.move(Kind.CAPTURE, UNIT, batch=batch(3))
    return books.entries
