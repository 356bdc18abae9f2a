"""The oracle: from what was asked, told, sent and charged, says what is wrong. It sees only what anybody outside sees.

In: `Evidence`, read when everything is quiet. Out: findings, each with its kind and the message, request or account
it is about. A pure function, so that tests can show it every wrong and see that it finds it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

import msgspec

from pipeline import ids
from pipeline.billing import Account, format_amount
from pipeline.billing.audit import Audit
from pipeline.carriers.simulator.journal import Entry
from schemas.ledger import LedgerEntry

#: Recipients a batch (pipeline/stages/validate.py): a request's ids are cut by it.
SLICE = 500
#: States that say: a carrier has the message.
_TAKEN = frozenset({"SUBMITTED", "BUFFERED", "ENROUTE", "DELIVERED", "UNDELIVERABLE", "DELETED"})
#: What a receipt's word means, and so how a message that a carrier took must end.
_ENDS = {"DELIVRD": "DELIVERED", "UNDELIV": "UNDELIVERABLE", "EXPIRED": "EXPIRED"}
_DOUBT = "IN_DOUBT"
#: Ends of what nobody ever heard of again: by the clock, or by the operator who was told of the doubt.
_UNHEARD = frozenset({"NO_RECEIPT", "FAILED"})

Key = tuple[str, str]  # account, requestId
Place = tuple[str, int, int]  # topic, partition, offset


class Wrong(StrEnum):
    """Kinds of findings."""

    LOST = "lost"  # no final state, or a request that was acknowledged and is not on the intake
    CONFLICT = "conflict"  # two ends, something told after the end, a sequence that hides the end
    SENT_TWICE = "sent twice"
    CHARGED = "charged wrongly"
    LEDGER = "ledger"  # an entry that does not follow, or a balance that the entries do not explain
    IN_DOUBT = "in doubt"  # more than the kills can explain
    UNKNOWN = "unknown id"
    MISREPORTED = "misreported"  # told as sent and is not, or told as not sent and is; an end the carrier did not say
    STORE = "read model"
    DEAD_LETTER = "dead letter"
    STUCK = "stuck"  # a process that did not come back


@dataclass(frozen=True)
class Finding:
    kind: Wrong
    about: str
    what: str


@dataclass(frozen=True)
class Asked:
    """A record of the intake. `key` is None where it is one of the records that nobody can read."""

    place: Place
    timestamp_ms: int
    key: Key | None
    recipients: int = 0


class Told(msgspec.Struct, rename="camel"):
    """A status record, as far as it matters here."""

    id: str
    request_id: str | None
    index: int
    account: str
    detailed_state: str
    final: bool
    sequence: int
    total_price: str
    carrier: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Balance:
    balance: Decimal
    reserved: Decimal


@dataclass
class Evidence:
    """Everything the oracle looks at.

    `told`: by message, in the order of the topic. `taken`: what each carrier journalled. `ends`: the receipt's word
    for a message ("" where there is none, or none from which we could know the message). `withheld`: messages whose
    answer the carrier kept to itself or gave too late. `doubt_bound`: messages that may be in doubt beside these, by
    the deaths that were seen. `ledger`: its entries, in the order of the topic. `stored`: state and sequence in the
    read model.
    """

    asked: list[Asked] = field(default_factory=list)
    acknowledged: set[Key] = field(default_factory=set)
    told: dict[str, list[Told]] = field(default_factory=dict)
    taken: dict[str, list[Entry]] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)
    doubt_bound: int = 0
    credit: dict[str, Decimal] = field(default_factory=dict)
    balances: dict[str, Balance] = field(default_factory=dict)
    ledger: list[LedgerEntry] = field(default_factory=list)
    stored: dict[str, tuple[str, int]] = field(default_factory=dict)
    dead_letters: set[Place] = field(default_factory=set)


@dataclass
class Verdict:
    """`sent`: messages that carriers took. `in_doubt`: ever told so; `unexplained`: of these, not because the carrier
    withheld its answer, so because somebody died."""

    findings: list[Finding] = field(default_factory=list)
    messages: int = 0
    sent: int = 0
    in_doubt: int = 0
    unexplained: int = 0
    dead_letters: int = 0

    def count(self, kind: Wrong) -> int:
        return sum(finding.kind == kind for finding in self.findings)


def judge(evidence: Evidence) -> Verdict:
    """Look at everything. No finding means: nothing lost, nothing twice, nothing said that is not so."""
    checks = (
        _lost,
        _conflicts,
        _sent_twice,
        _charged,
        _ledger,
        _in_doubt,
        _unknown,
        _misreported,
        _stored,
        _dead_letters,
    )
    findings = [finding for check in checks for finding in check(evidence)]
    expected = {key: asked.recipients for asked in evidence.asked if (key := asked.key)}
    sent = sum(map(len, evidence.taken.values()))
    doubted = _doubted(evidence)
    unexplained = len(doubted - evidence.withheld)
    return Verdict(findings, sum(expected.values()), sent, len(doubted), unexplained, len(evidence.dead_letters))


def _lost(evidence: Evidence) -> Iterator[Finding]:
    """Every recipient of every request has exactly one message, and that has its end."""
    messages: defaultdict[tuple[Key, int], set[str]] = defaultdict(set)
    ended = {message for message, told in evidence.told.items() if any(one.final for one in told)}
    for message, told in evidence.told.items():
        if told[0].request_id is not None:
            messages[(told[0].account, told[0].request_id), told[0].index].add(message)
    expected = {asked.key: asked.recipients for asked in evidence.asked if asked.key}
    for key in evidence.acknowledged - expected.keys():
        yield Finding(Wrong.LOST, "/".join(key), "acknowledged to its producer and not on the intake")
    for key, recipients in expected.items():
        for index in range(recipients):
            name, found = f"{'/'.join(key)}[{index}]", messages[key, index]
            if len(found) > 1:
                yield Finding(Wrong.CONFLICT, name, f"one recipient, several messages: {', '.join(sorted(found))}")
            if not found:
                yield Finding(Wrong.LOST, name, "no status at all")
            for message in found - ended:
                last = evidence.told[message][-1].detailed_state
                yield Finding(Wrong.LOST, message, f"{name} has no final state; the last is {last}")


def _conflicts(evidence: Evidence) -> Iterator[Finding]:
    """One end; and whoever drops what is not newer sees it, and nothing behind it."""
    for message, told in evidence.told.items():
        ends = sorted({one.detailed_state for one in told if one.final})
        if len(ends) > 1:
            yield Finding(Wrong.CONFLICT, message, f"several ends: {', '.join(ends)}")
            continue
        seen: list[Told] = []
        for one in told:
            if not seen or one.sequence > seen[-1].sequence:
                seen.append(one)
        if ends and not seen[-1].final:
            story = " ".join(f"{one.sequence}:{one.detailed_state}" for one in told)
            yield Finding(Wrong.CONFLICT, message, f"a reader by sequence does not see the end last: {story}")


def _sent_twice(evidence: Evidence) -> Iterator[Finding]:
    carriers: defaultdict[str, list[str]] = defaultdict(list)
    for carrier, entries in evidence.taken.items():
        for entry in entries:
            carriers[entry.reference].append(f"{carrier} under {entry.idempotency_key}")
    for message, sent in carriers.items():
        if len(sent) > 1:
            yield Finding(Wrong.SENT_TWICE, message, "; ".join(sent))


def _charged(evidence: Evidence) -> Iterator[Finding]:
    """Paid is what a carrier took, once each; what was in doubt and never heard of again is not paid."""
    due = dict.fromkeys(evidence.credit, Decimal(0))
    for message in {entry.reference for entries in evidence.taken.values() for entry in entries}:
        told = evidence.told.get(message)
        if told and told[-1].account in due:
            states = {one.detailed_state for one in told}
            if not (_DOUBT in states and states & _UNHEARD and states.isdisjoint(_TAKEN)):
                due[told[-1].account] += Decimal(told[-1].total_price)
    for account, credit in evidence.credit.items():
        found = evidence.balances.get(account)
        if found is None:
            yield Finding(Wrong.CHARGED, account, "has no balance")
            continue
        if credit - found.balance != due[account]:
            yield Finding(Wrong.CHARGED, account, f"charged {credit - found.balance}, due is {due[account]}")
        if found.reserved:
            yield Finding(Wrong.CHARGED, account, f"{found.reserved} is still reserved")


def _ledger(evidence: Evidence) -> Iterator[Finding]:
    """Every balance follows from the entries, and all sides together are worth nothing."""
    audit = Audit()
    for entry in evidence.ledger:
        audit.take(entry)
    for fault in audit.faults:
        yield Finding(Wrong.LEDGER, "entries", fault)
    if audit.total:
        yield Finding(Wrong.LEDGER, "all sides", f"are worth {audit.total} micro-units together")
    for account, found in evidence.balances.items():
        computed = audit.accounts.get(account, Account())
        told = Balance(Decimal(format_amount(computed.balance)), Decimal(format_amount(computed.reserved)))
        if told != found:
            yield Finding(Wrong.LEDGER, account, f"its balance is {found}, the entries say {told}")


def _doubted(evidence: Evidence) -> set[str]:
    return {name for name, told in evidence.told.items() if any(one.detailed_state == _DOUBT for one in told)}


def _in_doubt(evidence: Evidence) -> Iterator[Finding]:
    """Doubt comes from an answer that was withheld, or from a death in the middle of a call."""
    unexplained = _doubted(evidence) - evidence.withheld
    if len(unexplained) > evidence.doubt_bound:
        what = (
            f"{len(unexplained)} in doubt that no withheld answer explains; the deaths explain {evidence.doubt_bound}"
        )
        yield Finding(Wrong.IN_DOUBT, "all", what)


def _unknown(evidence: Evidence) -> Iterator[Finding]:
    """Every id follows from a request on the intake."""
    times: defaultdict[Key, set[int]] = defaultdict(set)
    recipients: Counter[Key] = Counter()
    for asked in evidence.asked:
        if asked.key:
            times[asked.key].add(asked.timestamp_ms)
            recipients[asked.key] = asked.recipients
    for message, told in evidence.told.items():
        key, index = (told[0].account, told[0].request_id or ""), told[0].index
        request = ids.request_hash(*key)
        possible = {ids.message_id(ids.batch_id(request, index // SLICE, at), index) for at in times[key]}
        if index >= recipients[key] or message not in possible:
            yield Finding(Wrong.UNKNOWN, message, f"told for {'/'.join(key)}[{index}], which the intake does not make")
    for carrier, entries in evidence.taken.items():
        for entry in entries:
            if entry.reference not in evidence.told:
                yield Finding(Wrong.UNKNOWN, entry.reference, f"{carrier} took it, and nothing was ever told of it")


def _misreported(evidence: Evidence) -> Iterator[Finding]:
    """What is told is what the carriers know."""
    taken = {entry.reference for entries in evidence.taken.values() for entry in entries}
    for message, told in evidence.told.items():
        states = {one.detailed_state for one in told}
        end = next((one.detailed_state for one in told if one.final), None)
        if message not in taken:
            if not states.isdisjoint(_TAKEN):
                yield Finding(Wrong.MISREPORTED, message, f"no carrier took it and it was told {_story(told)}")
        elif end is not None and not _agrees(end, evidence.ends.get(message, ""), states):
            said = evidence.ends.get(message) or "nothing"
            yield Finding(Wrong.MISREPORTED, message, f"the carrier says {said} and it was told {_story(told)}")


def _agrees(end: str, said: str, states: set[str]) -> bool:
    """Whether a message that a carrier took may end so."""
    if said:
        return end == _ENDS[said]
    return end == "NO_RECEIPT" or (end == "FAILED" and _DOUBT in states)


def _story(told: list[Told]) -> str:
    return " ".join(one.detailed_state for one in told)


def _stored(evidence: Evidence) -> Iterator[Finding]:
    """The read model holds each message as the record of its highest sequence has it, and no others."""
    for message, told in evidence.told.items():
        last = max(told, key=lambda one: one.sequence)
        found = evidence.stored.get(message)
        if found != (last.detailed_state, last.sequence):
            yield Finding(Wrong.STORE, message, f"has {found}, told was {last.detailed_state} {last.sequence}")
    for message in evidence.stored.keys() - evidence.told.keys():
        yield Finding(Wrong.STORE, message, "nobody told of it")


def _dead_letters(evidence: Evidence) -> Iterator[Finding]:
    poison = {asked.place for asked in evidence.asked if asked.key is None}
    for place in sorted(evidence.dead_letters - poison):
        yield Finding(Wrong.DEAD_LETTER, f"{place[0]} {place[1]}:{place[2]}", "could be read")
    for place in sorted(poison - evidence.dead_letters):
        yield Finding(Wrong.LOST, f"{place[0]} {place[1]}:{place[2]}", "cannot be read and is no dead letter")
