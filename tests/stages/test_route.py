import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import SETTINGS, Table, batch, decides, record

from pipeline.carriers.routing import Router
from pipeline.config import HttpCarrier, Route, Settings
from pipeline.records import Batch, decode_batches, decode_outcomes, encode
from pipeline.stages import route
from pipeline.streaming.topics import LANES
from schemas import errors
from schemas.states import Detailed

CARRIERS = ["sim", "telco"]
ROUTES = [Route(prefix="39", carriers=["sim", "telco"]), Route(prefix="49", carriers=["telco"])]
HTTP = {name: HttpCarrier(url="http://carrier.invalid", throughput=100, batch=2) for name in CARRIERS}
TWO = Settings(kafka=SETTINGS.kafka, carriers=HTTP, routes=ROUTES)


def mixed(numbers: list[str], tried: list[str]) -> Batch:
    return batch(recipients=len(numbers), numbers=numbers, tried=tried)


@given(
    st.lists(st.sampled_from(["+393331", "+491511", "+336611"]), min_size=1, max_size=20),
    st.lists(st.sampled_from(CARRIERS), max_size=2, unique=True),
)
def test_every_position_goes_one_way_and_never_back(numbers, tried):
    found, left = route.by_route(mixed(numbers, tried), Router(ROUTES, CARRIERS))
    placed = [p for positions in found.values() for p in positions]
    assert sorted([*placed, *left]) == list(range(len(numbers)))
    assert not set(found) & set(tried)
    for carrier, positions in found.items():
        assert positions == sorted(positions)
        assert all(numbers[p].startswith("+39") or carrier == "telco" for p in positions)


def test_batches_are_cut_by_carrier_and_by_a_second_of_its_throughput(table: Table):
    numbers = ["+393331"] * 250 + ["+491511"] * 3 + ["+336611"]
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))["t.priced"]
    sent = table.window(decide, [record("t.priced", encode([mixed(numbers, [])]))])
    sizes = {t: [len(b) for b in sent.items(f"t.dispatch.{t}", decode_batches)] for t in CARRIERS}
    assert sizes == {"sim": [100, 100, 50], "telco": [3]}
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.batch.index, rejected.state) == ([253], Detailed.REJECTED)


@pytest.mark.parametrize("lane", LANES)
def test_what_no_carrier_took_waits_for_another_try_with_all_of_them(table: Table, lane: str):
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))[f"t.priced{lane}"]
    of = mixed(["+491511"], ["telco"])
    sent = table.window(decide, [record(f"t.priced{lane}", encode([of]))])
    assert sent.rows.keys() == {f"t.waiting{lane}"}
    (parked,) = sent.items(f"t.waiting{lane}", decode_batches)
    assert (parked.tried, parked.attempt, parked.index) == ([], of.attempt + 1, [0])
    again = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))[f"t.waiting{lane}"]
    sent = table.window(again, [record(f"t.waiting{lane}", encode([parked]))])
    assert sent.rows.keys() == {f"t.dispatch.telco{lane}"}


@pytest.mark.parametrize("valid_for", [0, 5])
def test_what_would_not_be_valid_any_more_has_expired(table: Table, valid_for: float):
    """Decided by the record's time: a replay that comes later says the same."""
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))["t.priced"]
    of = mixed(["+491511"], ["telco"])
    at = of.received_at + int(1000 * (of.validity_seconds - valid_for))
    sent = table.window(decide, [record("t.priced", encode([of]), timestamp_ms=at)])
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.stage, rejected.state, rejected.errors[0].code) == ("route", Detailed.EXPIRED, errors.EXPIRED)
    assert "telco" in rejected.errors[0].message


def test_no_route_is_said_at_once(table: Table):
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))["t.priced"]
    sent = table.window(decide, [record("t.priced", encode([mixed(["+336611"], [])]))])
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.state, rejected.errors[0].code) == (Detailed.REJECTED, errors.NO_ROUTE)


def test_going_back_counts_the_attempt_and_names_the_carrier():
    back = route.retried(batch(recipients=3, tried=["a"]), [1], "b")
    assert (back.index, back.tried, back.attempt) == ([1], ["a", "b"], 1)
    assert route.retried(batch(), [0, 1, 2], None).tried == []
