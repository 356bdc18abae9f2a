import pytest

from pipeline.numbers import check_sender
from schemas.errors import INVALID_SENDER, NUMERIC_SENDER


@pytest.mark.parametrize("sender", ["ACME", "My Company", "Openapi", "abc", "A1 B2 C3 D4", "12a"])
def test_aliases(sender: str) -> None:
    assert check_sender(sender) is None


@pytest.mark.parametrize(
    "sender", ["", "ab", "ACME Limited", "a" * 12, "Acme!", "Citroën", "Привет", "   ", "ab\ncd", "abc\n"]
)
def test_an_alias_holds_3_to_11_ascii_letters_digits_and_spaces(sender: str) -> None:
    error = check_sender(sender)
    assert error is not None
    assert error.code == INVALID_SENDER


@pytest.mark.parametrize("sender", ["12345", "+393331234567", "12 34", "1"])
def test_a_number_is_no_alias(sender: str) -> None:
    error = check_sender(sender)
    assert error is not None
    assert error.code == NUMERIC_SENDER


def test_the_refusal_names_the_character() -> None:
    error = check_sender("Acme!")
    assert error is not None
    assert '"!" at index 4' in error.message
