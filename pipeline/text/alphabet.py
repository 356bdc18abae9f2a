"""GSM 7-bit default alphabet, its extension table, and packing (3GPP TS 23.038, sections 6.1.2.1 and 6.2.1)."""

import re

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

# Escape itself is no character of the alphabet.
_CHARACTERS = "".join(c for c in _DEFAULT if c != chr(ESCAPE)) + "".join(_EXTENSION)

# ASCII outside the alphabet must not pass as the septet of the same value, so it becomes what ASCII does not hold.
_SEPTETS: dict[int, str] = {
    **dict.fromkeys(range(128), "\uffff"),
    **{ord(c): chr(septet) for septet, c in enumerate(_DEFAULT) if septet != ESCAPE},
    **{ord(c): chr(ESCAPE) + chr(septet) for c, septet in _EXTENSION.items()},
}
_OUTSIDE = re.compile(f"[^{re.escape(_CHARACTERS)}]")
_ESCAPED = re.compile("\x1b(.)", re.DOTALL)
_UNESCAPED = {_DEFAULT[septet]: c for c, septet in _EXTENSION.items()}

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


def to_septets(text: str) -> bytes | None:
    """The septets of `text`, one an octet, extension characters as two; None if a character is outside GSM-7."""
    septets = text.translate(_SEPTETS)
    return septets.encode("ascii") if septets.isascii() else None


def from_septets(septets: bytes) -> str:
    """The text of `septets`. An escape before a septet without extension character shows the default one (6.2.1.1)."""
    text = "".join([_DEFAULT[septet] for septet in septets])
    return _ESCAPED.sub(lambda pair: _UNESCAPED.get(pair[1], pair[1]), text)


def outside(text: str) -> list[tuple[str, int]]:
    """Characters of `text` outside GSM-7, each with its index in code points."""
    return [(found[0], found.start()) for found in _OUTSIDE.finditer(text)]


def pack(septets: bytes, header: int = 0) -> bytes:
    """Octets of `septets` as user data behind a header of `header` octets.

    At most 160 septets, those the header takes up included. Fill bits align the first septet to a septet boundary
    counted from the start of the header (3GPP TS 23.040, section 9.2.3.24); spare bits at the end are 0.
    """
    septets = bytes(_header_septets(header)) + septets
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
    skipped = _header_septets(header)
    bits = int.from_bytes(bytes(header) + payload, "little")
    return bytes([bits >> 7 * place & 0x7F for place in range(skipped, skipped + count)])


def _header_septets(header: int) -> int:
    return (header * 8 + 6) // 7
