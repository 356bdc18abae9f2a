"""Whether a reading is an evasion or an accident: "c4$1no" is one, "the pen is red", "good", "A55" are not.

The stream only finds candidates. Each rule here looks at one kind of disguise in the text as written, and refuses what
innocent writing produces too. The shorter the term, the stricter: a long word seldom comes about by chance.
"""

import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache
from importlib import resources
from itertools import groupby, pairwise
from typing import Literal

from pipeline.moderation.characters import DIGIT, INVISIBLE, UNSPACED, decomposed, is_accent, kind
from pipeline.moderation.reading import Reading, Word, script

#: In this order a hit names what revealed it.
FOLDINGS = (
    "case",
    "accents",
    "width",
    "styled",
    "confusables",
    "invisible",
    "leet",
    "masked",
    "spacing",
    "repeats",
    "direction",
)

_NAMES = {"capital": "confusables", "digit": "leet", "sign": "leet"}
_SHORT = 4  # letters; a term of no more is short
_CERTAIN = 7  # letters; half of them are enough to know the term by
_CURRENCY = "$€£¥₽₿"
_CLOSERS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_PAUSE = re.compile(r"[.!?;:,…][\"'»”’)\]]*\s")
_FOR_YOU = re.compile(r"[24](?:u|you|me|all|free)\b")
_SLOPPY = frozenset(".,:;!?…'’`\"«»“”()[]&/，。、！？；：")  # found between words whose writer forgot the space
_BETWEEN_LETTERS = frozenset("_*~•·")  # between the letters of a short term; "s=ex" is a sum
_HYPHENS = frozenset("-‐‑‒–—\u00ad")
_VOWELS = frozenset("aeiouyаеёиоуыэюяαεηιουω")


def judge(text: str, word: Word, reading: Reading) -> list[str] | None:
    """What reveals the term (of FOLDINGS; nothing for the term as it is written), or None: no evasion, no hit."""
    found = {_NAMES.get(reveal, reveal) for reveal in reading.reveals} - {"letter"}
    if "leet" in found and not _are_substitutes(text, word, reading):
        return None
    if "capital" in reading.reveals and not _are_drawn_alike(text, reading):
        return None
    if not _accents_fit(text, word, reading, found):
        return None
    if "confusables" in found and not _is_foreign(text, word, reading):
        return None
    runs = _stretched(word, reading)
    if runs:
        if not _is_stretched(word, reading, runs):
            return None
        found.add("repeats")
    joined = bool(word.breaks - reading.gaps.keys())
    if (reading.gaps or joined) and not _is_spaced(text, word, reading):
        return None
    if joined or any(gap != " " or at not in word.breaks for at, gap in reading.gaps.items()):
        found.add("spacing")
    if reading.invisible:
        found.add("invisible")
    if len(word.letters) <= _SHORT and not _digits_beside_are_fair(text, reading):
        return None
    return [name for name in FOLDINGS if name in found]


def _are_substitutes(text: str, word: Word, reading: Reading) -> bool:
    """Digits and signs for letters. Letters must outweigh digits, and capitals with digits look like a code."""
    digits, signs = reading.reveals.count("digit"), reading.reveals.count("sign")
    total = len(word.letters)
    letters = total - digits - signs
    written = [text[place] for place in reading.places]
    if total < 3 or (not letters and (digits or len(set(written)) < 2)):
        return False
    if digits and not _digits_are_few(text, reading, written, digits, letters + signs):
        return False
    if digits and reading.gaps and total <= _SHORT:
        return False
    return all(
        _is_substitute(text, place, at, reading)
        for at, place in enumerate(reading.places)
        if reading.reveals[at] == "sign"
    )


def _digits_are_few(text: str, reading: Reading, written: list[str], digits: int, others: int) -> bool:
    total = len(written)
    small = not any(character.isupper() for character in written)
    if total <= 3:
        inner = reading.reveals[0] != "digit" and reading.reveals[-1] != "digit"
        alike = small or (inner and not any(character.islower() for character in text))
        return digits == 1 and alike and not _touches_digit(text, reading)
    if total == _SHORT:
        return digits <= (2 if small else 1) and not _touches_digit(text, reading)
    return (
        digits < others
        or (digits <= others + small and not _touches_digit(text, reading))
        or (total >= _CERTAIN and digits <= others + 1)
    )


def _touches_digit(text: str, reading: Reading) -> bool:
    start, end = reading.start, reading.end
    return (start > 0 and kind(text[start - 1]) == DIGIT) or (end < len(text) and kind(text[end]) == DIGIT)


def _is_substitute(text: str, place: int, at: int, reading: Reading) -> bool:
    """A sign where a letter is meant, and no price, bracket, sum or exclamation."""
    sign, last = text[place], len(reading.places) - 1
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if (
        sign in _CURRENCY
        and last < _SHORT
        and any(
            side.isdigit() and beyond not in reading.places
            for side, beyond in ((before, place - 1), (after, place + 1))
        )
    ):
        return False
    if sign in _CLOSERS and _CLOSERS[sign] in text[place:]:
        return False
    if sign in "!|¡¦❗❕" and (at == last or (at == 0 and (sign == "¡" or last < _SHORT)) or _ends_word(before, after)):
        return False
    return not (sign in "+#^" and at in (0, last) and last < _SHORT - 1)


def _ends_word(before: str, after: str) -> bool:
    return after.isspace() and not before.isspace()


def _are_drawn_alike(text: str, reading: Reading) -> bool:
    """I for l in a word of small letters ("gambIing"), l for I among capitals ("CASlNO"); never "BAIL" for "ball"."""
    for at, reveal in enumerate(reading.reveals):
        if reveal == "capital":
            beside = [text[reading.places[to]] for to in (at - 1, at + 1) if 0 <= to < len(reading.places)]
            small = text[reading.places[at]] == "l"
            if not (all if small else any)(
                character.isupper() if small else character.islower() for character in beside
            ):
                return False
    return True


