"""Prohibited terms in a text: one pass of an Aho-Corasick automaton, whatever the number of terms."""

import re
import unicodedata
from collections.abc import Iterable

import msgspec
from ahocorasick_rs import AhoCorasick

# Scripts that put no space between words, so that a word there begins and ends anywhere: Thai, Lao, Myanmar, Khmer,
# kana, and Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
)


class Hit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A term as its list writes it, and where it stands: `text[start:end]`, in code points."""

    term: str
    start: int
    end: int


class TermList:
    """Terms to look for, in any case, as whole words: "Scunthorpe" holds no hit."""

    def __init__(self, terms: Iterable[str]) -> None:
        """Terms that differ only in case count once, as first written."""
        folded: dict[str, str] = {}
        for term in terms:
            folded.setdefault(unicodedata.normalize("NFC", term).casefold(), term)
        self._terms = list(folded.values())
        self._automaton = AhoCorasick(list(folded)) if folded else None

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "TermList":
        """A term a line; blank lines and lines that begin with `#` are left out."""
        stripped = (line.strip() for line in lines)
        return cls(line for line in stripped if line and not line.startswith("#"))

    def __len__(self) -> int:
        return len(self._terms)

    def find(self, text: str) -> list[Hit]:
        """Every term in `text` (normalised to NFC), overlapping ones too, in order of their ends.

        Time grows with the text's length, and with the number of matches.
        """
        if self._automaton is None:
            return []
        folded = text.casefold()
        matches = self._automaton.find_matches_as_indexes(folded, overlapping=True)
        if not matches:
            return []
        places = range(len(text) + 1) if len(folded) == len(text) else _places(text)
        hits = []
        for term, start, end in matches:
            begin, stop = places[start], places[end]
            if begin >= 0 and stop >= 0 and _is_edge(text, begin) and _is_edge(text, stop):
                hits.append(Hit(self._terms[term], begin, stop))
        return hits


def _places(text: str) -> list[int]:
    """For each index in the folded text, the one in `text`; -1 inside what one character folds to (`ß`: `ss`)."""
    places = []
    for index, character in enumerate(text):
        places += [index] + [-1] * (len(character.casefold()) - 1)
    return [*places, len(text)]


def _is_edge(text: str, place: int) -> bool:
    """Whether a word may begin or end at `place`: not between two characters of one word."""
    return place in (0, len(text)) or not (_in_word(text[place - 1]) and _in_word(text[place]))


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" and not _UNSPACED.match(character)


#: Finds nothing.
EMPTY = TermList(())
