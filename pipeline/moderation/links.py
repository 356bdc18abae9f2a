"""Links in a text: every host name it leads to, however it is written, and what a policy says of it."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import accumulate
from typing import NamedTuple

from publicsuffixlist import PublicSuffixList

from pipeline.moderation.characters import INVISIBLE, is_accent, kind

_DOTS = "。．｡․"
_MAY_HOLD_A_LINK = re.compile(
    rf"[.{_DOTS}][\w\u00ad\u200b-\u200f\u2060-\u2064\ufeff]|[\[({{]\s?(?:\.|dot\b)", re.IGNORECASE
)
_BRACKETED = re.compile(r"\s?[\[({]\s?(?:\.|dot|punto|punkt|point)\s?[\])}]\s?", re.IGNORECASE)
# Possessive, and from a word's start only: no part of a text is gone over twice.
_DOTTED = re.compile(r"(?<![\w\-])\w[\w\-]*+(?:\.[\w\-]++)++")
# "evil dot com": the words of a sentence as well, and so no link but to a domain that is looked for.
_SPELLED = re.compile(r"(?<![\w\-.])\w[\w\-.]*+(?:\s{1,3}dot\s{1,3}(?!dot\b)\w[\w\-.]*+)++", re.IGNORECASE)
_SPELLED_DOT = re.compile(r"\s+dot\s+", re.IGNORECASE)
_ENCODED = re.compile(r"(?:%[2-7c-e][\da-f])(?:%[2-9a-e][\da-f])*+", re.IGNORECASE)
_SCHEMES = ("http:", "https:", "hxxp:", "hxxps:", "ftp:")
# With what no normalisation takes away: invisible characters and the ideographic full stop.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3002\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_NO_USER = re.compile(r"[\s/@]")
SURE = frozenset(("com", "net", "org", "info", "biz"))  # no words: a domain in whatever case
_LONGEST = 253  # octets of a host name, RFC 1035


class Link(NamedTuple):
    """A host name in ASCII and lower case (IDN as `xn--…`), where it stands, and what writing hid it.

    `mail`: the domain of a mail address; `user`: what stands before the `@` of a URL; `spelled`: with "dot" as a word,
    and perhaps no link at all.
    """

    host: str
    start: int
    end: int
    folding: str
    mail: bool
    user: str
    spelled: bool = False


def links(text: str) -> Iterator[Link]:
    """Every host name in `text`: with a scheme any, bare only under a public suffix."""
    if "dot " in text or "DOT " in text or "Dot " in text:
        yield from _spelled(text)
    if not (_MAY_HOLD_A_LINK.search(text) or ("%" in text and _ENCODED.search(text))):
        return
    shown, places, folding = _shown(text)
    for match in _DOTTED.finditer(shown):
        written = match[0].rstrip("-_")
        end = match.start() + len(written)
        before, after = shown[max(0, match.start() - 90) : match.start()], shown[end : end + 1]
        scheme, user = _scheme_and_user(before)
        if after == "@" or len(written) > _LONGEST:
            continue
        host = to_ascii(written)
        if host and (scheme or _is_bare_link(host, written, after)):
            start, stop = places[match.start()], _stop(text, places, end)
            yield Link(
                host=host,
                start=start,
                end=stop,
                folding=_folding(folding, text[start:stop], written),
                mail=before.endswith("@") and not scheme,
                user=user,
            )


def _spelled(text: str) -> Iterator[Link]:
    for match in _SPELLED.finditer(text):
        written = match[0].rstrip("-_.")
        host = to_ascii(_SPELLED_DOT.sub(".", written))
        if len(host) <= _LONGEST and registrable(host):
            end = match.start() + len(written)
            yield Link(host, match.start(), end, "spacing", mail=False, user="", spelled=True)


def _stop(text: str, places: list[int], end: int) -> int:
    """Where the character shown before `end` stops in the text: a byte percent-encoded is three characters."""
    place = places[end - 1]
    return place + 1 if text[place] != "%" else places[end] if end < len(places) else len(text)


@lru_cache(4096)
def registrable(host: str) -> str:
    """The name that somebody registered: `example.co.uk` of `www.example.co.uk`; empty where there is none."""
    if host.endswith(".example"):  # RFC 2606: not on the list, and written in every test and manual
        return ".".join(host.rsplit(".", 2)[-2:])
    return _suffixes().privatesuffix(host) or ""


def to_ascii(host: str) -> str:
    """`host` in lower case, its labels in Punycode where they are not ASCII (RFC 3492); empty where that fails."""
    labels = []
    for label in unicodedata.normalize("NFC", host.casefold()).split("."):
        try:
            labels.append(label if label.isascii() else "xn--" + label.encode("punycode").decode())
        except UnicodeError:
            return ""
    return ".".join(labels) if all(0 < len(label) < 64 for label in labels) else ""


def to_unicode(label: str) -> str:
    """A label as it is displayed; one that is no Punycode as it stands."""
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode().decode("punycode")
    except (UnicodeError, OverflowError):
        return label


def _scheme_and_user(before: str) -> tuple[bool, str]:
    """Whether a URL's scheme stands at the end of `before`, and what stands between it and an `@` there."""
    head, _, user = before.rpartition("//")
    if not head.lower().endswith(_SCHEMES) or not (user == "" or user.endswith("@")) or _NO_USER.search(user[:-1]):
        return False, ""
    return True, user[:-1].lower()


