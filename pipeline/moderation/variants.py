"""Other ways to look at a text: as a display shows it, with signs drawn together, with letters masked."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipeline.moderation.characters import class_of
from pipeline.moderation.reading import Word, reads_as

_OVERRIDE = re.compile("[\u202d\u202e]([^\u202c\n\r\u2029]+)")
# Letters drawn with two or three signs, the longest first; "rn" and "vv" as Unicode's confusables have them.
_DRAWN = {
    "\\/\\/": "w", "|\\/|": "m", "/\\/\\": "m", "|\\|": "n", "|_|": "u", "|-|": "h", "(_)": "u", "/-/": "h", "/\\": "a",
    "\\/": "v", "|)": "d", "|<": "k", "|{": "k", "|(": "k", "|3": "b", "|2": "r", "|>": "p", "|=": "f", "|_": "l",
    "][": "i", "()": "o", "[]": "o", "{}": "o", "<>": "o", "><": "x", "}{": "x", ")(": "x", "vv": "w", "VV": "w",
    "rn": "m",
}  # fmt: skip
_DRAWING = re.compile("|".join(map(re.escape, _DRAWN)))
_LEAST_FOR_RN = 6  # letters: "rn" is written every day, and is m in a long term only
# A word with a star or the like for some of its letters. Possessive, so that no part of a text is gone over twice.
_MASKED = re.compile(r"(?<![\w*#%@])\w++(?:[*#%@]{1,3}+\w++)++(?![*#%@])")
_MASKS = frozenset("*#%@")
# Where a text has to be looked at. One class of characters and some fixed strings: each is searched for at full speed.
_HINTS = re.compile(r"[*#%@|\\<>{}\[\]\u202d\u202e]")
_FIXED_HINTS = ("rn", "vv", "VV", "()", ")(", "(_)", "/-/")


class Variant(NamedTuple):
    """`text[i]` is shown where the original has `places[i]`; `rewritten`: the places that read otherwise there."""

    text: str
    places: list[int]
    rewritten: frozenset[int]
    reveals: str
    length: int  # of the original

    def shows(self, start: int, end: int, letters: int) -> bool:
        """Whether a term of so many letters at `text[start:end]` is there by what was rewritten, and not by chance."""
        rewritten = [at for at in range(start, end) if self.places[at] in self.rewritten]
        ambiguous = self.reveals == "leet" and any(self.text[at] == "m" for at in rewritten)
        return bool(rewritten) and (letters >= _LEAST_FOR_RN or not ambiguous)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` stands in the original."""
        places = self.places[start:end]
        if self.reveals == "direction":
            return min(places), max(places) + 1
        return places[0], self.places[end] if end < len(self.places) else self.length


def hints(texts: Sequence[str], offsets: Sequence[int]) -> tuple[list[int], list[int]]:
    """Which texts may hold masked words, and which variants; with one character between, they begin at `offsets`."""
    joined = "\n".join(texts)
    masked, varied = [], []
    for match in _HINTS.finditer(joined):
        place = match.start()
        if match[0] not in _MASKS:
            varied.append(place)
        elif place and joined[place - 1].isalnum():
            masked.append(place)
    for hint in _FIXED_HINTS:
        place = joined.find(hint)
        while place >= 0:
            varied.append(place)
            place = joined.find(hint, place + 2)
    return _numbers(masked, offsets), _numbers(varied, offsets)


def _numbers(places: list[int], offsets: Sequence[int]) -> list[int]:
    return sorted({bisect_right(offsets, place) - 1 for place in places})


def variants(text: str) -> Iterator[Variant]:
    """The text as a right-to-left override shows it, and with drawn letters; none where there is nothing of that."""
    if "\u202e" in text or "\u202d" in text:
        yield _shown(text)
    if _DRAWING.search(text):
        yield _drawn(text)


def _shown(text: str) -> Variant:
    places: list[int] = []
    rewritten: set[int] = set()
    at = 0
    for match in _OVERRIDE.finditer(text):
        places += range(at, match.start(1))
        places += reversed(range(*match.span(1)))
        rewritten.update(range(*match.span(1)))
        at = match.end(1)
    places += range(at, len(text))
    return Variant("".join(text[place] for place in places), places, frozenset(rewritten), "direction", len(text))


def _drawn(text: str) -> Variant:
    parts: list[str] = []
    places: list[int] = []
    rewritten: set[int] = set()
    at = 0
    for match in _DRAWING.finditer(text):
        parts += (text[at : match.start()], _DRAWN[match[0]])
        places += range(at, match.start() + 1)
        rewritten.add(match.start())
        at = match.end()
    shown = "".join([*parts, text[at:]])
    return Variant(shown, [*places, *range(at, len(text))], frozenset(rewritten), "leet", len(text))


class Masks:
    """Terms by their shape: "c*sino", "f**k", "sh#t"."""

    def __init__(self, words: Iterable[Word]) -> None:
        self._by_shape: dict[tuple[int, str], list[Word]] = {}
        for word in words:
            if len(word.letters) >= 3 and not word.breaks:
                self._by_shape.setdefault((len(word.letters), class_of(word.letters[0])), []).append(word)

    def find(self, text: str) -> Iterator[tuple[Word, int, int]]:
        """Each term that a masked word of `text` has the length and the other letters of."""
        for match in _MASKED.finditer(text):
            token = match[0]
            hidden = [at for at, character in enumerate(token) if character in _MASKS]
            if len(hidden) <= _most_hidden(token) and (len(token) > 3 or set(token) & _MASKS == {"*"}):
                for word in self._by_shape.get((len(token), class_of(token[0])), ()):
                    if _fits(token, word.letters):
                        yield word, match.start(), match.end()


def _most_hidden(token: str) -> int:
    """A third of the letters; two of four, but for a name hidden to protect it ("P**a")."""
    return 2 if len(token) == 4 and not token.istitle() else max(1, len(token) // 3)


def _fits(token: Sequence[str], letters: str) -> bool:
    return all(
        character in _MASKS or reads_as(character, letter) for character, letter in zip(token, letters, strict=True)
    )
