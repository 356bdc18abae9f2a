"""Money as integers: micro-units, a millionth of the currency's unit, so that sums are exact."""

import re

from schemas.errors import MALFORMED_REQUEST, Error

#: Micro-units in one unit of the currency.
MICROS = 1_000_000

# Twelve digits before the point keep any amount within 64 bits.
_AMOUNT = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,6}))?").fullmatch


def parse_amount(text: str) -> int | Error:
    """Micro-units of a decimal string such as "0.05" or "-3"; error 3001 for anything else, exponents included."""
    found = _AMOUNT(text)
    if found is None:
        return Error(
            MALFORMED_REQUEST, f'"{text[:40]}" is not a decimal amount with at most 6 decimals, such as 0.0500'
        )
    sign, whole, decimals = found.groups(default="")
    micros = int(whole) * MICROS + int(decimals.ljust(6, "0"))
    return -micros if sign else micros


def format_amount(micros: int) -> str:
    """A balance or total as a decimal string: two decimals, more where needed to be exact ("100.00", "0.0525")."""
    return _decimal(micros, 2)


def format_price(micros: int) -> str:
    """A price as a decimal string: four decimals, more where needed to be exact ("0.0500", "0.05125")."""
    return _decimal(micros, 4)


def _decimal(micros: int, at_least: int) -> str:
    whole, rest = divmod(abs(micros), MICROS)
    digits = f"{rest:06d}"
    decimals = digits[:at_least] + digits[at_least:].rstrip("0")
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"
