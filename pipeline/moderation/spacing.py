"""Whether separators within a term are an evasion: "c a s i n o" is one, "hero in" and "P.O.R. N.12" are not."""

import re
from functools import cache
from importlib import resources
from itertools import groupby, pairwise

from pipeline.moderation.characters import DIGIT, INVISIBLE, UNSPACED, decomposed, kind
from pipeline.moderation.reading import Reading, Word, script

SHORT = 4  # letters; a term of no more is short
_PAUSE = re.compile(r"[.!?;:,…][\"'»”’)\]]*\s")
_SLOPPY = frozenset(".,:;!?…'’`\"«»“”()[]&/，。、！？；：")  # found between words whose writer forgot the space
_BETWEEN_LETTERS = frozenset("_*~•·")  # between the letters of a short term; "s=ex" is a sum
_HYPHENS = frozenset("-‐‑‒–—\u00ad")


def is_spaced(text: str, word: Word, reading: Reading) -> bool:
    """Separators within the term: a word broken up, or words that happen to stand beside one another."""
    pieces = _pieces(text, reading)
    inner = {at: gap for at, gap in reading.gaps.items() if at not in word.breaks}
    total = sum(2 if letter >= "\u3040" else 1 for letter in word.letters)  # kana, Han and Hangul are syllables
    if kind(text[reading.start]) == UNSPACED:
        signs = set("".join(inner.values()))
        return not signs & _SLOPPY and (total > 4 or not any(map(str.isspace, signs)) or _stands_apart(text, reading))
    if inner and all(len(piece) == 1 for piece in pieces):
        return total >= 3 and _is_spelled_out(text, word, reading, total)
    if any(_PAUSE.search(reading.gaps.get(at, "")) for at in word.breaks):
        return False
    if not inner:
        return len(word.breaks) == len(reading.gaps) or total > SHORT + 1
    if _is_partly_spelled_out(word, reading):
        return True
    unknown = _unknown(pieces)
    if not any(map(str.isspace, "".join(inner.values()))):
        return _is_punctuated(pieces, inner, unknown, total)
    return not _is_compound(text, reading) and _is_broken(pieces, inner, unknown, total)


def _stands_apart(text: str, reading: Reading) -> bool:
    """Two characters of Han with a space between, and no more on either side: "赌 博", but not "彩色 情侣"."""
    start, end, gaps = reading.start, reading.end, set(reading.gaps.values())
    return (
        gaps == {" "}
        and all(script(text[place]) == "CJK" for place in reading.places)
        and all(kind(beside) != UNSPACED for beside in text[max(0, start - 1) : start] + text[end : end + 1])
        and not _spelled_before(text, start, " ")
        and not _spelled_after(text, end, " ")
    )


def _is_partly_spelled_out(word: Word, reading: Reading) -> bool:
    """Some words of a term letter by letter, with the same between, the others whole: "f r e e money"."""
    for first, last in pairwise((0, *sorted(word.breaks), len(word.letters))):
        gaps = [reading.gaps.get(at, "") for at in range(first + 1, last)]
        if any(gaps) and (len(gaps) < 2 or not _are_alike(gaps)):
            return False
    return bool(word.breaks)


def _are_alike(gaps: list[str]) -> bool:
    """Whether what separates letters is always the same, however wide, or holds signs that no abbreviation does:
    "p.o~r-n", but not "P.O.R. N.12".
    """
    shapes = {tuple(sign for sign, _ in groupby(map(_sign_between, gap))) for gap in gaps}
    signs = {sign for shape in shapes for sign in shape}
    return len(shapes) == 1 or ("*" in signs and " " not in signs)


def _sign_between(character: str) -> str:
    """Of space, hyphens, each sloppy sign, and all others as one: nobody but an evader puts emoji between letters."""
    if character.isspace():
        return " "
    return character if character in _SLOPPY else "-" if character in _HYPHENS else "*"


def _pieces(text: str, reading: Reading) -> list[str]:
    """The parts that separators leave, as the text writes them."""
    firsts = [reading.start, *(reading.places[at] for at in reading.gaps)]
    stops = [*(reading.places[at] - len(gap) for at, gap in reading.gaps.items()), reading.end]
    parts = (text[first:stop] for first, stop in zip(firsts, stops, strict=True))
    return ["".join(c for c in part if kind(c) != INVISIBLE) for part in parts]


