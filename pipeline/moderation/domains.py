"""What may be linked to: blocked and allowed domains, shorteners, and look-alikes of names to protect."""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Literal, NamedTuple

import msgspec

from pipeline.moderation.characters import decomposed, lookalikes
from pipeline.moderation.links import SURE, links, registrable, to_ascii, to_unicode
from pipeline.moderation.terms import Severity

Verdict = Literal["allow", "flag", "block"]

_LEAST_FOR_ONE_EDIT = 6  # letters of a name; in a shorter one, one letter makes another name
# Letters and digits that a reader of a link takes for one another.
_READ_AS = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "|": "l", "3": "e", "4": "a", "5": "s", "6": "b", "7": "t", "8": "b"}
)
_DRAWN = (("rn", "m"), ("vv", "w"), ("cl", "d"))


class LinkPolicy(msgspec.Struct, frozen=True):
    """Domains stand for their subdomains too, and may be written in Unicode or Punycode.

    `blocked`: prohibited, with `blocked_severity`. `allowed`: never a hit. `others`: what is said of a link to a
    domain that is in neither list ("block": only allowed domains may be linked). `shorteners`: what is said of URL
    shorteners, those of the shipped list and `more_shorteners`. `protected`: domains that no other may resemble;
    `look_alikes`: what is said of one that does.
    """

    blocked: tuple[str, ...] = ()
    blocked_severity: Severity = "block"
    allowed: tuple[str, ...] = ()
    others: Verdict = "allow"
    shorteners: Verdict = "allow"
    more_shorteners: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    look_alikes: Verdict = "block"

    def faults(self) -> list[str]:
        """Every name that is no domain."""
        named = (*self.blocked, *self.allowed, *self.more_shorteners, *self.protected)
        return [f"{name!r} is no domain" for name in named if "." not in name or not to_ascii(name.strip(". "))]


class Found(NamedTuple):
    """A host that the policy says something of; `kind` and `folding` as a hit has them."""

    host: str
    start: int
    end: int
    severity: Severity
    kind: str
    folding: str


class Domains:
    """A policy made ready: looks each host up, whatever the lengths of its lists."""

    def __init__(self, policy: LinkPolicy) -> None:
        self._policy = policy
        self._judged = lru_cache(4096)(self._judge)  # a campaign leads to the same few hosts
        self._blocked = _names(policy.blocked)
        self._allowed = _names(policy.allowed)
        self._shorteners = _names(policy.more_shorteners) | shorteners() if policy.shorteners != "allow" else set()
        self._protected = _names(policy.protected)
        self._by_look = {_look(name): domain for domain in self._protected if (name := _name(domain))}
        self._by_edit = {
            shorter: domain
            for look, domain in self._by_look.items()
            if len(look) >= _LEAST_FOR_ONE_EDIT
            for shorter in _shorter(look)
        }

    def find(self, text: str) -> Iterator[Found]:
        """The hosts in `text` that are not plainly allowed, in order."""
        for link in links(text):
            if found := self._judged(link.host, link.folding, link.mail, link.user, link.spelled):
                severity, kind, folding = found
                yield Found(link.host, link.start, link.end, severity, kind, folding)

    def _judge(self, host: str, folding: str, mail: bool, user: str, spelled: bool) -> tuple[Severity, str, str] | None:
        policy = self._policy
        if _within(host, self._allowed):
            return None
        if _within(host, self._blocked):
            return policy.blocked_severity, "domain", folding
        if policy.shorteners != "allow" and not mail and _within(host, self._shorteners):
            return policy.shorteners, "shortener", folding
        if _within(host, self._protected) or (spelled and host.rpartition(".")[2] not in SURE):
            return None
        if policy.look_alikes != "allow" and (resembled := self._resembled(host, user)):
            return policy.look_alikes, "look-alike", f"looks like {resembled}"
        if policy.others != "allow" and not mail and not spelled:
            return policy.others, "link", folding
        return None

    def _resembled(self, host: str, user: str) -> str:
        """The protected domain that this one could be taken for: its name with another suffix, in other letters, one
        letter away, as one part between hyphens, as a subdomain, or before the `@` of a URL.
        """
        if not self._by_look:
            return ""
        if _within(user.partition(":")[0], self._protected):
            return user
        labels = _labels(host)
        for label in labels:
            for part in dict.fromkeys((label, *label.split("-"))):
                if domain := self._by_look.get(_look(part)):
                    return domain
        look = _look(labels[-1].replace("-", "")) if labels else ""
        return self._by_look.get(look) or self._one_edit_away(look)

    def _one_edit_away(self, look: str) -> str:
        """A letter more, less or other, or two exchanged."""
        if len(look) < _LEAST_FOR_ONE_EDIT:
            return ""
        for shorter in (look, *_shorter(look)):
            if domain := self._by_edit.get(shorter):
                name = _look(_name(domain))
                if _is_one_edit(look, name):
                    return domain
        for shorter in _shorter(look):
            if domain := self._by_look.get(shorter):
                return domain
        return ""


def _names(domains: Iterable[str]) -> set[str]:
    return {to_ascii(domain.strip(". ").removeprefix("*.")) for domain in domains} - {""}


def _within(host: str, domains: set[str]) -> bool:
    """Whether `host` is one of `domains` or below one."""
    while host:
        if host in domains:
            return True
        host = host.partition(".")[2]
    return False


def _labels(host: str) -> list[str]:
    """The labels above the public suffix, as displayed; the registered one last."""
    name = registrable(host)
    suffix = name.partition(".")[2] if name else host.rpartition(".")[2]
    above = host.removesuffix(suffix).rstrip(".")
    return [to_unicode(label) for label in above.split(".") if label]


def _name(domain: str) -> str:
    """The registered label: `paypal` of `paypal.com`."""
    labels = _labels(domain)
    return labels[-1] if labels else ""


def _look(label: str) -> str:
    """What a reader sees: Latin letters for all that resemble them, "rn" as m."""
    seen = ""
    for character in unicodedata.normalize("NFC", label.casefold()):
        letters = lookalikes().get(character, ("", ""))[0]
        seen += letters or decomposed(character) or character
    seen = seen.translate(_READ_AS)
    for drawn, letter in _DRAWN:
        seen = seen.replace(drawn, letter)
    return seen


def _shorter(look: str) -> set[str]:
    """`look` with any one letter left out."""
    return {look[:at] + look[at + 1 :] for at in range(len(look))}


def _is_one_edit(one: str, other: str) -> bool:
    if len(one) != len(other):
        longer, shorter = sorted((one, other), key=len, reverse=True)
        return shorter in _shorter(longer)
    differing = [at for at in range(len(one)) if one[at] != other[at]]
    if len(differing) == 2 and differing[1] == differing[0] + 1:
        first, second = differing
        return one[first] == other[second] and one[second] == other[first]
    return len(differing) == 1


@cache
def shorteners() -> frozenset[str]:
    """The domains of well-known URL shorteners."""
    text = (resources.files("pipeline.moderation") / "data" / "shorteners.txt").read_text("utf-8")
    return frozenset(name for line in text.splitlines() if not line.startswith("#") for name in line.split())
