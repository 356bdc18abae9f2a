"""Which character made it UCS-2, and what may stand in its place."""

import unicodedata

from pipeline.text.alphabet import outside, to_septets


def normalise(text: str) -> str:
    """`text` in Unicode normalisation form C: `e` and a combining acute become `é`, which GSM-7 holds."""
    return unicodedata.normalize("NFC", text)


def non_gsm(text: str) -> list[tuple[str, int]]:
    """Characters of `text` outside GSM-7, each with its index in code points."""
    return outside(text)


def transliterate(text: str) -> tuple[str, list[tuple[int, str, str]]]:
    """`text` with look-alikes from GSM-7 in place of listed characters, and each replacement made.

    A replacement is (index in the given text, original, replacement); the replacement may be longer, or empty where
    the original shows nothing. Characters not listed stay as they are, so the result may still need UCS-2.
    """
    made = [(index, c, LOOKALIKES[c]) for c, index in outside(text) if c in LOOKALIKES]
    if not made:
        return text, made
    return text.translate(_TABLE), made


def as_sent(text: str, *, transliterated: bool) -> str:
    """`text` as it is encoded: normalised, and with look-alikes from GSM-7 where that was asked for."""
    text = normalise(text)
    return transliterate(text)[0] if transliterated else text


def _listed() -> dict[str, str]:
    groups = {
        "'": "‘’‚‛′´`ʹʻʼˈ‹›",
        '"': "“”„‟″«»ˮ",
        "-": "‐‑‒–—―−﹘﹣",
        "...": "…",
        "..": "‥",
        ".": "․·",
        "*": "•‣●∙▪◦",
        "/": "⁄∕",
        "x": "×",
        " ": "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
        "\n": "\u0085\u2028\u2029",
        "": "\u00ad\u200b\u2060\ufeff",  # soft hyphen, zero-width space, word joiner, byte order mark
    }
    ligatures = {
        "Œ": "OE", "œ": "oe", "Ĳ": "IJ", "ĳ": "ij", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st",
        "ﬆ": "st",
    }  # fmt: skip
    # Letters with a stroke and the dotless i have no decomposition in Unicode.
    letters = {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ħ": "H", "ħ": "h", "Ŧ": "T", "ŧ": "t", "ı": "i", "ẞ": "SS"}
    return {c: like for like, listed in groups.items() for c in listed} | ligatures | letters


def _base_letters() -> dict[str, str]:
    """Accented Latin letters outside GSM-7 and their base letters."""
    accented = map(chr, [*range(0xC0, 0x250), *range(0x1E00, 0x1F00)])
    bases = {c: unicodedata.normalize("NFD", c)[0] for c in accented}
    return {c: base for c, base in bases.items() if base.isascii() and base != c and to_septets(c) is None}


#: Every character that `transliterate` replaces.
LOOKALIKES: dict[str, str] = _base_letters() | _listed()
_TABLE = str.maketrans(LOOKALIKES)
