import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import format_amount, format_price, parse_amount
from schemas.errors import MALFORMED_REQUEST, Error

AMOUNTS = st.integers(-(10**17), 10**17)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("100.00", 100_000_000),
        ("0.05", 50_000),
        ("0.0500", 50_000),
        ("0.000001", 1),
        ("7", 7_000_000),
        ("-3.5", -3_500_000),
    ],
)
def test_decimal_strings(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize(
    "text", ["", "1e3", "1E-2", "0.0000001", ".5", "5.", "1,5", " 1", "1\n", "+1", "--1", "١", "NaN", "1_000", "9" * 13]
)
def test_anything_else_is_refused(text: str) -> None:
    error = parse_amount(text)
    assert isinstance(error, Error)
    assert error.code == MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("micros", "amount", "price"),
    [
        (0, "0.00", "0.0000"),
        (50_000, "0.05", "0.0500"),
        (100_000_000, "100.00", "100.0000"),
        (52_500, "0.0525", "0.0525"),
        (51_250, "0.05125", "0.05125"),
        (1, "0.000001", "0.000001"),
        (-1_500_000, "-1.50", "-1.5000"),
    ],
)
def test_amounts_and_prices_as_strings(micros: int, amount: str, price: str) -> None:
    assert format_amount(micros) == amount
    assert format_price(micros) == price


@given(AMOUNTS)
def test_strings_are_exact(micros: int) -> None:
    assert parse_amount(format_amount(micros)) == micros
    assert parse_amount(format_price(micros)) == micros
