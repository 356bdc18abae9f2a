"""National language alphabets: locking and single shift tables (3GPP TS 23.038, annex A), taken from gsmcodecs."""

from functools import cache

import gsmcodecs  # noqa: F401  # registers the codecs

from pipeline.text.alphabet import BASIC, DEFAULT, ESCAPE, EXTENSION, Alphabet
from pipeline.text.wire import LANGUAGES

#: Spanish has a single shift table only (annex A.3.2 is void).
WITHOUT_LOCKING = frozenset({LANGUAGES["spanish"]})

_COMMA = 0x2C
_DISPUTED = 0x24


@cache
def alphabet(locking: int, single: int) -> Alphabet:
    """The alphabet of a locking and a single shift table, by national language identifier; 0 is the default table."""
    if not locking and not single:
        return DEFAULT
    return Alphabet(_locking(locking) if locking else BASIC, _single(single) if single else EXTENSION)


def _locking(language: int) -> dict[int, str]:
    table = _read(f"gsm23.038-{language}-0", b"")
    if language >= LANGUAGES["bengali"]:
        # The standard has a comma here, as handsets have; gsmcodecs 1.0.0 has an apostrophe, which the standard keeps
        # in the single shift table of these languages.
        table[_COMMA] = ","
    if language == LANGUAGES["kannada"]:
        # The standard has U+0CAA twice and U+0CA1 nowhere; Android takes it for a slip and reads U+0CA1 here. What two
        # handsets read differently is not sent: U+0CAA has its other septet, U+0CA1 needs UCS-2.
        del table[_DISPUTED]
    return table


def _single(language: int) -> dict[int, str]:
    return _read(f"gsm23.038-0-{language}", bytes([ESCAPE]))


def _read(codec: str, before: bytes) -> dict[int, str]:
    """Characters by septet, as the codec decodes each behind `before`."""
    table = {}
    for septet in range(128):
        if septet == ESCAPE:
            continue
        try:
            table[septet] = (before + bytes([septet])).decode(codec)
        except UnicodeDecodeError:
            continue
    return table
