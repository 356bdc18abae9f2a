"""Which encoding: the cheapest of those that hold the text and that the carriers take."""

import re
from functools import cache

import msgspec

from pipeline.text.alphabet import ESCAPE
from pipeline.text.cutting import SplitsPair, hard_ends, septets_behind, units_behind
from pipeline.text.lookalikes import LOOKALIKES
from pipeline.text.national import WITHOUT_LOCKING, alphabet
from pipeline.text.wire import LANGUAGES, Wire
from schemas.errors import EMPTY_MESSAGE, INVALID_TEXT, TOO_MANY_PARTS, Error

GSM7 = "GSM-7"
UCS2 = "UCS-2"

#: Septets of one part without a header.
SEPTETS_ALONE = septets_behind(0)
#: The header numbers parts in one octet, and so does sar_total_segments.
_MOST_PARTS = 255

#: What no SMS carries. Surrogates stand in a Python string only when alone. LF, CR and FF are characters of GSM-7.
FORBIDDEN = re.compile("[\x00-\x09\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Form(msgspec.Struct, frozen=True):
    """An encoding, with the national languages of its shift tables (0 is the default table)."""

    encoding: str
    locking: int = 0
    single: int = 0

    @property
    def shifts(self) -> bytes:
        """The header's information elements that announce the shift tables (3GPP TS 23.040, 9.2.3.24.15 and 16)."""
        single = bytes((0x24, 1, self.single)) if self.single else b""
        locking = bytes((0x25, 1, self.locking)) if self.locking else b""
        return single + locking

    @property
    def alone(self) -> int:
        """Units that a single part holds: septets or UTF-16 code units."""
        return _capacity(self.encoding, (self.single > 0) + (self.locking > 0), 0)

    def joined(self, wire: Wire) -> int:
        """Units that each of several parts holds."""
        reference = 6 if wire.concatenation == "16-bit" else 5
        return _capacity(self.encoding, (self.single > 0) + (self.locking > 0), reference)

    def count(self, units: int, wire: Wire) -> int:
        """Parts that `units` units fill, where no pair stands across their border."""
        return 1 if units <= self.alone else -(-units // self.joined(wire))

    def fit(self, text: str, wire: Wire) -> "Fit":
        """`text`, which this form can hold, in parts."""
        if self.encoding == UCS2:
            return self.cut(text.encode("utf-16-be"), wire)
        septets = alphabet(self.locking, self.single).to_septets(text)
        if septets is None:
            raise ValueError("the text holds characters outside the alphabet")
        return self.cut(septets, wire)

    def cut(self, units: bytes, wire: Wire) -> "Fit":
        """Septets (an octet each) or UTF-16BE, in as few parts as possible."""
        length = len(units) // 2 if self.encoding == UCS2 else len(units)
        if length <= self.alone:
            return Fit(self, units, length, length, [length])
        size = self.joined(wire)
        return Fit(self, units, length, size, hard_ends(length, size, splits_pair(self, units)))

    def __str__(self) -> str:
        shifts = [f"{_NAMES[self.single]} single shift"] if self.single else []
        if self.locking:
            shifts.insert(0, f"{_NAMES[self.locking]} locking shift")
        return f"{self.encoding} with the {' and '.join(shifts)}" if shifts else self.encoding


class Fit(msgspec.Struct, frozen=True):
    """A text in a form: its units, their number, the units of a full part, and where each part ends."""

    form: Form
    units: bytes
    length: int
    size: int
    ends: list[int]


PLAIN_GSM7 = Form(GSM7)
PLAIN_UCS2 = Form(UCS2)
_NAMES = {language: name.capitalize() for name, language in LANGUAGES.items()}


@cache
def _capacity(encoding: str, tables: int, reference: int) -> int:
    """Units behind a header that announces `tables` shift tables and holds a concatenation element of that length."""
    elements = 3 * tables + reference
    header = elements + 1 if elements else 0
    return units_behind(header) if encoding == UCS2 else septets_behind(header)


def splits_pair(form: Form, units: bytes) -> SplitsPair:
    """Whether a cut at a place, in units, parts an escape or surrogate pair."""
    if form.encoding == UCS2:
        return lambda end: 0xD8 <= units[2 * end - 2] < 0xDC
    return lambda end: units[end - 1] == ESCAPE


@cache
def forms(languages: tuple[int, ...]) -> tuple[Form, ...]:
    """What may be chosen, the first where counts are equal: every handset reads UCS-2, fewer read a shift table."""
    locking = [language for language in languages if language not in WITHOUT_LOCKING]
    return (
        PLAIN_GSM7,
        PLAIN_UCS2,
        *[Form(GSM7, 0, language) for language in languages],
        *[Form(GSM7, language, 0) for language in locking],
        *[Form(GSM7, language, language) for language in locking],
    )


def choose(text: str, septets: bytes | None, wire: Wire, max_parts: int) -> Fit | Error:
    """The cheapest encoding of `text`, whose septets in plain GSM-7 are `septets` (None: it is outside).

    Errors: 3004 empty, 3005 more than `max_parts`, 3014 a lone surrogate or a control character outside GSM-7.
    """
    if septets is None and (error := _invalid(text)):
        return error
    if not text:
        return Error(EMPTY_MESSAGE, "the text is empty")
    found = None if septets is None else PLAIN_GSM7.cut(septets, wire)
    if found is None or (len(found.ends) > 1 and found.length > len(text)):
        found = _cheapest(text, found, wire)
    return too_many(len(found.ends), max_parts) or found


def too_many(count: int, max_parts: int) -> Error | None:
    """The refusal of more parts than allowed, or than the header can number."""
    limit = min(max_parts, _MOST_PARTS)
    if count <= limit:
        return None
    return Error(TOO_MANY_PARTS, f"the text would need {count} parts, at most {limit} are allowed: shorten it")


def _cheapest(text: str, plain: Fit | None, wire: Wire) -> Fit:
    best = plain or PLAIN_UCS2.fit(text, wire)
    if not wire.national:
        return best
    fewest = Form(GSM7, 0, 1).count(len(text), wire)  # were every character one septet
    present = set(text)
    for form in forms(wire.national)[2:]:
        if len(best.ends) <= fewest:
            break
        if present <= alphabet(form.locking, form.single).characters:
            found = form.fit(text, wire)
            if len(found.ends) < len(best.ends):
                best = found
    return best


def _invalid(text: str) -> Error | None:
    """What no SMS carries."""
    found = FORBIDDEN.search(text)
    if found is None:
        return None
    character, index = found[0], found.start()
    if "\ud800" <= character <= "\udfff":
        what, remedy = "is half a surrogate pair", "the text was cut or decoded wrongly, send the whole character"
    else:
        what = "is a control character"
        remedy = "remove it, or let transliterate replace it" if character in LOOKALIKES else "remove it"
    return Error(INVALID_TEXT, f"character U+{ord(character):04X} at index {index} {what} and cannot be sent: {remedy}")
