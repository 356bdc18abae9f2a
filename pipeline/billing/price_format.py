"""Price lists as they are written: CSV and JSON. One fault refuses a list; every fault is told with its place.

CSV: a header, in any order, of `country,operator,prefix,price` and any of account, discount, carrier, cost,
valid_from, valid_until. A row holds a price (with `account`: that account's own), or a carrier's cost, or both; or the
discount of an account, and then neither country nor price.

JSON: `{"name", "validFrom", "prices": [{"country", "operator", "prefix", "price", "account", "validFrom",
"validUntil"}], "discounts": [{"account", "percent", …}], "costs": [{"carrier", "country", "operator", "prefix",
"cost", …}]}`; amounts, percents and times are strings; only `prices` must be there.
"""

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.billing.money import format_price
from pipeline.billing.price_check import Fault, Kind, Place, Placed, check
from pipeline.billing.price_rows import (
    BEGIN,
    END,
    Cells,
    Discount,
    Rate,
    Rows,
    format_percent,
    format_time,
    parse_time,
)
from schemas.errors import Error

HEADER = ["country", "operator", "prefix", "price"]
_MORE = ["account", "discount", "carrier", "cost", "valid_from", "valid_until"]

# Of each JSON section the fields, and the columns they are in CSV.
_WHERE = {"country": "country", "operator": "operator", "prefix": "prefix"}
_VALIDITY = {"validFrom": "valid_from", "validUntil": "valid_until"}
_FIELDS: dict[Kind, dict[str, str]] = {
    "prices": _WHERE | {"price": "price", "account": "account"} | _VALIDITY,
    "discounts": {"account": "account", "percent": "discount"} | _VALIDITY,
    "costs": {"carrier": "carrier"} | _WHERE | {"cost": "cost"} | _VALIDITY,
}
#: What a row of each section says beside its key.
AMOUNTS: dict[Kind, str] = {"prices": "price", "discounts": "percent", "costs": "cost"}
_LONGEST_NAME = 100


class Document(NamedTuple):
    """A list as it was written. `valid_from`: Unix ms, BEGIN where it does not say."""

    name: str
    valid_from: int
    rows: Rows


def read(text: str) -> Document | list[str]:
    """A list in JSON if it begins with a brace, else in CSV; or every fault in it."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        return read_json(text)
    # Not splitlines: a line ends where editors and csv see its end, so that fault and file agree on its number.
    return read_csv(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def read_csv(lines: Iterable[str]) -> Document | list[str]:
    """A list in CSV; blank lines and lines that begin with `#` are left out. Faults: "line 7: …"."""
    header: list[str] | None = None
    found = _Found()
    for number, cells in _cells(lines):
        place = Place(number, f"line {number}")
        if isinstance(cells, str):
            found.faults.append(Fault(place, cells))
        elif header is None:
            if wrong := _wrong_header(cells):
                return [f"line {number}: {wrong}"]
            header = cells
        elif len(cells) != len(header):
            found.faults.append(Fault(place, f"{len(cells)} columns instead of {len(header)}"))
        else:
            _take_line(found, place, dict(zip(header, cells, strict=True)))
    if header is None:
        return [f"line 1: the header {','.join(HEADER)} is missing"]
    return found.end("", BEGIN)


def read_json(text: str) -> Document | list[str]:
    """A list in JSON. Faults: "prices[3].price: …", or the line of what is no JSON."""
    try:
        told = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_Object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
        )
    except json.JSONDecodeError as error:
        return [f"line {error.lineno}: {error.msg}"]
    except RecursionError:
        return ["line 1: nested too deeply"]
    found = _Found()
    if not isinstance(told, _Object):
        return ["line 1: an object with the field prices is wanted"]
    _take_fields(found, "", told, ["name", "validFrom", *_FIELDS])
    if "prices" not in told:
        found.fault("prices", "is missing")
    for kind in _FIELDS:
        elements = told.get(kind, [])
        if isinstance(elements, list):
            for index, element in enumerate(elements):
                _take_element(found, kind, f"{kind}[{index}]", element)
        else:
            found.fault(kind, "a list is wanted")
    for name in ("name", "validFrom"):
        if not _is_string(told.get(name, "")):
            found.fault(name, "a string is wanted")
            told[name] = ""
    if len(told.get("name", "")) > _LONGEST_NAME:
        found.fault("name", f"at most {_LONGEST_NAME} characters are wanted")
    since = parse_time(told["validFrom"]) if told.get("validFrom") else BEGIN
    if isinstance(since, Error):
        found.fault("validFrom", since.message)
        since = BEGIN
    return found.end(told.get("name", ""), since)


def to_document(document: Document) -> dict[str, Any]:
    """A list as `read_json` reads it."""
    return {
        **({"name": document.name} if document.name else {}),
        **({"validFrom": format_time(document.valid_from)} if document.valid_from else {}),
        **{kind: [fields(kind, row) for row in getattr(document.rows, kind)] for kind in _FIELDS},
    }


def fields(kind: Kind, row: Rate | Discount) -> dict[str, str]:
    """A row as a JSON list has it; what it does not say is missing."""
    if isinstance(row, Discount):
        found = {"account": row.account, "percent": format_percent(row.millionths)}
    else:
        found = {"account": row.owner} if kind == "prices" else {"carrier": row.owner}
        found |= {"country": row.country, "operator": row.operator, "prefix": row.prefix}
        found[AMOUNTS[kind]] = format_price(row.amount)
    found["validFrom"] = "" if row.since == BEGIN else format_time(row.since)
    found["validUntil"] = "" if row.until == END else format_time(row.until)
    return {name: text for name, text in found.items() if text}


class _Found:
    """Rows and faults, as they are found."""

    def __init__(self) -> None:
        self.placed: list[Placed] = []
        self.faults: list[Fault] = []
        self.spoilt: set[str] = set()

    def fault(self, path: str, words: str) -> None:
        """Note a fault behind what was read so far."""
        self.faults.append(Fault(Place(len(self.placed) + len(self.faults), path), words))

    def end(self, name: str, valid_from: int) -> Document | list[str]:
        """The list, or what is wrong with it, in the file's order."""
        faults = sorted([*self.faults, *check(self.placed, self.spoilt)], key=lambda fault: fault.place.order)
        if faults:
            return [f"{fault.place.words}: {fault.words}" for fault in faults]
        prices = tuple(row for _, kind, row in self.placed if kind == "prices" and isinstance(row, Rate))
        discounts = tuple(row for _, _, row in self.placed if isinstance(row, Discount))
        costs = tuple(row for _, kind, row in self.placed if kind == "costs" and isinstance(row, Rate))
        return Document(name, valid_from, Rows(prices, discounts, costs))


