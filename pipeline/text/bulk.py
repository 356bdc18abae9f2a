"""The texts of a whole batch: a template filled in for every recipient, and measured at the cost of a few texts.

Most recipients differ in names and numbers only, in values whose every character is one unit whatever stands beside
it. Their texts need no closer look: what they cost is said by their length.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import regex

from pipeline.text.alphabet import DEFAULT
from pipeline.text.characters import as_sent
from pipeline.text.choice import FORBIDDEN, PLAIN_GSM7, PLAIN_UCS2, Form, too_many
from pipeline.text.encoding import Measured, measure
from pipeline.text.lookalikes import LOOKALIKES
from pipeline.text.templates import Template
from pipeline.text.wire import PLAIN, Wire
from schemas.errors import Error

#: Characters a text may have before it is looked at closely: those of its parts, and what normalising and
#: transliterating may yet take away. A letter with all of its marks apart is four; more is time for nobody's sake.
CHARACTERS_PER_PART = 5 * 153

Row = Mapping[str, str]
Column = Sequence[str | None]


class _Pattern(Protocol):
    def search(self, text: str, /) -> object: ...


# What normalising may change, by itself or through its neighbours.
_UNSTABLE_SET = r"\p{^Canonical_Combining_Class=0}\p{^NFC_Quick_Check=Yes}"
_UNSTABLE = regex.compile(f"[{_UNSTABLE_SET}]")

# What keeps a value from being measured by its length: in a text of GSM-7 what is not one septet; in one of UCS-2 what
# is unstable or no single unit, or cannot be sent, or is replaced.
_NOT_A_SEPTET = re.compile(f"[^{re.escape(''.join(DEFAULT.basic))}]")
_NO_UNIT = rf"{_UNSTABLE_SET}\U00010000-\U0010ffff{FORBIDDEN.pattern[1:-1]}"
_NOT_A_UNIT = regex.compile(f"[{_NO_UNIT}]")
_NOT_A_UNIT_OR_REPLACED = regex.compile(f"[{_NO_UNIT}{regex.escape(''.join(LOOKALIKES), special_only=False)}]")


class Filling(msgspec.Struct, frozen=True):
    """The distinct texts of a batch, as they are sent, and what each costs; for each row the place of its text (0 where
    it has none); and errors by row."""

    texts: list[str]
    measured: list[Measured]
    which: list[int]
    errors: dict[int, Error]


def longest_of(max_parts: int) -> int:
    """Characters a text may have before it is looked at closely."""
    return max_parts * CHARACTERS_PER_PART


def fill(
    template: Template,
    rows: Sequence[Row],
    *,
    transliterated: bool = False,
    wire: Wire = PLAIN,
    max_parts: int = 10,
) -> Filling:
    """What `render`, `as_sent` and `measure` say of each of `rows` (a recipient's fields), each distinct text once.

    Errors, of a row alone: 3007 a field is missing; 3004, 3005 and 3014 as `measure` has them, 3005 also before the
    text is made where it would have far too many characters. Of every row: 3005 more placeholders than there may be.
    """
    if excess := template.excess:
        return Filling([], [], [0] * len(rows), dict.fromkeys(range(len(rows)), excess))
    if not template.slots and len(rows) > 1:
        only = fill(template, [{}], transliterated=transliterated, wire=wire, max_parts=max_parts)
        errors = {row: error for error in only.errors.values() for row in range(len(rows))}
        return Filling(only.texts, only.measured, [0] * len(rows), errors)
    longest = longest_of(max_parts)
    simple = _Simple.of(template, transliterated, wire) if template.slots and rows else None
    made: dict[int, str | Error] = {}
    known: dict[str, Measured | Error] = {}
    odd: Sequence[int] = range(len(rows))
    if simple is not None:
        columns = [[row.get(field, default) for row in rows] for field, default in template.slots]
        odd = simple.odd(columns, longest)
        even: Sequence[int] = range(len(rows))
        if odd:
            even = sorted(set(even).difference(odd))
            columns = [[column[row] for row in even] for column in columns]
        filled = simple.texts(columns)
        known = simple.measured(filled, max_parts)
        if not odd:
            return _gathered(filled, known)
        made = dict(zip(even, filled, strict=True))
    for row in odd:
        text = template.render(rows[row], longest)
        if not isinstance(text, Error):
            text = as_sent(text, transliterated=transliterated)
            if text not in known:
                known[text] = measure(text, wire=wire, max_parts=max_parts)
        made[row] = text
    return _gathered([made[row] for row in range(len(rows))], known)


def _gathered(made: Sequence[str | Error], known: dict[str, Measured | Error]) -> Filling:
    good = {text: measured for text, measured in known.items() if isinstance(measured, Measured)}
    places: dict[str | Error, int] = dict(zip(good, range(len(good)), strict=True))
    which = [places.get(text, -1) for text in made]
    errors: dict[int, Error] = {}
    if -1 in which:
        for row, text in enumerate(made):
            error = known[text] if isinstance(text, str) else text
            if isinstance(error, Error):
                errors[row], which[row] = error, 0
    return Filling(list(good), list(good.values()), which, errors)


class _Simple:
    """A template analysed once: its texts by a format, and what they cost by their length.

    That holds for rows whose values are all single units, which `odd` finds out in columns. Extension characters and
    surrogate pairs of the template itself are counted in `extra`; where a part may end at one, the text is measured.
    """

    def __init__(self, pieces: list[str], given: int, form: Form, extra: int, not_a_unit: _Pattern, wire: Wire) -> None:
        self._format = "%s".join(piece.replace("%", "%%") for piece in pieces)
        self._given = given
        self._form = form
        self._extra = extra
        self._not_a_unit = not_a_unit
        self._wire = wire

    @classmethod
    def of(cls, template: Template, transliterated: bool, wire: Wire) -> "_Simple | None":
        """None where each text has to be looked at: the template's own characters join with their neighbours, cannot
        be sent, or need a national alphabet weighed."""
        given = "".join(template.pieces)
        if _UNSTABLE.search(given):
            return None
        pieces = [as_sent(piece, transliterated=transliterated) for piece in template.pieces]
        literal = "".join(pieces)
        septets = DEFAULT.to_septets(literal)
        if septets is not None:
            return cls(pieces, len(given), PLAIN_GSM7, len(septets) - len(literal), _NOT_A_SEPTET, wire)
        if wire.national or FORBIDDEN.search(literal):
            return None
        extra = len(literal.encode("utf-16-be")) // 2 - len(literal)
        not_a_unit = _NOT_A_UNIT_OR_REPLACED if transliterated else _NOT_A_UNIT
        return cls(pieces, len(given), PLAIN_UCS2, extra, not_a_unit, wire)

    def odd(self, columns: Sequence[Column], longest: int) -> list[int]:
        """Rows that lack a value, or have one that is not all single units, or more than `longest` characters."""
        values = [[value for value in column if value is not None] for column in columns]
        if all(len(found) == len(column) for found, column in zip(values, columns, strict=True)):
            most = self._given + sum(max(map(len, column)) for column in values)
            if most <= longest and not self._not_a_unit.search("".join(map("".join, values))):
                return []
        return [row for row, values in enumerate(zip(*columns, strict=True)) if not self._even(values, longest)]

    def texts(self, columns: Sequence[Column]) -> list[str]:
        """The texts of rows that are not odd."""
        return list(map(self._format.__mod__, zip(*columns, strict=True)))

    def measured(self, texts: list[str], max_parts: int) -> dict[str, Measured | Error]:
        """What `measure` says of each of `texts`, once."""
        distinct = dict.fromkeys(texts)
        by_length = {length: self._of_length(length, max_parts) for length in set(map(len, distinct))}
        return {text: by_length[len(text)] or measure(text, wire=self._wire, max_parts=max_parts) for text in distinct}

    def _of_length(self, length: int, max_parts: int) -> Measured | Error | None:
        """None where a part may end at a pair, or there is no text."""
        units = length + self._extra
        count = self._form.count(units, self._wire)
        if not units or (self._extra and count > 1):
            return None
        return too_many(count, max_parts) or Measured(self._form.encoding, units, count)

    def _even(self, row: Sequence[str | None], longest: int) -> bool:
        values = [value for value in row if value is not None]
        return (
            len(values) == len(row)
            and self._given + sum(map(len, values)) <= longest
            and not self._not_a_unit.search("".join(values))
        )
