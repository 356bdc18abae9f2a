"""The ledger read again from its first entry: is every balance explained by the movements before it?"""

from collections import defaultdict
from hashlib import blake2b

import msgspec

from pipeline.billing.ledger import Account
from pipeline.billing.money import format_amount, parse_amount
from schemas.ledger import SIDES, Kind, LedgerEntry


class Audit:
    """Takes the entries in the order of the topic; what does not hold is in `faults`, a line each.

    `accounts`: each account's money as recomputed, `sides`: what each side has gained, in micro-units. An account's
    first entry may bring a balance with it, from a version that kept no ledger: it is then owed to the side "before".
    """

    def __init__(self) -> None:
        self.entries = self.repeats = 0
        self.faults: list[str] = []
        self.accounts: dict[str, Account] = {}
        self.sides: defaultdict[str, int] = defaultdict(int)
        self.captured: defaultdict[str, int] = defaultdict(int)  # by batch, less what was given back
        self._last: dict[str, int] = {}
        self._seen: dict[tuple[str, int], bytes] = {}

    @property
    def total(self) -> int:
        """Over all sides: zero, or money came out of nothing."""
        return sum(self.sides.values())

    def take(self, entry: LedgerEntry) -> None:
        """The next entry of its account."""
        name = f"{entry.account} {entry.sequence}"
        mark = blake2b(msgspec.json.encode(entry), digest_size=8).digest()
        if known := self._seen.get((entry.account, entry.sequence)):
            self.repeats += 1
            if known != mark:
                self.faults.append(f"{name}: stands twice and not alike")
            return
        self._seen[entry.account, entry.sequence] = mark
        self.entries += 1
        amount, balance, reserved = (_micros(text) for text in (entry.amount, entry.balance, entry.reserved))
        if amount is None or amount < 0 or balance is None or reserved is None:
            self.faults.append(f"{name}: an amount cannot be read, or is negative")
            return
        before = self._before(entry, Account(balance, reserved), amount)
        try:
            after = before.after(entry.kind, amount)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            after = Account(balance, reserved)
        if (after.balance, after.reserved) != (balance, reserved):
            computed = f"{format_amount(after.balance)} and {format_amount(after.reserved)} reserved"
            self.faults.append(f"{name}: says {entry.balance} and {entry.reserved} reserved, computed is {computed}")
        self.accounts[entry.account] = after
        self._last[entry.account] = entry.sequence
        self._book(entry, amount, name)

    def _before(self, entry: LedgerEntry, after: Account, amount: int) -> Account:
        """The account before the entry; as the entry itself tells it where it is the first of a later sequence."""
        last = self._last.get(entry.account, 0)
        if last == 0 and entry.sequence > 1:
            gained, promised = Account(0, amount).after(entry.kind, amount), Account(0, amount)
            brought = Account(after.balance - gained.balance, after.reserved - (gained.reserved - promised.reserved))
            self.sides["before"] -= brought.balance
            self.sides[f"{entry.account}/available"] += brought.available
            self.sides[f"{entry.account}/reserved"] += brought.reserved
            return brought
        if entry.sequence != last + 1:
            self.faults.append(f"{entry.account} {entry.sequence}: follows on {last}")
        return self.accounts.get(entry.account, Account())

    def _book(self, entry: LedgerEntry, amount: int, name: str) -> None:
        sides = tuple(side.format(entry.account) for side in SIDES[entry.kind])
        if (entry.source, entry.target) != sides:
            self.faults.append(f"{name}: {entry.kind} from {entry.source} to {entry.target}, which it never is")
        self.sides[entry.source] -= amount
        self.sides[entry.target] += amount
        if entry.batch and entry.kind in (Kind.CAPTURE, Kind.REFUND):
            self.captured[entry.batch] += amount if entry.kind == Kind.CAPTURE else -amount


def _micros(text: str) -> int | None:
    found = parse_amount(text)
    return found if isinstance(found, int) else None
