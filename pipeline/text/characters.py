"""A text as it is encoded: normalised, and with look-alikes from GSM-7 where that was asked for."""

import unicodedata

import regex

from pipeline.text.alphabet import DEFAULT
from pipeline.text.lookalikes import LOOKALIKES

_TABLE = str.maketrans(LOOKALIKES)

# Ordering a run of combining marks costs the square of its length where they come in disorder; no language has runs of
# more than a few. A run of this length shows at every 32nd character. Three marks have no combining class, being two.
_LONG = 32
_MARKS = r"[\p{^Canonical_Combining_Class=0}\u0f73\u0f75\u0f81]"
_MARK = regex.compile(_MARKS)
_LONG_RUN = regex.compile(f"{_MARKS}{{{_LONG},}}")
_TWO_MARKS = str.maketrans({c: unicodedata.normalize("NFD", c) for c in "\u0f73\u0f75\u0f81"})


def normalise(text: str) -> str:
    """`text` in Unicode normalisation form C: `e` and a combining acute become `é`, which GSM-7 holds.

    The time is that of the length, whatever the text.
    """
    if text.isascii():
        return text
    if _MARK.search(text[_LONG - 1 :: _LONG]):
        text = _LONG_RUN.sub(_in_order, text)
    return unicodedata.normalize("NFC", text)


def _in_order(run: "regex.Match[str]") -> str:
    """Combining marks in canonical order (UAX #15): by their class, those of one class as they stood."""
    return "".join(sorted(run[0].translate(_TWO_MARKS), key=unicodedata.combining))


def non_gsm(text: str) -> list[tuple[str, int]]:
    """Characters of `text` outside GSM-7, each with its index in code points."""
    return DEFAULT.outside(text)


def transliterate(text: str) -> tuple[str, list[tuple[int, str, str]]]:
    """`text` with look-alikes from GSM-7 in place of listed characters, and each replacement made.

    A replacement is (index in the given text, original, replacement); the replacement may be longer, or empty where
    the original shows nothing. Characters not listed stay as they are, so the result may still need UCS-2.
    """
    made = [(index, c, LOOKALIKES[c]) for c, index in DEFAULT.outside(text) if c in LOOKALIKES]
    if not made:
        return text, made
    return text.translate(_TABLE), made


def as_sent(text: str, *, transliterated: bool) -> str:
    """`text` as it is encoded: normalised, and with look-alikes from GSM-7 where that was asked for."""
    text = normalise(text)
    return text.translate(_TABLE) if transliterated else text
