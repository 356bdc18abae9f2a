from hypothesis import given
from hypothesis import strategies as st
from stepping import SETTINGS, Table, batch, decides, record

from pipeline.carriers.routing import Router
from pipeline.config import HttpCarrier, Route, Settings
from pipeline.records import Batch, decode_batches, decode_outcomes, encode
from pipeline.stages import route
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
    found, unrouted = route.by_route(mixed(numbers, tried), Router(ROUTES, CARRIERS))
    placed = [p for positions in found.values() for p in positions]
    assert sorted([*placed, *unrouted]) == list(range(len(numbers)))
    assert not set(found) & set(tried)
    for carrier, positions in found.items():
        assert positions == sorted(positions)
        assert all(numbers[p].startswith("+39") or carrier == "telco" for p in positions)
    code = errors.CARRIER_UNAVAILABLE if tried else errors.NO_ROUTE
    assert {error.code for error in unrouted.values()} <= {code}


def test_batches_are_cut_by_carrier_and_by_a_second_of_its_throughput(table: Table):
    numbers = ["+393331"] * 250 + ["+491511"] * 3 + ["+336611"]
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))["t.priced"]
    sent = table.window(decide, [record("t.priced", encode([mixed(numbers, [])]))])
    sizes = {t: [len(b) for b in sent.items(f"t.dispatch.{t}", decode_batches)] for t in CARRIERS}
    assert sizes == {"sim": [100, 100, 50], "telco": [3]}
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.batch.index, rejected.state) == ([253], Detailed.REJECTED)


def test_what_all_carriers_failed_to_take_has_failed(table: Table):
    decide = decides(route.sources(TWO, Router(ROUTES, CARRIERS)))["t.priced"]
    sent = table.window(decide, [record("t.priced", encode([mixed(["+491511"], ["telco"])]))])
    (rejected,) = sent.items("t.outcomes", decode_outcomes)
    assert (rejected.stage, rejected.state) == ("route", Detailed.FAILED)
    assert not rejected.errors[0].permanent


def test_going_back_counts_the_attempt_and_names_the_carrier():
    back = route.retried(batch(recipients=3, tried=["a"]), [1], "b")
    assert (back.index, back.tried, back.attempt) == ([1], ["a", "b"], 1)
    assert route.retried(batch(), [0, 1, 2], None).tried == []
