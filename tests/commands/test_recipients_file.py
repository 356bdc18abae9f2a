from typing import Any

import orjson
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.recipients import cut, distinct, read
from schemas.intake import MAX_RECIPIENTS


def test_a_number_a_line() -> None:
    assert list(read(["\ufeff+391\n", "\n", " +392 \r\n"])) == ["+391", "+392"]


def test_csv_with_fields() -> None:
    lines = ["\ufeffname, number\n", '"Lovelace, Ada",+391\n', "\n", ",+392\n"]
    assert list(read(lines)) == [
        {"number": "+391", "fields": {"name": "Lovelace, Ada"}},
        {"number": "+392", "fields": {"name": ""}},
    ]


def test_csv_of_numbers_alone() -> None:
    assert list(read(["number\n", "+391\n"])) == ["+391"]


@pytest.mark.parametrize("lines", [["+391,Ada\n"], ["number,name\n", "+391\n"]])
def test_what_is_no_such_file_is_said_with_its_line(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        list(read(lines))
    assert ended.value.exit_code == 2
    assert f"line {len(lines)}: " in capsys.readouterr().err


def test_each_number_once_the_first_wins() -> None:
    given: list[Any] = ["+391", {"number": "+392", "fields": {"n": "a"}}, {"number": "+391", "fields": {}}, "+392"]
    assert distinct(given) == (given[:2], 2)


def test_cut_at_the_most_recipients_of_a_record() -> None:
    numbers: list[Any] = [f"+39{n}" for n in range(2 * MAX_RECIPIENTS + 1)]
    requests = list(cut(numbers, {"requestId": "r", "account": "a", "message": "m"}, 4 << 20))
    assert [request["requestId"] for request in requests] == ["r", "r-2", "r-3"]
    assert [len(request["recipients"]) for request in requests] == [MAX_RECIPIENTS, MAX_RECIPIENTS, 1]


@given(st.lists(st.text(max_size=300), min_size=1, max_size=60))
def test_cut_by_size_loses_nothing(names: list[str]) -> None:
    recipients: list[Any] = [{"number": f"+39{n}", "fields": {"name": name}} for n, name in enumerate(names)]
    requests = list(cut(recipients, {"requestId": "r", "account": "a", "message": "m"}, 8192))
    assert [recipient for request in requests for recipient in request["recipients"]] == recipients
    assert all(len(orjson.dumps(request)) <= 8192 for request in requests)
