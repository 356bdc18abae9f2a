"""Lists of plain terms, as the stages still take them; `Rules` does the work."""

from collections.abc import Iterable

from pipeline.moderation.rules import Rules
from pipeline.moderation.terms import Term, parse_terms


class TermList(Rules):
    """Terms to look for."""

    def __init__(self, terms: Iterable[str]) -> None:
        super().__init__(Term(term) for term in terms)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "TermList":
        """As `parse_terms`; raises ValueError with every fault."""
        terms = parse_terms(lines)
        if isinstance(terms, list):
            raise ValueError("\n".join(terms))
        found = cls(())
        Rules.__init__(found, terms)
        return found


#: Finds nothing.
EMPTY = TermList(())
