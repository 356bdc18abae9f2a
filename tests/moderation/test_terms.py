import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.moderation import EMPTY, Hit, TermList


def terms(*lines: str) -> TermList:
    return TermList.parse(lines)


def test_a_list_is_a_term_a_line_with_comments_and_blank_lines() -> None:
    listed = TermList.parse(["# gambling\n", "casino\n", "\n", "  free money  \r\n", "Casino\n"])
    assert len(listed) == 2
    assert listed.find("FREE MONEY at the casino") == [Hit("free money", 0, 10), Hit("casino", 18, 24)]


def test_nothing_is_found_by_an_empty_list() -> None:
    assert EMPTY.find("casino") == []
    assert len(terms("# only a comment")) == 0


@pytest.mark.parametrize("text", ["Scunthorpe", "casinos", "precasino", "casino2", "casinò casinoé"])
def test_a_part_of_a_word_is_no_hit(text: str) -> None:
    assert terms("cunt", "casino").find(text) == []


@pytest.mark.parametrize(
    "text", ["casino", "CASINO", "the Casino.", "(casino)", "online-casino", "_casino_", "casino\n"]
)
def test_a_whole_word_is_a_hit_in_any_case(text: str) -> None:
    (hit,) = terms("casino").find(text)
    assert text[hit.start : hit.end].lower() == "casino"


def test_a_term_that_ends_in_a_sign_needs_no_edge_there() -> None:
    assert terms("f*ck", "c++").find("f*ck c++17") == [Hit("f*ck", 0, 4), Hit("c++", 5, 8)]


def test_indices_refer_to_the_text_where_folding_changes_its_length() -> None:
    text = "Straße ﬁx İs CASINO"
    (hit,) = terms("casino").find(text)
    assert text[hit.start : hit.end] == "CASINO"
    assert terms("STRASSE", "fix").find(text) == [Hit("STRASSE", 0, 6), Hit("fix", 7, 9)]


def test_half_of_what_a_character_folds_to_is_no_hit() -> None:
    assert terms("s").find("ß") == []


def test_overlapping_terms_are_all_found() -> None:
    assert terms("sex", "sex ed").find("sex education") == [Hit("sex", 0, 3)]
    assert terms("free", "free money", "money").find("free money") == [
        Hit("free", 0, 4),
        Hit("free money", 0, 10),
        Hit("money", 5, 10),
    ]


def test_scripts_without_spaces_have_words_anywhere() -> None:
    assert terms("赌博").find("我们赌博吧") == [Hit("赌博", 2, 4)]
    assert terms("कर").find("करा") == []


def test_a_decomposed_term_meets_a_composed_text() -> None:
    assert terms("cafe\u0301").find("CAFÉ") == [Hit("cafe\u0301", 0, 4)]


@given(st.text(), st.text(alphabet="aAß ﬁİ中😀.", max_size=20), st.text())
def test_every_hit_folds_to_its_term(before: str, word: str, after: str) -> None:
    text = f"{before} {word} {after}"
    listed = TermList([word]) if word else EMPTY
    hits = listed.find(text)
    assert all(text[hit.start : hit.end].casefold() == hit.term.casefold() for hit in hits)
    assert not word or any(text[hit.start : hit.end] == word for hit in hits)


def test_time_grows_with_the_text_only() -> None:
    listed = TermList(f"term{n} word" for n in range(1000))
    long = "term" * 50_000 + " term1 word"
    started = time.perf_counter()
    assert len(listed.find(long)) == 1
    assert len(listed.find("ß" + long)) == 1
    assert time.perf_counter() - started < 1
