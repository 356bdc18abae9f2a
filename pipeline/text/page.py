"""The tables of docs/text.md: what `python -m pipeline.text.page` prints stands at the page's end."""

import sys
import unicodedata
from collections.abc import Iterator

from pipeline.text.choice import GSM7, UCS2, Form
from pipeline.text.lookalikes import GROUPS
from pipeline.text.national import WITHOUT_LOCKING, alphabet
from pipeline.text.wire import LANGUAGES, Wire

#: The line of the page behind which the tables stand.
MARK = "<!-- What follows is printed by `python -m pipeline.text.page`. -->\n"

_HEADERS: list[tuple[str, Form, Wire | None]] = [
    ("none", Form(GSM7), None),
    ("concatenation, 8-bit reference", Form(GSM7), Wire()),
    ("concatenation, 16-bit reference", Form(GSM7), Wire((), "16-bit")),
    ("one national table", Form(GSM7, 1, 0), None),
    ("two national tables", Form(GSM7, 1, 1), None),
    ("8-bit reference and one national table", Form(GSM7, 1, 0), Wire()),
    ("8-bit reference and two national tables", Form(GSM7, 1, 1), Wire()),
    ("16-bit reference and one national table", Form(GSM7, 1, 0), Wire((), "16-bit")),
    ("16-bit reference and two national tables", Form(GSM7, 1, 1), Wire((), "16-bit")),
]


def tables() -> str:
    """Sizes of parts, national languages, and the map of transliteration, in Markdown."""
    return "\n".join([_sizes(), _languages(), *_lookalikes()])


def _sizes() -> str:
    rows = []
    for name, form, joined in _HEADERS:
        septets = form.joined(joined) if joined else form.alone
        ucs2 = Form(UCS2)
        units = "–" if form.shifts else ucs2.joined(joined) if joined else ucs2.alone
        rows.append(f"| {name} | {septets} | {units} |\n")
    return "## Sizes\n\n| user data header | septets | UTF-16 code units |\n|---|---|---|\n" + "".join(rows)


def _languages() -> str:
    rows = []
    for name, language in LANGUAGES.items():
        locking = "–" if language in WITHOUT_LOCKING else len(alphabet(language, 0).basic)
        single = len(alphabet(0, language).extension)
        rows.append(f"| `{name}` | {language} | {locking} | {single} |\n")
    head = "| language | identifier | characters, locking shift | characters, single shift |\n|---|---|---|---|\n"
    return f"## National languages\n\n{head}{''.join(rows)}"


def _lookalikes() -> Iterator[str]:
    yield "## Transliteration\n"
    for title, group in GROUPS.items():
        rows = [f"| {_shown(like)} | {' '.join(map(_named, listed))} |\n" for like, listed in group.items()]
        yield f"### {title}\n\n| becomes | from |\n|---|---|\n{''.join(rows)}"


def _shown(like: str) -> str:
    names = {" ": "space", "\n": "line feed", "": "nothing"}
    return names.get(like) or f"`` {like} ``".replace("|", "\\|")


def _named(character: str) -> str:
    """The character, where it shows by itself, and its code point."""
    shows = unicodedata.category(character)[0] not in "CZ" and character not in "|`"
    return f"{character} U+{ord(character):04X}" if shows else f"U+{ord(character):04X}"


if __name__ == "__main__":
    sys.stdout.write(tables())