def _accents_fit(text: str, word: Word, reading: Reading, found: set[str]) -> bool:
    """An accent hides a long term, or is left out of it; a short one it makes another word: "año" is not "ano", "got"
    is not "göt". Where list and text write the same accent, nothing is hidden.
    """
    short, hidden = len(word.letters) <= _SHORT, False
    for at, place in enumerate(reading.places):
        written = _with_marks(text, place)
        wanted = word.accented.get(at)
        if wanted is None:
            if short and written[0] in "ñı" and word.letters[at] not in "ñı":
                return False
            hidden |= reading.reveals[at] == "accents" or len(written) > 1
        elif not written.startswith(wanted):
            if short:
                return False
            hidden = True
    found.discard("accents")
    if hidden:
        found.add("accents")
    return True


def _with_marks(text: str, place: int) -> str:
    """The character at `place` and the marks on it, composed."""
    end = place + 1
    while end < len(text) and end < place + 4 and (is_accent(text[end]) or text[end] in "ﾞﾟ"):
        end += 1
    form: Literal["NFC", "NFKC"] = "NFKC" if text[end - 1] in "ﾞﾟ" else "NFC"
    return text[place].lower() if end == place + 1 else unicodedata.normalize(form, text[place:end]).lower()


def _is_foreign(text: str, word: Word, reading: Reading) -> bool:
    """A short word all of another script, in a text of that script, is a word of its language: "рот" is no "pot"."""
    scripts = set()
    for at, place in enumerate(reading.places):
        written = script(text[place])
        if reading.reveals[at] != "confusables" or written == script(word.letters[at]):
            return True
        scripts.add(written)
    if len(word.letters) > _SHORT + 1 or len(scripts) > 1:
        return True
    return _scripts(text)[scripts.pop()] <= sum(reading.counts)


@lru_cache(16)
def _scripts(text: str) -> Counter[str]:
    return Counter(script(character) for character in text if character.isalpha())


def _stretched(word: Word, reading: Reading) -> list[tuple[int, int, int]]:
    """The runs of one letter that are longer in the text: place in the term, length there, length in the text."""
    found, at = [], 0
    for _, run in groupby(word.letters):
        length = len(list(run))
        written = sum(reading.counts[at : at + length])
        if written > length:
            found.append((at, length, written))
        at += length
    return found


def _is_stretched(word: Word, reading: Reading, runs: list[tuple[int, int, int]]) -> bool:
    """Three of a letter are no spelling. One letter doubled is ("Cassino", "penne"), but for where none doubles it."""
    letters = word.letters
    if len(letters) < 3:
        return False
    if any(written >= 3 for _, _, written in runs):
        return True
    if len(runs) >= 2:
        return len(letters) >= _SHORT
    at, length, _ = runs[0]
    if reading.reveals[at] == "sign":
        return True
    if len(letters) <= _SHORT:
        return False
    first, last = at == 0, at + length == len(letters)
    return (letters[at] in _VOWELS and not last) or first or (last and letters[at] not in "se")


def _is_spaced(text: str, word: Word, reading: Reading) -> bool:
    """Separators within the term: a word broken up, or words that happen to stand beside one another."""
    pieces = _pieces(text, reading)
    inner = {at: gap for at, gap in reading.gaps.items() if at not in word.breaks}
    total = sum(2 if letter >= "\u3040" else 1 for letter in word.letters)  # kana, Han and Hangul are syllables
    if kind(text[reading.start]) == UNSPACED:
        signs = set("".join(inner.values()))
        return not signs & _SLOPPY and (total > 4 or not any(map(str.isspace, signs)))
    if all(len(piece) == 1 for piece in pieces):
        return total >= 3 and _is_spelled_out(text, word, reading, total)
    if any(_PAUSE.search(reading.gaps.get(at, "")) for at in word.breaks):
        return False
    if not inner:
        return len(word.breaks) == len(reading.gaps) or total > _SHORT + 1
    unknown = _unknown(pieces)
    if not any(map(str.isspace, "".join(inner.values()))):
        return _is_punctuated(pieces, inner, unknown, total)
    return not _is_compound(text, reading) and _is_broken(pieces, inner, unknown, total)


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
        return total > _SHORT or unknown > 0
    if any(after[:1].isupper() and not before.isupper() for before, after in pairwise(pieces)):
        return False
    return unknown > 0


def _is_broken(pieces: list[str], inner: dict[int, str], unknown: int, total: int) -> bool:
    """Spaces inside: "cas ino", "ca si no"; but "the pen is red" and "hero in" are words."""
    if any(sign in _SLOPPY for gap in inner.values() for sign in gap):
        return False
    if total <= _SHORT:
        return total == _SHORT and unknown * 2 > len(pieces)
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
    if total > _SHORT + 1:
        return True
    if _touches_digit(text, reading):  # "c u m8"
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


def _digits_beside_are_fair(text: str, reading: Reading) -> bool:
    """Digits may stand beside ("sex24"); a short term among digits and letters is part of a code ("X7SEX9Q")."""
    before, after = reading.start, reading.end
    while before and text[before - 1].isdigit() and reading.start - before < 8:
        before -= 1
    while after < len(text) and text[after].isdigit() and after - reading.end < 8:
        after += 1
    if before < reading.start and text[before - 1 : before].isalpha():
        return False
    return after == reading.end or not text[after : after + 1].isalpha() or bool(_FOR_YOU.match(text, reading.end))


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
