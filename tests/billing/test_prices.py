from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.carrierdata import CARRIER_DATA

import pipeline.billing
from pipeline.billing import PriceList
from pipeline.billing.price_operators import NETWORKS, canonical
from pipeline.billing.price_rows import BEGIN, END, Discount, Rate, Rows, discounted

LISTED = """\
# a comment
country,operator,prefix,price
IT,,,0.0500

IT,TIM,,0.0450
US,,,0.01
US,,1787,0.02
US,,178755,0.03
US,T-Mobile,1787,0.015
US,T-Mobile,,0.009
001,,,0.5
""".splitlines()

EXTENDED = """\
price,country,operator,prefix,account,discount,carrier,cost,valid_from,valid_until
0.0500,IT,,,,,sim,0.0300,,2026-07-01
0.0600,IT,,,,,,,2026-07-01,
0.0450,IT,222-01,,,,,,,
,IT,,,,,telco,0.0350,,
,IT,,39333,,,telco,0.0400,,
0.0400,IT,,,acme,,,,,
0.0390,IT,TIM,39333,acme,,,,2026-08-01,
,,,,zeta,12.5,,,,
,,,,acme,50,,,,
0.1001,FR,,,,,,,,
""".splitlines()

JUNE, JULY, AUGUST = 1_782_777_600_000, 1_782_864_000_000, 1_785_542_400_000  # June the 30th, firsts of month, UTC


def priced(*rows: str) -> PriceList:
    return made(["country,operator,prefix,price", *rows])


def made(lines: Sequence[str]) -> PriceList:
    found = PriceList.parse(lines)
    assert isinstance(found, PriceList), found
    return found


@pytest.mark.parametrize(
    ("country", "operator", "number", "price"),
    [
        ("IT", "", "+393331234567", 50_000),
        ("IT", "TIM", "+393331234567", 45_000),
        ("IT", "tim", "", 45_000),
        ("IT", "Vodafone", "", 50_000),
        ("US", "", "+12025550123", 10_000),
        ("US", "", "+17872223333", 20_000),
        ("US", "", "+17875523333", 30_000),
        ("US", "T-Mobile", "+17872223333", 15_000),
        ("US", "T-Mobile", "+17875523333", 30_000),
        ("US", "T-Mobile", "+12025550123", 9_000),
        ("US", "T-Mobile", "", 9_000),
        ("001", "", "+870773111632", 500_000),
        ("FR", "", "+33612345678", None),
    ],
)
def test_longest_prefix_then_operator_then_country(country: str, operator: str, number: str, price: int | None) -> None:
    prices = made(LISTED)
    assert prices.price(country, operator, number) == price
    assert prices.price(country, operator, number) == price


def test_a_price_may_be_nothing() -> None:
    assert priced("IT,,,0").price("IT", "") == 0


def test_prefix_rules_are_told() -> None:
    prices = made(LISTED)
    assert prices.has_prefix_rules("US")
    assert not prices.has_prefix_rules("IT")
    assert not prices.has_prefix_rules("FR")


@pytest.mark.parametrize("written", ["222-01", "22201", "TIM", "tim"])
def test_an_operator_by_code_or_name(written: str) -> None:
    prices = priced("IT,,,0.05", f"IT,{written},,0.04")
    assert [prices.price("IT", asked) for asked in ("TIM", "222-01", "22201", "WIND")] == [40_000] * 3 + [50_000]


def test_a_code_nobody_knows_a_name_of_is_found_by_itself() -> None:
    prices = priced("IT,,,0.05", "IT,222-77,,0.04")
    assert prices.price("IT", "22277") == prices.price("IT", "222-77") == 40_000


def test_every_network_has_the_name_libphonenumber_gives_its_numbers() -> None:
    names = {names["en"] for names in CARRIER_DATA.values() if "en" in names}
    assert {name for _, name in NETWORKS.values()} <= names
    assert all(canonical(code) == name.casefold() for code, (_, name) in NETWORKS.items())


@pytest.mark.parametrize(
    ("account", "at", "operator", "number", "price"),
    [
        ("", JUNE, "", "", 50_000),
        ("", JULY - 1, "", "", 50_000),
        ("", JULY, "", "", 60_000),
        ("other", JULY, "TIM", "", 45_000),
        ("acme", JULY, "TIM", "+393331234567", 40_000),  # an account's own goes before all others, without discount
        ("acme", AUGUST - 1, "TIM", "+393331234567", 40_000),
        ("acme", AUGUST, "TIM", "+393331234567", 39_000),
        ("acme", AUGUST, "WIND", "+393331234567", 40_000),
        ("zeta", JUNE, "", "", 43_750),
        ("zeta", JULY, "TIM", "", 39_375),
    ],
)
def test_validity_own_prices_and_discounts(account: str, at: int, operator: str, number: str, price: int) -> None:
    prices = made(EXTENDED)
    assert prices.price("IT", operator, number, account=account, at=at) == price
    assert prices.for_account(account, at).price("IT", operator, number) == price


def test_views_are_made_once_and_tell_prefix_rules() -> None:
    prices = made(EXTENDED)
    assert prices.for_account("acme", JULY) is prices.for_account("acme", AUGUST - 1)
    assert prices.for_account("nobody", JULY) is prices.for_account("", JULY + 1)
    assert prices.for_account("acme", JULY) is not prices.for_account("acme", JUNE)
    assert not prices.for_account("acme", JULY).has_prefix_rules("IT")
    assert prices.for_account("acme", AUGUST).has_prefix_rules("IT")
    assert not prices.for_account("", AUGUST).has_prefix_rules("IT")


