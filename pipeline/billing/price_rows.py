"""The rows of a price list, and how each of their fields is read."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import phonenumbers

from pipeline.billing.money import parse_amount
from pipeline.billing.price_operators import canonical, home_of
from schemas.errors import MALFORMED_REQUEST, Error

#: What holds without a date holds from the first to the last moment there is, in Unix ms.
BEGIN, END = 0, 2**63 - 1
#: A discount is a share of a million: percents with four decimals are exact.
WHOLE = 1_000_000

#: Numbers of no country (satellite networks) carry this code in libphonenumber; they may have a price too.
_WORLD = "001"
# By country; from the library's table, for asking it country by country loads every numbering plan there is.
_CODES = {
    country: str(code)
    for code, countries in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    for country in countries
    if country != _WORLD
} | {_WORLD: ""}

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch  # of accounts and carriers
_PREFIX = re.compile(r"[0-9]{1,15}").fullmatch
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,4}))?").fullmatch
#: What `parse_time` reads.
TIME_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_TIME = re.compile(TIME_PATTERN).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Rate(NamedTuple):
    """What a part costs in micro-units, `since` (inclusive) to `until` (exclusive), Unix ms.

    `owner`: of a sales price the account it is for, "" for all; of a cost price the carrier. `operator` is canonical
    (price_operators); empty operator and prefix make it the country's.
    """

    owner: str
    country: str
    operator: str
    prefix: str
    amount: int
    since: int = BEGIN
    until: int = END


class Discount(NamedTuple):
    """What an account is let off the list's prices, in millionths (5 % are 50,000)."""

    account: str
    millionths: int
    since: int = BEGIN
    until: int = END


class Rows(NamedTuple):
    """A list's content."""

    prices: tuple[Rate, ...] = ()
    discounts: tuple[Discount, ...] = ()
    costs: tuple[Rate, ...] = ()

    def ordered(self) -> "Rows":
        """The same in an order of its own, so that equal contents are equal."""
        return Rows(tuple(sorted(self.prices)), tuple(sorted(self.discounts)), tuple(sorted(self.costs)))

    def holding(self, at: int) -> "Rows":
        """Those that hold at `at`, Unix ms."""
        prices, costs = (
            tuple(row for row in rows if row.since <= at < row.until) for rows in (self.prices, self.costs)
        )
        return Rows(prices, tuple(row for row in self.discounts if row.since <= at < row.until), costs)


def discounted(price: int, millionths: int) -> int:
    """A price less a discount, rounded half up to the micro-unit: 0.050001 less 50 % is 0.025001."""
    return (price * (WHOLE - millionths) + WHOLE // 2) // WHOLE


def format_percent(millionths: int) -> str:
    """A discount as a decimal string: "5", "12.5"."""
    return f"{millionths // 10_000}.{millionths % 10_000:04d}".rstrip("0").rstrip(".")


def parse_time(text: str) -> int | Error:
    """Unix ms of a date (its first moment, UTC) or an RFC 3339 time; what is less than a millisecond is dropped."""
    if _TIME(text):
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            pass  # the 30th of February
        else:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            if _EPOCH <= moment <= _LAST:
                return (moment - _EPOCH) // _MILLISECOND
    wanted = "a date such as 2026-11-22 or a time such as 2026-11-22T10:00:00Z"
    return Error(MALFORMED_REQUEST, f'"{text[:40]}" is not {wanted}, of 1970 to 9999')


def format_time(unix_ms: int) -> str:
    """Unix ms in RFC 3339, UTC, with milliseconds."""
    return (_EPOCH + unix_ms * _MILLISECOND).strftime("%Y-%m-%dT%H:%M:%S.") + f"{unix_ms % 1000:03d}Z"


class Cells:
    """A row as it was written, by column ("" where it says nothing). Reading a field notes what is wrong with it in
    `faults`, as (column, words), and answers a value that may be used until the faults are told."""

    def __init__(self, cells: Mapping[str, str]) -> None:
        self._cells = cells
        self.faults: list[tuple[str, str]] = []

    def has(self, *columns: str) -> list[str]:
        """Those of the columns that are filled in."""
        return [column for column in columns if self._cells.get(column)]

    def refuse(self, columns: list[str], why: str) -> None:
        """Note that these columns may not be filled in."""
        self.faults += [(column, f"{column} must be empty: {why}") for column in columns]

    def price(self) -> Rate:
        """A sales price."""
        owner = self._name("account") if self.has("account") else ""
        return Rate(owner, *self._where(), self._amount("price"), *self._validity())

    def cost(self) -> Rate:
        """A carrier's price."""
        return Rate(self._name("carrier"), *self._where(), self._amount("cost"), *self._validity())

    def discount(self) -> Discount:
        """An account's discount."""
        return Discount(self._name("account"), self._percent(), *self._validity())

    def _get(self, column: str) -> str:
        return self._cells.get(column, "")

    def _name(self, column: str) -> str:
        name = self._get(column)
        if not _NAME(name):
            self.faults.append((column, f'{column} "{name[:80]}": 1 to 64 letters, digits, dots, _ and - are allowed'))
        return name

    def _where(self) -> tuple[str, str, str]:
        country, operator, prefix = self._get("country"), self._get("operator"), self._get("prefix")
        code = _CODES.get(country)
        if code is None:
            shown = f'unknown country "{country[:40]}": give its ISO 3166-1 code in capitals, such as IT'
            self.faults.append(("country", shown))
        elif prefix and not prefix.startswith(code):
            fault = f"prefix {prefix[:20]} does not begin with {code}, the calling code of {country}"
            self.faults.append(("prefix", fault))
        if prefix and not _PREFIX(prefix):
            fault = f'prefix "{prefix[:20]}" is not of digits, at most 15, without +'
            self.faults = [*(known for known in self.faults if known[0] != "prefix"), ("prefix", fault)]
        home = home_of(operator)
        if code is not None and home not in (None, country):
            self.faults.append(("operator", f"operator {operator} is a network of {home}, not of {country}"))
        return country, canonical(operator), prefix

    def _amount(self, column: str) -> int:
        text = self._get(column)
        micros = parse_amount(text)
        if isinstance(micros, Error):
            self.faults.append((column, f"{column} {micros.message}"))
            return 0
        if text.startswith("-"):
            self.faults.append((column, f"negative {column} {text}"))
        return micros

    def _percent(self) -> int:
        text = self._get("discount")
        found = _PERCENT(text)
        millionths = int(found[1]) * 10_000 + int((found[2] or "").ljust(4, "0")) if found else WHOLE + 1
        if millionths > WHOLE:
            wanted = "a decimal percentage from 0 to 100 with at most 4 decimals, such as 12.5"
            self.faults.append(("discount", f'discount "{text[:40]}" is not {wanted}'))
        return millionths

    def _validity(self) -> tuple[int, int]:
        since, until = self._time("valid_from", BEGIN), self._time("valid_until", END)
        if since >= until:
            self.faults.append(("valid_until", "the validity ends before it begins"))
        return since, until

    def _time(self, column: str, unsaid: int) -> int:
        text = self._get(column)
        if not text:
            return unsaid
        moment = parse_time(text)
        if isinstance(moment, Error):
            self.faults.append((column, f"{column} {moment.message}"))
            return unsaid
        return moment