def _is_bare_link(host: str, written: str, after: str) -> bool:
    """Whether a name without a scheme is a link, and not two sentences without a space: "tomorrow.Is it"."""
    if not registrable(host):
        return False
    last = written.rpartition(".")[2]
    if host.startswith("www.") or after == "/" or last.lower() in SURE:
        return True
    name = written.rpartition(".")[0]
    return not (last.istitle() or last.isdigit() or name.replace(".", "").isdigit())


def _shown(text: str) -> tuple[str, list[int], str]:
    """`text` as a browser takes it, without invisible characters, in plain letters and dots; the place of each of its
    characters; and what had to be done.
    """
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _UNSEEN.search(text)):
        plain, places, folding = text, list(range(len(text))), ""
    else:
        kept = [(at, _plain(c)) for at, c in enumerate(text) if kind(c) != INVISIBLE or is_accent(c)]
        plain, places = "".join(c for _, c in kept), [at for at, _ in kept]
        folding = "invisible" if len(kept) < len(text) else ""
    if "%" in plain:
        plain, places, folding = _rewritten(plain, places, folding, _ENCODED, "encoded")
    if "[" in plain or "(" in plain or "{" in plain:
        plain, places, folding = _rewritten(plain, places, folding, _BRACKETED, "spacing")
    return plain, places, folding


def _rewritten(
    plain: str, places: list[int], folding: str, hidden: re.Pattern[str], name: str
) -> tuple[str, list[int], str]:
    """With what `hidden` finds as what it means: a dot, or characters percent-encoded."""
    parts: list[str] = []
    kept_places: list[int] = []
    at = 0
    for match in hidden.finditer(plain):
        meant = _decoded(match[0]) if match[0].startswith("%") else [(".", 0)]
        parts += (plain[at : match.start()], "".join(character for character, _ in meant))
        kept_places += places[at : match.start()]
        kept_places += [places[match.start() + offset] for _, offset in meant]
        at, folding = match.end(), name
    return ("".join(parts) + plain[at:], kept_places + places[at:], folding) if parts else (plain, places, folding)


def _decoded(escapes: str) -> list[tuple[str, int]]:
    """Percent-encoded characters, each with its offset (RFC 3986, 2.1); as they stand where they are no UTF-8."""
    try:
        characters = bytes.fromhex(escapes.replace("%", "")).decode()
    except UnicodeDecodeError:
        return [(character, offset) for offset, character in enumerate(escapes)]
    widths = accumulate((3 * len(character.encode()) for character in characters), initial=0)
    return list(zip(characters, widths, strict=False))


def _plain(character: str) -> str:
    if character in _DOTS:
        return "."
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _folding(taken: str, original: str, written: str) -> str:
    if written == original:
        return "exact" if written == written.lower() else "case"
    return taken or "width"


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
