"""Money: whatever is repeated, and wherever the worker dies, the ledger is what the decisions say."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import NOON_MS, SETTINGS, Log, Sent, Table, batch, decides, record

from pipeline.accounts import AccountRecord, Register
from pipeline.billing import Account, Bundle, Limits, PriceBook, PriceList
from pipeline.billing.audit import Audit
from pipeline.records import (
    Accepted,
    Batch,
    Credit,
    Rejected,
    Settlement,
    decode_batches,
    decode_outcomes,
    encode,
)
from pipeline.stages import price as stage
from pipeline.stages.book import Decision, Ledger
from pipeline.streaming.outbox import Outbox
from pipeline.streaming.stage import Step
from schemas import errors
from schemas.errors import Error
from schemas.ledger import Kind, LedgerEntry
from schemas.states import Detailed

EURO = 1_000_000
PRICES = PriceList.parse(["country,operator,prefix,price", "IT,,,0.0500", "IT,,39333900,0.0700", "DE,,,0.1000"])
MINIMUM = 100_000
BULK, PRIORITY, CREDITS, SETTLEMENTS = "t.moderated", "t.moderated.priority", "t.credits", "t.settlements"
ACCOUNTS = ("acme", "zeta")
PENALTY = 3 * MINIMUM  # of the largest message here
DAY_MS = 24 * 3600 * 1000


def desk(prices: PriceList = PRICES, **limits: Any) -> dict:
    """A process of the stage, where acme has limits."""
    register = Register()
    register.take(b"acme", msgspec.json.encode(AccountRecord("acme", "now", [], limits=Limits(**limits))))
    return decides(stage.sources(SETTINGS, PriceBook(prices), MINIMUM, register))


def ledger(table: Table, account: str = "acme") -> Ledger:
    return table.get(b"a" + account.encode(), Ledger) or Ledger()


def said(sent: Sent) -> dict[str, list[bytes]]:
    """What a window told other stages. Balances are told as of a moment; the ledger is looked at by itself."""
    return {topic: rows for topic, rows in sent.rows.items() if topic not in ("t.balances", "t.ledger")}


def entries(sent: Sent) -> list[LedgerEntry]:
    """The ledger entries of a window."""
    return [msgspec.json.decode(value, type=LedgerEntry) for value in sent.rows.get("t.ledger", [])]


@dataclass
class Oracle:
    """What everybody outside has seen, and the money that follows from it."""

    asked: dict[bytes, Batch] = field(default_factory=dict)
    credited: dict[str, tuple[str, int]] = field(default_factory=dict)
    accepted: dict[bytes, Batch] = field(default_factory=dict)
    rejected: dict[tuple[bytes, int], Rejected] = field(default_factory=dict)
    settled: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    audit: Audit = field(default_factory=Audit)
    settled_parts: dict[bytes, dict[str, list[int]]] = field(default_factory=dict)
    moved: dict[tuple[str, int], LedgerEntry] = field(default_factory=dict)

    def see(self, sent: Sent) -> None:
        """Take in what a window sent; what was said before must be said again alike."""
        for entry in entries(sent):
            self.audit.take(entry)
            self.moved[entry.account, entry.sequence] = entry
        lanes = ["t.outcomes", "t.outcomes.priority"]
        for outcome in [o for topic in lanes for o in sent.items(topic, decode_outcomes)]:
            if isinstance(outcome, Accepted):
                assert self.accepted.setdefault(outcome.batch.id, outcome.batch) == outcome.batch
            else:
                first = self.rejected.setdefault((outcome.batch.id, outcome.batch.index[0]), outcome)
                assert (first.batch.index, [e.code for e in first.errors]) == (
                    outcome.batch.index,
                    [e.code for e in outcome.errors],
                )
        for paid in [b for topic in ("t.priced", "t.priced.priority") for b in sent.items(topic, decode_batches)]:
            assert paid.index == self.accepted[paid.id].index
            assert not paid.dry_run

    def reserved(self, identity: bytes) -> int:
        paid = self.accepted[identity]
        return 0 if paid.dry_run else sum(paid.price_of(p) * paid.content_of(p).count for p in range(len(paid)))

    def funded(self, identity: bytes) -> dict[str, int]:
        """Parts of a batch by the bundle that pays for them."""
        paid = self.accepted[identity]
        found = Counter[str]()
        for position, source in enumerate(paid.funding):
            if source:
                found[paid.bundles[source - 1]] += paid.content_of(position).count
        return found

    def money(self, account: str) -> tuple[int, int]:
        """Balance and reserved."""
        mine = [i for i, b in self.accepted.items() if b.account == account]
        captured = sum(self.settled.get(i, (0, 0))[0] for i in mine)
        released = sum(self.settled.get(i, (0, 0))[1] for i in mine)
        credit = sum(amount for name, amount in self.credited.values() if name == account)
        fines = sum(self.penalty(batch) for batch in self.asked.values() if batch.account == account)
        assert fines <= sum(PENALTY for batch in self.asked.values() if batch.errors and not batch.dry_run)
        return credit - captured - fines, sum(map(self.reserved, mine)) - captured - released

    def penalty(self, batch: Batch) -> int:
        """What a batch's prohibited content cost, as the ledger says; once, and never more than is due."""
        paid = [e for e in self.moved.values() if e.kind == Kind.PENALTY and e.batch == batch.id.hex()]
        assert len(paid) <= 1
        return sum(int(Decimal(entry.amount) * 10**6) for entry in paid)

    def parts(self, account: str) -> dict[str, int]:
        """The parts of the account's bundle by what became of them, as the ledger says."""
        found = Counter[str]()
        for entry in self.moved.values():
            if entry.bundle and entry.account == account:
                found[entry.kind] += entry.parts
        return found


