"""The labelled sets, and how the rules do on them.

python -m tests.moderation.labelled      prints every miss, recall and false positives of each set
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.moderation import Rules, parse_terms

DATA = Path(__file__).parent / "data"


class Entry(msgspec.Struct):
    """A text, and the term that it hides (none in an innocent one)."""

    label: str
    source: str
    text: str
    term: str = ""


class Outcome(NamedTuple):
    evasions: int
    innocent: int
    missed: list[Entry]
    wronged: list[Entry]

    @property
    def recall(self) -> float:
        return 1 - len(self.missed) / self.evasions

    @property
    def false_positives(self) -> float:
        return len(self.wronged) / self.innocent


def rules() -> Rules:
    terms = parse_terms((DATA / "terms.txt").read_text("utf-8").splitlines())
    assert isinstance(terms, tuple), terms
    return Rules(terms)


def entries(*names: str) -> list[Entry]:
    decode = msgspec.json.Decoder(Entry).decode
    return [decode(line) for name in names for line in (DATA / name).read_text("utf-8").splitlines()]


def judge(found: Rules, labelled: list[Entry]) -> Outcome:
    """An evasion counts as seen where a hit names its term; any hit in an innocent text is a false positive."""
    hits = found.find_all([entry.text for entry in labelled])
    evasions = [(entry, {hit.term for hit in these}) for entry, these in zip(labelled, hits, strict=True)]
    missed = [entry for entry, terms in evasions if entry.label == "evasion" and entry.term not in terms]
    wronged = [entry for entry, terms in evasions if entry.label == "innocent" and terms]
    innocent = sum(entry.label == "innocent" for entry in labelled)
    return Outcome(len(labelled) - innocent, innocent, missed, wronged)


def told(outcome: Outcome) -> str:
    lines = [f"missed: {entry.term!r} in {entry.text!r} ({entry.source})" for entry in outcome.missed]
    lines += [f"false positive: {entry.text!r} ({entry.source})" for entry in outcome.wronged]
    return "\n".join(
        [
            *lines,
            f"recall {outcome.recall:.2%} of {outcome.evasions}, "
            f"false positives {outcome.false_positives:.2%} of {outcome.innocent}",
        ]
    )


if __name__ == "__main__":
    for names in (("evasions.jsonl", "innocent.jsonl"), ("held-out.jsonl",)):
        print(", ".join(names))
        print(told(judge(rules(), entries(*names))), end="\n\n")
