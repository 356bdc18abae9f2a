"""What a character is for the eye: a letter, another letter's double, a sign that stands for a letter, or nothing.

Everything that depends on Unicode stands here: kinds of characters, the letters that each is read as, and two tables
(`KINDS`, `CLASSES`, by code point) that fold a whole batch of texts at once.
"""

import unicodedata
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEPARATOR, LETTER, DIGIT, SIGN, UNSPACED, INVISIBLE = range(6)

# Signs that stand for a letter; the first reading decides the class.
_SIGNS = {
    "@": "a", "$": "s", "!": "i", "|": "i", "¡": "i", "¦": "i", "+": "t", "€": "e", "£": "l", "¢": "c", "¥": "y",
    "§": "s", "(": "c", "[": "c", "{": "c", "<": "c", "©": "c", "®": "r", "×": "x", "†": "t", "^": "a", "#": "h",
    "💲": "s", "❗": "i", "❕": "i", "⭕": "o", "❌": "x", "✖": "x", "❎": "x", "➕": "t", "✝": "t", "₿": "b", "₽": "p",
    "∞": "oo",
}  # fmt: skip
_SECOND = {"!": "l", "|": "l", "¦": "l", "¡": "l", "£": "e", "❗": "l", "❕": "l"}
_DIGITS = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "bg", "7": "t", "8": "b", "9": "g"}
#: Letters of other scripts that no Latin letter resembles, or one of another sound, and what is written for them.
SOUNDS = {
    "б": "b", "в": "v", "г": "g", "д": "d", "з": "z", "и": "i", "л": "l", "н": "n", "п": "p", "р": "r", "с": "s",
    "у": "u", "ф": "f", "ζ": "z", "λ": "l", "ν": "n", "π": "p", "ρ": "r", "σ": "s", "δ": "d", "φ": "f",
}  # fmt: skip
# Letters that a digit or a sign may mean alike share a class: it finds candidates, `spellings` then tells them apart.
_MERGED = str.maketrans("lg", "ib")
# Letters by category, and yet no letter is seen: fillers, the Arabic elongation.
_BLANK = frozenset("\u0640\u115f\u1160\u3164\uffa0\u180e\u17b4\u17b5")
# Marks of no script of their own, and Arabic and Hebrew points: a word is the same word without them. Vowel signs of
# Indic scripts are letters in this sense, and stay.
_MARK_RANGES = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670),
    (0x06D6, 0x06ED), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0x3099, 0x309A), (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F), (0xE0100, 0xE01EF),
)  # fmt: skip
_MARKS = frozenset(chr(code) for first, last in _MARK_RANGES for code in range(first, last + 1))
_UNSEEN_MARKS = frozenset("\u034f" + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))))
# Scripts that put no space between words, so that one begins and ends anywhere: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0x20000, 0x323AF),
)  # fmt: skip
# Where characters differ from their neighbours; the rest is Han, Hangul, private use or unassigned.
_VARIED = ((0, 0x3400), (0xA000, 0xAC00), (0xD7B0, 0xE000), (0xF900, 0x20000), (0xE0000, 0xE0200))


def decomposed(character: str) -> str:
    """Its letters and digits in lower case, without marks, width and style: `É` e, `ﬁ` fi, `𝓐` a, `②` 2."""
    if "\uac00" <= character <= "\ud7a3":  # a syllable of Hangul is not taken apart
        return character
    parts = unicodedata.normalize("NFKD", character.casefold()).casefold()
    kept = (part for part in parts if part not in _MARKS and unicodedata.category(part)[0] in "LNM")
    return "".join(str(unicodedata.digit(part, part)) for part in kept)


