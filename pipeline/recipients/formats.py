"""Lines into recipients: one line, one recipient. A bad line costs nobody but itself its place.

A quoted cell ends on its line: where it might go on over the next, one stray quote would swallow everybody up to the
next one.
"""

import csv
from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from schemas.batch import BadLine
from schemas.errors import MALFORMED_REQUEST, Error

#: As a request of the intake holds it (schemas/intake.py).
Recipient = str | dict[str, Any]

#: Names of the column that holds the numbers, in any case of letters; the first is the contract's.
NUMBER_COLUMNS = ("number", "recipient", "phone")
#: Characters of a number, as in the contract. Whether it is one is judged by the validate stage.
_MOST_NUMBER = 64
_SEPARATORS = ",;\t"
_NOT_UTF8 = "not UTF-8"
_NO_NUMBER = "no number"
_LONG_NUMBER = f"a number of more than {_MOST_NUMBER} characters"


class Found(NamedTuple):
    """What some lines give, in their order."""

    recipients: list[Recipient]
    bad: list[BadLine]


class Csv:
    """Lines behind the header. `number`: the place of the column of numbers; `fields`: names and places of the others
    that are wanted; `width`: columns in all."""

    def __init__(
        self, separator: str, number: int, fields: list[tuple[str, int]], width: int, optional: Container[str] = ()
    ) -> None:
        self._separator = separator
        self._number = number
        self._fields = fields
        self._width = width
        self._optional = optional

    def read(self, lines: Sequence[bytes], first: int) -> Found:
        """Lines without their ends; the number of the first."""
        try:
            texts = b"\n".join(lines).decode().split("\n")
            rows = list(self._rows(texts))
            if len(rows) == len(lines):
                return self._found(enumerate(rows, first), [])
        except (UnicodeDecodeError, csv.Error):
            pass
        bad: list[BadLine] = []
        return self._found(self._one_by_one(lines, first, bad), bad)

    def _one_by_one(self, lines: Sequence[bytes], first: int, bad: list[BadLine]) -> Any:
        """Where a line is bad among these: each by itself."""
        for line, raw in enumerate(lines, first):
            try:
                for cells in self._rows([raw.decode()]):
                    yield line, cells
            except UnicodeDecodeError:
                bad.append(BadLine(line, _NOT_UTF8))
            except csv.Error as error:
                bad.append(BadLine(line, f"not CSV: {error}"))

    def _rows(self, texts: list[str]) -> Any:
        return csv.reader(texts, delimiter=self._separator, strict=True)

    def _found(self, rows: Any, bad: list[BadLine]) -> Found:
        recipients: list[Recipient] = []
        place, fields, width, optional = self._number, self._fields, self._width, self._optional
        for line, cells in rows:
            if len(cells) != width:
                if any(map(str.strip, cells)):
                    bad.append(BadLine(line, f"{len(cells)} columns, the header has {width}"))
                continue
            number = cells[place].strip()
            if not number or len(number) > _MOST_NUMBER:
                if any(map(str.strip, cells)):
                    bad.append(BadLine(line, _LONG_NUMBER if number else _NO_NUMBER))
                continue
            if fields:
                given = {
                    name: value for name, at in fields if (value := cells[at].strip()) or name not in optional
                }  # else the text's default stands
                recipients.append({"number": number, "fields": given})
            else:
                recipients.append(number)
        return Found(recipients, sorted(bad, key=_by_line))


def _by_line(one: BadLine) -> int:
    return one.line


_Value = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[float, Meta(gt=-(2**53), lt=2**53)]


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    number: str
    fields: dict[str, _Value] = {}


_decode = msgspec.json.Decoder(str | _Line).decode


class Ndjson:
    """A line a recipient: "+39…" or {"number": "+39…", "fields": {…}}."""

    def read(self, lines: Sequence[bytes], first: int) -> Found:
        """Lines without their ends; the number of the first."""
        recipients: list[Recipient] = []
        bad: list[BadLine] = []
        for line, raw in enumerate(lines, first):
            if not raw or raw.isspace():
                continue
            try:
                one = _decode(raw)
            except msgspec.ValidationError as error:
                bad.append(BadLine(line, _told(error)))
            except msgspec.DecodeError:
                bad.append(BadLine(line, "not JSON"))
            except UnicodeDecodeError:
                bad.append(BadLine(line, _NOT_UTF8))
            else:
                number = (one if isinstance(one, str) else one.number).strip()
                if not number or len(number) > _MOST_NUMBER:
                    bad.append(BadLine(line, _LONG_NUMBER if number else _NO_NUMBER))
                elif isinstance(one, _Line) and one.fields:
                    recipients.append({"number": number, "fields": one.fields})
                else:
                    recipients.append(number)
        return Found(recipients, bad)


def _told(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at `$.")
    what = what.replace("`str | object`", 'a number or {"number": …, "fields": {…}}').replace("`", "")
    return f"{where.rstrip('`')}: {what}" if where else what


def recognised(line: bytes, wanted: Mapping[str, bool] | None) -> tuple[Csv | Ndjson, bool] | Error:
    """The format that the first line speaks of, and whether that line is a header. `wanted`: fields to keep and
    whether each must be there (None: all). Error 3001 where the file cannot be read as one of ours."""
    if line.lstrip().startswith(b"{"):
        return Ndjson(), False
    return header(line, wanted)


def header(line: bytes, wanted: Mapping[str, bool] | None) -> tuple[Csv, bool] | Error:
    """The columns that the first line of CSV names, and whether it names any: a single column of numbers needs none.
    Error 3001: no column of numbers, a name twice, not UTF-8."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return _wrong("its first line is not UTF-8; save the file as UTF-8")
    separator = max(_SEPARATORS, key=lambda one: len(_cells(text, one)))
    names = _cells(text, separator)
    numbers = [place for place, name in enumerate(names) if name.casefold() in NUMBER_COLUMNS]
    if not numbers:
        if len(names) == 1 and any(map(str.isdigit, text)):
            return Csv(separator, 0, [], 1), False
        return _wrong(f"its first line names no column {' or '.join(NUMBER_COLUMNS)}; write for example: number,name")
    if len(numbers) > 1:
        return _wrong(f"its columns {' and '.join(names[place] for place in numbers)} both hold numbers; name one")
    fields = [(name, place) for place, name in enumerate(names) if name and place != numbers[0]]
    if twice := {name for name, _ in fields if names.count(name) > 1}:
        return _wrong(f"its first line names the column {sorted(twice)[0][:64]!r} twice")
    kept = [(name, place) for name, place in fields if wanted is None or name in wanted]
    if missing := [name for name, needed in (wanted or {}).items() if needed and name not in dict(kept)]:
        there = ", ".join(name[:64] for name, _ in fields[:20]) or "none but the numbers"
        return _wrong(f"it has no column {missing[0]!r}, which the text asks for; its columns are: {there}")
    optional = {name for name, needed in (wanted or {}).items() if not needed}
    return Csv(separator, numbers[0], kept, len(names), optional), True


def _cells(text: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cells in csv.reader([text], delimiter=separator, strict=True) for cell in cells]
    except csv.Error:
        return []


def _wrong(message: str) -> Error:
    return Error(MALFORMED_REQUEST, f"recipients: {message}")
