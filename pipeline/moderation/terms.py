"""Prohibited terms as lists write them."""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["block", "flag"]

_COUNTRY = re.compile("[A-Z]{2}")


class Term(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is looked for, and for whom.

    `accounts`: only in their messages; `countries` (ISO 3166-1 alpha-2): only in messages to there; none is all.
    `open_start`, `open_end`: found inside a longer word too, after, or before, other letters.
    """

    text: str
    severity: Severity = "block"
    accounts: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    open_start: bool = False
    open_end: bool = False


def parse_terms(lines: Iterable[str]) -> tuple[Term, ...] | list[str]:
    """The terms of a list, or every fault in it, by line number.

    A term a line; blank lines and lines that begin with `#` are left out. After the term may follow, each after a bar
    with spaces around it: `block` or `flag`, `country=IT,ES`, `account=acme,other`. A `*` at an end of the term lets
    it stand inside a longer word. A backslash before a first `#`, or before a `*` at an end, makes it a character.
    """
    terms: list[Term] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        line = line.strip().removeprefix("\ufeff")
        if line and not line.startswith("#"):
            term = _term(line)
            if isinstance(term, Term):
                terms.append(term)
            else:
                faults += [f"line {number}: {fault}" for fault in term]
    return faults or tuple(dict.fromkeys(terms))


def _term(line: str) -> Term | list[str]:
    text, *options = (field.strip() for field in re.split(r"(?:^|\s)\|(?=\s|$)", line))
    found: dict[str, str] = {}
    faults: list[str] = []
    for option in options:
        name, equals, value = (part.strip() for part in option.partition("="))
        if not equals and name.lower() in ("block", "flag"):
            name, value = "severity", name.lower()
        elif not equals or name not in ("country", "account") or not value:
            faults.append(f"{option!r} is none of block, flag, country=…, account=…")
            continue
        if name in found:
            faults.append(f"{name} is given twice")
        found[name] = value
    countries = _list(found.get("country", "").upper())
    faults += [f"{country!r} is no country of two letters" for country in countries if not _COUNTRY.fullmatch(country)]
    text, open_start, open_end = _ends(text)
    if not text:
        faults.append("no term")
    severity: Severity = "flag" if found.get("severity") == "flag" else "block"
    accounts = _list(found.get("account", ""))
    return faults or Term(text, severity, accounts, countries, open_start, open_end)


def _list(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.strip() for item in value.split(",") if item.strip()))


def _ends(text: str) -> tuple[str, bool, bool]:
    """The term without the stars at its ends; a text of nothing but stars is a term as it stands."""
    if not text.strip("*"):
        return text, False, False
    open_start, open_end = text.startswith("*"), text.endswith("*") and not text.endswith("\\*")
    text = text.lstrip("*") if open_start else text
    text = text.rstrip("*") if open_end else text
    text = text[1:] if text.startswith(("\\*", "\\#")) else text
    text = text[:-2] + "*" if text.endswith("\\*") else text
    return text.strip(), open_start, open_end
