"""The ledger read again from its first entry: is every balance explained by the movements before it?

Kept for good are an account's last entry and a batch's totals (some 300 bytes), whatever number of entries made them.
Of entries only marks are kept, and only of the last ones: a crash repeats the end of what stands there, nothing older.
"""

from enum import StrEnum

import msgspec

from pipeline.billing.ledger import Account
from pipeline.billing.money import format_amount, parse_amount
from schemas.ledger import SIDES, Kind, LedgerEntry

#: Marks in each of two generations, some 150 bytes each. A window of the price stage has fewer entries in each
#: partition, so what a crash repeats is known.
_MARKS = 250_000
#: Movements of a batch, and what each does to the parts that a bundle has left.
_SETTLING = {Kind.RESERVE: -1, Kind.CAPTURE: 0, Kind.RELEASE: 1, Kind.REFUND: 1}


class Wrong(StrEnum):
    """Kinds of differences."""

    UNREADABLE = "unreadable"  # an entry, or an amount in it
    PLACE = "place"  # an entry in another account's partition, or entries that are gone from the topic
    GAP = "gap"  # a sequence that is missing
    REPEAT = "repeat"  # a sequence that stands twice, and not alike or not where a crash repeats it
    BALANCE = "balance"  # the balances are not those that the movement makes of the balances before
    SIDES = "sides"  # from or to another side than such a movement has
    CURRENCY = "currency"  # another than the account's
    REFERENCE = "reference"  # a top-up or a penalty that is counted twice
    BATCH = "batch"  # more taken of what is reserved for a batch than there was
    BUNDLE = "bundle"  # the parts that a bundle has left are not those that the movement makes of those before
    SUM = "sum"  # over all sides it is not zero
    TABLE = "table"  # the price stage's table has it otherwise
    BALANCES = "balances"  # the balances topic has it otherwise
    CARRIERS = "carriers"  # captured is not what the carriers took


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that does not hold: what kind, in words, and about whom. `sequence`: of the entry."""

    wrong: Wrong
    what: str
    account: str | None = None
    sequence: int | None = None
    batch: str | None = None

    def __str__(self) -> str:
        sequence = None if self.sequence is None else f"#{self.sequence}"
        about = " ".join(filter(None, (self.account, sequence, self.batch and f"batch {self.batch}")))
        return f"{self.wrong}: {about + ': ' if about else ''}{self.what}"


class Totals(msgspec.Struct, gc=False):
    """What became of something that was reserved: of micro-units, or of a bundle's parts."""

    reserved: int = 0
    captured: int = 0
    released: int = 0
    refunded: int = 0

    @property
    def open(self) -> int:
        """What is still reserved."""
        return self.reserved - self.captured - self.released

    def add(self, kind: Kind, amount: int) -> str | None:
        """Count a movement in; what is wrong with it, as far as totals tell."""
        match kind:
            case Kind.RESERVE:
                again, self.reserved = self.reserved > 0, self.reserved + amount
                return "is reserved for a second time" if again else None
            case Kind.CAPTURE:
                self.captured += amount
            case Kind.RELEASE:
                self.released += amount
            case _:
                self.refunded += amount
                return "more is given back than was captured" if self.refunded > self.captured else None
        return "more is captured and released than was reserved" if self.open < 0 else None


