"""Terms that hold digits or signs ("c++", "18+", "bet365", "🍆"): found as they are written, in any case."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ahocorasick_rs import AhoCorasick

from pipeline.moderation.characters import SEPARATOR, SIGN, UNSPACED, kind
from pipeline.moderation.terms import Term

_SURROGATES = re.compile("[\ud800-\udfff]")


class Written:
    """Such terms, ready to search with."""

    def __init__(self, terms: Iterable[Term]) -> None:
        by_form: dict[str, list[Term]] = {}
        for term in terms:
            by_form.setdefault(_folded(unicodedata.normalize("NFC", term.text)), []).append(term)
        self._terms = list(by_form.values())
        self._automaton = AhoCorasick(list(by_form)) if by_form else None

    def find(self, texts: Sequence[str]) -> Iterator[tuple[int, Term, int, int]]:
        """Each term by the number of its text, and where it stands there; overlapping ones too."""
        if not self._automaton or not self._automaton.find_matches_as_indexes(_folded("\n".join(texts))):
            return
        for number, text in enumerate(texts):
            folded = _folded(text)
            matches = self._automaton.find_matches_as_indexes(folded, overlapping=True)
            if not matches:
                continue
            places = range(len(text) + 1) if len(folded) == len(text) else _places(text)
            for index, begin, end in matches:
                start, stop = places[begin], places[end]
                for term in self._terms[index]:
                    if _stands_alone(text, start, stop, term):
                        yield number, term, start, stop


def _folded(text: str) -> str:
    """`text` in one case; a lone surrogate, which the automaton does not take, as U+FFFD."""
    return _SURROGATES.sub("\ufffd", text.casefold())


def _places(text: str) -> list[int]:
    """For each index in the folded text, the one in `text`; -1 inside what one character folds to (`ß`: `ss`)."""
    places = []
    for index, character in enumerate(text):
        places += [index] + [-1] * (len(character.casefold()) - 1)
    return [*places, len(text)]


def _stands_alone(text: str, start: int, stop: int, term: Term) -> bool:
    if start < 0 or stop < 0:
        return False
    return (term.open_start or _is_edge(text, start)) and (term.open_end or _is_edge(text, stop))


def _is_edge(text: str, place: int) -> bool:
    """Whether a word or a number may begin or end at `place`."""
    if place in (0, len(text)):
        return True
    sides = kind(text[place - 1]), kind(text[place])
    return any(side in (SEPARATOR, SIGN, UNSPACED) for side in sides) or re.match(r"\W", text[place]) is not None
