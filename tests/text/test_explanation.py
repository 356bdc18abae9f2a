import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import GSM7, UCS2, Encoded, Option, Wire, encode, explain
from schemas.errors import EMPTY_MESSAGE, INVALID_TEXT, TOO_MANY_PARTS, Error

TURKISH = Wire((1,))


def test_plain_text() -> None:
    choice = explain("a" * 161)
    assert choice.options == (Option(GSM7, 0, 0, 161, 2), Option(UCS2, 0, 0, 161, 3))
    assert choice.chosen == 0
    assert choice.reason == "every character is in the GSM-7 alphabet: GSM-7 needs 2 parts, and nothing needs fewer"


def test_the_character_that_made_it_ucs2() -> None:
    choice = explain("Wait… “now” 😀 …")
    assert choice.chosen == 1
    assert choice.options[0] == Option(GSM7, 0, 0, None, None, (("…", 4), ("“", 6), ("”", 10), ("😀", 12)))
    assert choice.options[1] == Option(UCS2, 0, 0, 16, 1)
    assert choice.reason == (
        "'…' (U+2026) at index 4 is not in the GSM-7 alphabet; UCS-2 needs 1 part, and nothing needs fewer"
    )


def test_national_alphabets() -> None:
    choice = explain("ş" * 78, wire=TURKISH)
    assert choice.options == (
        Option(GSM7, 0, 0, None, None, (("ş", 0),)),
        Option(UCS2, 0, 0, 78, 2),
        Option(GSM7, 0, 1, 156, 2),
        Option(GSM7, 1, 0, 78, 1),
        Option(GSM7, 1, 1, 78, 1),
    )
    assert choice.chosen == 3
    assert choice.reason == (
        "'ş' (U+015F) at index 0 is not in the GSM-7 alphabet; GSM-7 with the Turkish locking shift needs 1 part, "
        "UCS-2 2 parts"
    )


def test_pairs_that_a_national_alphabet_has_as_one() -> None:
    choice = explain("€" * 81, wire=TURKISH)
    assert choice.chosen == 3
    assert choice.reason == "GSM-7 with the Turkish locking shift needs 1 part, GSM-7 2 parts"


@pytest.mark.parametrize(
    ("text", "code"),
    [("", EMPTY_MESSAGE), ("a\x00", INVALID_TEXT), ("\ud800", INVALID_TEXT), ("a" * 1531, TOO_MANY_PARTS)],
)
def test_what_cannot_be_sent(text: str, code: int) -> None:
    choice = explain(text)
    assert choice.chosen is None
    assert choice.error is not None and choice.error.code == code
    assert choice.reason == choice.error.message


def test_ten_characters_at_fault_are_named() -> None:
    (gsm7, ucs2) = explain("".join(map(chr, range(0x4E00, 0x4E00 + 50)))).options
    assert len(gsm7.faults) == 10
    assert ucs2.count == 1


@settings(deadline=None)
@given(
    st.text(max_size=200) | st.text(st.sampled_from("abş€]çáअ१ப,'中😀"), max_size=400),
    st.sampled_from([(), (1,), (1, 6, 11)]),
)
def test_it_explains_what_encode_does(text: str, languages: tuple[int, ...]) -> None:
    wire = Wire(languages)
    choice = explain(text, wire=wire)
    found = encode(text, wire=wire)
    if isinstance(found, Error):
        assert choice.error == found
        return
    assert isinstance(found, Encoded) and choice.chosen is not None
    chosen = choice.options[choice.chosen]
    assert chosen == Option(found.encoding, found.locking, found.single, found.characters, found.count)
    counts = [option.count for option in choice.options if option.count is not None]
    assert found.count == min(counts)
    assert all(option.count is None or option.count > found.count for option in choice.options[: choice.chosen])
    assert all((option.count is None) == bool(option.faults) for option in choice.options)
    assert all(text.index(character) == index for option in choice.options for character, index in option.faults)
