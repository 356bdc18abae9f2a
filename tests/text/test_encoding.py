import time

import gsmcodecs  # noqa: F401  # registers the codec that the alphabet is held against
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import GSM7, LANGUAGES, PLAIN, UCS2, Encoded, Measured, Wire, decode, encode, measure
from pipeline.text.alphabet import DEFAULT, pack, pack_all, unpack_all
from pipeline.text.national import alphabet
from schemas.errors import EMPTY_MESSAGE, INVALID_TEXT, TOO_MANY_PARTS, Error

GSM_CHARACTERS = "".join(bytes([s]).decode("gsm23.038") for s in range(128) if s != 0x1B) + "\f^{}\\[~]|€"
SENDABLE = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\f")
GSM_TEXT = st.text(st.sampled_from(GSM_CHARACTERS), min_size=1, max_size=700)
ANY_TEXT = st.text(SENDABLE, min_size=1, max_size=400)
EVERYTHING = st.text(st.characters(), max_size=300)
NATIONAL = "".join(sorted(set().union(*(alphabet(n, n).characters for n in LANGUAGES.values() if n != 2))))
WIRES = st.builds(
    Wire,
    st.lists(st.sampled_from(sorted(LANGUAGES.values())), unique=True).map(tuple),
    st.sampled_from(["8-bit", "16-bit", "sar", "payload"]),
)


def encoded(text: str, reference: int = 0, max_parts: int = 255) -> Encoded:
    found = encode(text, reference=reference, max_parts=max_parts)
    assert isinstance(found, Encoded), found
    return found


def by_shifting(septets: bytes, fill: int) -> bytes:
    """Packing as 3GPP TS 23.038, section 6.1.2.1.1, draws it: a stream of bits, lowest first."""
    bits = sum(septet << 7 * place + fill for place, septet in enumerate(septets))
    return bits.to_bytes((len(septets) * 7 + fill + 7) // 8, "little")


@pytest.mark.parametrize(
    ("text", "encoding", "characters", "parts"),
    [
        ("a" * 160, GSM7, 160, 1),
        ("a" * 161, GSM7, 161, 2),
        ("a" * 306, GSM7, 306, 2),
        ("a" * 307, GSM7, 307, 3),
        ("]" * 80, GSM7, 160, 1),
        ("]" * 153, GSM7, 306, 3),
        ("a" * 152 + "]" + "a" * 152, GSM7, 306, 3),
        ("a" * 80 + "\r\n" + "a" * 79, GSM7, 161, 2),
        ("中" * 70, UCS2, 70, 1),
        ("中" * 71, UCS2, 71, 2),
        ("中" * 66 + "😀" + "中" * 66, UCS2, 134, 3),
        ("😀" * 35, UCS2, 70, 1),
        ("😀" * 36, UCS2, 72, 2),
        ("😀" * 67, UCS2, 134, 3),
        ("Ç", GSM7, 1, 1),
        ("ç", UCS2, 1, 1),
        ("ç]€", UCS2, 3, 1),
        ("^{}\\[~]|€\f", GSM7, 20, 1),
        ("`", UCS2, 1, 1),
    ],
)
def test_alphabet_characters_and_parts(text: str, encoding: str, characters: int, parts: int) -> None:
    found = encoded(text)
    assert (found.encoding, found.characters, len(found.parts)) == (encoding, characters, parts)
    assert sum(part.characters for part in found.parts) == characters


def test_the_known_packing_of_hellohello() -> None:
    (part,) = encoded("hellohello").parts
    assert part.payload.hex() == "e8329bfd4697d9ec37"
    assert part.udh == b""


def test_parts_are_numbered_and_one_fill_bit_follows_the_header() -> None:
    found = encoded("a" * 161, reference=0xAB)
    assert [part.udh.hex() for part in found.parts] == ["050003ab0201", "050003ab0202"]
    assert found.parts[1].payload == by_shifting(b"a" * 8, fill=1)
    assert len(found.parts[0].udh + found.parts[0].payload) == 140


@pytest.mark.parametrize(
    ("wire", "text", "udh", "sizes"),
    [
        (PLAIN, "a" * 161, "050003cd0201", [153, 8]),
        (PLAIN, "中" * 71, "050003cd0201", [67, 4]),
        (Wire((), "16-bit"), "a" * 161, "060804abcd0201", [152, 9]),
        (Wire((), "16-bit"), "中" * 71, "060804abcd0201", [66, 5]),
        (Wire((), "16-bit"), "a" * 160, "", [160]),
        (Wire((), "16-bit"), "中" * 70, "", [70]),
        (Wire((), "sar"), "a" * 161, "", [153, 8]),
        (Wire((), "sar"), "中" * 71, "", [67, 4]),
        (Wire((), "payload"), "a" * 161, "", [161]),
        (Wire((), "payload"), "中" * 71, "", [71]),
    ],
)
def test_ways_to_join_parts(wire: Wire, text: str, udh: str, sizes: list[int]) -> None:
    found = encode(text, wire=wire, reference=0xABCD)
    assert isinstance(found, Encoded)
    assert [part.characters for part in found.parts] == sizes
    assert found.parts[0].udh.hex() == udh
    assert found.count == (2 if len(text) in (161, 71) else 1)
    assert decode(found) == text


@settings(deadline=None)
@given(GSM_TEXT)
def test_a_payload_is_one_stream_of_septets(text: str) -> None:
    septets = DEFAULT.to_septets(text)
    assert septets is not None
    assert pack_all(septets) == by_shifting(septets, fill=0)
    assert unpack_all(pack_all(septets), len(septets)) == septets


def test_ucs2_is_utf16_big_endian() -> None:
    (part,) = encoded("ç😀").parts
    assert part.payload.hex() == "00e7d83dde00"


def test_every_septet_as_an_independent_codec_has_it() -> None:
    for character in GSM_CHARACTERS:
        assert DEFAULT.to_septets(character) == character.encode("gsm23.038")
    for code in range(0x2FF):
        if chr(code) not in GSM_CHARACTERS:
            assert DEFAULT.to_septets(chr(code)) is None


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=153).map(lambda octets: bytes(octet & 0x7F for octet in octets)))
def test_packing_behind_any_header(septets: bytes) -> None:
    assert pack(septets) == by_shifting(septets, fill=0)
    assert pack(septets, header=6) == by_shifting(septets, fill=1)
    assert pack(septets, header=7) == by_shifting(septets, fill=0)
    assert pack(septets[:148], header=10) == by_shifting(septets[:148], fill=4)


