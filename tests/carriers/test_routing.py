"""Routing against the plain reading of the rule: of all prefixes that match, the longest."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.carriers.routing import Router
from pipeline.config import Route

DIGITS = st.text("123", max_size=4)
NAMES = st.sampled_from(["a", "b", "c", "down"])
ROUTES = st.lists(st.builds(Route, prefix=DIGITS, carriers=st.lists(NAMES, min_size=1, max_size=4)), max_size=8)
NUMBERS = st.text("123", min_size=1, max_size=6).map("+".__add__)
AVAILABLE = ("a", "b", "c")


def oracle(routes: list[Route], number: str) -> list[str]:
    if not routes:
        return list(AVAILABLE)
    matching = [route for route in routes if number[1:].startswith(route.prefix)]
    longest = max((len(route.prefix) for route in matching), default=0)
    names = [name for route in matching if len(route.prefix) == longest for name in route.carriers]
    return [name for name in dict.fromkeys(names) if name in AVAILABLE]


@given(ROUTES, NUMBERS, st.sets(NAMES))
def test_the_longest_prefix_decides(routes, number, tried):
    router = Router(routes, AVAILABLE)
    expected = oracle(routes, number)
    assert router.candidates(number) == expected
    assert router.route(number) == (expected[0] if expected else None)
    left = [name for name in expected if name not in tried]
    assert router.route(number, tried) == (left[0] if left else None)


@given(ROUTES, st.lists(NUMBERS, max_size=30))
def test_a_group_is_routed_as_its_numbers_are(routes, numbers):
    router = Router(routes, AVAILABLE)
    assert router.group(numbers) == [router.route(number) for number in numbers]


def test_a_worked_example():
    routes = [
        Route(prefix="", carriers=["global"]),
        Route(prefix="+39", carriers=["local", "global"]),
        Route(prefix="393", carriers=["smpp-only"]),
    ]
    router = Router(routes, {"global": 1, "local": 2})
    assert router.group(["+4477", "+3903", "+39333", "+39"]) == ["global", "local", None, "local"]
    assert router.route("+3903", {"local"}) == "global"
    assert router.route("+3903", {"local", "global"}) is None


def test_without_routes_carriers_serve_in_the_order_of_the_configuration():
    router = Router([], {"second": 1, "first": 2})
    assert router.candidates("+39333") == ["second", "first"]
    assert router.group(["+1", "+2"]) == ["second", "second"]
    assert Router([], []).group(["+1"]) == [None]
