"""How much a part holds, and where a text is cut into parts (3GPP TS 23.040, section 9.2.3.24).

Units are septets or UTF-16 code units. A cut between any two is possible except inside an escape or surrogate pair.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

#: Octets of user data.
_OCTETS = 140

#: Whether a cut at this place, in units, would part a pair.
SplitsPair = Callable[[int], bool]


def septets_behind(header: int) -> int:
    """Septets that one part holds behind a header of `header` octets."""
    return (_OCTETS - header) * 8 // 7


def units_behind(header: int) -> int:
    """UTF-16 code units that one part holds behind a header of `header` octets."""
    return (_OCTETS - header) // 2


def hard_ends(length: int, size: int, splits_pair: SplitsPair) -> list[int]:
    """Where parts of at most `size` units end when each is filled: the fewest parts there can be."""
    ends = []
    end = size
    while end < length:
        end -= splits_pair(end)
        ends.append(end)
        end += size
    return [*ends, length]


def soft_ends(ends: list[int], size: int, splits_pair: SplitsPair, borders: Sequence[int]) -> list[int]:
    """`ends` as `hard_ends` gave them, moved back to the last of `borders` (ascending) where that costs no part.

    A part ends at the last border that it reaches if the rest still fits into the parts that are left; otherwise where
    it is full.
    """
    softened = []
    start = 0
    for earliest in _earliest_ends(ends[-1], size, splits_pair, len(ends)):
        full = start + size
        full -= splits_pair(full)
        reached = bisect_right(borders, full)
        border = borders[reached - 1] if reached else start
        start = border if border > start and border >= earliest else full
        softened.append(start)
    return [*softened, ends[-1]]


def _earliest_ends(length: int, size: int, splits_pair: SplitsPair, count: int) -> list[int]:
    """Where each of `count` parts but the last may end at the earliest, that the rest fits into the parts left."""
    places = []
    place = length
    for _ in range(count - 1):
        place -= size
        place += splits_pair(place)
        places.append(place)
    return places[::-1]
