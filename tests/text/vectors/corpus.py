"""The texts that oracles are asked about: every alphabet, every border (`make vectors`).

A text is written as pieces and how often each is repeated, so that a file of thousands stays small.
"""

import json
import random
import sys
import unicodedata
from collections.abc import Iterator

from pipeline.text import LANGUAGES
from pipeline.text.alphabet import DEFAULT, EXTENSION
from pipeline.text.national import alphabet

Pieces = list[tuple[str, int]]

SEPTETS_ALONE, SEPTETS_JOINED, UNITS_ALONE, UNITS_JOINED, MOST_PARTS = 160, 153, 70, 67, 10

BASIC = "".join(sorted(DEFAULT.basic))
EXTENDED = "".join(EXTENSION.values())
UNICODE = "жשع中あ한ç`őΩά…“−\u00a0\ufeff"
EMOJI = "😀🎉🚀💶🦄𝒳𐍈"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
CLUSTERS = [
    "👨‍👩‍👧‍👦", "👩🏽‍💻", "🏳️‍🌈", "👍🏿", "❤️", "1\ufe0f\u20e3", "🇮🇹", SCOTLAND, "\r\n", "q\u0301\u0323", "x\u0302",
    "\u1112\u1161\u11ab", "한\u11a8", "क्षि", "নি", "ਨੀ", "நி", "ก\u0e33", "م\u064f", "ש\u05bc",
]  # fmt: skip
PLAIN_WORDS = (
    "Hello", "order", "€12.50", "[code]", "{name}", "tomorrow", "|", "100%", "naïve", "señor", "Straße", "crème",
)  # fmt: skip
WORDS = (
    *PLAIN_WORDS, "Ångström", "πρέπει", "заказ", "שלום", "مرحبا", "你好", "こんにちは", "안녕하세요", "नमस्ते", "வணக்கம்",
    "สวัสดี", "😀", "👍🏽", "🇮🇹", "👨‍👩‍👧", "don’t", "–", "…", "\n", "\r\n",
)  # fmt: skip


def around(*centres: int) -> Iterator[int]:
    for centre in centres:
        yield from range(max(centre - 1, 1), centre + 2)


def septet_borders() -> list[int]:
    return sorted({*around(1, SEPTETS_ALONE, *(SEPTETS_JOINED * n for n in range(1, MOST_PARTS)))} | {1529, 1530})


def unit_borders() -> list[int]:
    return sorted({*around(1, UNITS_ALONE, *(UNITS_JOINED * n for n in range(1, MOST_PARTS)))} | {669, 670})


def default_alphabet() -> Iterator[Pieces]:
    for character in BASIC:
        yield [(character, SEPTETS_ALONE)]
        yield [("a", SEPTETS_JOINED - 1), (character, 9)]
    for length in septet_borders():
        yield [("a", length)]
        yield [("é@", length // 2), ("Δ", length % 2)]


def extension() -> Iterator[Pieces]:
    for character in EXTENDED:
        for before in range(SEPTETS_JOINED - 3, SEPTETS_JOINED + 2):
            yield [("a", before), (character, 1), ("a", 4)]
            yield [("a", before), (character, 1), ("a", SEPTETS_JOINED - 1)]
            yield [("a", before), (character, 2), ("a", 2 * SEPTETS_JOINED - 2)]
    for length in sorted({*around(1, 80, 152, 153, 304, 456, 684), 760}):
        yield [("]", length)]
        yield [("€", length // 2), ("a", length)]


def unicode() -> Iterator[Pieces]:
    for character in UNICODE:
        for length in unit_borders():
            if len(UNICODE) * length < 12_000:
                yield [(character, length)]
    for before in range(1, 100, 7):
        yield [("a", before), ("ç", 1), ("]", 70)]


def languages() -> Iterator[Pieces]:
    chance = random.Random(23038)
    for language in LANGUAGES.values():
        own = alphabet(language if language != LANGUAGES["spanish"] else 0, language).characters - DEFAULT.characters
        stable = sorted(c for c in own if unicodedata.is_normalized("NFC", c))
        for place, character in enumerate(stable):
            yield [("ж", UNITS_JOINED - 1), (character, 1), ("ж", place % 72)]
        for length in (UNITS_ALONE, UNITS_ALONE + 1, 2 * UNITS_JOINED, 3 * UNITS_JOINED, 300):
            yield [("".join(chance.choices([*stable, " "], k=length)), 1)]


def surrogates() -> Iterator[Pieces]:
    for character in EMOJI:
        for before in range(UNITS_JOINED - 3, UNITS_JOINED + 2):
            for after in (1, 3, UNITS_JOINED - 1, UNITS_JOINED):
                yield [("中", before), (character, 1), ("中", after)]
        for count in (1, 33, 34, 35, 36, 66, 67, 99, 100, 330, 331):
            yield [(character, count)]


def clusters() -> Iterator[Pieces]:
    for cluster in CLUSTERS:
        units = len(cluster.encode("utf-16-be")) // 2
        for before in range(UNITS_JOINED - units - 1, UNITS_JOINED + 1):
            yield [("中", before), (cluster, 1), ("中", 20)]
            yield [("中", before), (cluster, 1), ("中", 2 * UNITS_JOINED - before - units)]
        for count in (1, 20, 70, 670 // units):
            yield [(cluster, count), ("中", 1)]
    yield [("a", 1), ("\u0315", 200)]  # a cluster longer than a part


def line_breaks() -> Iterator[Pieces]:
    for before in range(148, 163):
        for after in (1, 9, 152, 153):
            yield [("a", before), ("\r\n", 1), ("a", after)]
    for before in range(64, 72):
        yield [("中", before), ("\r\n", 1), ("中", 60)]
    yield from ([("a\r\n", count)] for count in (53, 54, 102, 103, 510))


def words() -> Iterator[Pieces]:
    chance = random.Random(23040)
    for length in range(1, 200):
        for vocabulary in (PLAIN_WORDS, WORDS):
            yield [(" ".join(chance.choices(vocabulary, k=length // 2 + 1)), 1)]


CLASSES = (default_alphabet, extension, unicode, languages, surrogates, clusters, line_breaks, words)


def texts() -> Iterator[tuple[str, Pieces]]:
    """Each text in pieces, with its class; all in normalisation form C, none beyond what ten parts hold."""
    for kind in CLASSES:
        for pieces in kind():
            text = joined(pieces)
            if not unicodedata.is_normalized("NFC", text):
                text = unicodedata.normalize("NFC", text)
                pieces = [(text, 1)]
            most = SEPTETS_JOINED if set(text) <= DEFAULT.characters else UNITS_JOINED
            if len(text) <= MOST_PARTS * most:
                yield kind.__name__, [(piece, times) for piece, times in pieces if times]


def joined(pieces: Pieces) -> str:
    return "".join(piece * times for piece, times in pieces)


if __name__ == "__main__":
    for kind, pieces in texts():
        line = json.dumps({"class": kind, "text": pieces}, ensure_ascii=False, separators=(",", ":"))
        sys.stdout.write(line + "\n")
