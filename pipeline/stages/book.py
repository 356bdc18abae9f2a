"""The accounts' money as the price stage keeps it: what one record changes, and how that survives a crash.

    d<batch>                the decision on a batch: what was reserved, and what of it is settled
    c<account>/<reference>  a top-up that is counted, and by which record
    a<account>              the money, with the offset of the last record of each topic that is in it, and the ledger
                            entries of the window that moved it last

A decision goes to the changelog before its account, a settlement's account before its decisions. An account's value
tells by its offsets whether a record is in it already, whichever write was the last before a crash. Its entries are in
the same value, so what moved and what is told of it cannot come apart: whoever opens the account next and did not write
it himself tells them again, the same, and readers drop a sequence that they have seen.
"""

from typing import Any

import msgspec
import orjson
import structlog

from pipeline.accounts import Hold, Register
from pipeline.billing import Account, Bundle, Limits, Traffic, Usage, format_amount
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Batch, Credit, Settlement, encode
from pipeline.stages.fate import rfc3339
from pipeline.streaming import letters
from pipeline.streaming.stage import Record, Step
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error
from schemas.ledger import SIDES, Kind, LedgerEntry

log = structlog.get_logger()

#: References of top-ups that an account's balance tells, for whoever waits for his.
_CREDITS_TOLD = 20


class Ledger(msgspec.Struct, array_like=True, frozen=True):
    """An account's money in micro-units, and up to which offset of each topic it is counted in.

    `sequence`: of its last ledger entry. `credits`: references of its last top-ups. `untold`: topic and JSON of what is
    told of the last window that changed it, `revision` counts what was ever told.
    """

    money: Account = Account()
    applied: dict[str, int] = {}
    sequence: int = 0
    credits: list[str] = []
    untold: list[tuple[str, bytes]] = []
    revision: int = 0
    usage: Usage = Usage()
    bundles: list[Bundle] = []
    traffic: Traffic = Traffic()


class _About(msgspec.Struct):
    account: str


class Decision(msgspec.Struct, array_like=True):
    """What was decided on a batch, by which record. `paid`: recipients, from the first of those that are allowed and
    have a price; `penalty`: for those with prohibited content. Micro-units, in totals.

    `excluded`: positions (of those with a price) that a limit of the account shut out; `why`: what the rest of the
    unpaid was refused for; `price_list`: the version of the list that set `prices`. Where bundles pay for some,
    `funding` says of each recipient with a price: 0 not paid for, 1 the wallet, n + 1 the n-th of `bundles`; `parts`:
    of each captured, released and refunded.
    """

    topic: str
    offset: int
    request: bytes
    paid: int
    reserved: int
    prices: list[int]
    captured: int = 0
    released: int = 0
    penalty: int = 0
    refunded: int = 0
    excluded: dict[int, Error] = {}
    price_list: str = ""
    why: Error | None = None
    funding: bytes = b""
    bundles: list[str] = []
    parts: dict[str, list[int]] = {}


class Bank:
    """The accounts of the partitions this process owns."""

    def __init__(self, settings: Settings, names: TopicNames, accounts: Register) -> None:
        self.names = names
        self.accounts = accounts
        self.currency = settings.billing.currency
        self.pumping = settings.pumping.rule
        self._told: dict[str, int] = {}  # the revision of each account that is sent for sure
        self._telling: dict[str, int] = {}  # those that this window sends
        self._step: Step | None = None

    def open(self, record: Record, step: Step) -> "Book":
        """The accounts as one record meets them. Windows of the stage follow one another."""
        if step is not self._step:
            self._step, self._telling = step, {}
            telling = self._telling

            async def sending(_: Step) -> None:
                self._told |= telling

            # A window that gets as far as its actions sends what it tells, or ends the process. One in which a record
            # turns out to be poison does not get there: it is thrown away, and its records come again one by one.
            step.act(sending)
        return Book(self, record, step)

    def sent(self, account: str, revision: int) -> bool:
        """Whether everything up to `revision` is sent for sure: it was told in a window that has ended."""
        return self._told.get(account) == revision

    def tells(self, account: str, revision: int) -> bool:
        """Note that this window tells it; False where it is told already."""
        if revision in (self._told.get(account), self._telling.get(account)):
            return False
        self._telling[account] = revision
        return True


