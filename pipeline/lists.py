"""The lists an operator keeps: prices in a file; prohibited terms and domains in files and on a topic."""

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.billing import PriceList
from pipeline.config import ConfigError, Settings
from pipeline.moderation import LinkPolicy, Rules, Term, parse_terms

Kind = Literal["term", "blocked-domain", "allowed-domain", "protected-domain"]
_COUNTRY = re.compile("[A-Z]{2}").fullmatch


def price_list(settings: Settings) -> PriceList:
    """The configured price list, or the sample that comes with the project. Raises ConfigError with every fault."""
    path = settings.billing.prices or resources.files("pipeline.billing") / "sample-prices.csv"
    prices = PriceList.read(path.read_text("utf-8"))
    if isinstance(prices, list):
        raise ConfigError(f"billing.prices {path}:\n  " + "\n  ".join(prices))
    return prices


class Entry(msgspec.Struct, frozen=True):
    """An entry of one of the moderation's lists, as the lists' topic has it: a term as a file has it, without its
    options, or a domain. Severity and scope are a term's; no account, no country: for all."""

    list: Kind
    text: str
    severity: Literal["block", "flag"] = "block"
    accounts: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        """Its key on the topic; a tombstone there takes it off the list."""
        return msgspec.json.encode([self.list, self.text, sorted(self.accounts), sorted(self.countries)])

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The term, without the scope; none where it is faulty."""
        found = parse_terms([self.text])
        return () if isinstance(found, list) else found

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None where nothing is."""
        if self.list == "term":
            found = parse_terms([f"{self.text} | {self.severity}"])
            wrong = found if isinstance(found, list) else [] if len(found) == 1 else ["a comment, or no term at all"]
            wrong += [f"{c!r} is no country of two letters" for c in self.countries if not _COUNTRY(c)]
        else:
            wrong = LinkPolicy(blocked=(self.text,)).faults()
        return "; ".join(wrong) or None


def rules(settings: Settings, entries: Iterable[Entry] = ()) -> Rules:
    """What is prohibited: the configured files, and `entries`. Raises ConfigError with each fault, by file and line."""
    wanted, faults = settings.moderation, list[str]()
    terms: list[Term] = []
    for path in wanted.terms:
        found = parse_terms(_lines(path))
        if isinstance(found, list):
            faults += [f"{path}: {fault}" for fault in found]
        else:
            terms += found
    files = {
        "blocked-domain": wanted.blocked_domains,
        "allowed-domain": wanted.allowed_domains,
        "protected-domain": wanted.protected_domains,
    }
    domains: dict[str, list[str]] = {kind: [] for kind in files}
    for kind, paths in files.items():
        for path in paths:
            domains[kind] += (listed := _domains(path))
            faults += [f"{path}: {fault}" for fault in LinkPolicy(blocked=tuple(listed)).faults()]
    for entry in entries:
        if entry.fault:
            continue  # refused where it was added; the topic is open to others
        if entry.list == "term":
            scope = {"severity": entry.severity, "accounts": entry.accounts, "countries": entry.countries}
            terms += [msgspec.structs.replace(term, **scope) for term in entry.terms]
        else:
            domains[entry.list].append(entry.text)
    if faults:
        raise ConfigError("moderation:\n  " + "\n  ".join(faults))
    policy = LinkPolicy(
        blocked=tuple(domains["blocked-domain"]),
        allowed=tuple(domains["allowed-domain"]),
        others="block" if wanted.links == "allowed" else "allow",
        shorteners=wanted.shorteners,
        protected=tuple(domains["protected-domain"]),
        look_alikes=wanted.lookalikes,
    )
    return Rules(dict.fromkeys(terms), policy)


def _lines(path: Path) -> list[str]:
    """The lines of a list. One without a byte is taken for one that is being written: write at least a comment."""
    try:
        content = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"moderation: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"moderation: {path} is not UTF-8 (byte {error.start})") from None
    if not content:
        raise ConfigError(f"moderation: {path} is empty; a list without entries holds a comment (#)")
    return content.splitlines()


def _domains(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in _lines(path))
    return [line for line in lines if line]
