"""What carriers can carry: national alphabets, and how the parts of one message are told to belong together."""

from collections.abc import Iterable
from typing import Literal

import msgspec

#: National language identifiers (3GPP TS 23.038, section 6.2.1.2.4) by the names that configuration uses.
LANGUAGES: dict[str, int] = {
    "turkish": 1,
    "spanish": 2,
    "portuguese": 3,
    "bengali": 4,
    "gujarati": 5,
    "hindi": 6,
    "kannada": 7,
    "malayalam": 8,
    "oriya": 9,
    "punjabi": 10,
    "tamil": 11,
    "telugu": 12,
    "urdu": 13,
}

Concatenation = Literal["8-bit", "16-bit", "sar", "payload"]


class Wire(msgspec.Struct, frozen=True):
    """What every carrier of a route can carry.

    `languages`: national language identifiers (1-13) whose shift tables may be used.
    `concatenation`: "8-bit" or "16-bit", the reference in the header that ties parts together (3GPP TS 23.040,
    sections 9.2.3.24.1 and 9.2.3.24.8); "sar", parts of the same size without a header, tied by SMPP's sar_* TLVs;
    "payload", one message_payload that the carrier cuts (SMPP 3.4, section 5.3.2.32), counted as with "8-bit".
    """

    languages: tuple[int, ...] = ()
    concatenation: Concatenation = "8-bit"

    @property
    def national(self) -> tuple[int, ...]:
        """The languages that can be used: shift tables are announced in a header, which "sar" and "payload" lack."""
        return self.languages if self.concatenation in ("8-bit", "16-bit") else ()


PLAIN = Wire()


def common(wires: Iterable[Wire]) -> Wire:
    """What all of `wires` can carry, so that none of them needs more parts than it: PLAIN where there are none.

    The longer header leaves the smaller part, so "16-bit" wins. Carriers that join parts in other ways fill them
    alike: for those "8-bit" stands.
    """
    found = list(wires)
    if not found:
        return PLAIN
    joined = {wire.concatenation for wire in found}
    languages = [language for language in found[0].national if all(language in wire.national for wire in found)]
    if "16-bit" in joined:
        return Wire(tuple(languages), "16-bit")
    return Wire(tuple(languages), joined.pop() if len(joined) == 1 else "8-bit")
