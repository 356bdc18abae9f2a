import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.text import LOOKALIKES, PLAIN, Measured, Template, Wire, as_sent, bulk, encode, fill, measure
from pipeline.text.templates import MOST_SLOTS
from schemas.errors import MISSING_FIELD, TOO_MANY_PARTS, Error

# What decides between the quick way and the slow: signs of one septet and of two, others of one unit and of two, what
# is replaced or cannot be sent, and marks that join with what stands before.
PIECES = [
    *"aé@ Ç€[ç…–中Ж😀\u0301\u0327\u1100\u1161\u094d\r\n\x00\t\ud800%{}",
    "e",
    "\u00e9",
    "%s",
    "a" * 60,
    "ж" * 30,
    "",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
SLOTS = st.sampled_from(["{{a}}", "{{b}}", "{{a|x}}", "{{b|}}", "{{c|ç}}"])
TEMPLATE = st.lists(TEXT | SLOTS, max_size=5).map("".join)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), TEXT | st.text(max_size=20)), max_size=6)
WIRES = st.sampled_from([PLAIN, Wire((), "16-bit"), Wire((1, 6)), Wire((), "sar")])


def one_by_one(
    template: Template, rows: list[dict[str, str]], transliterated: bool, wire: Wire, max_parts: int
) -> list[tuple[str, Measured] | Error]:
    found: list[tuple[str, Measured] | Error] = []
    for row in rows:
        text = template.render(row, max_parts * bulk.CHARACTERS_PER_PART)
        if isinstance(text, Error):
            found.append(text)
            continue
        text = as_sent(text, transliterated=transliterated)
        measured = measure(text, wire=wire, max_parts=max_parts)
        found.append(measured if isinstance(measured, Error) else (text, measured))
    return found


def filled(
    template: Template, rows: list[dict[str, str]], transliterated: bool, wire: Wire, max_parts: int
) -> list[tuple[str, Measured] | Error]:
    found = fill(template, rows, transliterated=transliterated, wire=wire, max_parts=max_parts)
    assert len(found.which) == len(rows)
    assert len(found.texts) == len(found.measured) == len(set(found.texts))
    texts = list(zip(found.texts, found.measured, strict=True))
    return [found.errors.get(row) or texts[place] for row, place in enumerate(found.which)]


@settings(max_examples=600, deadline=None)
@given(TEMPLATE, ROWS, st.booleans(), WIRES, st.sampled_from([1, 2, 10]))
@example("e{{a}}", [{"a": "\u0301"}, {"a": "x"}], False, PLAIN, 10)
@example("{{a}}\u0301", [{"a": "e"}, {"a": "x"}], False, PLAIN, 10)
@example("{{a}}{{b}}", [{"a": "\u1100", "b": "\u1161"}, {"a": "", "b": ""}], False, PLAIN, 10)
@example("100 % {{a}} %s", [{"a": "%d"}], False, PLAIN, 10)
@example("€" * 76 + "{{a}}" + "€" * 76, [{"a": "x"}, {"a": "xx"}, {"a": ""}], False, PLAIN, 10)
@example("Ж" * 66 + "😀{{a}}" + "Ж" * 66, [{"a": "x"}, {"a": ""}], False, PLAIN, 10)
@example("“{{a}}”", [{"a": "…"}, {"a": "Ada"}], True, PLAIN, 10)
@example("{{a}}", [{"a": "a" * 3060}, {"a": "a" * 3061}, {"a": "a" * 161}, {}], False, PLAIN, 1)
def test_the_same_as_one_by_one(
    text: str, rows: list[dict[str, str]], transliterated: bool, wire: Wire, max_parts: int
) -> None:
    template = Template.parse(text)
    assert filled(template, rows, transliterated, wire, max_parts) == one_by_one(
        template, rows, transliterated, wire, max_parts
    )


def test_every_character_that_is_passed_quickly_is_one_unit_whatever_stands_beside() -> None:
    for character in map(chr, range(0x10000)):
        if not bulk._NOT_A_UNIT.search(character):
            assert as_sent(character, transliterated=False) == character
            assert measure(character + "中") == Measured("UCS-2", 2, 1)
            for before in ("e", "\u1100", "中"):
                assert as_sent(before + character, transliterated=False) == before + character
        if not bulk._NOT_A_SEPTET.search(character):
            assert measure(character) == Measured("GSM-7", 1, 1)
    assert all(bulk._NOT_A_UNIT_OR_REPLACED.search(character) for character in LOOKALIKES)


def test_a_row_that_lacks_a_field_is_refused_alone() -> None:
    found = fill(Template.parse("Hi {{name}}"), [{"name": "Ada"}, {}, {"name": "Bob"}, {"name": "Ada"}])
    assert found.texts == ["Hi Ada", "Hi Bob"]
    assert found.which == [0, 0, 1, 0]
    assert list(found.errors) == [1]
    assert found.errors[1].code == MISSING_FIELD
    assert '"name"' in found.errors[1].message


def test_a_text_far_too_long_is_refused_before_it_is_made() -> None:
    rows = [{"name": "Ada"}, {"name": "a" * 1_000_000}]
    found = fill(Template.parse("{{name}}" * 100), rows)
    assert found.texts == ["Ada" * 100]
    assert found.errors[1].code == TOO_MANY_PARTS
    assert "100000000 characters" in found.errors[1].message


def test_a_plain_text_is_measured_once() -> None:
    found = fill(Template.parse("the same"), [{}, {"name": "Ada"}, {}])
    assert (found.texts, found.which, found.errors) == (["the same"], [0, 0, 0], {})
    found = fill(Template.parse("\x00"), [{}, {}])
    assert (found.texts, found.which, list(found.errors)) == ([], [0, 0], [0, 1])
    assert fill(Template.parse("{{a}}"), []).which == []


@pytest.mark.parametrize(
    "text", ["Hello {{name}}, your order {{order}} is on its way.", "Привет {{name}}, заказ {{order}} едет."]
)
def test_a_row_costs_less_than_encoding_its_text(text: str) -> None:
    template = Template.parse(text)
    rows = [{"name": f"Ada {place}", "order": str(10_000 + 7 * place)} for place in range(500)]
    texts = [str(template.render(row)) for row in rows]

    def best(of: int, call: object) -> float:
        times = []
        for _ in range(of):
            started = time.perf_counter()
            call()  # type: ignore[operator]
            times.append(time.perf_counter() - started)
        return min(times)

    assert best(9, lambda: fill(template, rows)) < best(9, lambda: [encode(text) for text in texts])


def test_a_template_of_more_placeholders_than_there_may_be_is_refused_whole_and_at_once() -> None:
    """Slots times rows: a request of half a megabyte held a worker up for as long as a session lasts."""
    most = Template.parse("{{a}}" * MOST_SLOTS)
    began = time.perf_counter()
    assert not fill(most, [{"a": "x"}] * 500, max_parts=10).errors
    wrong = fill(Template.parse("{{a}}" * 100_000), [{"a": "x"}] * 500, max_parts=10)
    assert time.perf_counter() - began < 5
    assert (wrong.texts, set(wrong.errors), wrong.errors[0].code) == ([], set(range(500)), TOO_MANY_PARTS)
    assert wrong.errors[0].message == "100000 placeholders; there may be 1000"
