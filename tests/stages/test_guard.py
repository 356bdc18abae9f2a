"""The pumping guard in the price stage: what is held, what is told of it, and that no crash counts or trips twice, or
loses a hold."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import NOON_MS, SETTINGS, Log, Sent, Table, batch, decides, record

from pipeline.accounts import AccountRecord, Hold, Register
from pipeline.billing import Account, Bundle, Limits, PriceBook, PriceList, Traffic
from pipeline.billing.pumping import Counts
from pipeline.config import Pumping
from pipeline.records import Accepted, Batch, decode_outcomes, encode
from pipeline.stages import price as stage
from pipeline.stages.book import Decision, Ledger
from schemas import errors

EURO = 1_000_000
PRICES = PriceList.parse(["country,operator,prefix,price", "IT,,,0.0999", "DE,,,0.1000"])
BULK, PRIORITY = "t.moderated", "t.moderated.priority"
HOUR_MS = 3600 * 1000
RANGE, OTHER = "+4915112", "+4917199"
LEAST = 100
LANES = [BULK, PRIORITY]


def desk(register: Register, pumping: Pumping | None = None, **limits: Any) -> dict:
    """A process of the stage."""
    known = AccountRecord("acme", "now", [], limits=Limits(**limits))
    register.take(b"acme", msgspec.json.encode(known))
    configured = SETTINGS.model_copy(update={"pumping": pumping}) if pumping else SETTINGS
    return decides(stage.sources(configured, PriceBook(PRICES), 0, register))


def familiar(table: Table, messages: int = 1000, money: int = 10_000 * EURO) -> None:
    """acme has sent so many messages in earlier hours."""
    traffic = Traffic(NOON_MS // HOUR_MS, before=Counts(messages))
    table.write({b"aacme": msgspec.msgpack.encode(Ledger(money=Account(money), traffic=traffic))})


def traffic(table: Table) -> Traffic:
    found: Traffic = table.get(b"aacme", Ledger).traffic
    return found


def codes_for(number: int, count: int, to: str = RANGE, first: int = 0, **more: Any) -> Batch:
    """Login codes to numbers of one range; costly unless told otherwise."""
    numbers = [f"{to}{first + place:04d}" for place in range(count)]
    return batch(number, count, **({"country": "DE", "numbers": numbers} | more))


def ended(sent: Sent) -> dict[int, int]:
    """Recipients by what became of them: 0, or the code."""
    found = Counter[int]()
    for outcome in sent.items("t.outcomes", decode_outcomes) + sent.items("t.outcomes.priority", decode_outcomes):
        if isinstance(outcome, Accepted):
            found[0] += len(outcome.batch)
        else:
            found.update(outcome.errors[which].code for which in outcome.which)
    return dict(found)


def holds(sent: Sent) -> list[Hold]:
    """What was told on the accounts topic."""
    return [msgspec.json.decode(value, type=Hold) for key, value in sent.keyed.get("t.accounts", [])]


def events(sent: Sent) -> list[dict[str, Any]]:
    return [orjson.loads(value) for value in sent.rows.get("t.events", [])]


def hear(register: Register, sent: Sent) -> None:
    """Let a process read what was told."""
    for key, value in sent.keyed.get("t.accounts", []):
        register.take(key or b"", value)


def test_a_sudden_block_is_refused_held_and_told(table: Table) -> None:
    familiar(table)
    mixed = codes_for(1, 150, numbers=[f"{RANGE}{p:04d}" if p % 5 else f"{OTHER}{p:04d}" for p in range(150)])
    sent = table.window(desk(Register())[BULK], [record(BULK, encode([mixed]))])
    assert ended(sent) == {0: 30, errors.TRAFFIC_HELD: 120}
    rejected = sent.items("t.outcomes", decode_outcomes)[0]
    assert not rejected.errors[0].permanent and RANGE in rejected.errors[0].message
    (held,) = holds(sent)
    assert (held.account, held.range, held.batch, held.released) == ("acme", RANGE, mixed.id.hex(), False)
    assert "120 of 150" in held.reason and "80%" in held.reason
    assert sent.keyed["t.accounts"][0][0] == b"hold/acme/+4915112"
    ((event,), account) = events(sent), table.get(b"aacme", Ledger)
    assert {k: event[k] for k in ("account", "kind", "range", "count", "share")} == {
        "account": "acme", "kind": "traffic-held", "range": RANGE, "count": 120, "share": 0.8,
    }  # fmt: skip
    assert account.money.reserved == 30 * 100_000
    assert account.traffic.now == Counts(30, {OTHER: 30})  # what is refused does not count
    decision = table.get(b"d" + mixed.id, Decision)
    assert set(decision.excluded) == {p for p in range(150) if p % 5}


def test_one_by_one_it_trips_exactly_at_the_least(table: Table) -> None:
    familiar(table)
    process = desk(Register())
    rows = [record(PRIORITY, encode([codes_for(n, 1, first=n)]), n) for n in range(LEAST + 5)]
    assert ended(table.window(process[PRIORITY], rows)) == {0: LEAST - 1, errors.TRAFFIC_HELD: 6}


def test_what_is_held_stays_held_before_and_after_the_register_knows(table: Table) -> None:
    familiar(table)
    register = Register()
    process = desk(register)
    told = [table.window(process[BULK], [record(BULK, encode([codes_for(1, 200)]))])]
    told.append(table.window(process[PRIORITY], [record(PRIORITY, encode([codes_for(2, 1)]))]))
    assert ended(told[1]) == {errors.TRAFFIC_HELD: 1}
    assert holds(told[1]) == holds(told[0])  # again, as nobody is known to have heard
    hear(register, told[0])
    later = codes_for(3, 2, first=500, received_at=NOON_MS + 9 * HOUR_MS)
    told.append(table.window(process[BULK], [record(BULK, encode([later, codes_for(4, 2, OTHER)]), 1)]))
    assert ended(told[2]) == {0: 2, errors.TRAFFIC_HELD: 2}
    assert holds(told[2]) == [] and traffic(table).tripped == ()
    assert [len(events(sent)) for sent in told] == [1, 0, 0]


def test_a_release_is_never_overruled(table: Table) -> None:
    """By what the account's own value still says, nor by more of the same."""
    familiar(table)
    register = Register()
    rows = [record(BULK, encode([codes_for(1, 200)]))]
    sent = table.window(desk(register)[BULK], rows)
    (held,) = holds(sent)
    released = msgspec.structs.replace(held, released=True)
    register = Register()
    register.take(released.key, released.value)
    process = desk(register)
    again = table.window(process[BULK], rows)  # a crash before it was acknowledged
    assert (ended(again), holds(again)) == ({errors.TRAFFIC_HELD: 200}, [])
    sent = table.window(process[BULK], [record(BULK, encode([codes_for(2, 300)]), 1)])
    assert (ended(sent), holds(sent), events(sent)) == ({0: 300}, [], [])
    assert traffic(table).now.ranges == {RANGE: 300}