@cache
def lookalikes() -> dict[str, tuple[str, str]]:
    """Of each listed character the Latin letters (or the digit) that it is read as, and why."""
    found = {}
    text = (resources.files("pipeline.moderation") / "data" / "lookalikes.txt").read_text("utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            letters, how, characters = line.split("\t")
            found.update(dict.fromkeys(characters, (letters, how)))
    return found


@lru_cache(50_000)
def spellings(character: str) -> dict[str, str]:
    """Every string of letters that `character` may stand for, and what reveals it; itself in lower case first.

    What reveals: `letter` (nothing hidden), `case`, `accents`, `width`, `styled`, `confusables`, `capital` (I and l),
    `digit`, `sign`.
    """
    found: dict[str, str] = {}
    lower = character.lower()
    if character in _DIGITS:
        return {character: "letter"} | dict.fromkeys(_DIGITS[character], "digit")
    if character in _SIGNS:
        found = dict.fromkeys((_SIGNS[character], _SECOND.get(character, _SIGNS[character])), "sign")
        return found if unicodedata.category(character)[0] != "L" else {lower: "letter"} | found
    plain = decomposed(character)
    if plain:
        found[plain] = _revealed(character, lower, plain)
        found |= dict.fromkeys(_DIGITS.get(plain, ""), "digit")
    for form in dict.fromkeys((character, lower, plain)):
        for letters, how in _read(form):
            found.setdefault(letters, how)
    if character in "Il":
        found["l" if character == "I" else "i"] = "capital"
    return found


def _read(form: str) -> list[tuple[str, str]]:
    """A look-alike's readings; one that looks like a digit is read as what the digit stands for, and as the digit."""
    if form not in lookalikes():
        return []
    letters, how = lookalikes()[form]
    if letters in _DIGITS:
        return [(letters, how)] + [(letter, how) for letter in _DIGITS[letters]]
    how = how if unicodedata.category(form)[0] in "LNMS" else "sign"
    return [(letters, how), ("i", how)] if letters == "l" else [(letters, how)]  # Unicode's table takes I for l


def _revealed(character: str, lower: str, plain: str) -> str:
    if plain == character:
        return "letter"
    if plain == lower:
        return "case"
    form = unicodedata.decomposition(character) or unicodedata.decomposition(lower)
    if form.startswith(("<wide>", "<narrow>")):
        return "width"
    if form.startswith("<"):
        return "styled"
    return "accents" if form else "case"


def is_accent(character: str) -> bool:
    """Whether it is a mark that is seen on the letter before: no variation selector, no joiner of graphemes."""
    return unicodedata.category(character) in ("Mn", "Me") and character not in _UNSEEN_MARKS


def kind(character: str) -> int:
    """SEPARATOR, LETTER, DIGIT, SIGN, UNSPACED (a letter, with no edge of a word to look for) or INVISIBLE."""
    return tables().by_code[ord(character)]


def class_of(character: str) -> str:
    """The class letters that the stream holds for `character`; empty where it is left out."""
    return "" if kind(character) in (SEPARATOR, INVISIBLE) else _class(character)


class Tables(NamedTuple):
    """Kind and class of every code point. A class above Unicode's last code point is an index, counted from there, in
    `several`, the classes of several letters; 0 is none. `by_code`: the kinds, for one character at a time.
    """

    kinds: NDArray[np.uint8]
    classes: NDArray[np.uint32]
    several: list[str]
    by_code: bytes


@cache
def tables() -> Tables:
    """The tables, made at the first call: in a tenth of a second."""
    kinds = np.zeros(0x110000, np.uint8)
    classes = np.arange(0x110000, dtype=np.uint32)
    kinds[0x3400:0xA000] = kinds[0x20000:0x32400] = UNSPACED
    kinds[0xAC00:0xD7B0] = LETTER
    kinds[0xE000:0xF900] = kinds[0xD800:0xE000] = SEPARATOR
    for first, last in _VARIED:
        for code in range(first, last):
            kinds[code] = _kind(chr(code))
    for first, last in _UNSPACED:
        part = kinds[first : last + 1]
        part[part == LETTER] = UNSPACED
    several: list[str] = []
    classes[(kinds == SEPARATOR) | (kinds == INVISIBLE)] = 0
    for first, last in _VARIED:
        for code in (
            np.flatnonzero((kinds[first:last] != SEPARATOR) & (kinds[first:last] != INVISIBLE)) + first
        ).tolist():
            letters = _class(chr(code))
            classes[code] = ord(letters) if len(letters) == 1 else 0x110000 + len(several)
            if len(letters) > 1:
                several.append(letters)
    return Tables(kinds, classes, several, kinds.tobytes())


def _class(character: str) -> str:
    untouched = not character.isascii() and character == character.casefold()
    if untouched and not (unicodedata.decomposition(character) or character in lookalikes() or character in _SIGNS):
        return character  # most are; the rest of the way takes ten times as long
    found = spellings(character)
    latin = next((letters for letters in found if letters.isascii() and letters.isalpha()), "")
    return (latin or next(iter(found), "\0")).translate(_MERGED)


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if character in _BLANK or category == "Cf" or character in _MARKS:
        return INVISIBLE
    if character in _SIGNS and category[0] != "L":
        return SIGN
    if category == "Cc":
        return SEPARATOR if character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85" else INVISIBLE
    if category in ("Lm", "Ll", "Lu", "Lt", "Lo", "Mn", "Mc", "Nl"):
        return LETTER if category != "Lm" or decomposed(character) else INVISIBLE
    if category in ("Nd", "No"):
        return DIGIT if decomposed(character) in _DIGITS or category == "Nd" else SEPARATOR
    if character in lookalikes():
        return SIGN if category[0] in "PSC" and lookalikes()[character][1] != "styled" else LETTER
    return LETTER if decomposed(character).isalpha() else SEPARATOR
