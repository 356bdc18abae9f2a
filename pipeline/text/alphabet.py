"""7-bit alphabets (3GPP TS 23.038, section 6.2.1), the default one among them, and packing (section 6.1.2.1)."""

import re
from collections.abc import Mapping

ESCAPE = 0x1B

# The row and column order of the table: the septet is the index.
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
}  # fmt: skip


class Alphabet:
    """A basic table of one septet a character and an extension table of two (an escape before the septet).

    `basic`, `extension` and `characters` are the sets of what each table holds, and both.
    """

    __slots__ = ("_basic", "_extension", "_outside", "_septets", "basic", "characters", "extension")

    def __init__(self, basic: Mapping[int, str], extension: Mapping[int, str]) -> None:
        """`basic`, `extension`: characters by septet. Where both have a character, the shorter way is taken."""
        self._basic = [basic.get(septet, " ") for septet in range(128)]  # what is undefined shows a space
        self._extension = dict(extension)
        self.basic = frozenset(basic.values())
        self.extension = frozenset(extension.values())
        self.characters = self.basic | self.extension
        # ASCII outside the alphabet must not pass as the septet of the same value, so it becomes what ASCII does not
        # hold, as everything else outside it is already.
        self._septets: dict[int, str] = {
            **dict.fromkeys(range(128), "\uffff"),
            **{ord(c): chr(ESCAPE) + chr(septet) for septet, c in extension.items()},
            **{ord(c): chr(septet) for septet, c in basic.items()},
        }
        self._outside = re.compile(f"[^{re.escape(''.join(self.characters))}]")

    def to_septets(self, text: str) -> bytes | None:
        """The septets of `text`, one an octet, extension characters as two; None if a character is outside."""
        septets = text.translate(self._septets)
        return septets.encode("ascii") if septets.isascii() else None

    def length(self, text: str) -> int:
        """Septets of `text`, which the alphabet holds."""
        return len(text.translate(self._septets))

    def from_septets(self, septets: bytes) -> str:
        """The text of `septets`. An escape before what the extension lacks shows the basic character."""
        first, *escaped = septets.split(b"\x1b")
        pieces = [self._decode(first)]
        for piece in escaped:
            pieces += self._extension.get(piece[0], self._basic[piece[0]]), self._decode(piece[1:])
        return "".join(pieces)

    def outside(self, text: str) -> list[tuple[str, int]]:
        """Characters of `text` outside the alphabet, each with its index in code points."""
        return [(found[0], found.start()) for found in self._outside.finditer(text)]

    def _decode(self, septets: bytes) -> str:
        return "".join([self._basic[septet] for septet in septets])


#: Tables of the default alphabet, by septet. Escape itself is no character.
BASIC: dict[int, str] = {septet: c for septet, c in enumerate(_DEFAULT) if septet != ESCAPE}
EXTENSION: dict[int, str] = {septet: c for c, septet in _EXTENSION.items()}
DEFAULT = Alphabet(BASIC, EXTENSION)

# Packing works on all septets at once, as lanes of one integer: pairs of 7 bits close up to 14 in lanes of 16 bits,
# those to 28 in lanes of 32, those to 56 in lanes of 64. _LANES holds (mask of the lower half, of the upper, shift).
_MOST = 160
_LANES = tuple(
    (
        int.from_bytes(((1 << width) - 1).to_bytes(octets, "little") * (_MOST // octets), "little"),
        int.from_bytes((((1 << width) - 1) << octets * 4).to_bytes(octets, "little") * (_MOST // octets), "little"),
        octets * 4 - width,
    )
    for width, octets in ((7, 2), (14, 4), (28, 8))
)
# In place of a header of so many octets: the septets that it takes up, fill bits included.
_SKIPPED = tuple(bytes((header * 8 + 6) // 7) for header in range(_MOST * 7 // 8))


def pack(septets: bytes, header: int = 0) -> bytes:
    """Octets of `septets` as user data behind a header of `header` octets.

    At most 160 septets, those the header takes up included. Fill bits align the first septet to a septet boundary
    counted from the start of the header (3GPP TS 23.040, section 9.2.3.24); spare bits at the end are 0.
    """
    septets = _SKIPPED[header] + septets
    lanes = int.from_bytes(septets, "little")
    for low, high, shift in _LANES:
        lanes = lanes & low | (lanes & high) >> shift
    octets = bytearray(lanes.to_bytes((len(septets) + 7) // 8 * 8, "little"))
    del octets[7::8]
    return bytes(octets[header : (len(septets) * 7 + 7) // 8])


def unpack(payload: bytes, count: int, header: int = 0) -> bytes:
    """The `count` septets of a `payload` that `pack` made with the same `header`.

    The count has to be given: seven spare bits at the end look like one more septet 0, which is `@`.
    """
    skipped = len(_SKIPPED[header])
    bits = int.from_bytes(bytes(header) + payload, "little")
    return bytes([bits >> 7 * place & 0x7F for place in range(skipped, skipped + count)])


def pack_all(septets: bytes) -> bytes:
    """Octets of any number of septets in one stream without header: 160 of them fill whole octets."""
    return b"".join([pack(septets[start : start + _MOST]) for start in range(0, len(septets), _MOST)])


def unpack_all(payload: bytes, count: int) -> bytes:
    """The `count` septets that `pack_all` was given."""
    starts = range(0, count, _MOST)
    return b"".join([unpack(payload[s * 7 // 8 :][: _MOST * 7 // 8], min(_MOST, count - s)) for s in starts])
