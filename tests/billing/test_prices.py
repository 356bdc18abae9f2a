from pathlib import Path

import pytest

import pipeline.billing
from pipeline.billing import PriceList

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


def priced(*rows: str) -> PriceList:
    found = PriceList.parse(["country,operator,prefix,price", *rows])
    assert isinstance(found, PriceList), found
    return found


def listed() -> PriceList:
    found = PriceList.parse(LISTED)
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
    prices = listed()
    assert prices.price(country, operator, number) == price
    assert prices.price(country, operator, number) == price


def test_an_operator_without_a_price_of_its_country() -> None:
    prices = priced("IT,TIM,,0.04")
    assert prices.price("IT", "TIM") == 40_000
    assert prices.price("IT", "Vodafone") is None


def test_a_price_may_be_nothing() -> None:
    assert priced("IT,,,0").price("IT", "") == 0


def test_prefix_rules_are_told() -> None:
    prices = listed()
    assert prices.has_prefix_rules("US")
    assert not prices.has_prefix_rules("IT")
    assert not prices.has_prefix_rules("FR")


def test_one_fault_refuses_the_list_and_every_fault_has_its_line() -> None:
    faults = PriceList.parse(
        [
            "# prices",
            "country,operator,prefix,price",
            "IT,,,0.05",
            "IT,,,0.06",
            "XX,,,0.05",
            "it,,,0.05",
            "FR,,,-0.05",
            "FR,,,5e-2",
            "FR,,,0.0000001",
            "FR,,,",
            "FR,,49,0.05",
            "FR,,+33,0.05",
            "FR,0.05",
            "GB,o2,,0.05",
            "GB,O2,,0.05",
        ]
    )
    assert isinstance(faults, list)
    assert [fault.split(":")[0] for fault in faults] == [f"line {n}" for n in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15)]


@pytest.mark.parametrize("lines", [[], ["# nothing"], ["IT,,,0.05"], ["country,price", "IT,0.05"]])
def test_the_header_is_needed(lines: list[str]) -> None:
    faults = PriceList.parse(lines)
    assert isinstance(faults, list)
    assert "header" in faults[0]
    assert faults[0].startswith("line 1:")


def test_quotes_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    found = PriceList.parse(["\ufeffcountry,operator,prefix,price\r\n", 'IT,"TIM, Inc",,0.04\r\n'])
    assert isinstance(found, PriceList)
    assert found.price("IT", "TIM, Inc") == 40_000


def test_the_sample_list() -> None:
    lines = (Path(pipeline.billing.__file__).parent / "sample-prices.csv").read_text("utf-8").splitlines()
    found = PriceList.parse(lines)
    assert isinstance(found, PriceList), found
    assert "SAMPLE" in lines[0]
    assert found.price("IT", "TIM", "+393331234567") == 50_000
    assert len({line[:2] for line in lines if line[:2].isupper()}) >= 40
