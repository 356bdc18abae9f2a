import gsmcodecs  # noqa: F401  # registers the codecs that the tables are held against
import pytest

from pipeline.text import GSM7, LANGUAGES, UCS2, Encoded, Measured, Wire, decode, encode, measure
from pipeline.text.alphabet import DEFAULT
from pipeline.text.national import alphabet

SPANISH, BENGALI, HINDI, KANNADA = (LANGUAGES[name] for name in ("spanish", "bengali", "hindi", "kannada"))
ALL = range(1, 14)
COMMA = 0x2C
# gsmcodecs 1.0.0 has an apostrophe where the locking shift tables of these languages have a comma.
WITH_COMMA = {(language, single) for language in range(BENGALI, 14) for single in (0, language)}
PAIRS = [*[(0, n) for n in ALL], *[(n, 0) for n in ALL if n != SPANISH], *[(n, n) for n in ALL if n != SPANISH]]


def of_codec(locking: int, single: int) -> tuple[dict[int, str], dict[int, str]]:
    """Basic and extension table by septet, as gsmcodecs decodes."""

    def table(before: bytes) -> dict[int, str]:
        found: dict[int, str] = {}
        for septet in range(128):
            if septet != 0x1B:
                decoded = (before + bytes([septet])).decode(f"gsm23.038-{locking}-{single}", errors="ignore")
                found |= {septet: decoded} if decoded else {}
        return found

    return table(b""), table(b"\x1b")


def test_every_language_of_the_standard() -> None:
    assert sorted(LANGUAGES.values()) == list(ALL)
    assert alphabet(0, 0) is DEFAULT


@pytest.mark.parametrize(("locking", "single"), PAIRS)
def test_every_code_point_comes_back_through_an_independent_codec(locking: int, single: int) -> None:
    ours = alphabet(locking, single)
    codec = f"gsm23.038-{locking}-{single}"
    basic, extension = of_codec(locking, single)
    theirs = set(basic.values()) | set(extension.values())
    for character in ours.characters:
        septets = ours.to_septets(character)
        assert septets is not None and ours.from_septets(septets) == character
        if character == "," and (locking, single) in WITH_COMMA:
            assert septets == bytes([COMMA]) and septets.decode(codec) == "'"
        else:
            assert septets.decode(codec) == character
    for character in theirs:
        septets = character.encode(codec)
        if septets == bytes([COMMA]) and (locking, single) in WITH_COMMA:
            assert character == "'"
        else:
            assert ours.from_septets(septets) == character or (locking, septets) == (KANNADA, b"\x24")
    missing, more = ({"'"}, {","}) if (locking, 0) in WITH_COMMA else (set(), set())
    assert theirs - ours.characters == (missing if not single else set())
    assert ours.characters - theirs == more


@pytest.mark.parametrize(("locking", "single"), PAIRS)
def test_tables_septet_by_septet(locking: int, single: int) -> None:
    ours = alphabet(locking, single)
    basic, extension = of_codec(locking, single)
    for septet, character in basic.items():
        if not ((septet == COMMA and (locking, 0) in WITH_COMMA) or (locking, septet) == (KANNADA, 0x24)):
            assert ours.from_septets(bytes([septet])) == character
    for septet, character in extension.items():
        assert ours.from_septets(bytes([0x1B, septet])) == character
    for septet in set(range(128)) - set(extension) - {0x1B}:
        # Without an extension character the basic one is shown (6.2.1.1).
        assert ours.from_septets(bytes([0x1B, septet])) == ours.from_septets(bytes([septet]))


def test_the_comma_that_handsets_show_is_sent() -> None:
    # 3GPP TS 23.038, annexes A.3.4 to A.3.13: 2C is a comma; the apostrophe is 09 of the single shift tables.
    for language in range(BENGALI, 14):
        assert alphabet(language, 0).to_septets(",") == b"\x2c"
        assert alphabet(language, 0).to_septets("'") is None
        assert alphabet(language, language).to_septets("'") == b"\x1b\x09"


def test_what_handsets_read_differently_is_not_sent() -> None:
    # 24 of Kannada's locking shift table: U+0CAA by the letter of the standard, U+0CA1 on Android.
    assert alphabet(KANNADA, 0).to_septets("\u0caa") == b"\x3d"
    assert alphabet(KANNADA, 0).to_septets("\u0ca1") is None


TURKISH_TEXT = "Değerli müşterimiz, siparişiniz kargoya verildi. Takip için uygulamamıza giriniz; teşekkür ederiz!"


