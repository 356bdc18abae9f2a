"""Whether a reading is an evasion or an accident: "c4$1no" is one, "the pen is red", "good", "A55" are not.

The stream only finds candidates. Each rule here looks at one kind of disguise in the text as written, and refuses what
innocent writing produces too. The shorter the term, the stricter: a long word seldom comes about by chance.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import groupby
from typing import Literal

from pipeline.moderation.characters import SOUNDS, is_accent, spellings
from pipeline.moderation.reading import Reading, Word, script
from pipeline.moderation.spacing import SHORT, is_spaced, touches_digit

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
_CERTAIN = 7  # letters; half of them are enough to know the term by
_CURRENCY = "$€£¥₽₿"
_CLOSERS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_FOR_YOU = re.compile(r"[24](?:u|you|me|all|free)\b")
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
    if found & {"confusables", "leet"} and not _keeps_its_script(text, word, reading):
        return None
    if "confusables" in found and not _is_foreign(text, word, reading):
        return None
    runs = _stretched(word, reading)
    if runs:
        if not _is_stretched(word, reading, runs):
            return None
        found.add("repeats")
    joined = bool(word.breaks - reading.gaps.keys())
    if (reading.gaps or joined) and not is_spaced(text, word, reading):
        return None
    if joined or any(gap != " " or at not in word.breaks for at, gap in reading.gaps.items()):
        found.add("spacing")
    if reading.invisible:
        found.add("invisible")
    if len(word.letters) <= SHORT and not _digits_beside_are_fair(text, reading):
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
    if digits and reading.gaps and total <= SHORT:
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
        return digits == 1 and alike and not touches_digit(text, reading)
    if total == SHORT:
        return digits <= (2 if small else 1) and not touches_digit(text, reading)
    return (
        digits < others
        or (digits <= others + small and not touches_digit(text, reading))
        or (total >= _CERTAIN and digits <= others + 1)
    )


def _is_substitute(text: str, place: int, at: int, reading: Reading) -> bool:
    """A sign where a letter is meant, and no price, bracket, sum or exclamation."""
    sign, last = text[place], len(reading.places) - 1
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if (
        sign in _CURRENCY
        and last < SHORT
        and any(
            side.isdigit() and beyond not in reading.places
            for side, beyond in ((before, place - 1), (after, place + 1))
        )
    ):
        return False
    if sign in _CLOSERS and _CLOSERS[sign] in text[place:]:
        return False
    if sign in "!|¡¦❗❕" and (at == last or (at == 0 and (sign == "¡" or last < SHORT)) or _ends_word(before, after)):
        return False
    return not (sign in "+#^" and at in (0, last) and last < SHORT - 1)


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
    short, hidden = len(word.letters) <= SHORT, False
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


def _keeps_its_script(text: str, word: Word, reading: Reading) -> bool:
    """Letters written by their sound stand among the term's own: "каzино" is read, "kazino" is another word."""
    if word.letters.isascii():
        return True
    sounds = sum(
        SOUNDS.get(letter) in spellings(text[place]) for letter, place in zip(word.letters, reading.places, strict=True)
    )
    own = sum(reveal in ("letter", "case") for reveal in reading.reveals)
    return not sounds or own >= (1 if len(word.letters) > SHORT + 1 else 2)


def _is_foreign(text: str, word: Word, reading: Reading) -> bool:
    """A short word all of another script, in a text of that script, is a word of its language: "рот" is no "pot"."""
    scripts = set()
    for at, place in enumerate(reading.places):
        written = script(text[place])
        if reading.reveals[at] != "confusables" or written == script(word.letters[at]):
            return True
        scripts.add(written)
    if len(word.letters) > SHORT + 1 or len(scripts) > 1:
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
        return len(letters) >= SHORT
    at, length, _ = runs[0]
    if reading.reveals[at] == "sign":
        return True
    if len(letters) <= SHORT:
        return False
    first, last = at == 0, at + length == len(letters)
    return (letters[at] in _VOWELS and not last) or first or (last and letters[at] not in "se")


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
