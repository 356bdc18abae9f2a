"""From a text to the user data of its parts, and back (3GPP TS 23.038 and 23.040)."""

import re
from collections.abc import Callable

import msgspec

from pipeline.text import alphabet
from schemas.errors import EMPTY_MESSAGE, INVALID_TEXT, TOO_MANY_PARTS, Error

GSM7 = "GSM-7"
UCS2 = "UCS-2"

# Units that one part holds, alone and behind the concatenation header: septets, UTF-16 code units.
_GSM7_SIZES = (160, 153)
_UCS2_SIZES = (70, 67)
#: Octets of the concatenation header with 8-bit reference (3GPP TS 23.040, section 9.2.3.24.1).
_HEADER = 6
#: The header numbers parts in one octet.
_MOST_PARTS = 255

# Surrogates stand in a Python string only when alone. LF, CR and FF are characters of GSM-7.
_FORBIDDEN = re.compile("[\x00-\x09\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One part's user data: header, what stands behind it, and its length in septets or UTF-16 code units.

    `characters` is needed to unpack GSM-7 (TP-UDL less the header): octets alone cannot tell a last `@` from padding.
    """

    udh: bytes
    payload: bytes
    characters: int


class Encoded(msgspec.Struct, frozen=True, array_like=True):
    """A text ready for a carrier. `encoding` is "GSM-7" or "UCS-2"; `characters` counts septets (escapes included)
    or UTF-16 code units; `len(parts)` is the message count."""

    encoding: str
    characters: int
    parts: list[Part]


def encode(text: str, *, reference: int = 0, max_parts: int = 10) -> Encoded | Error:
    """Choose the alphabet and cut `text` into parts, never through an escape or a surrogate pair.

    `reference` (0-255) ties the parts of one message together. The text is taken as it is: `normalise` it before.
    Errors: 3004 empty, 3005 more than `max_parts` (the header allows 255 at most), 3014 a lone surrogate or a control
    character outside GSM-7.
    """
    if not text:
        return Error(EMPTY_MESSAGE, "the text is empty")
    septets = alphabet.to_septets(text)
    if septets is not None:
        return _encode_gsm7(septets, reference, max_parts)
    if forbidden := _FORBIDDEN.search(text):
        code_point = f"U+{ord(forbidden[0]):04X}"
        return Error(INVALID_TEXT, f"character {code_point} at index {forbidden.start()} cannot be sent: remove it")
    return _encode_ucs2(text.encode("utf-16-be"), reference, max_parts)


def decode(encoded: Encoded) -> str:
    """The text that `encode` was given."""
    if encoded.encoding == UCS2:
        return b"".join([part.payload for part in encoded.parts]).decode("utf-16-be")
    septets = [alphabet.unpack(part.payload, part.characters, len(part.udh)) for part in encoded.parts]
    return alphabet.from_septets(b"".join(septets))


def _encode_gsm7(septets: bytes, reference: int, max_parts: int) -> Encoded | Error:
    length = len(septets)
    if length <= _GSM7_SIZES[0]:
        return Encoded(GSM7, length, [Part(b"", alphabet.pack(septets), length)])
    ends = _ends(length, _GSM7_SIZES, lambda end: septets[end - 1] == alphabet.ESCAPE)
    if refusal := _too_many(ends, max_parts):
        return refusal
    chunks = [septets[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return Encoded(
        GSM7,
        length,
        [
            Part(_header(reference, len(chunks), number), alphabet.pack(chunk, _HEADER), len(chunk))
            for number, chunk in enumerate(chunks, 1)
        ],
    )


def _encode_ucs2(octets: bytes, reference: int, max_parts: int) -> Encoded | Error:
    length = len(octets) // 2
    ends = _ends(length, _UCS2_SIZES, lambda end: 0xD8 <= octets[2 * end - 2] < 0xDC)
    if refusal := _too_many(ends, max_parts):
        return refusal
    return Encoded(
        UCS2,
        length,
        [
            Part(_header(reference, len(ends), number), octets[2 * start : 2 * end], end - start)
            for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), 1)
        ],
    )


def _ends(length: int, sizes: tuple[int, int], splits_pair: Callable[[int], bool]) -> list[int]:
    """Where each part ends, in units; `splits_pair(end)` says whether a cut there parts what belongs together."""
    alone, joined = sizes
    if length <= alone:
        return [length]
    ends = []
    end = joined
    while end < length:
        end -= splits_pair(end)
        ends.append(end)
        end += joined
    return [*ends, length]


def _too_many(ends: list[int], max_parts: int) -> Error | None:
    limit = min(max_parts, _MOST_PARTS)
    if len(ends) <= limit:
        return None
    return Error(TOO_MANY_PARTS, f"the text would need {len(ends)} parts, at most {limit} are allowed: shorten it")


def _header(reference: int, total: int, number: int) -> bytes:
    return bytes((0x05, 0x00, 0x03, reference, total, number)) if total > 1 else b""