class Held(Totals, gc=False):
    """A batch's money in totals; `messages`: those it, and `parts` of bundles by their names, were reserved for."""

    account: str = ""
    messages: int = 0
    parts: dict[str, Totals] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is reserved any more."""
        return not self.open and not any(one.open for one in (self.parts or {}).values())


class Standing(msgspec.Struct, gc=False):
    """An account as of its last entry. `money`: first as that tells it; behind a difference, as it was computed too,
    for the entries that follow tell which of both is right. `due`: what others say of a later sequence. `bundles`: what
    each has left. `brought`: it had money before the ledger began, and batches too."""

    account: str
    sequence: int
    currency: str
    money: tuple[Account, ...]
    due: tuple[tuple[Wrong, int, Account], ...] = ()
    bundles: dict[str, int] | None = None
    brought: bool = False


class Audit:
    """Takes the entries in the order of their partition.

    `standings` (by account) and `batches` are as recomputed; `sides`: what each side that is no account has gained, in
    micro-units. An account's first entry may bring a balance with it, from a version that kept no ledger: it is then
    owed to the side "before", and `brought` counts such accounts.
    """

    def __init__(self) -> None:
        self.entries = self.repeats = self.brought = 0
        self.differences: list[Difference] = []
        self.standings: dict[str, Standing] = {}
        self.batches: dict[bytes, Held] = {}
        self.sides: dict[str, int] = {}
        self._marks: tuple[dict[int, int], dict[int, int]] = {}, {}
        self._references: set[int] = set()
        self._expected: dict[str, tuple[tuple[Wrong, int, Account], ...]] = {}

    @property
    def accounts(self) -> dict[str, Account]:
        """Each account's money."""
        return {name: standing.money[0] for name, standing in self.standings.items()}

    @property
    def faults(self) -> list[str]:
        """The differences in words."""
        return [str(one) for one in self.differences]

    @property
    def total(self) -> int:
        """Over all sides: zero, or money came out of nothing. What an account has is what its last entry tells, what
        the others have follows from the amounts: so it is zero only where both agree."""
        return sum(self.sides.values()) + sum(one.balance for one in self.accounts.values())

    def expect(self, wrong: Wrong, account: str, sequence: int, money: Account) -> None:
        """What another source says of an account behind an entry that is still to come. Looked at when it comes."""
        standing = self.standings.get(account)
        if standing is None:
            self._expected[account] = (*self._expected.get(account, ()), (wrong, sequence, money))
        elif sequence > standing.sequence:
            standing.due = (*standing.due, (wrong, sequence, money))
        elif sequence == standing.sequence and money != standing.money[0]:
            self._differs(wrong, standing.account, sequence, money, standing.money[0])

    def missing(self) -> list[Difference]:
        """What is still expected: entries that others know of and that never came."""
        due = [(account, 0, expected) for account, expected in self._expected.items()]
        due += [(name, standing.sequence, standing.due) for name, standing in self.standings.items() if standing.due]
        return [
            Difference(wrong, f"the ledger ends at {last or 'nothing'}, there it is at {sequence}", account, sequence)
            for account, last, expected in due
            for wrong, sequence, _ in expected
        ]

    def take(self, entry: LedgerEntry) -> None:
        """The next entry of its account."""
        standing = self.standings.get(entry.account)
        if standing is not None and entry.sequence <= standing.sequence:
            self._again(entry)
            return
        self.entries += 1
        self._mark(entry)
        amount, balance, reserved = (_micros(text) for text in (entry.amount, entry.balance, entry.reserved))
        if amount is None or amount < 0 or balance is None or reserved is None or entry.sequence < 1:
            told = f"{entry.kind} of {entry.amount}, then {entry.balance} and {entry.reserved} reserved: no such amount"
            self._differ(Wrong.UNREADABLE, entry, told)
            return
        money = Account(balance, reserved)
        if standing is None:
            standing = self._open(entry, money, amount)
        self._follow(standing, entry, money, amount)
        self._book(entry, amount)
        if entry.batch is not None:
            self._hold(standing, entry, amount)
        if entry.bundle is not None:
            self._prepaid(standing, entry, entry.bundle)
        if entry.reference is not None:
            self._once(entry, entry.reference)
        if standing.due:
            self._compare(standing, money)

    def _again(self, entry: LedgerEntry) -> None:
        """An entry whose sequence was here before."""
        name = hash((entry.account, entry.sequence))
        known = self._marks[0].get(name) or self._marks[1].get(name)
        if known is None:
            self._differ(Wrong.REPEAT, entry, "stands again long behind its place, where no crash repeats it")
        elif known != _mark(entry):
            self._differ(Wrong.REPEAT, entry, "stands twice and not alike")
        else:
            self.repeats += 1

    def _mark(self, entry: LedgerEntry) -> None:
        if len(self._marks[0]) >= _MARKS:
            self._marks = {}, self._marks[0]
        self._marks[0][hash((entry.account, entry.sequence))] = _mark(entry)

    def _open(self, entry: LedgerEntry, money: Account, amount: int) -> Standing:
        """An account at its first entry, with what it had before."""
        brought = Account()
        if entry.sequence > 1:
            brought = _before(entry.kind, money, amount)
            self.brought += 1
            self.sides["before"] = self.sides.get("before", 0) - brought.balance
        standing = Standing(entry.account, entry.sequence - 1, entry.currency, (brought,), brought=entry.sequence > 1)
        standing.due = self._expected.pop(entry.account, ())
        self.standings[entry.account] = standing
        return standing

    def _follow(self, standing: Standing, entry: LedgerEntry, money: Account, amount: int) -> None:
        """Sequence, currency and balances against the entry before."""
        if entry.currency != standing.currency:
            self._differ(Wrong.CURRENCY, entry, f"is in {entry.currency}, those before are in {standing.currency}")
        if entry.sequence != standing.sequence + 1:
            self._differ(Wrong.GAP, entry, f"follows on #{standing.sequence}: what was in between is missing")
            known: tuple[Account, ...] = (money,)
        else:
            computed = [_after(before, entry.kind, amount) for before in standing.money]
            known = (money,)
            if money not in computed:
                known += tuple(account for account in computed[:1] if account)
                self._differ(Wrong.BALANCE, entry, _unlike(entry, standing.money[0], computed[0]))
        standing.sequence, standing.money = entry.sequence, known

    def _book(self, entry: LedgerEntry, amount: int) -> None:
        """Both sides of the movement, as its kind has them. The account's own follow from what it tells of itself."""
        sides = SIDES[entry.kind]
        named = tuple(side.format(entry.account) for side in sides)
        if (entry.source, entry.target) != named:
            told = f"{entry.kind} from {entry.source} to {entry.target}; it goes from {named[0]} to {named[1]}"
            self._differ(Wrong.SIDES, entry, told)
        for side, gained in zip(sides, (-amount, amount), strict=True):
            if "{}" not in side:
                self.sides[side] = self.sides.get(side, 0) + gained

    def _hold(self, standing: Standing, entry: LedgerEntry, amount: int) -> None:
        """The batch behind a movement: no more is captured and released than was reserved, nor given back than was
        captured."""
        if entry.kind not in _SETTLING:
            self._once(entry, f"{entry.kind} {entry.batch}")
            return
        try:
            batch = bytes.fromhex(entry.batch or "")
        except ValueError:
            self._differ(Wrong.UNREADABLE, entry, f"{entry.batch!r} is no batch")
            return
        held = self.batches.get(batch)
        if held is None and standing.brought and entry.kind != Kind.RESERVE:
            return  # reserved before the ledger began
        if held is None:
            held = self.batches[batch] = Held(account=standing.account)
        elif held.account != entry.account:
            self._differ(Wrong.BATCH, entry, f"the batch is {held.account}'s")
        if entry.kind == Kind.RESERVE:
            held.messages += entry.messages
        totals: Totals = held
        if entry.bundle is not None:
            amount = entry.parts
            held.parts = held.parts or {}
            totals = held.parts.setdefault(entry.bundle, Totals())
        if wrong := totals.add(entry.kind, amount):
            unit = "micro-units" if entry.bundle is None else f"parts of bundle {entry.bundle}"
            sums = f"{totals.captured} captured, {totals.released} released, {totals.refunded} given back"
            self._differ(Wrong.BATCH, entry, f"{wrong} ({unit}: {totals.reserved} reserved, {sums})")

    def _prepaid(self, standing: Standing, entry: LedgerEntry, bundle: str) -> None:
        """The parts a bundle has left. One that expired is forgotten, so it may begin at nothing again."""
        standing.bundles = standing.bundles or {}
        more = entry.parts * _SETTLING.get(entry.kind, 1)
        left = standing.bundles.get(bundle, 0) + more
        if entry.bundle_left is None or entry.bundle_left < 0 or entry.bundle_left not in (left, more):
            told = f"{entry.kind} of {entry.parts} parts: it says {entry.bundle_left} are left, computed is {left}"
            self._differ(Wrong.BUNDLE, entry, f"bundle {bundle}: {told}")
        standing.bundles[bundle] = left if entry.bundle_left is None else entry.bundle_left

    def _once(self, entry: LedgerEntry, what: str) -> None:
        name = hash((entry.account, what))
        if name in self._references:
            self._differ(Wrong.REFERENCE, entry, f"{what} is counted already")
        self._references.add(name)

    def _compare(self, standing: Standing, money: Account) -> None:
        """What others say of this entry, and of those that were passed over."""
        for wrong, sequence, expected in standing.due:
            if sequence == standing.sequence and expected != money:
                self._differs(wrong, standing.account, sequence, expected, money)
        standing.due = tuple(one for one in standing.due if one[1] > standing.sequence)

    def _differs(self, wrong: Wrong, account: str, sequence: int, there: Account, here: Account) -> None:
        told = f"there it has {_told(there)}, in the ledger {_told(here)}"
        self.differences.append(Difference(wrong, told, account, sequence))

    def _differ(self, wrong: Wrong, entry: LedgerEntry, what: str) -> None:
        self.differences.append(Difference(wrong, what, entry.account, entry.sequence, entry.batch))


def _micros(text: str) -> int | None:
    found = parse_amount(text)
    return found if isinstance(found, int) else None


def _mark(entry: LedgerEntry) -> int:
    """Never 0, and the same only for the same entry: 61 bits under this process's secret."""
    return hash(entry) or 1


def _before(kind: Kind, after: Account, amount: int) -> Account:
    """The account before a movement."""
    one = Account(0, amount)
    moved = one.after(kind, amount)
    return Account(after.balance - moved.balance, after.reserved - (moved.reserved - amount))


def _after(before: Account, kind: Kind, amount: int) -> Account | None:
    """The account after a movement; None where there is not so much to capture or release."""
    try:
        return before.after(kind, amount)
    except ValueError:
        return None


def _unlike(entry: LedgerEntry, before: Account, computed: Account | None) -> str:
    if computed is None:
        return f"{entry.kind} of {entry.amount} from {format_amount(before.reserved)} reserved"
    told = f"{entry.balance} and {entry.reserved} reserved"
    return f"{entry.kind} of {entry.amount} on {_told(before)}: it says {told}, computed is {_told(computed)}"


def _told(money: Account) -> str:
    return f"{format_amount(money.balance)} and {format_amount(money.reserved)} reserved"