def test_a_country_of_one_account_only() -> None:
    prices = made(["country,operator,prefix,price,account", "IT,,,0.05,acme", "IT,TIM,,0.04,acme"])
    assert prices.price("IT", "", account="acme") == 50_000
    assert prices.price("IT", "TIM", account="acme") == 40_000
    assert prices.price("IT", "") is None


def test_costs_of_carriers() -> None:
    prices = made(EXTENDED)
    assert prices.cost("sim", "IT", "", at=JUNE) == 30_000
    assert prices.cost("sim", "IT", "", at=JULY) is None
    assert prices.cost("telco", "IT", "TIM", "+393331234567") == 40_000
    assert prices.cost("telco", "IT", "TIM", "+393401234567") == 35_000
    assert prices.cost("telco", "FR", "") is None
    assert prices.cost("nobody", "IT", "") is None


@pytest.mark.parametrize(
    ("price", "percent", "paid"),
    [
        (50_000, 5, 47_500),
        (50_001, 50, 25_001),
        (1, 50, 1),
        (1, 50.0001, 0),
        (3, 50, 2),
        (7, 0, 7),
        (7, 100, 0),
        (10**17, 33.3333, 66_666_700_000_000_000),
    ],
)
def test_discounts_are_rounded_half_up_to_the_micro_unit(price: int, percent: float, paid: int) -> None:
    assert discounted(price, round(percent * 10_000)) == paid


def test_the_sample_list() -> None:
    text = (Path(pipeline.billing.__file__).parent / "sample-prices.csv").read_text("utf-8")
    found = PriceList.read(text)
    assert isinstance(found, PriceList), found
    assert text.startswith("# SAMPLE")
    assert found.price("IT", "TIM", "+393331234567") == 50_000
    rows = found.rows.prices
    assert len({row.country for row in rows}) >= 40
    assert {"IT", "ES"} <= {row.country for row in rows}
    assert any(row.operator for row in rows) and any(row.prefix for row in rows)
    for row in rows:
        cost = found.cost("sim", row.country, row.operator, row.prefix)
        assert cost is not None and 0 < cost < row.amount


def test_a_version_tells_the_content_whatever_its_order_and_spelling() -> None:
    one, same = priced("IT,,,0.05", "IT,TIM,,0.040"), priced("# ours", "IT,222-01,,0.04", "IT,,,0.0500")
    other = priced("IT,,,0.05", "IT,TIM,,0.041")
    assert one.version == same.version != other.version
    assert one.version.startswith("file-") and len(one.version) == 13


# Against a reference that reads all rows at every question.

COUNTRY = st.sampled_from(["IT", "DE"])
OPERATOR = st.sampled_from(["", "tim", "vodafone"])
PREFIX = st.sampled_from(["", "3", "39", "393", "3933", "49", "491"])
OWNER = st.sampled_from(["", "acme", "zeta"])
TIMES = st.sampled_from([(BEGIN, END), (BEGIN, 100), (100, 200), (200, END)])
AMOUNT = st.integers(0, 1_000_000)
NUMBER = st.sampled_from(["", "+39333", "+39340", "+49151", "+3"])


def unique(rows: list[Rate]) -> tuple[Rate, ...]:
    """No two rows of a key at a time; whether the country has a price does not matter to lookup."""
    found: list[Rate] = []
    for row in rows:
        if all(row[:4] != other[:4] or row.since >= other.until or row.until <= other.since for other in found):
            found.append(row)
    return tuple(found)


RATE = st.tuples(OWNER, COUNTRY, OPERATOR, PREFIX, AMOUNT, TIMES).map(lambda drawn: Rate(*drawn[:5], *drawn[5]))
RATES = st.lists(RATE).map(unique)
DISCOUNTS = st.sampled_from([(), (Discount("acme", 123_456),), (Discount("zeta", 500_000, 100, 200),)])


def naive(rows: Sequence[Rate], owner: str, country: str, operator: str, number: str, at: int) -> int | None:
    digits = number.removeprefix("+")
    fitting = [
        row
        for row in rows
        if (row.owner, row.country) == (owner, country)
        and row.since <= at < row.until
        and row.operator in ("", operator)
        and digits.startswith(row.prefix)
    ]
    best = max(fitting, key=lambda row: (len(row.prefix), row.operator), default=None)
    return best.amount if best else None


@given(RATES, DISCOUNTS, OWNER, COUNTRY, OPERATOR, NUMBER, st.sampled_from([0, 99, 100, 199, 200, 10**12]))
def test_lookup_is_that_of_the_reference(
    rates: tuple[Rate, ...],
    discounts: tuple[Discount, ...],
    account: str,
    country: str,
    operator: str,
    number: str,
    at: int,
) -> None:
    prices = PriceList(Rows(rates, discounts, rates))
    own = naive(rates, account, country, operator, number, at) if account else None
    listed = naive(rates, "", country, operator, number, at)
    off = next((one.millionths for one in discounts if one.account == account and one.since <= at < one.until), 0)
    wanted = own if own is not None else None if listed is None else discounted(listed, off)
    view = prices.for_account(account, at)
    for _ in range(2):
        assert view.price(country, operator.upper(), number) == wanted
        assert prices.price(country, operator, number, account, at) == wanted
    if not view.has_prefix_rules(country):
        assert view.price(country, operator) == wanted
    if account:
        assert prices.cost(account, country, operator, number, at) == own
