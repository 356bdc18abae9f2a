"""A batch of texts as one stream of class letters: what the automaton reads.

The stream holds no separators, no invisible characters and no repeats, and one letter for all that look alike, so
that one pattern a term finds the term however it is spaced, stretched or disguised. It says where each letter of the
stream stands in the texts and whether a word may begin or end there. All of it is done by operations on arrays, for
all texts of a batch at once; nothing here takes time by the character in Python.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.moderation.characters import DIGIT, INVISIBLE, LETTER, SEPARATOR, SIGN, UNSPACED, tables

_WALL = "\U0010ffff"  # between two texts; in no pattern
_LAST = 0x110000
_CLOSING = np.array([ord("i"), ord("c")], np.uint32)  # the classes of "!" and "("
_WORDLIKE = np.array([LETTER, DIGIT, UNSPACED, INVISIBLE], np.uint8)

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Batch(NamedTuple):
    """Texts laid end to end with a wall after each: kind and class by place, and where each text begins."""

    kinds: NDArray[np.uint8]
    classes: NDArray[np.uint32]
    offsets: list[int]


class Stream(NamedTuple):
    """`letters[i]` is read off the places `first[i]` to `last[i]` of the batch (a run of one class letter).

    `starts[i]` and `ends[i]` are 1 where a word may begin, or end, somewhere in that run.
    """

    letters: str
    first: Indices
    last: Indices
    starts: bytes
    ends: bytes


def lay(texts: Sequence[str]) -> Batch:
    """`texts` as arrays. A lone surrogate is as good as any other character."""
    kinds, classes = tables()[:2]
    joined = _WALL.join(texts) + _WALL
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    offsets = list(accumulate((len(text) + 1 for text in texts), initial=0))
    batch = Batch(kinds[codes], classes[codes], offsets)
    walls = np.array(offsets[1:]) - 1
    batch.classes[walls] = ord(_WALL)
    return batch


def stream(batch: Batch, *, signs: bool) -> Stream:
    """The stream of a batch; `signs`: those that may stand for a letter do, else they separate."""
    kinds, classes, _ = batch
    seen = np.flatnonzero(kinds != INVISIBLE)
    kinds, classes = kinds[seen], classes[seen]
    letters = kinds == LETTER
    inside = letters[1:] & letters[:-1]
    edge = np.ones(1, bool)
    starts, ends = np.concatenate((edge, ~inside)), np.concatenate((~inside, edge))
    kept = classes != 0
    if not signs:
        kept &= kinds != SIGN
    places = np.flatnonzero(kept)
    classes, starts, ends, places = classes[places], starts[places], ends[places], seen[places]
    if (classes >= _LAST).any():
        classes, starts, ends, places = _spell_out(classes, starts, ends, places)
    return _without_repeats(classes, starts, ends, places)


def _spell_out(
    classes: NDArray[np.uint32], starts: Flags, ends: Flags, places: Indices
) -> tuple[NDArray[np.uint32], Flags, Flags, Indices]:
    """Characters that are read as several letters (`æ`, `ﬁ`) become several, at one place."""
    several = tables().several
    ligatures = np.flatnonzero(classes >= _LAST)
    spelled = [several[index] for index in (classes[ligatures] - _LAST).tolist()]
    counts = np.ones(len(classes), np.int64)
    counts[ligatures] = [len(letters) for letters in spelled]
    classes = np.repeat(classes, counts)
    classes[classes >= _LAST] = [ord(letter) for letters in spelled for letter in letters]
    return classes, np.repeat(starts, counts), np.repeat(ends, counts), np.repeat(places, counts)


def _without_repeats(classes: NDArray[np.uint32], starts: Flags, ends: Flags, places: Indices) -> Stream:
    begins = np.flatnonzero(np.concatenate((np.ones(1, bool), classes[1:] != classes[:-1])))
    stops = np.append(begins[1:], len(classes)) - 1
    return Stream(
        letters=classes[begins].tobytes().decode("utf-32-le", "surrogatepass"),
        first=places[begins],
        last=places[stops],
        starts=np.logical_or.reduceat(starts, begins).tobytes(),
        ends=np.logical_or.reduceat(ends, begins).tobytes(),
    )


def hold_signs(batch: Batch) -> list[int]:
    """The texts worth a second stream, in which signs are letters: where one stands before a letter, in or after a word
    (but for what ends a sentence or opens a bracket), beside another sign, or alone.
    """
    kinds, classes, _ = batch
    signs = np.flatnonzero(kinds == SIGN)
    if not len(signs):
        return []
    after, before = kinds[signs + 1], np.where(signs > 0, kinds[signs - 1], SEPARATOR)
    closing = np.isin(classes[signs], _CLOSING)
    chosen = np.isin(after, _WORDLIKE) | (np.isin(before, _WORDLIKE) & ~closing)
    chosen |= (after == SIGN) & (classes[signs + 1] != classes[signs])
    chosen |= (after == SEPARATOR) & (before != LETTER) & (before != SIGN)
    numbers: list[int] = np.unique(np.searchsorted(batch.offsets, signs[chosen], "right") - 1).tolist()
    return numbers
