"""The pumping guard's rule: what never trips, what always does, and when; and how little it has to remember."""

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import Rule, Traffic, Trip, range_of
from pipeline.billing.pumping import MOST_RANGES, Counts
from pipeline.config import ConfigError, load

HOUR_MS = 3600 * 1000
MOMENT = 500_000 * HOUR_MS
COSTLY = 100_000
RULE = Rule(COSTLY, 0.25, 100)
BLOCK, HOME = "+20100123", "+20122999"

histories = st.builds(
    lambda messages, habit: Counts(messages, {HOME: messages * habit}),
    st.integers(1, 100_000),
    st.floats(0, 1),
)


def account(before: Counts = Counts(1000, {}), now: Counts = Counts()) -> Traffic:  # noqa: B008
    """One with a past."""
    return Traffic(MOMENT // HOUR_MS, now, before=before)


def first_trip(rule: Rule, traffic: Traffic, ranges: Iterable[str | None], at: int = MOMENT) -> int | None:
    """The number of the message (from 1) at which a range trips, sent one by one; None: a cheap destination."""
    for number, name in enumerate(ranges, 1):
        traffic = traffic.at(at)
        more = {name: 1} if name else {}
        if rule.trips(traffic, 1, more):
            return number
        traffic = traffic.plus(1, more)
    return None


def test_a_range_is_a_block_of_ten_thousand() -> None:
    assert {range_of(f"{BLOCK}{n:04d}") for n in (0, 1, 9_999)} == {BLOCK}


@given(st.lists(st.integers(0, 2 * COSTLY), min_size=1, max_size=5), st.data())
def test_only_the_costly_are_looked_at(prices: list[int], data: st.DataObject) -> None:
    where = data.draw(st.lists(st.integers(0, len(prices) - 1), max_size=20))
    numbers = [f"{BLOCK}{n:04d}" for n in range(len(where))]
    found = RULE.ranges(prices, where, numbers)
    assert found == {p: BLOCK for p, place in enumerate(where) if prices[place] >= COSTLY}
    assert not RULE.trips(account(), 10_000, {})  # as many to cheap ones as may be


@given(st.integers(1, 200), st.integers(1, 400), histories, st.floats(0.01, 1))
def test_an_even_spread_never_trips(each: int, more: int, before: Counts, share: float) -> None:
    rule = Rule(COSTLY, share, 1)
    ranges = {f"{BLOCK}{n}": each for n in range(int(1 / share) + more)}
    assert not rule.trips(account(before), each * len(ranges), ranges)


@given(st.integers(1, 300), st.integers(0, 99), st.floats(0, 0.9))
def test_a_block_trips_exactly_at_the_least(least: int, cheap: int, habit: float) -> None:
    rule = Rule(COSTLY, 0.25, least)
    traffic = account(Counts(1000, {HOME: 1000 * habit}), Counts(min(cheap, least)))
    assert first_trip(rule, traffic, [BLOCK] * (least + 1)) == least
    before, at_once = least - 1, {BLOCK: least}
    assert not rule.trips(traffic, before, {BLOCK: before})
    assert rule.trips(traffic, least, at_once) == at_once


def test_a_block_trips_once_it_has_its_share() -> None:
    traffic = account(now=Counts(900))
    assert first_trip(RULE, traffic, [BLOCK] * 1000) == 300  # of 1,200


@given(st.lists(st.sampled_from([BLOCK, HOME, "+21620123", None]), max_size=300))
def test_what_trips_at_once_trips_one_by_one(sent: list[str | None]) -> None:
    rule = Rule(COSTLY, 0.25, 20)
    ranges = Counter(name for name in sent if name)
    if rule.trips(account(), len(sent), ranges):
        assert first_trip(rule, account(), sent) is not None


@given(st.floats(RULE.share / 4, 1), st.integers(1, 10_000))
def test_a_habit_never_trips(share: float, count: int) -> None:
    habitual = account(Counts(10_000, {BLOCK: 10_000 * share}))
    assert not RULE.trips(habitual, count, {BLOCK: count})


@given(st.integers(1, 100_000), st.booleans())
def test_a_new_account_may_begin_with_anything(count: int, goes_on: bool) -> None:
    traffic = Traffic().at(MOMENT)
    assert not RULE.trips(traffic, count, {BLOCK: count})
    traffic = traffic.plus(count, {BLOCK: count})
    for hour in range(1, 4):  # and go on with it
        traffic = traffic.at(MOMENT + hour * HOUR_MS)
        assert not RULE.trips(traffic, count, {BLOCK: count})
        traffic = traffic.plus(count, {BLOCK: count})


def test_an_account_that_sent_little_is_judged_from_five_times_as_many_on() -> None:
    assert first_trip(RULE, account(Counts(3)), [BLOCK] * 1000) == 500
    assert first_trip(RULE, account(Counts(100)), [BLOCK] * 1000) == 100


def test_what_begins_at_the_end_of_an_hour_is_no_habit_in_the_next() -> None:
    traffic = account(Counts(200)).plus(RULE.least - 1, {BLOCK: RULE.least - 1})
    assert first_trip(RULE, traffic, [BLOCK] * 1000, at=MOMENT + HOUR_MS) == RULE.least
    much_later = first_trip(RULE, traffic, [BLOCK] * 1000, at=MOMENT + 48 * HOUR_MS)
    assert much_later == RULE.least


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 50)), max_size=20))
def test_time_goes_on_and_nothing_is_counted_twice(steps: list[tuple[int, int]]) -> None:
    traffic, sent = Traffic(), 0
    for hours, count in steps:
        traffic = traffic.at(MOMENT + hours * HOUR_MS).plus(count, {BLOCK: count})
        sent += count
        assert traffic.at(MOMENT - HOUR_MS) == traffic.at(traffic.hour * HOUR_MS) == traffic
        known = [traffic.now, traffic.last, traffic.before]
        assert sum(one.messages for one in known) <= sent
        assert all(sum(one.ranges.values()) <= one.messages for one in known)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(traffic), type=Traffic) == traffic