@pytest.mark.parametrize(
    ("text", "languages", "expected"),
    [
        # One part as UCS-2: a shift table gains nothing, and every handset reads UCS-2.
        ("ş" * 70, (1,), Measured(UCS2, 70, 1)),
        # 71 letters: 2 x 71 septets with the single shift, and it is preferred to the locking shift at a tie.
        ("ş" * 71, (1,), Measured(GSM7, 142, 1, 0, 1)),
        ("ş" * 71, (), Measured(UCS2, 71, 2)),
        ("ş" * 77, (1,), Measured(GSM7, 154, 1, 0, 1)),
        # 78 need 156 septets with the single shift, one more than a part has: the locking shift has them as one each.
        ("ş" * 78, (1,), Measured(GSM7, 78, 1, 1, 0)),
        ("ş" * 155, (1,), Measured(GSM7, 155, 1, 1, 0)),
        ("ş" * 156, (1,), Measured(GSM7, 156, 2, 1, 0)),
        (TURKISH_TEXT, (1,), Measured(GSM7, len(TURKISH_TEXT) + 6, 1, 0, 1)),
        # Spanish has no locking shift.
        ("á" * 71, (2,), Measured(GSM7, 142, 1, 0, 2)),
        ("á" * 78, (2,), Measured(UCS2, 78, 2)),
        # € is one septet in the Turkish locking shift table: 160 fit 155, 81 of them do not fit 160 as pairs.
        ("€" * 80, (1,), Measured(GSM7, 160, 1)),
        ("€" * 81, (1,), Measured(GSM7, 81, 1, 1, 0)),
        ("€" * 81, (), Measured(GSM7, 162, 2)),
        # Digits of Hindi are in the single shift table only: locking and single shift together.
        ("अ" * 100 + "१", (6,), Measured(GSM7, 102, 1, 6, 6)),
        ("अ" * 148 + "१" * 2, (6,), Measured(GSM7, 152, 1, 6, 6)),
        ("अ" * 149 + "१" * 2, (6,), Measured(GSM7, 153, 2, 6, 6)),
        # The language that holds the text is found among several.
        ("ப" * 80, (1, 6, 11), Measured(GSM7, 80, 1, 11, 0)),
        # No language holds both.
        ("ப" * 40 + "अ" * 40, (6, 11), Measured(UCS2, 80, 2)),
        # Plain GSM-7 is never left where it costs no more.
        ("a" * 161, tuple(ALL), Measured(GSM7, 161, 2)),
    ],
)
def test_the_cheapest_encoding_is_chosen(text: str, languages: tuple[int, ...], expected: Measured) -> None:
    wire = Wire(languages)
    assert measure(text, wire=wire) == expected
    found = encode(text, wire=wire)
    assert isinstance(found, Encoded)
    assert (found.encoding, found.characters, found.count, found.locking, found.single) == (
        expected.encoding, expected.characters, expected.count, expected.locking, expected.single,
    )  # fmt: skip
    assert decode(found) == text


@pytest.mark.parametrize(
    ("wire", "text", "udh", "septets"),
    [
        (Wire((1,)), "ş" * 77, "03240101", 154),
        (Wire((1,)), "ş" * 155, "03250101", 155),
        (Wire((6,)), "अ" * 148 + "११", "06240106250106", 152),
        (Wire((1,)), "ş" * 156, "080003cd0201250101", 149),
        (Wire((6,)), "अ" * 200 + "१", "0b0003cd0201240106250106", 146),
        (Wire((1,), "16-bit"), "ş" * 156, "090804abcd0201250101", 148),
        (Wire((6,), "16-bit"), "अ" * 200 + "१", "0c0804abcd0201240106250106", 145),
    ],
)
def test_headers_and_the_room_behind_them(wire: Wire, text: str, udh: str, septets: int) -> None:
    found = encode(text, wire=wire, reference=0xABCD)
    assert isinstance(found, Encoded)
    assert found.parts[0].udh.hex() == udh
    assert found.parts[0].characters == septets
    assert 138 <= len(found.parts[0].udh + found.parts[0].payload) <= 140
    assert decode(found) == text


@pytest.mark.parametrize("concatenation", ["sar", "payload"])
def test_without_a_header_no_shift_table(concatenation: str) -> None:
    wire = Wire((1,), concatenation)  # type: ignore[arg-type]
    assert measure("ş" * 71, wire=wire) == Measured(UCS2, 71, 2)