def test_an_operators_hold_is_in_force_whatever_the_price_and_the_guard(table: Table) -> None:
    familiar(table)
    register = Register()
    by_hand = Hold("acme", "+39333001", "by an operator", NOON_MS)
    register.take(by_hand.key, by_hand.value)
    for offset, pumping in enumerate((None, Pumping(price=""))):
        cheap = [batch(1, 3, id=b"%09d" % offset), batch(2, 3, id=b"x%08d" % offset)]
        sent = table.window(desk(register, pumping)[BULK], [record(BULK, encode(cheap), offset)])
        assert ended(sent) == {0: 3, errors.TRAFFIC_HELD: 3}
    register.take(by_hand.key, None)
    assert ended(table.window(desk(register)[BULK], [record(BULK, encode([batch(1, 3)]), 2)])) == {0: 3}


def test_what_is_refused_does_not_hide_another_range(table: Table) -> None:
    familiar(table)
    register = Register()
    held = Hold("acme", RANGE, "x", NOON_MS)
    register.take(held.key, held.value)
    numbers = [f"{RANGE if p < 400 else OTHER}{p:04d}" for p in range(500)]
    sent = table.window(desk(register)[BULK], [record(BULK, encode([codes_for(1, 500, numbers=numbers)]))])
    assert ended(sent) == {errors.TRAFFIC_HELD: 500}
    assert [(event["range"], event["share"]) for event in events(sent)] == [(OTHER, 1.0)]


