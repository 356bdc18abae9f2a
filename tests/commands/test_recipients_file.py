from io import BytesIO
from typing import Any

import orjson
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.recipients import cut, distinct, read
from schemas.intake import MAX_RECIPIENTS


def test_lists_of_every_kind() -> None:
    assert list(read(BytesIO(b"+391\n\n +392 \r\n"))) == ["+391", "+392"]
    assert list(read(BytesIO(b"name;number\nAda;+391\n"))) == [{"number": "+391", "fields": {"name": "Ada"}}]
    assert list(read(BytesIO(b'{"number": "+391"}\n"+392"'))) == ["+391", "+392"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"+391,Ada\n", "names no column number"),
        (b"number,name\n+391,Ada\n+392", "line 3: 1 columns"),
        (b"+391\n\xff\n", "line 2: not UTF-8"),
    ],
)
def test_what_is_no_such_file_is_said_with_its_line(data: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        list(read(BytesIO(data)))
    assert ended.value.exit_code == 2
    assert said in capsys.readouterr().err


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
