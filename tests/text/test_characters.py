import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import GSM7, LOOKALIKES, UCS2, Encoded, encode, non_gsm, normalise, transliterate
from pipeline.text.lookalikes import GROUPS


def alphabet_of(text: str) -> str:
    found = encode(text)
    assert isinstance(found, Encoded), found
    return found.encoding


def test_composed_before_anything_else() -> None:
    assert alphabet_of("cafe\u0301") == UCS2
    assert alphabet_of(normalise("cafe\u0301")) == GSM7


MARKS = "\u0301\u0327\u0315\u0338\u0323\u0344\u0f73\u0f75\u0f81\u0f71\u093c\u094d\u3099\u05b0\u0653"


@settings(deadline=None)
@given(st.text(st.sampled_from(MARKS + "ae\u00e9\u1100\u1161ሴ"), max_size=200) | st.text(max_size=100))
def test_normalised_as_unicode_has_it(text: str) -> None:
    assert normalise(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("shift", range(33))
def test_long_runs_of_marks_are_ordered_as_unicode_has_it(shift: int) -> None:
    text = "e" * shift + "\u0315\u0327\u0f73\u0301\u0344" * 30 + "a" + "\u0315\u0301" * 16 + "\u1100\u1161"
    assert normalise(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text", ["\u0315" * 50_000 + "\u0300" * 50_000, "\u0315\u0300" * 50_000, "\u0f73" * 100_000, "e\u0301" * 50_000]
)
def test_marks_by_the_thousand_take_milliseconds(text: str) -> None:
    started = time.perf_counter()
    normalise("e" + text)
    transliterate(text)
    assert time.perf_counter() - started < 10 * 0.050


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
        ("½ №5 ＨＥＬＬＯ！", "1/2 No.5 HELLO!"),
        ("ΚΑΛΗΜΕΡΑ ΑΘΉΝΑ", "KAΛHMEPA AΘHNA"),
        ("Þórður ǆ Ŀ", "Thordur dz L."),
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
        assert normalise(original) == original
    assert len(LOOKALIKES) == sum(len(listed) for group in GROUPS.values() for listed in group.values())


@settings(deadline=None)
@given(st.text())
def test_replacements_account_for_every_difference(text: str) -> None:
    result, made = transliterate(text)
    replaced = {index: replacement for index, _, replacement in made}
    assert result == "".join(replaced.get(index, c) for index, c in enumerate(text))
