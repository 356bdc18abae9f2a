import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from records import encode, status

from pipeline.store import tables
from pipeline.store.bulk import Bulk
from pipeline.store.database import WRITES, open_database
from pipeline.store.queries import ReadModel
from pipeline.store.statistics import BY, count_anew
from pipeline.store.tallies import Counted, Tallies, middle, percentile, step_of
from pipeline.store.writer import Told, Writer
from schemas.states import Detailed

DAY = 86_400
FIRST = 0x6921F100 // DAY * DAY
DAYS = ("2025-01-01", "2027-01-01")


@pytest.fixture
def store(another):
    engine = open_database(another())
    yield Writer(engine), ReadModel(engine), engine
    engine.dispose()


def story(number, chance):
    """What is told of a message on its way: delivered after `number` seconds, or failed."""
    id_ = f"{FIRST + number * DAY // 10:08x}{number:010x}{0:06x}"
    country = chance.choice(["IT", "ES", None])
    common = {"country_code": country, "message_count": 1 + number % 3}
    end = chance.choice([Detailed.DELIVERED, Detailed.DELIVERED, Detailed.UNDELIVERABLE])
    times = [f"2026-11-22T10:{number % 60 if end == state else 0:02d}:00.000Z" for state in (1, 10, end)]
    records = [
        replace(status(number, sequence, state, **common), id=id_, at=at, carrier=None if sequence == 1 else "sim")
        for sequence, state, at in zip((1, 3, 6), (Detailed.ACCEPTED, Detailed.SUBMITTED, end), times, strict=True)
    ]
    operator = chance.choice(["TIM", "Vodafone", None])
    told = [Told(encode(records[0]), "text", operator), *(Told(encode(record)) for record in records[1:])]
    return told[: chance.randrange(1, 4)]


def test_what_is_counted_as_it_is_written_is_what_the_rows_say(store):
    """Whatever the cuts and repeats."""
    writer, model, engine = store
    chance = random.Random(3)
    told = [one for number in range(60) for one in story(number, chance)]
    told += chance.sample(told, 30)
    while told:
        size = chance.randrange(1, 40)
        writer.write("status", told[:size], {0: 1})
        told = told[size:]
    by = {one: model.counted("acme", [one], *DAYS) for one in BY}
    assert {sum(one.messages for one in found) for found in by.values()} == {60}
    assert len(by["day"]) == 6 and all(one.messages == 10 for one in by["day"])
    assert sum(one.parts for one in by["state"]) == sum(row.message_count for row in model.page("acme", 0, 100))
    (delivered,) = [one for one in by["state"] if one.about["state"] == "DELIVERED"]
    assert delivered.messages == delivered.timed == model.counts()["DELIVERED"]
    every = model.counted("acme", BY, *DAYS)
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        count_anew(connection, Bulk(engine))
    assert model.counted("acme", BY, *DAYS) == every
    assert {name for one in every for name in one.about} == set(BY)
    assert model.counted("globex", ["day"], *DAYS) == []
    assert len(model.counted("acme", ["day"], "2025-11-23", "2025-11-25")) == 2


def test_operators_stand_with_their_country_and_dry_runs_are_not_counted(store):
    writer, model, _ = store
    told = [
        Told(encode(status(1, 1)), None, "Vodafone"),
        Told(encode(status(2, 1, country_code="ES")), None, "Vodafone"),
    ]
    writer.write("status", [*told, Told(encode(status(3, 1, dry_run=True)))], {0: 1})
    found = model.counted("acme", ["operator"], *DAYS)
    assert [one.about for one in found] == [
        {"operator": "Vodafone", "country": "ES"}, {"operator": "Vodafone", "country": "IT"},
    ] or [one.about["country"] for one in found] == ["IT", "ES"]  # fmt: skip
    assert all(one.states["NEW"] == 1 and one.delivered_within == {} for one in found)


def test_a_database_older_than_its_counters_is_counted_once(store):
    writer, model, engine = store
    writer.write("status", [Told(encode(status(n, 1))) for n in range(5)], {0: 1})
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        connection.execute(tables.statistics.delete())
        connection.execute(tables.projection.update().values(epoch=0))
    later = Writer(engine)
    assert later.offsets("status") == {0: 1}
    later.write("status", [Told(encode(status(0, 2)))], {0: 2})
    (one,) = model.counted("acme", ["day"], *DAYS)
    assert (one.messages, one.states["NEW"], one.states["PENDING"]) == (5, 4, 1)


def test_ids_and_times_that_are_not_ours_are_counted_all_the_same():
    tallies = Tallies()
    tallies.add(Counted("a", "zz", None, None, None, "DELIVERED", 1, "x", "y", False, 1))
    tallies.add(Counted("a", "zz", None, None, None, "DELIVERED", 1, "2026-11-22T10:00:00Z", "2026-11-22", False, 1))
    assert (list(tallies.states), list(tallies.times)) == ([("a", "", "", "", "", "DELIVERED", 2, 2)], [])


@given(st.lists(st.floats(0.001, 10_000_000), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_by_steps_is_within_three_percent(times, share):
    counts: dict[int, int] = {}
    for time in times:
        counts[step_of(time)] = counts.get(step_of(time), 0) + 1
    ordered = sorted(times)
    exact = next(time for place, time in enumerate(ordered, 1) if place >= share * len(ordered))
    assert percentile(list(counts.items()), share) == pytest.approx(exact, rel=0.031, abs=0.001)


def test_steps_grow_with_time():
    assert step_of(0) == step_of(-5) == 0 <= step_of(0.002) < step_of(1) < step_of(1.1) < step_of(172_800)
    assert middle(step_of(60)) == pytest.approx(60, rel=0.03)
