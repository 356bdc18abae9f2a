"""What may stand in the place of a character outside GSM-7: the map of `transliterate`, in groups for its page."""

import unicodedata

from pipeline.text.alphabet import DEFAULT

# Replacement, and the characters it replaces.
_QUOTES = {
    "'": "‘’‚‛′‵´`ʹʻʼʽˈˊˋ‹›❛❜",
    '"': "“”„‟″‶«»˝ʺˮ❝❞〝〞〟",
}
_DASHES = {"-": "‐‑‒–—―−⁃⸺⸻﹘﹣˗"}
_SPACES = {
    " ": "\t\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\v\u0085\u2028\u2029",
    "": "\u00ad\u200b\u2060\ufeff",  # soft hyphen, zero-width space, word joiner, byte order mark
}
_SIGNS = {
    "...": "…⋯",
    "..": "‥",
    ".": "․·",
    "*": "•‣●∙▪◦⁎∗",
    "/": "⁄∕",
    "\\": "∖",
    "|": "∣¦",
    ":": "∶",
    "~": "˜∼",
    "^": "ˆ",
    "x": "×",
    "!!": "‼",
    "??": "⁇",
    "?!": "⁈",
    "!?": "⁉",
    "1/2": "½",
    "1/4": "¼",
    "3/4": "¾",
    "No.": "№",
    "u": "µ",
    "a": "ª",
    "o": "º",
}
_LIGATURES = {
    "OE": "Œ", "oe": "œ", "IJ": "Ĳ", "ij": "ĳ", "ff": "ﬀ", "fi": "ﬁ", "fl": "ﬂ", "ffi": "ﬃ", "ffl": "ﬄ", "st": "ﬅﬆ",
    "DZ": "Ǆ\u01f1", "Dz": "ǅ\u01f2", "dz": "ǆ\u01f3", "LJ": "Ǉ", "Lj": "ǈ", "lj": "ǉ", "NJ": "Ǌ", "Nj": "ǋ", "nj": "ǌ",
    "L.": "Ŀ", "l.": "ŀ", "'n": "ŉ",
}  # fmt: skip
# Letters that Unicode does not take apart: with a stroke or hook, and those of one language.
_LETTERS = {
    "L": "Ł", "l": "ł", "D": "ĐÐƉ", "d": "đð", "H": "Ħ", "h": "ħ", "T": "Ŧ", "t": "ŧ", "i": "ı", "SS": "ẞ", "s": "ſ",
    "Th": "Þ", "th": "þ", "N": "Ŋ", "n": "ŋ", "k": "ĸ", "E": "Ə", "e": "ə",
}  # fmt: skip
# Capitals that Greek draws as Latin does: GSM-7 has only those of other shapes.
_GREEK = {
    "A": "ΑΆ", "B": "Β", "E": "ΕΈ", "Z": "Ζ", "H": "ΗΉ", "I": "ΙΊΪ", "K": "Κ", "M": "Μ", "N": "Ν", "O": "ΟΌ", "P": "Ρ",
    "T": "Τ", "Y": "ΥΎΫ", "X": "Χ", "Ω": "Ώ",
}  # fmt: skip


def _accents() -> dict[str, str]:
    """Accented Latin letters outside GSM-7, by their base letter."""
    found: dict[str, str] = {}
    for c in map(chr, [*range(0xC0, 0x250), *range(0x1E00, 0x1F00)]):
        base = unicodedata.normalize("NFD", c)[0]
        if base.isascii() and base != c and c not in DEFAULT.characters:
            found[base] = found.get(base, "") + c
    return found


def _full_width() -> dict[str, str]:
    """ASCII as wide as an ideograph, by what it is, but for what GSM-7 lacks."""
    ascii_letters = map(chr, range(0x21, 0x7F))
    return {c: chr(ord(c) + 0xFEE0) for c in ascii_letters if c in DEFAULT.characters}


#: Titles to maps from a replacement to the characters it replaces.
GROUPS: dict[str, dict[str, str]] = {
    "Quotation marks and apostrophes": _QUOTES,
    "Hyphens, dashes and minus": _DASHES,
    "Spaces, line breaks and what shows nothing": _SPACES,
    "Signs": _SIGNS,
    "Ligatures and double letters": _LIGATURES,
    "Letters with a stroke, and letters of one language": _LETTERS,
    "Accented Latin letters": _accents(),
    "Greek capitals": _GREEK,
    "Full-width forms": _full_width(),
}

#: Every character that `transliterate` replaces, and what by.
LOOKALIKES: dict[str, str] = {c: like for group in GROUPS.values() for like, listed in group.items() for c in listed}
