"""From a text to the user data of its parts, and back (3GPP TS 23.038 and 23.040)."""

from collections.abc import Callable

import msgspec

from pipeline.text import clusters
from pipeline.text.alphabet import DEFAULT, pack, pack_all, unpack, unpack_all
from pipeline.text.choice import GSM7, PLAIN_GSM7, SEPTETS_ALONE, UCS2, Fit, choose, splits_pair
from pipeline.text.cutting import soft_ends
from pipeline.text.national import alphabet
from pipeline.text.wire import PLAIN, Wire
from schemas.errors import Error


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One part's user data: header, what stands behind it, and its length in septets or UTF-16 code units.

    `characters` is needed to unpack GSM-7 (TP-UDL less the header): octets alone cannot tell a last `@` from padding.
    """

    udh: bytes
    payload: bytes
    characters: int


class Encoded(msgspec.Struct, frozen=True, array_like=True):
    """A text ready for a carrier. `encoding` is "GSM-7" or "UCS-2"; `characters` counts septets (escapes included)
    or UTF-16 code units. `count` is the number of parts that are sent and paid for; `parts` are as many, or one where
    the carrier cuts it. `locking` and `single` are national language identifiers, 0 for the default tables."""

    encoding: str
    characters: int
    parts: list[Part]
    count: int
    locking: int = 0
    single: int = 0


class Measured(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a text costs: the fields of the same names in `Encoded`."""

    encoding: str
    characters: int
    count: int
    locking: int = 0
    single: int = 0


def encode(text: str, *, wire: Wire = PLAIN, reference: int = 0, max_parts: int = 10) -> Encoded | Error:
    """Choose the cheapest encoding that `wire` carries and cut `text` into parts.

    No part ends inside an escape or surrogate pair, nor inside a grapheme cluster where that costs no further part.
    `reference` ties the parts of one message together: 16 bits, of which an 8-bit header takes the lower. The text is
    taken as it is: `normalise` it before.
    Errors: 3004 empty, 3005 more than `max_parts` (the header allows 255 at most), 3014 a lone surrogate or a control
    character outside GSM-7.
    """
    septets = DEFAULT.to_septets(text)
    if septets is not None and 0 < len(septets) <= SEPTETS_ALONE:
        return Encoded(GSM7, len(septets), [Part(b"", pack(septets), len(septets))], 1)
    fit = choose(text, septets, wire, max_parts)
    if isinstance(fit, Error):
        return fit
    form = fit.form
    return Encoded(
        form.encoding, fit.length, _parts(text, fit, wire, reference), len(fit.ends), form.locking, form.single
    )


def measure(text: str, *, wire: Wire = PLAIN, max_parts: int = 10) -> Measured | Error:
    """What `encode` would say of `text`, errors included, without its octets."""
    septets = DEFAULT.to_septets(text)
    if septets is not None and 0 < len(septets) <= SEPTETS_ALONE:
        return Measured(GSM7, len(septets), 1)
    fit = choose(text, septets, wire, max_parts)
    if isinstance(fit, Error):
        return fit
    return Measured(fit.form.encoding, fit.length, len(fit.ends), fit.form.locking, fit.form.single)


def decode(encoded: Encoded) -> str:
    """The text that `encode` was given."""
    if encoded.encoding == UCS2:
        return b"".join([part.payload for part in encoded.parts]).decode("utf-16-be")
    septets = [
        unpack(part.payload, part.characters, len(part.udh)) if part.udh else unpack_all(part.payload, part.characters)
        for part in encoded.parts
    ]
    return alphabet(encoded.locking, encoded.single).from_septets(b"".join(septets))


def _parts(text: str, fit: Fit, wire: Wire, reference: int) -> list[Part]:
    if wire.concatenation == "payload":
        return [Part(b"", fit.units if fit.form.encoding == UCS2 else pack_all(fit.units), fit.length)]
    ends = _ends(text, fit)
    spans = zip(_headers(fit, wire, reference), [0, *ends], ends, strict=False)
    if fit.form.encoding == UCS2:
        return [Part(udh, fit.units[2 * start : 2 * end], end - start) for udh, start, end in spans]
    return [Part(udh, pack(fit.units[start:end], len(udh)), end - start) for udh, start, end in spans]


def _ends(text: str, fit: Fit) -> list[int]:
    """Where parts end: at a border of grapheme clusters where that costs no part."""
    if len(fit.ends) == 1:
        return fit.ends
    # The only cluster of several characters in plain GSM-7 is CR LF.
    if "\r\n" not in text if fit.form is PLAIN_GSM7 else clusters.plain(text):
        return fit.ends
    size: Callable[[str], int]
    if fit.length == len(text):
        size = len
    elif fit.form.encoding == UCS2:
        size = _utf16_length
    else:
        size = alphabet(fit.form.locking, fit.form.single).length
    return soft_ends(fit.ends, fit.size, splits_pair(fit.form, fit.units), clusters.borders(text, size))


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-be")) // 2


def _headers(fit: Fit, wire: Wire, reference: int) -> list[bytes]:
    """The user data header of each part (3GPP TS 23.040, section 9.2.3.24), empty where it holds no element."""
    total = len(fit.ends)
    if wire.concatenation == "sar":
        return [b""] * total
    shifts = fit.form.shifts
    if total == 1:
        return [bytes((len(shifts),)) + shifts if shifts else b""]
    if wire.concatenation == "16-bit":
        start = bytes((6 + len(shifts), 0x08, 4, reference >> 8 & 0xFF, reference & 0xFF, total))
    else:
        start = bytes((5 + len(shifts), 0x00, 3, reference & 0xFF, total))
    return [start + bytes((number,)) + shifts for number in range(1, total + 1)]
