"""A term read off a text, letter by letter: the text as it is, not the stream that led here."""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import msgspec

from pipeline.moderation.characters import (
    DIGIT,
    INVISIBLE,
    LETTER,
    SEPARATOR,
    SIGN,
    SOUNDS,
    UNSPACED,
    decomposed,
    is_accent,
    kind,
    spellings,
)
from pipeline.moderation.terms import Term

# No writing that a person reads as a word puts more than this between two of its letters, or repeats one more often.
# With it, the time of a reading is bounded by the term.
_LONGEST_GAP = 16
_LONGEST_RUN = 40
_LONG = 6  # letters: such a term is known by them even where digits follow a digit that means a letter
_THICKEST_VEIL = 256  # marks and invisible characters


class Word(msgspec.Struct, frozen=True, eq=False):
    """A term as letters to be read: lower case, no marks, no spaces. `breaks`: where one of its words follows another.

    `accented[j]` is letter `j` as the list writes it, where it has an accent.
    """

    term: Term
    letters: str
    breaks: frozenset[int]
    accented: dict[int, str]

    @classmethod
    def of(cls, term: Term) -> "Word":
        letters, breaks, accented = "", set(), {}
        for character in unicodedata.normalize("NFC", term.text).casefold():
            plain = decomposed(character)
            if not plain:
                if kind(character) in (SEPARATOR, SIGN):
                    breaks.add(len(letters))
            elif plain != character or _is_latin_beyond_ascii(character):
                accented[len(letters)] = character
            letters += plain
        return cls(term, letters, frozenset(breaks - {0, len(letters)}), accented)


class Reading(NamedTuple):
    """How `word` stands in `text[start:end]`: by letter the place, what reveals it, and how many characters spell it;
    `gaps`: what separates letter `j` from the one before, by `j`.
    """

    start: int
    end: int
    places: list[int]
    reveals: list[str]
    counts: list[int]
    gaps: dict[int, str]
    invisible: bool


def read(text: str, start: int, word: Word) -> Reading | None:
    """Reads `word` from `text[start]` on, to the next edge of a word. None where it does not stand there."""
    letters, place, gap_start = word.letters, start, -1
    places: list[int] = []
    reveals: list[str] = []
    counts: list[int] = []
    gaps: dict[int, str] = {}
    invisible = False
    while len(places) < len(letters):
        if place >= len(text):
            return None
        character, at = text[place], len(places)
        found = taken(character, letters, at)
        if found and not (found[1] == "capital" and at and character == text[place - 1]):
            if gap_start >= 0:
                gaps[at], gap_start = text[gap_start:place], -1
            places += [place] * found[0]
            reveals += [found[1]] * found[0]
            counts += [1] * found[0]
        elif at and character == text[place - 1] and place - 1 == places[-1] + counts[-1] - 1 and gap_start < 0:
            counts[-1] += 1
        elif at and (what := kind(character)) in (INVISIBLE, SEPARATOR, SIGN):
            invisible |= what == INVISIBLE and not is_accent(character)
            gap_start = gap_start if gap_start >= 0 or what == INVISIBLE else place
            if place - places[-1] > _THICKEST_VEIL or (gap_start >= 0 and place - gap_start > _LONGEST_GAP):
                return None
        elif at and reads_as(character, letters[at - 1]) and counts[-1] < _LONGEST_RUN:
            if gap_start >= 0 and len(gaps) < at - 1:  # not spelled out letter by letter: another word begins here
                return None
            counts[-1], gap_start = counts[-1] + 1, -1
        else:
            return None
        place += 1
    end = _end(text, place, word, reveals[-1], counts)
    return None if end < 0 else Reading(start, end, places, reveals, counts, gaps, invisible)


def _end(text: str, place: int, word: Word, reveal: str, counts: list[int]) -> int:
    """Past the repeats of the last letter, to where a word may end; -1 where none does."""
    digit = reveal == "digit" and len(word.letters) < _LONG
    while not (word.term.open_end or is_end(text, place, digit=digit)):
        place = _past_invisible(text, place)
        if counts[-1] >= _LONGEST_RUN or place >= len(text) or not reads_as(text[place], word.letters[-1]):
            return -1
        counts[-1] += 1
        place += 1
    return _past_invisible(text, place)


def _past_invisible(text: str, place: int) -> int:
    stop = min(len(text), place + _THICKEST_VEIL)
    while place < stop and kind(text[place]) == INVISIBLE:
        place += 1
    return place


def taken(character: str, letters: str, at: int) -> tuple[int, str] | None:
    """How many of the letters from `at` on `character` stands for, and what reveals it."""
    if how := reads_as(character, letters[at]):
        return 1, how
    for spelled, how in spellings(character).items():
        if len(spelled) > 1 and letters.startswith(spelled, at):
            return len(spelled), how
    return None


@lru_cache(100_000)
def reads_as(character: str, letter: str) -> str:
    """What reveals `character` as `letter`; empty where it is another.

    A letter of another script is met by what shares a Latin look-alike with it, Cyrillic `к` by Latin `k`, or by what
    stands for its sound: `з` by `z`.
    """
    found = spellings(character)
    if letter in found:
        return found[letter]
    if letter.isascii():
        return ""
    for shared in spellings(letter):
        if shared.isascii() and shared in found:
            if _is_latin_beyond_ascii(letter) and found[shared] in ("letter", "case"):
                return "accents"
            return found[shared] if found[shared] in ("digit", "sign") else "confusables"
    how = found.get(SOUNDS.get(letter, ""), "")
    return how if how in ("", "digit", "sign") else "confusables"


def is_start(text: str, place: int, word: Word) -> bool:
    """Whether `word` may begin at `place`: after what is no letter; a digit that means a letter not after a digit."""
    before = _beside(text, place - 1, -1)
    first = kind(text[place])
    if before == LETTER:
        return first == UNSPACED
    return not (before == DIGIT and first == DIGIT) or len(word.letters) >= _LONG


def is_end(text: str, place: int, *, digit: bool) -> bool:
    """Whether a word may end before `place`; `digit`: its last letter is written as a digit."""
    after = _beside(text, place, 1)
    if after == LETTER:
        return place > 0 and kind(text[place - 1]) == UNSPACED
    return not (after == DIGIT and digit)


def _beside(text: str, place: int, step: int) -> int:
    """The kind of the first visible character from `place` on; the text's end separates."""
    for _ in range(_THICKEST_VEIL):
        if not 0 <= place < len(text):
            return SEPARATOR
        if (found := kind(text[place])) != INVISIBLE:
            return found
        place += step
    return SEPARATOR


@lru_cache(10_000)
def script(character: str) -> str:
    """LATIN, CYRILLIC, GREEK …: the first word of the character's name."""
    return unicodedata.name(character, "?").partition(" ")[0]


def _is_latin_beyond_ascii(character: str) -> bool:
    return not character.isascii() and script(character) == "LATIN"