def test_what_a_bundle_pays_for_counts_too(table: Table) -> None:
    familiar(table, money=5 * EURO)  # for fifty
    account = msgspec.structs.replace(table.get(b"aacme", Ledger), bundles=[Bundle("b", (), 20, NOON_MS + HOUR_MS)])
    table.write({b"aacme": msgspec.msgpack.encode(account)})
    sent = table.window(desk(Register())[BULK], [record(BULK, encode([codes_for(1, 90)]))])
    assert ended(sent) == {0: 70, errors.INSUFFICIENT_CREDIT: 20}
    assert traffic(table).now == Counts(70, {RANGE: 70})


def test_another_accounts_hold_is_not_ours(table: Table) -> None:
    familiar(table)
    register = Register()
    held = Hold("zeta", RANGE, "x", NOON_MS)
    register.take(held.key, held.value)
    assert ended(table.window(desk(register)[BULK], [record(BULK, encode([codes_for(1, 9)]))])) == {0: 9}


def test_a_dry_run_is_refused_by_a_hold_and_leaves_no_trace(table: Table) -> None:
    familiar(table)
    before = traffic(table)
    process = desk(Register())
    sent = table.window(process[BULK], [record(BULK, encode([codes_for(1, 300, dry_run=True)]))])
    assert (ended(sent), holds(sent), traffic(table)) == ({0: 300}, [], before)
    table.window(process[BULK], [record(BULK, encode([codes_for(2, 200)]), 1)])
    sent = table.window(process[BULK], [record(BULK, encode([codes_for(3, 3, dry_run=True)]), 2)])
    assert ended(sent) == {errors.TRAFFIC_HELD: 3}


def test_without_a_past_or_without_the_guard_nothing_is_held(table: Table) -> None:
    flood = [record(BULK, encode([codes_for(n, 500, first=500 * n)]), n) for n in range(4)]
    familiar(table, 0)
    assert ended(table.window(desk(Register())[BULK], flood)) == {0: 2000}
    table.clear()
    familiar(table)
    sent = table.window(desk(Register(), Pumping(price=""))[BULK], flood)
    assert (ended(sent), traffic(table).now) == ({0: 2000}, Counts())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=12))
def test_cheap_traffic_never_trips(shared_table: Table, sizes: list[int]) -> None:
    shared_table.clear()
    familiar(shared_table)
    rows = [record(BULK, encode([codes_for(n, size, country="IT")]), n) for n, size in enumerate(sizes)]
    sent = shared_table.window(desk(Register())[BULK], rows)
    assert (ended(sent), holds(sent)) == ({0: sum(sizes)}, [])
    assert traffic(shared_table).now == Counts(sum(sizes))


def test_what_limits_or_the_wallet_refuse_does_not_count(table: Table) -> None:
    familiar(table, money=5 * EURO)  # for fifty
    process = desk(Register(), price=150_000)
    dear = codes_for(1, 200, contents=[msgspec.structs.replace(batch(1).contents[0], count=2)])
    sent = table.window(process[BULK], [record(BULK, encode([dear]))])
    assert (ended(sent), holds(sent)) == ({errors.TOO_EXPENSIVE: 200}, [])
    rows = [record(BULK, encode([codes_for(n, 90, first=100 * n)]), n) for n in range(2, 5)]
    sent = table.window(process[BULK], rows)  # 50 are sent; then 40 + 90 are asked for, and that is too many
    assert ended(sent) == {0: 50, errors.INSUFFICIENT_CREDIT: 40, errors.TRAFFIC_HELD: 180}
    assert traffic(table).now == Counts(50, {RANGE: 50})


@pytest.mark.parametrize("first", range(6))
def test_every_prefix_of_the_early_writes_trips_once(table: Table, first: int) -> None:
    familiar(table)
    rows = [record(BULK, encode([codes_for(n, 60, first=60 * n), batch(n + 50, 5)]), n) for n in range(3)]
    table.window(desk(Register())[BULK], rows, first=first)
    sent = table.window(desk(Register())[BULK], rows)
    assert ended(sent) == {0: 60 + 15, errors.TRAFFIC_HELD: 120}
    assert [held.range for held in holds(sent)] == [RANGE]
    assert traffic(table).now == Counts(75, {RANGE: 60})
    again = table.window(desk(Register())[BULK], rows)
    assert (ended(again), holds(again), traffic(table).now) == (ended(sent), holds(sent), Counts(75, {RANGE: 60}))