class Book:
    """The accounts as one source record meets them; `close` writes what changed, stamped with the record's offset."""

    def __init__(self, bank: Bank, record: Record, step: Step) -> None:
        self.record = record
        self.pumping = bank.pumping
        self._bank, self._step = bank, step
        self._open: dict[str, tuple[Ledger, bool]] = {}
        self._answered: set[bytes] = set()
        self._news: list[tuple[str, bytes]] = []
        self._before: dict[str, int] = {}
        self._retold: set[str] = set()
        self.decisions: dict[bytes, Decision | None] = {}

    def ledger(self, account: str) -> Ledger:
        """The account as it stands now."""
        if account not in self._open:
            key = b"a" + account.encode()
            ledger = self._step.view.get(key, Ledger) or Ledger()
            counted = ledger.applied.get(self.record.topic, -1) >= self.record.offset
            if ledger.untold and not self._step.view.wrote(key):  # of a window before this one
                if self._bank.sent(account, ledger.revision):
                    ledger = msgspec.structs.replace(ledger, untold=[])
                elif self._bank.tells(account, ledger.revision):
                    self._news += ledger.untold
                    self._retold.add(account)
            if ledger.traffic.tripped:
                traffic = ledger.traffic.told(self._bank.accounts.holds(account))
                ledger = msgspec.structs.replace(ledger, traffic=traffic)
            self._before[account] = ledger.money.available
            self._open[account] = ledger, counted
        return self._open[account][0]

    def counted(self, account: str) -> bool:
        """Whether this record is in the account already (a replay)."""
        self.ledger(account)
        return self._open[account][1]

    def change(self, account: str, **fields: Any) -> None:
        """Set other things than money."""
        ledger = self.ledger(account)
        self._open[account] = msgspec.structs.replace(ledger, **fields), self._open[account][1]

    def move(self, account: str, kind: Kind, amount: int, at: int, **about: Any) -> None:
        """Move money, and put it down in the ledger. `at`: Unix ms; `about`: more fields of the entry."""
        if not amount and "bundle" not in about:
            return
        ledger = self.ledger(account)
        money = ledger.money.after(kind, amount)
        source, target = (side.format(account) for side in SIDES[kind])
        entry = LedgerEntry(
            account=account,
            sequence=ledger.sequence + 1,
            kind=kind,
            amount=format_amount(amount),
            currency=self._bank.currency,
            source=source,
            target=target,
            balance=format_amount(money.balance),
            reserved=format_amount(money.reserved),
            at=rfc3339(at),
            **about,
        )
        self.change(account, money=money, sequence=entry.sequence)
        self._tell(account, self._bank.names.ledger, entry)

    def event(self, account: str, kind: str, **about: Any) -> None:
        """Tell of something that the account's owner should know."""
        at = rfc3339(self.record.timestamp_ms)
        self._tell(account, self._bank.names.events, {"account": account, "kind": kind, "at": at, **about})

    def _tell(self, account: str, topic: str, what: Any) -> None:
        """Send it with this record's outputs, and until it is known to be sent keep it with the account."""
        news = topic, msgspec.json.encode(what)
        self._news.append(news)
        ledger = self.ledger(account)
        self.change(account, untold=[*ledger.untold, news], revision=ledger.revision + 1)

    def limits(self, account: str) -> Limits:
        """The account's limits as of now."""
        known = self._bank.accounts.get(account)
        return known.limits if known else Limits()

    def holds(self, account: str) -> dict[str, bool]:
        """Ranges of the account: whether each is held, or released. What is known of a range goes before its trip."""
        known, tripped = self._bank.accounts.holds(account), self.ledger(account).traffic.tripped
        if not (known or tripped):
            return {}
        found = {trip.range: True for trip in tripped}
        return found | {name: not hold.released for name, hold in known.items()}

    def answers_for(self, batch: Batch) -> bool:
        """Whether the batch is decided on by this record: not where another brought it before, or it stands twice in
        this one, or its id belongs to another request."""
        decision = self.decisions[batch.id] = self._step.view.get(b"d" + batch.id, Decision)
        if decision is not None and decision.request != batch.request:
            self._collision(batch)
            return False
        origin = self.record.topic, self.record.offset
        if batch.id in self._answered or (decision is not None and (decision.topic, decision.offset) != origin):
            metrics.REPEATS.labels("price").inc()
            return False
        self._answered.add(batch.id)
        return True

    def decide(self, batch: Batch, decision: Decision) -> None:
        """Make a decision durable before its account, and before anybody hears of it."""
        self.decisions[batch.id] = decision
        self._step.view.put_first(b"d" + batch.id, decision)

    def _collision(self, batch: Batch) -> None:
        """Another request of the same second has the same 40 bits of hash. Its messages have these ids, so no status
        can be told of this one: it goes to the dead letters, to be sent again under another requestId."""
        reason = f"batch id {batch.id.hex()} belongs to another request; send {batch.request_id!r} again under a new id"
        log.error("batch.collision", batch=batch.id.hex(), account=batch.account, request=batch.request_id)
        metrics.DEAD_LETTERS.labels("price").inc()
        headers = letters.headers(self.record, stage="price", reason=reason)
        self._step.outbox.record(self._bank.names.dead_letters, self.record.partition, encode([batch]), headers=headers)

    def credit(self, credit: Credit) -> None:
        """Count a top-up or an adjustment in, each reference once."""
        key = b"c" + f"{credit.account}/{credit.reference}".encode()
        origin = f"{self.record.topic} {self.record.offset}".encode()
        known = self._step.view.get(key, bytes)
        ledger = self.ledger(credit.account)
        if self.counted(credit.account) or known not in (None, origin) or credit.reference in ledger.credits:
            metrics.REPEATS.labels("price").inc()
            return
        self._step.view.put_first(key, origin)
        self._apply(credit, ledger)
        self.change(credit.account, credits=[*ledger.credits, credit.reference][-_CREDITS_TOLD:])

    def _apply(self, credit: Credit, ledger: Ledger) -> None:
        kind = Kind(credit.kind) if credit.amount >= 0 else Kind.CORRECTION
        costs = abs(credit.amount) if kind in (Kind.CORRECTION, Kind.BUNDLE) else 0
        if costs > ledger.money.available + self.limits(credit.account).credit:
            missing = f"{kind} of {format_amount(costs)}: {format_amount(ledger.money.available)} are available"
            self.event(credit.account, "credit-refused", reference=credit.reference, message=missing)
            return
        about: dict[str, Any] = {"reference": credit.reference, "reason": credit.reason or None}
        if bought := credit.bundle:
            joined = bought.joined(self.bundle(credit.account, bought.name))
            self.keep(credit.account, joined)
            about |= {"bundle": bought.name, "parts": bought.left, "bundle_left": joined.left}
        self.move(credit.account, kind, abs(credit.amount), self.record.timestamp_ms, **about)

    def settle(self, settlement: Settlement) -> None:
        """Capture, release and give back what a settlement says beyond what is settled already."""
        batch = settlement.batch
        decision = self.decisions.get(batch) or self._step.view.get(b"d" + batch, Decision)
        if decision is None:
            raise RuntimeError(f"settlement of batch {batch.hex()} that was never paid for")
        left = decision.reserved - decision.captured - decision.released
        captured = min(max(settlement.captured - decision.captured, 0), left)
        released = min(max(settlement.released - decision.released, 0), left - captured)
        earned = decision.captured + captured - decision.refunded
        refunded = min(max(settlement.refunded - decision.refunded, 0), earned)
        if settlement.captured + settlement.released > decision.reserved:
            log.error("settlement.exceeds", batch=batch.hex(), account=settlement.account)
        if not self.counted(settlement.account):
            moves = ((Kind.CAPTURE, captured), (Kind.RELEASE, released), (Kind.REFUND, refunded))
            for kind, amount in moves:
                self.move(settlement.account, kind, amount, self.record.timestamp_ms, batch=batch.hex())
            for name, totals in settlement.parts.items():
                self._settle_bundle(settlement, name, totals, decision.parts.get(name, [0, 0, 0]))
        self.decisions[batch] = msgspec.structs.replace(
            decision,
            captured=decision.captured + captured,
            released=decision.released + released,
            refunded=decision.refunded + refunded,
            parts=decision.parts | settlement.parts,
        )

    def _settle_bundle(self, settlement: Settlement, name: str, totals: list[int], before: list[int]) -> None:
        """The same for the parts of a bundle; what comes back to one that expired meanwhile is of no more use."""
        account, batch = settlement.account, settlement.batch.hex()
        for kind, place in ((Kind.CAPTURE, 0), (Kind.RELEASE, 1), (Kind.REFUND, 2)):
            more = max(totals[place] - before[place], 0)
            if more:
                settled = self.bundle(account, name).settle(*(more if place == other else 0 for other in range(3)))
                self.keep(account, settled)
                about = {"batch": batch, "bundle": name, "parts": more, "bundle_left": settled.left}
                self.move(account, kind, 0, self.record.timestamp_ms, **about)

    def bundle(self, account: str, name: str) -> Bundle:
        """A bundle of the account; an empty one where it is not known (any more)."""
        known = (bundle for bundle in self.ledger(account).bundles if bundle.name == name)
        return next(known, Bundle(name, (), 0, 0))

    def keep(self, account: str, changed: Bundle) -> None:
        """Put a changed bundle in its place; those that are of no use any more go."""
        bundles = {bundle.name: bundle for bundle in self.ledger(account).bundles} | {changed.name: changed}
        now = self.record.timestamp_ms
        self.change(account, bundles=[b for b in bundles.values() if b.reserved or (b.left and now < b.expires_at)])

    def close(self, *, settled: bool = False) -> None:
        """Write every account opened behind the decisions so far; `settled`: before them."""
        for account in self._open:
            self._watch(account)
        for account, (ledger, counted) in self._open.items():
            if not counted:
                applied = ledger.applied | {self.record.topic: self.record.offset}
                ledger = msgspec.structs.replace(ledger, applied=applied)
                self._step.view.put_first(b"a" + account.encode(), ledger, last=not settled)
            self._tell_balance(account, ledger)
            for trip in ledger.traffic.tripped:  # in each window, until the register has it
                hold = Hold.of(account, trip)
                self._step.outbox.latest(self._bank.names.accounts, 0, hold.key, hold.value)
        if settled:
            for batch, decision in self.decisions.items():  # whose accounts are written: a replay brings them level
                self._step.view.put_first(b"d" + batch, decision)
        for topic, value in self._news:
            account = msgspec.json.decode(value, type=_About).account
            self._step.outbox.record(topic, self.record.partition, value, key=account.encode())

    def _watch(self, account: str) -> None:
        """Tell of a balance that fell below one of the account's marks."""
        now = self.ledger(account).money.available
        for mark in self.limits(account).low_balance:
            if now < mark <= self._before[account]:
                self.event(account, "balance-low", available=format_amount(now), mark=format_amount(mark))

    def _tell_balance(self, account: str, ledger: Ledger) -> None:
        """The money as of its last movement, once; after a crash again."""
        if self._bank.tells(account, ledger.revision) or account in self._retold:
            balance = balance_record(account, ledger, self._bank.currency, self.record.timestamp_ms)
            self._step.outbox.latest(self._bank.names.balances, 0, account.encode(), balance)


def balance_record(account: str, ledger: Ledger, currency: str, at: int) -> bytes:
    """The account's money as `sms.balances` tells it (JSON, amounts as decimal strings)."""
    money = ledger.money
    return orjson.dumps(
        {
            "account": account,
            "balance": format_amount(money.balance),
            "reserved": format_amount(money.reserved),
            "available": format_amount(money.available),
            "currency": currency,
            "sequence": ledger.sequence,
            "credits": ledger.credits,
            "bundles": [
                {
                    "name": bundle.name,
                    "countries": bundle.countries,
                    "left": bundle.left,
                    "reserved": bundle.reserved,
                    "expiresAt": rfc3339(bundle.expires_at),
                }
                for bundle in ledger.bundles
            ],
            "at": at,
        }
    )
