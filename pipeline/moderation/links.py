"""Links in a text: every host name it leads to, however it is written, and what a policy says of it."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
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
_SCHEMES = ("http:", "https:", "hxxp:", "hxxps:", "ftp:")
# With what no normalisation takes away: invisible characters and the ideographic full stop.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3002\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_NO_USER = re.compile(r"[\s/@]")
_SURE = frozenset(("com", "net", "org", "info", "biz"))  # no words: a domain in whatever case
_LONGEST = 253  # octets of a host name, RFC 1035


class Link(NamedTuple):
    """A host name in ASCII and lower case (IDN as `xn--…`), where it stands, and what writing hid it.

    `mail`: the domain of a mail address; `user`: what stands before the `@` of a URL.
    """

    host: str
    start: int
    end: int
    folding: str
    mail: bool
    user: str


def links(text: str) -> Iterator[Link]:
    """Every host name in `text`: with a scheme any, bare only under a public suffix."""
    if not _MAY_HOLD_A_LINK.search(text):
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
            yield Link(
                host=host,
                start=places[match.start()],
                end=places[end - 1] + 1,
                folding=_folding(folding, text, written),
                mail=before.endswith("@") and not scheme,
                user=user,
            )


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
    if host.startswith("www.") or after == "/" or last.lower() in _SURE:
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
    parts: list[str] = []
    kept_places: list[int] = []
    at = 0
    for match in _BRACKETED.finditer(plain):
        parts += (plain[at : match.start()], ".")
        kept_places += places[at : match.start() + 1]
        at = match.end()
        folding = "spacing"
    return ("".join(parts) + plain[at:], kept_places + places[at:], folding) if parts else (plain, places, folding)


def _plain(character: str) -> str:
    if character in _DOTS:
        return "."
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _folding(taken: str, text: str, written: str) -> str:
    if written in text:
        return "exact" if written == written.lower() else "case"
    return taken or "width"


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
