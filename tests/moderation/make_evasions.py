"""Writes disguised terms into sentences: the generated part of a labelled set of evasions, one JSON a line.

    python -m tests.moderation.make_evasions SEED COUNT

Each line names the term and the disguise (or the two) that made it. Nothing of the project's own tables is used.
"""

import json
import random
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

from pipeline.moderation import parse_terms

LATIN = "abcdefghijklmnopqrstuvwxyz"
LEET = {"a": "4@", "b": "8", "e": "3€", "g": "9", "i": "1!|", "l": "1|", "o": "0", "s": "5$", "t": "7+", "c": "("}
CYRILLIC = dict(zip("aceopxyijskmthb", "асеорхуіјѕкмтнь", strict=True))
GREEK = dict(zip("aoiuvpxkntb", "αοιυνρχκητβ", strict=True))
ARMENIAN = dict(zip("onuqhg", "օոսզհց", strict=True))
CHEROKEE = dict(zip("adehijklmprstvwyz", "ᎪᎠᎬᎻᎥᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᎩᏃ", strict=True))
SMALL_CAPITALS = dict(zip("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", strict=True))
SUPERSCRIPT = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f\u200e\u2063\U000e0041"
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u0323"
ZALGO = [chr(code) for code in range(0x300, 0x33A)]
MONGRELS = "aeiou"
SENTENCES = (
    "Join {} today and win",
    "{}",
    "Best offers: {}!",
    "Only for you, {} - reply YES",
    "Hey, the {} is waiting for you. Call 3331234567",
    "Ciao, nuovo {} per te, scopri di più",
    "Hola, {} gratis para ti",
    "Jetzt {} testen, nur heute",
    "Profitez de {} maintenant",
    "Новое {} для вас",
    '"{}" now at http://x.example/a',
    "new ({}) in town",
)
Disguise = Callable[[str, random.Random], str]


def shifted(first: int, last: str = "z", *, upper: bool = False) -> Disguise:
    def apply(term: str, _: random.Random) -> str:
        if upper:
            term = term.upper()
        base = ord("A") if upper else ord("a")
        return "".join(chr(first + ord(c) - base) if c.lower() in LATIN else c for c in term)

    return apply


def mapped(table: dict[str, str], share: float) -> Disguise:
    def apply(term: str, rng: random.Random) -> str:
        written = [table[c] if c in table and rng.random() < share else c for c in term]
        places = [at for at, c in enumerate(term) if c in table]
        if "".join(written) == term and places:
            at = rng.choice(places)
            written[at] = table[term[at]]
        return "".join(written)

    return apply


