"""What a part costs: a price list by country, operator and prefix."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import phonenumbers

from pipeline.billing.money import parse_amount
from schemas.errors import Error

HEADER = ["country", "operator", "prefix", "price"]
#: Numbers of no country (satellite networks) carry this code in libphonenumber; they may have a price too.
_WORLD = "001"
_COUNTRIES = phonenumbers.SUPPORTED_REGIONS | {_WORLD}


class _Row(NamedTuple):
    country: str
    operator: str  # case-folded
    prefix: str
    price: int


class PriceList:
    """Prices in micro-units per part. The longest prefix of the number decides, then the operator, then the country.

    A row may name an operator and a prefix: it then holds for that operator's numbers behind that prefix.
    """

    def __init__(self, rows: Iterable[_Row]) -> None:
        self._prices: dict[tuple[str, str], int] = {}
        self._by_prefix: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        for row in rows:
            if row.prefix:
                self._by_prefix[row.country][row.prefix, row.operator] = row.price
            else:
                self._prices[row.country, row.operator] = row.price
        self._lengths = {
            country: sorted({len(prefix) for prefix, _ in prices}, reverse=True)
            for country, prices in self._by_prefix.items()
        }
        # Operators as callers spell them; they come from libphonenumber, so there are only so many.
        self._found: dict[tuple[str, str], int | None] = {}

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "PriceList | list[str]":
        """Read CSV with the header `country,operator,prefix,price`; blank lines and `#` comments are left out.

        An empty operator and prefix give the country's price. One fault refuses the whole list: the answer is then
        every fault with its line number ("line 7: …").
        """
        rows: dict[tuple[str, str, str], _Row] = {}
        faults: list[str] = []
        header_seen = False
        for number, cells in _cells(lines):
            if not header_seen:
                header_seen = True
                if cells != HEADER:
                    return [f"line {number}: the header {','.join(HEADER)} is missing"]
                continue
            row = _row(cells)
            if isinstance(row, str):
                faults.append(f"line {number}: {row}")
            elif row[:3] in rows:
                faults.append(f"line {number}: a price for the same country, operator and prefix stands above")
            else:
                rows[row[:3]] = row
        if not header_seen:
            return [f"line 1: the header {','.join(HEADER)} is missing"]
        return faults or cls(rows.values())

    def rows(self) -> list[tuple[str, str, str, int]]:
        """Every price: country, operator (case-folded), prefix and micro-units per part, in this order."""
        flat = [(country, operator, "", price) for (country, operator), price in self._prices.items()]
        for country, prices in self._by_prefix.items():
            flat += [(country, operator, prefix, price) for (prefix, operator), price in prices.items()]
        return sorted(flat)

    def has_prefix_rules(self, country: str) -> bool:
        """Whether the price in `country` depends on the number, not only on its operator."""
        return country in self._lengths

    def price(self, country: str, operator: str, number: str = "") -> int | None:
        """Micro-units per part, None without a price. `country` and `operator` as `numbers.classify` gives them;
        `number` in E.164 format is needed where the country has prefix rules."""
        if country in self._lengths and number:
            price = self._price_of_prefix(country, operator.casefold(), number.removeprefix("+"))
            if price is not None:
                return price
        try:
            return self._found[country, operator]
        except KeyError:
            price = self._prices.get((country, operator.casefold()), self._prices.get((country, "")))
            self._found[country, operator] = price
            return price

    def _price_of_prefix(self, country: str, operator: str, digits: str) -> int | None:
        prices = self._by_prefix[country]
        for length in self._lengths[country]:
            prefix = digits[:length]
            price = prices.get((prefix, operator), prices.get((prefix, "")))
            if price is not None:
                return price
        return None


def _cells(lines: Iterable[str]) -> Iterable[tuple[int, list[str]]]:
    """Line number and cells of each line that is neither blank nor a comment."""
    for number, line in enumerate(lines, 1):
        content = line.removeprefix("\ufeff").strip()
        if content and not content.startswith("#"):
            yield number, [cell.strip() for cell in next(csv.reader([content]))]


def _row(cells: list[str]) -> _Row | str:
    """A row of the list, or what is wrong with it."""
    if len(cells) != len(HEADER):
        return f"{len(cells)} columns instead of {len(HEADER)}"
    country, operator, prefix, price = cells
    if country not in _COUNTRIES:
        return f'unknown country "{country}": give its ISO 3166-1 code in capitals, such as IT'
    if fault := _fault_of_prefix(country, prefix):
        return fault
    micros = parse_amount(price)
    if isinstance(micros, Error):
        return micros.message
    if micros < 0:
        return f"negative price {price}"
    return _Row(country, operator.casefold(), prefix, micros)


def _fault_of_prefix(country: str, prefix: str) -> str | None:
    if not prefix:
        return None
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 15):
        return f'prefix "{prefix}" is not of digits, at most 15, without +'
    code = "" if country == _WORLD else str(phonenumbers.country_code_for_region(country))
    if not prefix.startswith(code):
        return f"prefix {prefix} does not begin with {code}, the calling code of {country}"
    return None