class Worker:
    """The price stage over four topics: windows are applied, may be cut short, and are read again from the commit."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.oracle = Oracle()
        self.desk = desk()  # of one process; a crash makes another
        self.logs = {topic: Log(topic) for topic in (BULK, PRIORITY, CREDITS, SETTLEMENTS)}
        self.next = Counter[str]()
        self.committed = Counter[str]()

    def step(self, topic: str, size: int, how: str, first: int = 0) -> None:
        """One window of `size` records; `how`: well, torn (after `first` early writes), unsent, or committed late."""
        rows = self.logs[topic].rows[self.next[topic] : self.next[topic] + size]
        if not rows:
            return
        cut = {"torn": {"first": first}, "unsent": {"sent": False}}.get(how, {})
        self.oracle.see(self.table.window(self.desk[topic], rows, **cut))
        if how in ("torn", "unsent", "killed"):
            self.next, self.desk = Counter(self.committed), desk()
            return
        self.next[topic] += len(rows)
        if how == "well":
            self.committed[topic] = self.next[topic]

    def finish(self) -> None:
        self.next = Counter(self.committed)
        for topic in self.logs:
            while self.next[topic] < len(self.logs[topic].rows):
                self.step(topic, 3, "well")

    def check_sane(self) -> None:
        for account in ACCOUNTS:
            money = ledger(self.table, account).money
            assert 0 <= money.reserved <= money.balance

    def check_level(self) -> None:
        for account in ACCOUNTS:
            money = ledger(self.table, account).money
            assert (money.balance, money.reserved) == self.oracle.money(account)
            assert self.oracle.audit.accounts.get(account, Account()) == money
            parts, bundles = self.oracle.parts(account), ledger(self.table, account).bundles
            under_way = parts[Kind.RESERVE] - parts[Kind.CAPTURE] - parts[Kind.RELEASE]
            assert (sum(b.reserved for b in bundles), sum(b.left for b in bundles)) == (
                under_way,
                parts[Kind.BUNDLE] - parts[Kind.RESERVE] + parts[Kind.RELEASE],
            )
        assert (self.oracle.audit.faults, self.oracle.audit.total) == ([], 0)
        told: dict[bytes, list[int]] = {identity: [] for identity in self.oracle.asked}
        for paid in self.oracle.accepted.values():
            told[paid.id] += paid.index
        for rejected in self.oracle.rejected.values():
            told[rejected.batch.id] += rejected.batch.index
        for identity, asked in self.oracle.asked.items():
            assert sorted(told[identity]) == asked.index


CRASHES = st.sampled_from(["well", "well", "late", "torn", "unsent", "killed"])


@st.composite
def batches(draw: st.DrawFn, number: int) -> Batch:
    size = draw(st.integers(1, 4))
    blocked = draw(st.integers(0, 5)) == 0
    return batch(
        number % 3,
        size,
        errors={size - 1: Error(errors.PROHIBITED, "message holds 'x'")} if blocked else {},
        id=number.to_bytes(9, "big"),
        account=draw(st.sampled_from(ACCOUNTS)),
        parts=draw(st.integers(1, 3)),
        country=draw(st.sampled_from(["IT", "IT", "DE", "US"])),
        dry_run=draw(st.integers(0, 5)) == 0,
    )


def conserve(table: Table, data: st.DataObject, lanes: list[str], credit: int) -> None:
    table.clear()
    worker = Worker(table)
    oracle = worker.oracle
    for number in range(data.draw(st.integers(4, 16), label="moves")):
        moves = ["pay", "pay", "again", "credit", "bundle", "settle", "step", "step", "step"]
        move = data.draw(st.sampled_from(moves))
        if move == "pay":
            lane = data.draw(st.sampled_from(lanes))
            asked = [data.draw(batches(10 * number + n)) for n in range(data.draw(st.integers(1, 3)))]
            oracle.asked |= {b.id: b for b in asked}
            asked += asked[: data.draw(st.integers(0, 1))]  # a repeat of the stage before may share the record
            worker.logs[lane].append(encode(asked))
        elif move == "again" and (known := [log for lane in lanes if (log := worker.logs[lane]).rows]):
            log = data.draw(st.sampled_from(known))
            log.append(data.draw(st.sampled_from(log.rows)).value)
        elif move == "credit":
            reference = data.draw(st.sampled_from("abcdef"))
            account, amount = oracle.credited.get(reference) or (
                data.draw(st.sampled_from(ACCOUNTS)),
                data.draw(st.integers(1, credit)),
            )
            oracle.credited[reference] = account, amount
            worker.logs[CREDITS].append(encode([Credit(account, amount, reference)]))
        elif move == "bundle":
            account, name = data.draw(st.sampled_from(ACCOUNTS)), data.draw(st.sampled_from(["one", "two"]))
            countries = data.draw(st.sampled_from([(), ("IT",)]))
            bought = Bundle(name, countries, data.draw(st.integers(1, 9)), NOON_MS + DAY_MS)
            reference = f"{name} for {account}"
            worker.logs[CREDITS].append(encode([Credit(account, 0, reference, "bundle", bundle=bought)]))
        elif move == "settle" and (open_ := [i for i in oracle.accepted if oracle.reserved(i) or oracle.funded(i)]):
            identity = data.draw(st.sampled_from(open_))
            captured, released = oracle.settled.get(identity, (0, 0))
            left = oracle.reserved(identity) - captured - released
            more = data.draw(st.integers(0, left))
            back = data.draw(st.integers(0, left - more))
            oracle.settled[identity] = captured + more, released + back
            account = oracle.accepted[identity].account
            parts = {
                name: [used := data.draw(st.integers(0, count)), data.draw(st.integers(0, count - used)), 0]
                for name, count in oracle.funded(identity).items()
            }
            totals = captured + more, released + back, 0, oracle.settled_parts.setdefault(identity, parts)
            worker.logs[SETTLEMENTS].append(encode([Settlement(identity, account, *totals)]))
        elif move == "step":
            waiting = [t for t, log in worker.logs.items() if worker.next[t] < len(log.rows)]
            if waiting:
                topic = data.draw(st.sampled_from(waiting))
                worker.step(topic, data.draw(st.integers(1, 3)), data.draw(CRASHES), data.draw(st.integers(0, 4)))
                worker.check_sane()
    worker.finish()
    worker.check_sane()
    worker.check_level()


@pytest.mark.parametrize("credit", [EURO // 2, 1000 * EURO], ids=["scarce", "plenty"])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_money_is_conserved_in_one_lane(shared_table: Table, credit: int, data: st.DataObject):
    conserve(shared_table, data, [BULK], credit)


@pytest.mark.parametrize("credit", [EURO // 2, 1000 * EURO], ids=["scarce", "plenty"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_money_is_conserved_over_both_lanes(shared_table: Table, credit: int, data: st.DataObject):
    conserve(shared_table, data, [BULK, PRIORITY], credit)


def credited(table: Table, amount: int) -> None:
    table.window(desk()[CREDITS], [record(CREDITS, encode([Credit("acme", amount, "opening")]))])


def test_what_a_window_thrown_away_for_poison_would_have_told_is_told_one_by_one(table: Table):
    table.window(desk()[CREDITS], [record(CREDITS, encode([Credit("acme", 10 * EURO, "first")]))])
    row = record(BULK, encode([batch(1, 4)]))
    table.window(desk()[BULK], [row], sent=False)  # killed before its outputs
    process = desk()
    process[BULK](row, Step(table.view(), Outbox()))  # shares a window with a record that raises: not carried out
    sent = table.window(process[BULK], [row])
    assert [entry.kind for entry in entries(sent)] == [Kind.TOP_UP, Kind.RESERVE]
    assert sent.rows["t.balances"]


def test_a_decision_torn_from_its_reserve_does_not_stop_the_other_lane_or_itself(table: Table):
    """Only the decision of a bulk batch reached the changelog; before its replay, a login code takes the money."""
    credited(table, 2 * EURO)
    bulk = record(BULK, encode([batch(1, 15, parts=2)]))  # 1.50 of 2.00
    table.window(desk()[BULK], [bulk], first=1)
    table.window(desk()[PRIORITY], [record(PRIORITY, encode([batch(2, 9, parts=2)]))])  # 0.90
    sent = table.window(desk()[BULK], [bulk])
    told = sent.items("t.outcomes", decode_outcomes)
    assert sorted(i for outcome in told for i in outcome.batch.index) == list(range(15))
    assert ledger(table).money.reserved <= 2 * EURO


def test_a_replay_under_a_new_price_list_keeps_the_decision(table: Table):
    """The price list changes with a restart, and a restart is when records come again."""
    credited(table, 10 * EURO)
    row = record(BULK, encode([batch(1, 5)]))
    first = table.window(desk()[BULK], [row], sent=False)
    assert first.rows == {}
    dearer = PriceList.parse(["country,operator,prefix,price", "IT,,,0.5000", "IT,,39333900,0.7000", "DE,,,1.0000"])
    sent = table.window(desk(dearer)[BULK], [row])
    (accepted,) = sent.items("t.outcomes", decode_outcomes)
    cost = sum(accepted.batch.price_of(p) for p in range(5))
    assert cost == ledger(table).money.reserved == table.get(b"d" + batch(1).id, Decision).reserved


@pytest.mark.parametrize("first", range(6))
def test_every_prefix_of_the_early_writes_can_be_replayed(table: Table, first: int):
    credited(table, 10 * EURO)
    rows = [record(BULK, encode([batch(n, 4), batch(n + 10, 2)]), n) for n in range(2)]
    table.window(desk()[BULK], rows, first=first)
    sent = table.window(desk()[BULK], rows)
    assert ledger(table).money.reserved == 12 * 50_000
    assert len(sent.items("t.priced", decode_batches)) == 4
    again = table.window(desk()[BULK], rows)
    assert (said(again), ledger(table).money.reserved) == (said(sent), 12 * 50_000)


@pytest.mark.parametrize("first", range(4))
def test_every_prefix_of_a_settlement_can_be_replayed(table: Table, first: int):
    credited(table, 10 * EURO)
    table.window(desk()[BULK], [record(BULK, encode([batch(1, 4), batch(2, 4)]))])
    rows = [
        record(SETTLEMENTS, encode([Settlement(batch(1).id, "acme", 50_000, 50_000)]), 0),
        record(SETTLEMENTS, encode([Settlement(batch(n).id, "acme", 150_000, 50_000) for n in (1, 2)]), 1),
    ]
    table.window(desk()[SETTLEMENTS], rows, first=first)
    for again in ([rows[0]], rows, rows):
        table.window(desk()[SETTLEMENTS], again)
    assert ledger(table).money.balance == 10 * EURO - 300_000
    assert ledger(table).money.reserved == 0


def test_a_batch_that_stands_twice_in_a_record_is_paid_once(table: Table):
    """Moderate packs a window: a batch that encode repeated after a crash comes with its first copy."""
    credited(table, 10 * EURO)
    row = record(BULK, encode([batch(1, 4), batch(1, 4)]))
    for _ in range(2):
        table.window(desk()[BULK], [row])
        assert ledger(table).money.reserved == 4 * 50_000


def test_the_same_batch_at_another_offset_is_answered_by_its_first_record(table: Table):
    credited(table, 10 * EURO)
    first, second = (record(BULK, encode([batch(1, 4)]), offset) for offset in (0, 1))
    sent = table.window(desk()[BULK], [first])
    assert said(table.window(desk()[BULK], [second])) == {}
    assert said(table.window(desk()[BULK], [first])) == said(sent)
    assert ledger(table).money.reserved == 4 * 50_000


def test_credit_goes_as_far_as_it_goes_in_the_order_of_the_request(table: Table):
    credited(table, 200_000)
    sent = table.window(desk()[BULK], [record(BULK, encode([batch(1, 10)]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    assert accepted.batch.index == [0, 1, 2]  # the minimum must be there before each
    assert rejected.batch.index == list(range(3, 10))
    assert {error.code for error in rejected.errors} == {errors.INSUFFICIENT_CREDIT}
    assert not rejected.errors[0].permanent
    assert ledger(table).money.reserved == 150_000


def test_a_dry_run_is_told_and_costs_nothing(table: Table):
    credited(table, 5 * EURO)
    sent = table.window(desk()[BULK], [record(BULK, encode([batch(1, 3, dry_run=True)]))])
    assert [type(o) for o in sent.items("t.outcomes", decode_outcomes)] == [Accepted]
    assert "t.priced" not in sent.rows
    assert ledger(table).money.reserved == 0


def test_destinations_without_price_are_refused_alone(table: Table):
    credited(table, 5 * EURO)
    mixed = batch(1, 4, where=[0, 1, 0, 1])
    mixed.destinations.append(batch(1, country="US").destinations[0])
    sent = table.window(desk()[BULK], [record(BULK, encode([mixed]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.batch.index, accepted.batch.index) == ([1, 3], [0, 2])
    assert [error.code for error in rejected.errors] == [errors.NO_PRICE]


def test_prices_by_prefix_are_each_numbers_own(table: Table):
    mixed = batch(900, 2)
    mixed.numbers[1] = "+393999999999"
    assert stage.put_prices(mixed, PRICES.for_account("acme")) == {}
    assert [mixed.price_of(0), mixed.price_of(1)] == [70_000, 50_000]


def test_a_top_up_counts_once_whatever_brings_it(table: Table):
    top_up = encode([Credit("acme", 5, "a"), Credit("acme", 5, "a"), Credit("zeta", 7, "b")])
    for offset in (0, 0, 1):
        table.window(desk()[CREDITS], [record(CREDITS, top_up, offset)])
    assert ledger(table).money.balance == 5
    assert ledger(table, "zeta").money.balance == 7


def test_balances_tell_the_money_with_a_growing_sequence(table: Table):
    sent = [table.window(desk()[CREDITS], [record(CREDITS, encode([Credit("acme", EURO, "a")]))])]
    sent.append(table.window(desk()[BULK], [record(BULK, encode([batch(1, 2)]))]))
    told = [orjson.loads(value) for s in sent for _, value in s.keyed["t.balances"]]
    assert [(t["balance"], t["reserved"], t["available"], t["sequence"]) for t in told] == [
        ("1.00", "0.00", "1.00", 1),
        ("1.00", "0.10", "0.90", 2),
    ]


def test_a_settlement_of_what_was_never_paid_for_moves_no_money(table: Table):
    credited(table, EURO)
    with pytest.raises(RuntimeError, match="never paid for"):
        table.window(desk()[SETTLEMENTS], [record(SETTLEMENTS, encode([Settlement(b"?" * 9, "acme", 1, 1)]))])
    assert ledger(table).money.balance == EURO


def blocked_batch(number: int = 1, code: int = errors.PROHIBITED, **more) -> Batch:
    """Four recipients, of whom the second and the last must not get the message."""
    error = Error(code, "message holds 'x'")
    return batch(number, 4, parts=2, errors={1: error, 3: error}, **more)


def test_what_is_prohibited_ends_and_the_rest_is_paid_for(table: Table):
    credited(table, 10 * EURO)
    sent = table.window(desk()[BULK], [record(BULK, encode([blocked_batch()]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.state, rejected.batch.index, accepted.batch.index) == (Detailed.BLOCKED, [1, 3], [0, 2])
    (paid,) = sent.items("t.priced", decode_batches)
    assert (paid.index, paid.errors) == ([0, 2], {})
    assert ledger(table).money.reserved == 2 * 2 * 50_000


@pytest.mark.parametrize(("tariff", "penalty"), [("WW", 2 * 2 * MINIMUM), ("IT", 2 * 2 * 50_000)])
def test_prohibited_content_costs_a_penalty_and_the_account(table: Table, tariff: str, penalty: int):
    credited(table, 10 * EURO)
    sent = table.window(desk()[BULK], [record(BULK, encode([blocked_batch(tariff=tariff)]))])
    ((key, value),) = sent.keyed["t.accounts"]
    register = Register()
    register.take(b"acme", msgspec.json.encode(AccountRecord("acme", "now", [])))
    register.take(key, value)
    acme = register.get("acme")
    assert acme and acme.blocklisted and acme.blocklisted_reason == "message holds 'x'"
    assert table.get(b"d" + batch(1).id, Decision).penalty == penalty
    register.take(key, None)
    acme = register.get("acme")
    assert acme and not acme.blocklisted


@pytest.mark.parametrize("more", [{"dry_run": True}, {"code": errors.OPTED_OUT}], ids=["dry run", "opted out"])
def test_a_dry_run_or_an_opt_out_has_no_consequences(table: Table, more: dict):
    credited(table, 10 * EURO)
    sent = table.window(desk()[BULK], [record(BULK, encode([blocked_batch(**more)]))])
    rejected, _ = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.state, rejected.batch.index) == (Detailed.BLOCKED, [1, 3])
    assert "t.accounts" not in sent.rows
    assert table.get(b"d" + batch(1).id, Decision).penalty == 0


def test_what_moderate_says_another_time_is_not_heard(table: Table):
    """A list changed between a crash of moderate and its replay: the batch comes again and is judged otherwise."""
    credited(table, 10 * EURO)
    everybody = dict.fromkeys(range(4), Error(errors.PROHIBITED, "message holds 'x'"))
    rows = [record(BULK, encode([batch(1, 4)]), 0), record(BULK, encode([batch(1, 4, errors=everybody)]), 1)]
    for first, second in (rows, rows[::-1]):
        table.clear()
        credited(table, 10 * EURO)
        heard = table.window(desk()[BULK], [first])
        assert sum(len(outcome.batch) for outcome in heard.items("t.outcomes", decode_outcomes)) == 4
        assert said(table.window(desk()[BULK], [second])) == {}
        assert said(table.window(desk()[BULK], [first])) == said(heard)


def told(sent: Sent) -> list[tuple[str, str]]:
    """Kind and limit (or mark) of the events of a window."""
    events = [orjson.loads(value) for value in sent.rows.get("t.events", [])]
    return [(event["kind"], str(event.get("limit") or event.get("code") or event.get("mark"))) for event in events]


def test_limits_shut_out_some_and_stop_the_rest(table: Table):
    credited(table, 100 * EURO)
    limited = desk(countries=("IT",), messages_a_day=5, low_balance=(100 * EURO,))
    mixed = batch(1, 4, where=[0, 1, 0, 0])
    mixed.destinations.append(batch(1, country="DE").destinations[0])
    sent = table.window(limited[BULK], [record(BULK, encode([mixed]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.batch.index, accepted.batch.index) == ([1], [0, 2, 3])
    assert [error.code for error in rejected.errors] == [errors.COUNTRY_NOT_ALLOWED]
    assert told(sent) == [("balance-low", "100.00")]
    rows = [record(BULK, encode([batch(n, 2)]), n) for n in (2, 3)]
    sent = table.window(limited[BULK], rows)
    assert [(type(o), o.batch.index) for o in sent.items("t.outcomes", decode_outcomes)] == [
        (Accepted, [0, 1]),
        (Rejected, [0, 1]),
    ]
    assert told(sent) == [("limit-near", "messagesADay"), ("limit-reached", "3025")]
    again = table.window(desk()[BULK], rows)  # a crash, and the limits were lifted meanwhile: what was decided stays
    assert (said(again), ledger(table).money.reserved) == (said(sent), 5 * 50_000)


def test_a_limit_that_is_set_at_noon_knows_of_the_morning(table: Table):
    credited(table, 100 * EURO)
    table.window(desk()[BULK], [record(BULK, encode([batch(1, 4)]))])
    sent = table.window(desk(messages_a_day=5)[BULK], [record(BULK, encode([batch(2, 3)]), 1)])
    accepted_and_not = {type(o): o.batch.index for o in sent.items("t.outcomes", decode_outcomes)}
    assert accepted_and_not == {Accepted: [0], Rejected: [1, 2]}


def test_credit_below_zero_goes_as_far_as_its_limit(table: Table):
    sent = table.window(desk(credit=200_000)[BULK], [record(BULK, encode([batch(1, 10)]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    assert (accepted.batch.index, len(rejected.batch)) == ([0, 1, 2], 7)
    assert ledger(table).money.available == -150_000


def test_a_penalty_is_taken_as_far_as_there_is_money(table: Table):
    credited(table, 250_000)
    everybody = dict.fromkeys(range(4), Error(errors.PROHIBITED, "message holds 'x'"))
    sent = table.window(desk()[BULK], [record(BULK, encode([batch(1, 4, errors=everybody)]))])
    assert [(entry.kind, entry.amount) for entry in entries(sent)][-1] == ("penalty", "0.25")
    assert ledger(table).money == Account(0, 0)


def test_an_adjustment_may_go_either_way_and_counts_once(table: Table):
    for offset, amount in enumerate((EURO, -EURO // 4, -EURO // 4)):
        row = encode([Credit("acme", amount, f"a{min(offset, 1)}", "adjustment", "goodwill")])
        table.window(desk()[CREDITS], [record(CREDITS, row, offset)])
    assert ledger(table).money.balance == EURO - EURO // 4


def test_what_a_carrier_takes_back_is_refunded_once(table: Table):
    credited(table, EURO)
    table.window(desk()[BULK], [record(BULK, encode([batch(1, 4)]))])
    for offset, (captured, refunded) in enumerate(((100_000, 0), (200_000, 50_000), (200_000, 50_000))):
        row = encode([Settlement(batch(1).id, "acme", captured, 0, refunded)])
        table.window(desk()[SETTLEMENTS], [record(SETTLEMENTS, row, offset)])
    assert ledger(table).money == Account(EURO - 150_000, 0)


def bought(table: Table, *bundles: Bundle, price: int = 0) -> None:
    rows = [encode([Credit("acme", price, f"bundle {b.name}", "bundle", bundle=b)]) for b in bundles]
    table.window(desk()[CREDITS], [record(CREDITS, row, 100 + n) for n, row in enumerate(rows)])


def test_bundles_pay_before_the_wallet_and_get_back_what_was_not_used(table: Table):
    credited(table, 300_000)
    bought(table, Bundle("italy", ("IT",), 5, NOON_MS + DAY_MS), Bundle("old", (), 99, NOON_MS - 1))
    asked = batch(1, 6, parts=2)
    sent = table.window(desk()[BULK], [record(BULK, encode([asked]))])
    rejected, accepted = sent.items("t.outcomes", decode_outcomes)
    # two messages of two parts from the bundle; the wallet pays for two at 0.10, since 0.20 must be there before each
    assert (accepted.batch.index, accepted.batch.bundles, accepted.batch.funding) == (
        [0, 1, 2, 3],
        ["italy"],
        b"\1\1\0\0",
    )
    assert [accepted.batch.price_of(p) for p in range(4)] == [0, 0, 50_000, 50_000]
    assert (rejected.batch.index, rejected.errors[0].code) == ([4, 5], errors.INSUFFICIENT_CREDIT)
    assert ledger(table).money == Account(300_000, 200_000)
    again = table.window(desk()[BULK], [record(BULK, encode([asked]))])
    assert said(again) == said(sent)
    for offset in range(2):
        row = encode([Settlement(asked.id, "acme", 100_000, 100_000, 0, {"italy": [2, 2, 0]})])
        table.window(desk()[SETTLEMENTS], [record(SETTLEMENTS, row, offset)])
    assert ledger(table).money == Account(200_000, 0)
    (italy,) = ledger(table).bundles
    assert (italy.left, italy.reserved) == (3, 0)


def test_a_bundle_is_bought_for_money_that_is_there(table: Table):
    credited(table, EURO)
    bought(table, Bundle("a", (), 10, NOON_MS + DAY_MS), price=EURO // 2)
    bought(table, Bundle("b", (), 10, NOON_MS + DAY_MS), price=EURO)
    assert [bundle.name for bundle in ledger(table).bundles] == ["a"]
    assert ledger(table).money.balance == EURO // 2