def _is_punctuated(pieces: list[str], inner: dict[int, str], unknown: int, total: int) -> bool:
    """Signs and no space inside: "cas_ino", "ca.sino"; but "pen.Is" lacks a space, and "he'll" is two words."""
    signs = set("".join(inner.values()))
    if signs - _SLOPPY - _HYPHENS:
        return total > 3 or (total == 3 and signs <= _BETWEEN_LETTERS)
    if total <= 3:
        return False
    if signs <= _HYPHENS:
        return total > SHORT or unknown > 0
    if any(after[:1].isupper() and not before.isupper() for before, after in pairwise(pieces)):
        return False
    return unknown > 0


def _is_broken(pieces: list[str], inner: dict[int, str], unknown: int, total: int) -> bool:
    """Spaces inside: "cas ino", "ca si no"; but "the pen is red" and "hero in" are words."""
    if any(sign in _SLOPPY for gap in inner.values() for sign in gap):
        return False
    if total <= SHORT:
        return total == SHORT and unknown * 2 > len(pieces)
    return unknown > 0 and (unknown * 2 >= len(pieces) or max(map(len, pieces)) <= 2)


def _is_compound(text: str, reading: Reading) -> bool:
    """Whether the reading ends or begins within a word with hyphens: "le CA sino-européen"."""
    after, before = text[reading.end : reading.end + 2], text[max(0, reading.start - 2) : reading.start]
    return (after[:1] in _HYPHENS and after[1:].isalpha()) or (before[-1:] in _HYPHENS and before[:-1].isalpha())


def _is_spelled_out(text: str, word: Word, reading: Reading, total: int) -> bool:
    """Letters one by one: "c a s i n o". A short term must be all that is spelled: "S U S S E X" holds none. "x x x"
    are kisses.
    """
    gaps = list(reading.gaps.values())
    if total == 3 and (len(set(gaps)) > 1 or (len(set(word.letters)) == 1 and " " in gaps[0])):
        return False
    if total > SHORT + 1:
        return True
    if not _are_alike([gap for at, gap in reading.gaps.items() if at not in word.breaks]):
        return False
    if touches_digit(text, reading):  # "c u m8"
        return False
    allowed = 0 if total == 3 else 1
    return _spelled_before(text, reading.start, gaps[0]) <= allowed >= _spelled_after(text, reading.end, gaps[-1])


def _spelled_before(text: str, start: int, gap: str) -> int:
    """How many single letters, with the same gaps, stand before; no more than 2 are counted."""
    found = 0
    while found < 2 and text.endswith(gap, 0, start) and start > len(gap) and text[start - len(gap) - 1].isalnum():
        start -= len(gap) + 1
        if start and text[start - 1].isalnum():
            break
        found += 1
    return found


def _spelled_after(text: str, end: int, gap: str) -> int:
    found = 0
    while found < 2 and text.startswith(gap, end) and text[end + len(gap) : end + len(gap) + 1].isalnum():
        end += len(gap) + 1
        if text[end : end + 1].isalnum():
            break
        found += 1
    return found


def touches_digit(text: str, reading: Reading) -> bool:
    start, end = reading.start, reading.end
    return (start > 0 and kind(text[start - 1]) == DIGIT) or (end < len(text) and kind(text[end]) == DIGIT)


def _unknown(pieces: list[str]) -> int:
    """How many pieces are no words, in the language where most are; what is longer than three letters may be one."""
    short = [(piece.casefold(), "".join(map(decomposed, piece))) for piece in pieces if len(piece) <= 3]
    return min(sum(words.isdisjoint(forms) for forms in short) for words in _short_words())


@cache
def _short_words() -> tuple[frozenset[str], ...]:
    """The everyday words of up to three letters, by language."""
    text = (resources.files("pipeline.moderation") / "data" / "short-words.txt").read_text("utf-8")
    by_language: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            language, *words = line.split()
            by_language.setdefault(language, set()).update(words)
    return tuple(map(frozenset, by_language.values()))