@dataclass
class World:
    """The stage over both lanes, its processes that die, and those who read what they tell."""

    table: Table
    logs: dict[str, Log] = field(default_factory=lambda: {topic: Log(topic) for topic in (BULK, PRIORITY)})
    next: Counter[str] = field(default_factory=Counter)
    committed: Counter[str] = field(default_factory=Counter)
    told: dict[bytes, bytes] = field(default_factory=dict)
    fates: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table.clear()
        familiar(self.table)
        self.start()

    def start(self) -> None:
        """A new process, which has read the accounts topic."""
        self.register = Register()
        for key, value in self.told.items():
            self.register.take(key, value)
        self.desk = desk(self.register)

    def step(self, topic: str, size: int, how: str, first: int, heard: bool) -> None:
        rows = self.logs[topic].rows[self.next[topic] : self.next[topic] + size]
        cut: dict[str, Any] = {"torn": {"first": first}, "unsent": {"sent": False}}.get(how, {})
        sent = self.table.window(self.desk[topic], rows, **cut)
        for outcome in sent.items(f"t.outcomes{topic.removeprefix(BULK)}", decode_outcomes):
            accepted = isinstance(outcome, Accepted)
            for place, index in enumerate(outcome.batch.index):
                code = 0 if accepted else outcome.errors[outcome.which[place]].code
                assert self.fates.setdefault((outcome.batch.id, index), code) == code
        for key, value in sent.keyed.get("t.accounts", []):
            assert self.told.setdefault(key or b"", value) == value  # told again, told alike
        if heard:
            hear(self.register, sent)
        self.next[topic] += len(rows)
        if how == "well":
            self.committed[topic] = self.next[topic]
        elif how != "late":
            self.next = Counter(self.committed)
            self.start()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_dies_counts_are_what_was_accepted_and_holds_are_told(
    shared_table: Table, data: st.DataObject
) -> None:
    world = World(shared_table)
    asked: dict[bytes, Batch] = {}
    for number in range(data.draw(st.integers(1, 10), label="batches")):
        to, lane = data.draw(st.sampled_from([RANGE, RANGE, OTHER, "+393330"])), data.draw(st.sampled_from(LANES))
        country = "IT" if to.startswith("+39") else "DE"
        made = codes_for(number, data.draw(st.integers(1, 120)), to, 500 * number, country=country)
        asked[made.id] = made
        world.logs[lane].append(encode([made]))
    hows = st.sampled_from(["well", "well", "late", "torn", "unsent", "killed"])
    for _ in range(data.draw(st.integers(0, 10), label="windows")):
        waiting = [topic for topic, log in world.logs.items() if world.next[topic] < len(log.rows)]
        if waiting:
            topic, heard = data.draw(st.sampled_from(waiting)), data.draw(st.booleans())
            world.step(topic, data.draw(st.integers(1, 3)), data.draw(hows), data.draw(st.integers(0, 4)), heard)
    world.next = Counter(world.committed)
    for topic, log in world.logs.items():
        while world.next[topic] < len(log.rows):
            world.step(topic, 3, "well", 0, True)
    fates = {name: Counter[int]() for name in (RANGE, OTHER, "+393330")}
    for (identity, index), code in world.fates.items():
        fates[asked[identity].numbers[index][:-4]][code] += 1
    assert sum(map(Counter.total, fates.values())) == sum(map(len, asked.values()))
    now = traffic(shared_table).now
    assert now.messages == sum(fate[0] for fate in fates.values())
    assert now.ranges == {name: fates[name][0] for name in (RANGE, OTHER) if fates[name][0]}
    refused = {name for name, fate in fates.items() if fate[errors.TRAFFIC_HELD]}
    assert {key.rpartition(b"/")[2].decode() for key in world.told} == refused <= {RANGE, OTHER}