def leet(term: str, rng: random.Random) -> str:
    """No more digits than letters; two at most in a short term."""
    places = [at for at, c in enumerate(term) if c in LEET and c != "c"]
    rng.shuffle(places)
    chosen = places[: max(1, min(len(places), (len(term) - 1) // 2))]
    written = list(term)
    for at in chosen:
        sign = rng.choice(LEET[term[at]])
        written[at] = sign.replace("!", "1").replace("|", "1") if at in (0, len(term) - 1) else sign
    return "".join(written)


def apart(separator: str) -> Disguise:
    return lambda term, _: separator.join(term.replace(" ", ""))


def split(term: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(term))
    return term[:at] + rng.choice("_*~^=•#") + term[at:]


def stretched(term: str, rng: random.Random) -> str:
    at = rng.randrange(len(term))
    return term[: at + 1] + term[at] * rng.randrange(2, 7) + term[at + 1 :]


def doubled(term: str, _: random.Random) -> str:
    return "".join(c * 2 for c in term)


def strewn(characters: str | list[str], most: int = 1) -> Disguise:
    def apply(term: str, rng: random.Random) -> str:
        return "".join(c + "".join(rng.choices(characters, k=rng.randint(1, most))) for c in term)

    return apply


def reversed_order(term: str, _: random.Random) -> str:
    return "\u202e" + term[::-1] + "\u202c"


def cases(term: str, rng: random.Random) -> str:
    return "".join(rng.choice((c.upper(), c)) for c in term)


def composed(term: str, rng: random.Random) -> str:
    return unicodedata.normalize("NFC", "".join(c + rng.choice(ACCENTS) if c in MONGRELS else c for c in term))


def masked(term: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(term) - 1)
    return term[:at] + "*" + term[at + 1 :]


DISGUISES: dict[str, tuple[Disguise, int]] = {  # and the fewest letters that it leaves readable
    "plain": (lambda term, _: term, 1),
    "case": (cases, 3),
    "upper": (lambda term, _: term.upper(), 1),
    "full-width": (shifted(0xFF41), 3),
    "circled": (shifted(0x24D0), 3),
    "squared": (shifted(0x1F130, upper=True), 3),
    "negative squared": (shifted(0x1F170, upper=True), 3),
    "negative circled": (shifted(0x1F150, upper=True), 3),
    "regional indicators": (shifted(0x1F1E6, upper=True), 4),
    "mathematical bold": (shifted(0x1D41A), 3),
    "mathematical script": (shifted(0x1D4EA), 3),
    "mathematical fraktur": (shifted(0x1D586), 3),
    "mathematical monospace": (shifted(0x1D68A), 3),
    "parenthesized": (shifted(0x249C), 3),
    "small capitals": (mapped(SMALL_CAPITALS, 1), 3),
    "superscript": (mapped(SUPERSCRIPT, 1), 3),
    "Cyrillic": (mapped(CYRILLIC, 0.6), 3),
    "Cyrillic, all": (mapped(CYRILLIC, 1), 6),
    "Greek": (mapped(GREEK, 0.6), 3),
    "Armenian": (mapped(ARMENIAN, 1), 4),
    "Cherokee": (mapped(CHEROKEE, 0.6), 3),
    "accents": (composed, 4),
    "combining marks": (strewn(ACCENTS), 3),
    "zalgo": (strewn(ZALGO, 12), 3),
    "strike-through": (strewn("\u0336"), 3),
    "keycaps": (strewn("\u20e3"), 3),
    "invisible": (strewn(INVISIBLE, 2), 3),
    "right-to-left override": (reversed_order, 3),
    "leet": (leet, 4),
    "spaced": (apart(" "), 4),
    "dotted": (apart("."), 4),
    "dashed": (apart("-"), 4),
    "underscores": (apart("_"), 4),
    "spaced widely": (apart("   "), 4),
    "dots and spaces": (apart(" . "), 4),
    "lines": (apart("\n"), 4),
    "emoji between": (apart("🔥"), 4),
    "stars between": (apart("*"), 4),
    "split": (split, 4),
    "stretched": (stretched, 4),
    "doubled": (doubled, 5),
    "masked": (masked, 4),
    "trailing digits": (lambda term, rng: f"{term}{rng.randrange(10, 9999)}", 3),
    "leading digits": (lambda term, rng: f"{rng.randrange(10, 9999)}{term}", 3),
    "no space": (lambda term, _: term.replace(" ", ""), 6),
    "words dotted": (lambda term, _: term.replace(" ", "."), 6),
}
PAIRS = [
    ("leet", "spaced"),
    ("leet", "dashed"),
    ("leet", "upper"),
    ("leet", "strike-through"),
    ("leet", "trailing digits"),
    ("Cyrillic", "invisible"),
    ("Cyrillic", "spaced"),
    ("Cyrillic", "stretched"),
    ("Greek", "invisible"),
    ("case", "dotted"),
    ("accents", "dotted"),
    ("circled", "spaced"),
    ("full-width", "spaced"),
    ("combining marks", "spaced"),
    ("mathematical bold", "dashed"),
    ("small capitals", "invisible"),
    ("stretched", "leet"),
    ("stretched", "invisible"),
    ("split", "upper"),
    ("invisible", "right-to-left override"),
]
_ANY_SCRIPT = {
    *("plain", "upper", "invisible", "spaced", "dotted", "dashed", "underscores"),
    *("strike-through", "stars between", "emoji between"),
}


def generated(seed: int, count: int) -> list[dict[str, str]]:
    """`count` evasions: every disguise in turn over terms drawn from the list."""
    rng = random.Random(seed)
    terms = parse_terms((Path(__file__).parent / "data" / "terms.txt").read_text("utf-8").splitlines())
    texts = [term if isinstance(term, str) else term.text for term in terms]
    plans = [(name,) for name in DISGUISES] + PAIRS
    found: list[dict[str, str]] = []
    while len(found) < count:
        for plan in plans:
            fitting = [text for text in texts if _fits(text, plan)]
            term = rng.choice(fitting)
            written = term
            for name in plan:
                written = DISGUISES[name][0](written, rng)
            text = rng.choice(SENTENCES).format(written)
            found.append({"label": "evasion", "term": term, "source": f"generated: {' + '.join(plan)}", "text": text})
    return found[:count]


def _fits(text: str, plan: tuple[str, ...]) -> bool:
    latin = text.replace(" ", "").isascii() and text.replace(" ", "").isalpha()
    least = max(DISGUISES[name][1] for name in plan) + (len(plan) - 1) * 2
    if len(text.replace(" ", "")) < least or ("no space" in plan[0] + " " and " " not in text):
        return False
    if "leet" in plan and (not set(text) & set(LEET) - {"c"} or (" " in text)):
        return False
    if "words dotted" in plan and " " not in text:
        return False
    if any(name in plan for name in ("masked", "split", "stretched", "doubled")) and " " in text:
        return False
    return latin or set(plan) <= _ANY_SCRIPT


if __name__ == "__main__":
    for entry in generated(int(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(entry, ensure_ascii=False))