def _cells(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Line number and cells, or what is wrong, of each line that is neither blank nor a comment."""
    for number, line in enumerate(lines, 1):
        content = line.removeprefix("\ufeff").strip()
        if content and not content.startswith("#"):
            try:
                yield number, [cell.strip() for cell in next(csv.reader([content], strict=True))]
            except csv.Error as error:
                yield number, f"not CSV: {error}"


def _wrong_header(cells: list[str]) -> str | None:
    missing = [column for column in HEADER if column not in cells]
    unknown = [column for column in cells if column not in HEADER + _MORE]
    if missing:
        return f"the header {','.join(HEADER)} is missing"
    if unknown:
        return f"unknown column {', '.join(unknown)}; beside {','.join(HEADER)} there are {','.join(_MORE)}"
    return "a column stands in the header twice" if len(set(cells)) < len(cells) else None


def _take_line(found: _Found, place: Place, columns: Mapping[str, str]) -> None:
    """The row or rows of a line of CSV."""
    cells = Cells(columns)
    rows: list[tuple[Kind, Rate | Discount]] = []
    if cells.has("discount"):
        cells.refuse(cells.has("country", "operator", "prefix", "price", "carrier", "cost"), "the row is a discount")
        rows.append(("discounts", cells.discount()))
    else:
        is_cost = cells.has("carrier", "cost")
        if is_cost:
            cells.refuse(cells.has("account"), "a carrier's cost is the same for all accounts")
            rows.append(("costs", cells.cost()))
        if not is_cost or cells.has("price"):
            rows.append(("prices", cells.price()))
    if cells.faults:
        found.spoilt.add(columns["country"])
        found.faults += [Fault(place, words) for words in dict.fromkeys(words for _, words in cells.faults)]
    else:
        found.placed += [Placed(place, kind, row) for kind, row in rows]


class _Object(dict[str, Any]):
    """A JSON object that knows which names it was given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = sorted({name for name in names if names.count(name) > 1}) if len(self) < len(names) else []


class _Number(str):
    """A JSON number as it was written; never a float."""

    __slots__ = ()


def _is_string(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, _Number)


def _take_fields(found: _Found, path: str, told: _Object, known: Collection[str]) -> None:
    dot = f"{path}." if path else ""
    for name in told.twice:
        found.fault(f"{dot}{name}", "stands there twice")
    for name in [name for name in told if name not in known]:
        found.fault(f"{dot}{name}"[:80], f"unknown field; there are {', '.join(known)}")


def _take_element(found: _Found, kind: Kind, path: str, element: Any) -> None:
    """A row of a JSON list."""
    if not isinstance(element, _Object):
        found.fault(path, "an object is wanted")
        return
    fields, before = _FIELDS[kind], len(found.faults)
    _take_fields(found, path, element, fields)
    for name, value in element.items():
        if name in fields and not _is_string(value):
            found.fault(f"{path}.{name}", f'a string is wanted, such as "{_example(name)}"')
    country = element.get("country", "")
    if len(found.faults) > before:
        found.spoilt.add(str(country))
        return
    cells = Cells({column: element.get(name, "").strip() for name, column in fields.items()})
    row: Rate | Discount
    if kind == "prices":
        row = cells.price()
    elif kind == "costs":
        row = cells.cost()
    else:
        row = cells.discount()
    names = {column: name for name, column in fields.items()}
    for column, words in cells.faults:
        found.fault(f"{path}.{names[column]}", words)
    if cells.faults:
        found.spoilt.add(country)
    else:
        found.placed.append(Placed(Place(len(found.placed) + len(found.faults), path), kind, row))


def _example(name: str) -> str:
    amounts = {"price": "0.0500", "cost": "0.0300", "percent": "12.5"}
    return amounts.get(name, "2026-11-22T10:00:00Z" if name.startswith("valid") else "")