def test_a_week_later_half_is_left_and_once_nothing_is() -> None:
    old = account(Counts(1000, {HOME: 500, BLOCK: 0.6}))
    week = old.at(MOMENT + 7 * 24 * HOUR_MS).before
    assert (round(week.messages), {k: round(v) for k, v in week.ranges.items()}) == (500, {HOME: 250})
    assert old.at(MOMENT + 365 * 24 * HOUR_MS).before == Counts()


@given(st.integers(0, 1500), st.integers(0, 3000), st.randoms(use_true_random=False))
def test_what_is_remembered_is_bounded_and_the_many_are_among_it(block: int, others: int, random: object) -> None:
    names = [BLOCK] * block + [f"+216{n % 1700}" for n in range(others)]
    random.shuffle(names)
    counts = Counts()
    for begin in range(0, len(names), 100):
        some = Counter(names[begin : begin + 100])
        counts = counts.plus(some.total(), some)
        assert len(counts.ranges) <= MOST_RANGES
    assert counts.messages == len(names)
    missing = block - counts.ranges.get(BLOCK, 0)
    assert 0 <= missing <= len(names) / (MOST_RANGES + 1)


def test_trips_are_kept_until_they_are_told() -> None:
    trips = [Trip(name, 100, 150, MOMENT, "b" * 18) for name in (BLOCK, HOME)]
    traffic = account().plus(0, {}, trips).at(MOMENT + 9 * HOUR_MS)
    assert traffic.tripped == tuple(trips)
    assert traffic.told({HOME: "held"}).tripped == (trips[0],)


@pytest.mark.parametrize(
    ("key", "value"),
    [("PRICE", "1e3"), ("PRICE", "-1"), ("PRICE", "0.00"), ("SHARE", "0"), ("SHARE", "nan"), ("LEAST", "0")],
)
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"pumping.{key.lower()}"):
        load(environment={f"SMS_PUMPING__{key}": value})


def test_without_a_price_there_is_no_rule() -> None:
    assert load(environment={"SMS_PUMPING__PRICE": ""}).pumping.rule is None
    assert load().pumping.rule == RULE
