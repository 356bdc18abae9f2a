import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import Template
from schemas.errors import MISSING_FIELD, Error


def test_fields_are_filled_in() -> None:
    template = Template.parse("Hello {{name}}, {{ order.no }} {{order.no}} is {{state|on its way}}, {{ first name |x}}")
    assert template.fields == ("name", "order.no", "state", "first name")
    assert template.render({"name": "Ada", "order.no": "7"}) == "Hello Ada, 7 7 is on its way, x"
    assert template.render({"name": "Ada", "order.no": "7", "state": "here", "first name": "é"}) == (
        "Hello Ada, 7 7 is here, é"
    )


def test_a_missing_field_is_named() -> None:
    error = Template.parse("Hello {{name}}").render({"other": "x"})
    assert isinstance(error, Error)
    assert error.code == MISSING_FIELD
    assert '"name"' in error.message


def test_an_empty_value_and_an_empty_default_count() -> None:
    assert Template.parse("a{{x|b}}c").render({"x": ""}) == "ac"
    assert Template.parse("a{{x|}}c").render({}) == "ac"


@pytest.mark.parametrize(
    "text", ["", "plain", "{name}", "{{}}", "{{ }}", "{{a|{b}}", "{{" + "a" * 65 + "}}", "{{a", "}}{{"]
)
def test_other_braces_are_text(text: str) -> None:
    template = Template.parse(text)
    assert template.fields == ()
    assert template.render({}) == text


def test_values_are_not_read_as_templates() -> None:
    assert Template.parse("{{a}}{{b}}").render({"a": "{{b}}", "b": "{{a}}"}) == "{{b}}{{a}}"


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_what_stands_around_a_field_stays(before: str, value: str, after: str) -> None:
    template = Template.parse(f"{before} {{{{field}}}} {after}")
    if template.fields == ("field",):
        assert template.render({"field": value}) == f"{before} {value} {after}"


def test_hostile_texts_are_read_in_linear_time() -> None:
    started = time.perf_counter()
    Template.parse("{{a|" * 25_000)
    Template.parse("{" * 100_000)
    Template.parse("{{" + "a" * 100_000)
    assert time.perf_counter() - started < 0.5
