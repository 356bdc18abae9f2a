"""The name a message comes from: an alphanumeric alias."""

import re

from schemas.errors import INVALID_SENDER, NUMERIC_SENDER, Error

_LENGTHS = range(3, 12)
_NUMERIC = re.compile(r"\+?[0-9 ]*[0-9][0-9 ]*").fullmatch
_OUTSIDE = re.compile(r"[^A-Za-z0-9 ]").search
_LETTER = re.compile(r"[A-Za-z]").search


def check_sender(sender: str) -> Error | None:
    """None if `sender` is an alias of 3 to 11 letters, digits and spaces with at least one letter.

    Letters are ASCII letters: an alias travels as 11 septets of GSM-7 (3GPP TS 23.040, section 9.1.2.5), and carriers
    agree on no others. Errors: 2024 purely numeric, 2021 any other fault.
    """
    if _NUMERIC(sender):
        return Error(NUMERIC_SENDER, "a sender of digits only is not allowed: use at least one letter")
    if outside := _OUTSIDE(sender):
        found = f'"{outside[0]}" at index {outside.start()}'
        return Error(INVALID_SENDER, f"the sender may hold letters A-Z, digits and spaces, not {found}")
    if len(sender) not in _LENGTHS:
        return Error(INVALID_SENDER, f"the sender has {len(sender)} characters, 3 to 11 are allowed")
    if not _LETTER(sender):
        return Error(INVALID_SENDER, "the sender needs at least one letter")
    return None
