import msgspec
import pytest

from pipeline.moderation import Rules, Term, parse_terms


def test_a_list_is_a_term_a_line_with_comments_and_blank_lines() -> None:
    lines = ["\ufeff# gambling\n", "casino\n", "\n", "  free money  \r\n", "casino\n", "Casino\n"]
    assert parse_terms(lines) == (Term("casino"), Term("free money"), Term("Casino"))
    assert parse_terms(["# only a comment"]) == ()


def test_options_follow_the_term_in_any_order() -> None:
    (term,) = parse_terms(["casino | country=it, ES | flag | account=acme,other"])
    assert term == Term("casino", "flag", accounts=("acme", "other"), countries=("IT", "ES"))
    assert parse_terms(["poker | BLOCK"]) == (Term("poker"),)


@pytest.mark.parametrize(
    ("line", "term"),
    [
        ("casino*", Term("casino", open_end=True)),
        ("*casino", Term("casino", open_start=True)),
        ("*casino* | flag", Term("casino", "flag", open_start=True, open_end=True)),
        ("f*ck", Term("f*ck")),
        ("a\\*", Term("a*")),
        ("\\*a", Term("*a")),
        ("\\#casino", Term("#casino")),
        ("***", Term("***")),
        ("c++", Term("c++")),
        ("a|b", Term("a|b")),
        ("a=b, c", Term("a=b, c")),
        ("gioco d'azzardo", Term("gioco d'azzardo")),
    ],
)
def test_a_star_opens_an_end_and_any_other_character_stands_for_itself(line: str, term: Term) -> None:
    assert parse_terms([line]) == (term,)


def test_every_fault_is_told_with_its_line() -> None:
    faults = parse_terms(["casino | flg", "ok", "| flag", "x | country=Italy,IT", "y | flag | block", "z | account="])
    assert faults == [
        "line 1: 'flg' is none of block, flag, country=…, account=…",
        "line 3: no term",
        "line 4: 'ITALY' is no country of two letters",
        "line 5: severity is given twice",
        "line 6: 'account=' is none of block, flag, country=…, account=…",
    ]


def test_a_term_is_a_record_of_json() -> None:
    term = Term("casino", "flag", accounts=("acme",), countries=("IT",), open_end=True)
    encoded = msgspec.json.encode(term)
    assert encoded == b'{"text":"casino","severity":"flag","accounts":["acme"],"countries":["IT"],"open_end":true}'
    assert msgspec.json.decode(encoded, type=Term) == term
    assert msgspec.json.decode(b'{"text":"casino"}', type=Term) == Term("casino")


def test_an_open_end_is_found_inside_longer_words() -> None:
    rules = Rules(
        [Term("casin", open_end=True), Term("poker", open_start=True), Term("bingo", "flag", (), (), True, True)]
    )
    assert [hit.term for hit in rules.find("casinos videopoker superbingonight")] == ["casin", "poker", "bingo"]
    assert rules.find("acasino pokers") == []
    assert [hit.term for hit in rules.find("c4s1nos VIDE0P0KER süperb1ngonight")] == ["casin", "poker", "bingo"]