@settings(deadline=None)
@given(GSM_TEXT)
def test_gsm7_text_comes_back(text: str) -> None:
    found = encoded(text)
    assert found.encoding == GSM7
    assert decode(found) == text


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text_comes_back(text: str) -> None:
    found = encoded(text)
    assert decode(found) == text
    assert found.encoding == (GSM7 if set(text) <= set(GSM_CHARACTERS) else UCS2)


@settings(deadline=None)
@given(GSM_TEXT | ANY_TEXT)
def test_parts_hold_whole_characters_and_no_more_than_140_octets(text: str) -> None:
    found = encoded(text)
    for part in found.parts:
        assert len(part.udh) + len(part.payload) <= 140
        alone = Encoded(found.encoding, part.characters, [part], 1)
        assert "\x1b" not in decode(alone)
    assert "".join(decode(Encoded(found.encoding, part.characters, [part], 1)) for part in found.parts) == text


def test_an_at_sign_beside_padding_comes_back() -> None:
    text = "a" * 152 + "@€" + "a" * 150 + "€" + "a" * 7
    assert decode(encoded(text)) == text
    assert decode(encoded("@" * 8)) == "@" * 8
    assert decode(encoded("@" * 7)) == "@" * 7


def test_an_empty_text_is_refused() -> None:
    assert encode("") == Error(EMPTY_MESSAGE, "the text is empty")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ab\x00", "U+0000 at index 2 is a control character"),
        ("\ta", "U+0009 at index 0 is a control character and cannot be sent: remove it, or let transliterate"),
        ("a\x1be", "U+001B at index 1"),
        ("中\x7f", "U+007F at index 1"),
        ("😀\x85", "U+0085 at index 1"),
        ("a\ud83d", "U+D83D at index 1 is half a surrogate pair"),
        ("😀\ude00", "U+DE00 at index 1"),
    ],
)
def test_what_no_sms_carries_is_refused_by_name_and_place(text: str, named: str) -> None:
    error = encode(text)
    assert isinstance(error, Error)
    assert error.code == INVALID_TEXT
    assert named in error.message


def test_too_many_parts_are_refused_with_their_number_and_the_limit() -> None:
    error = encode("a" * 1531)
    assert isinstance(error, Error)
    assert error.code == TOO_MANY_PARTS
    assert "11 parts, at most 10" in error.message
    assert isinstance(encode("a" * 1530), Encoded)
    assert isinstance(encode("a" * 161, max_parts=1), Error)


def test_no_more_parts_than_the_header_can_number() -> None:
    assert len(encoded("a" * 153 * 255, max_parts=1000).parts) == 255
    error = encode("a" * (153 * 255 + 1), max_parts=1000)
    assert isinstance(error, Error)
    assert "256 parts, at most 255" in error.message


@settings(deadline=None)
@given(EVERYTHING | ANY_TEXT | st.text(st.sampled_from(NATIONAL), max_size=300), WIRES, st.sampled_from([1, 3, 255]))
def test_any_text_over_any_wire_comes_back_or_is_refused(text: str, wire: Wire, max_parts: int) -> None:
    found = encode(text, wire=wire, max_parts=max_parts)
    measured = measure(text, wire=wire, max_parts=max_parts)
    if isinstance(found, Error):
        assert measured == found
        assert found.code in (EMPTY_MESSAGE, TOO_MANY_PARTS, INVALID_TEXT)
        return
    assert measured == Measured(found.encoding, found.characters, found.count, found.locking, found.single)
    assert decode(found) == text
    assert sum(part.characters for part in found.parts) == found.characters
    assert found.count <= max_parts
    if wire.concatenation == "payload":
        assert len(found.parts) == 1
    else:
        assert len(found.parts) == found.count
        assert all(len(part.udh) + len(part.payload) <= 140 for part in found.parts)


@pytest.mark.parametrize("wire", [PLAIN, Wire(tuple(LANGUAGES.values()))])
@pytest.mark.parametrize(
    "text",
    ["a", "€", "中", "😀", "ç", "ş€", "अ", "क्षि", "\ud800", "\x00", "a\u0301", "\u0301", "🇮", "👩\u200d", "\r\n", "1["],
)
def test_long_texts_take_milliseconds(text: str, wire: Wire) -> None:
    for length in (10_000, 30_000, 100_000):
        long = (text * length)[:length]
        started = time.perf_counter()
        encode(long, wire=wire, max_parts=255)
        encode(long, wire=wire)
        measure(long, wire=wire)
        # 50 ms for 10,000 characters, and some for a busy machine.
        assert time.perf_counter() - started < 3 * 2 * 0.050 * length / 10_000
