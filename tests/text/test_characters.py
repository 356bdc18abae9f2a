import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import GSM7, LOOKALIKES, UCS2, Encoded, encode, non_gsm, normalise, transliterate


def alphabet_of(text: str) -> str:
    found = encode(text)
    assert isinstance(found, Encoded), found
    return found.encoding


def test_composed_before_anything_else() -> None:
    assert alphabet_of("cafe\u0301") == UCS2
    assert alphabet_of(normalise("cafe\u0301")) == GSM7


def test_characters_that_made_it_ucs2() -> None:
    assert non_gsm("“Ça” ça 😀€") == [("“", 0), ("”", 3), ("ç", 5), ("😀", 8)]
    assert non_gsm("plain €{}") == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“quoted” ‘it’s’", "\"quoted\" 'it's'"),
        ("a – b — c", "a - b - c"),
        ("wait…", "wait..."),
        ("12\u00a0000\u202f€", "12 000 €"),
        ("• one", "* one"),
        ("ﬁn œuvre", "fin oeuvre"),
        ("perché ça Łódź Ñandú", "perché ca Lodz Ñandu"),
        ("zero\u200bwidth\ttab", "zerowidth tab"),
    ],
)
def test_look_alikes_make_it_gsm7(text: str, plain: str) -> None:
    result, made = transliterate(text)
    assert result == plain
    assert alphabet_of(result) == GSM7
    assert all(text[index] == original for index, original, _ in made)


def test_each_replacement_is_reported() -> None:
    assert transliterate("a–b…") == ("a-b...", [(1, "–", "-"), (3, "…", "...")])


def test_what_has_no_look_alike_stays() -> None:
    assert transliterate("中 © 😀 Ж") == ("中 © 😀 Ж", [])


def test_every_look_alike_is_outside_gsm7_and_its_replacement_inside() -> None:
    for original, replacement in LOOKALIKES.items():
        assert non_gsm(original)
        assert not non_gsm(replacement)


@given(st.text())
def test_replacements_account_for_every_difference(text: str) -> None:
    result, made = transliterate(text)
    replaced = {index: replacement for index, _, replacement in made}
    assert result == "".join(replaced.get(index, c) for index, c in enumerate(text))
