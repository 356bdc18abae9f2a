"""What a part costs: a price list by country, operator and prefix, for all accounts and for each."""

import functools
import hashlib
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from pipeline.billing.price_format import Document, read, read_csv
from pipeline.billing.price_operators import canonical
from pipeline.billing.price_rows import BEGIN, END, Discount, Rate, Rows, discounted

# Views kept at a time. Time goes on, so of those for everybody few are asked for; an account's is small.
_VIEWS_OF_ALL, _VIEWS_OF_ACCOUNTS, _VIEWS_OF_CARRIERS = 4, 1024, 256


class View(Protocol):
    """Prices as one account has them at one time, micro-units per part."""

    def has_prefix_rules(self, country: str) -> bool:
        """Whether the price in `country` depends on the number, not only on its operator."""

    def price(self, country: str, operator: str, number: str = "") -> int | None:
        """Micro-units per part, None without a price. `country` and `operator` as `numbers.classify` gives them;
        `number` in E.164 format is needed where the country has prefix rules."""


class Rates:
    """A View of rows that hold at the same time. The longest prefix of the number decides, then the operator, then
    the country. A row may name an operator and a prefix: it then holds for that operator's numbers behind that prefix.
    """

    def __init__(self, rows: Iterable[Rate]) -> None:
        self._prices: dict[tuple[str, str], int] = {}
        self._by_prefix: defaultdict[str, defaultdict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            if row.prefix:
                self._by_prefix[row.country][row.prefix][row.operator] = row.amount
            else:
                self._prices[row.country, row.operator] = row.amount
        self._lengths = {
            country: sorted(set(map(len, prefixes)), reverse=True) for country, prefixes in self._by_prefix.items()
        }
        # Operators as callers spell them; they come from libphonenumber, so there are only so many.
        self._found: dict[tuple[str, str], int | None] = {}

    def has_prefix_rules(self, country: str) -> bool:
        return country in self._lengths

    def price(self, country: str, operator: str, number: str = "") -> int | None:
        if country in self._lengths and number:
            price = self._price_of_prefix(country, canonical(operator), number.removeprefix("+"))
            if price is not None:
                return price
        try:
            return self._found[country, operator]
        except KeyError:
            price = self._prices.get((country, canonical(operator)), self._prices.get((country, "")))
            self._found[country, operator] = price
            return price

    def _price_of_prefix(self, country: str, operator: str, digits: str) -> int | None:
        prefixes = self._by_prefix[country]
        for length in self._lengths[country]:
            prices = prefixes.get(digits[:length])
            if prices is not None:
                price = prices.get(operator, prices.get(""))
                if price is not None:
                    return price
        return None


class _OfAccount:
    """A View of an account with prices of its own or a discount. What it has of its own was agreed on, so it goes
    before all of the list, however particular, and no discount is taken off it."""

    def __init__(self, own: Rates | None, listed: Rates, millionths: int) -> None:
        self._own = own
        self._listed = listed
        self._millionths = millionths

    def has_prefix_rules(self, country: str) -> bool:
        own = self._own is not None and self._own.has_prefix_rules(country)
        return own or self._listed.has_prefix_rules(country)

    def price(self, country: str, operator: str, number: str = "") -> int | None:
        if self._own and (price := self._own.price(country, operator, number)) is not None:
            return price
        price = self._listed.price(country, operator, number)
        return price if price is None else discounted(price, self._millionths)


class PriceList:
    """One version of the prices, sales and cost. Never changes.

    `name`: for people. `version`: traces a price to its list; without one given it is taken from the content.
    `valid_from`: Unix ms, 0 where the list does not say.
    """

    def __init__(self, rows: Rows, *, name: str = "", version: str = "", valid_from: int = BEGIN) -> None:
        self.rows = rows.ordered()
        self.name = name
        self.valid_from = valid_from
        self._version = version
        self._prices = _by_owner(self.rows.prices)
        self._costs = _by_owner(self.rows.costs)
        self._discounts: defaultdict[str, list[Discount]] = defaultdict(list)
        for discount in self.rows.discounts:
            self._discounts[discount.account].append(discount)
        self._special = {*self._prices, *self._discounts} - {""}
        times = {time for rows_of_kind in self.rows for row in rows_of_kind for time in (row.since, row.until)}
        self._bounds = sorted(times - {BEGIN, END})
        # By window: the time between two bounds, in which nothing changes.
        self._of_all = functools.lru_cache(_VIEWS_OF_ALL)(self._rates_of_all)
        self._of_account = functools.lru_cache(_VIEWS_OF_ACCOUNTS)(self._view_of_account)
        self._of_carrier = functools.lru_cache(_VIEWS_OF_CARRIERS)(self._rates_of_carrier)
        self._always = None if self._special or self._bounds else self._of_all(0)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "PriceList | list[str]":
        """Read CSV (price_format). One fault refuses the whole list: the answer is then every fault with its line
        number ("line 7: …")."""
        return cls._of(read_csv(lines))

    @classmethod
    def read(cls, text: str) -> "PriceList | list[str]":
        """Read a file's text, JSON or CSV, in the same way; a fault in JSON has its element's path."""
        return cls._of(read(text))

    @classmethod
    def _of(cls, document: Document | list[str]) -> "PriceList | list[str]":
        if isinstance(document, list):
            return document
        return cls(document.rows, name=document.name, valid_from=document.valid_from)

    @property
    def version(self) -> str:
        return self._version or f"file-{self.digest[:8]}"

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content, in hex: the same for lists that differ in order, comments or spelling."""
        return hashlib.sha256(json.dumps(self.rows, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()

    def for_account(self, account: str, at: int = BEGIN) -> View:
        """The prices an account has at `at` (Unix ms); "" is an account without any of its own. Made once for as long
        as nothing changes."""
        if self._always:
            return self._always
        window = bisect_right(self._bounds, at)
        return self._of_account(account, window) if account in self._special else self._of_all(window)

    def has_prefix_rules(self, country: str, account: str = "", at: int = BEGIN) -> bool:
        """As the View of that account and time has it."""
        return (self._always or self.for_account(account, at)).has_prefix_rules(country)

    def price(self, country: str, operator: str, number: str = "", account: str = "", at: int = BEGIN) -> int | None:
        """As the View of that account and time has it. Without `at` it is what holds before any date in the list."""
        return (self._always or self.for_account(account, at)).price(country, operator, number)

    def cost(self, carrier: str, country: str, operator: str, number: str = "", at: int = BEGIN) -> int | None:
        """What the carrier takes, micro-units per part; None where the list does not say. Found as prices are."""
        if carrier not in self._costs:
            return None
        return self._of_carrier(carrier, bisect_right(self._bounds, at)).price(country, operator, number)

    def discount(self, account: str, at: int = BEGIN) -> int:
        """What an account is let off at `at`, in millionths."""
        return next((one.millionths for one in self._discounts.get(account, ()) if one.since <= at < one.until), 0)

    def _time(self, window: int) -> int:
        return self._bounds[window - 1] if window else BEGIN

    def _rates_of_all(self, window: int) -> Rates:
        return _holding(self._prices.get("", ()), self._time(window))

    def _rates_of_carrier(self, carrier: str, window: int) -> Rates:
        return _holding(self._costs[carrier], self._time(window))

    def _view_of_account(self, account: str, window: int) -> View:
        at = self._time(window)
        own = _holding(self._prices[account], at) if account in self._prices else None
        return _OfAccount(own, self._of_all(window), self.discount(account, at))


def _holding(rows: Iterable[Rate], at: int) -> Rates:
    return Rates(row for row in rows if row.since <= at < row.until)


def _by_owner(rows: Iterable[Rate]) -> dict[str, list[Rate]]:
    found: defaultdict[str, list[Rate]] = defaultdict(list)
    for row in rows:
        found[row.owner].append(row)
    return dict(found)
