import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.recipients import MAX_LINE_BYTES, Distinct, Reader
from schemas.batch import BadLine

ADA, BOB = {"number": "+391", "fields": {"name": "Ada"}}, {"number": "+392", "fields": {"name": "Bob"}}


def read(
    data: bytes, *, step: int | None = None, **options: Any
) -> tuple[list[Any], list[tuple[int, str]], str | None]:
    """Recipients, bad lines, and what is wrong with all of it."""
    reader = Reader(**options)
    pieces = [data] if step is None else [data[at : at + step] for at in range(0, len(data), step)]
    found = [*map(reader.feed, pieces), reader.finish()]
    bad = [(one.line, one.reason) for some in found for one in some.bad]
    return [one for some in found for one in some.recipients], bad, reader.wrong and reader.wrong.message


@pytest.mark.parametrize(
    ("data", "recipients"),
    [
        (b"+391\n+392\n", ["+391", "+392"]),
        (b"+391\r\n\r\n  \r\n +392 ", ["+391", "+392"]),
        (b"\xef\xbb\xbf\n\nnumber\n+391\n", ["+391"]),
        (b"Number,name\n+391,Ada\n+392,Bob\n", [ADA, BOB]),
        (b"name;PHONE\r\nAda;+391\r\nBob;+392", [ADA, BOB]),
        (b'"name"\t"recipient"\n"Ada"\t"+391"\n\n"Bob"\t"+392"\n', [ADA, BOB]),
        (b'number,name\n+391,"Lovelace, ""Ada"""\n', [{"number": "+391", "fields": {"name": 'Lovelace, "Ada"'}}]),
        (b"number,name,\n+391,Ada,\n+392,Bob,x\n", [ADA, BOB]),
        (b"number,name\n,\n+391,Ada\n  , \n", [ADA]),
        (b"number,name\n+391,\n", [{"number": "+391", "fields": {"name": ""}}]),
        (b'{"number": "+391", "fields": {"name": "Ada"}}\n\n"+392"\r\n', [ADA, "+392"]),
        (b'{"number": "+391"}\n{"number": "+392", "fields": {"n": 1, "f": 1.5}}',
         ["+391", {"number": "+392", "fields": {"n": 1, "f": 1.5}}]),
        (b'"+391"\n"+392"\n', ["+391", "+392"]),
    ],
)  # fmt: skip
def test_lists_as_people_have_them(data: bytes, recipients: list[Any]) -> None:
    assert read(data) == (recipients, [], None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"+392", "1 columns, the header has 2"),
        (b"+392,Bob,x", "3 columns, the header has 2"),
        (b",Bob", "no number"),
        (b"1" * 65 + b",Bob", "a number of more than 64 characters"),
        (b"+392,\xff", "not UTF-8"),
        (b'+392,"Bob', "not CSV: unexpected end of data"),
        (b'+392,"Bob"x', "not CSV: ',' expected after '\"'"),
        (b"+392,B\rob", "not CSV: new-line character seen in unquoted field"),
        (b"+392," + b"x" * MAX_LINE_BYTES, f"longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_a_bad_line_of_csv_is_told_and_spoils_no_other(line: bytes, reason: str) -> None:
    recipients, ((number, told),), wrong = read(b"number,name\n+391,Ada\n\n" + line + b"\n+392,Bob\n")
    assert (recipients, number, wrong) == ([ADA, BOB], 4, None)
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"+392", "not JSON"),
        (b'{"number": ', "not JSON"),
        (b'"+392" "+393"', "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b'"\xff"', "not UTF-8"),
        (b"392", 'Expected a number or {"number": …, "fields": {…}}, got int'),
        (b"[]", 'Expected a number or {"number": …, "fields": {…}}, got array'),
        (b'{"number": 392}', "number: Expected str, got int"),
        (b'{"fields": {}}', "Object missing required field number"),
        (b'{"number": "+392", "name": "Bob"}', "Object contains unknown field name"),
        (b'{"number": "+392", "fields": {"name": null}}', "fields[...]: Expected "),
        (b'{"number": "+392", "fields": {"name": 1e300}}', "fields[...]: Expected "),
        (b'{"number": "+392", "fields": {"name": 123456789012345678901}}', "fields[...]: "),
        (b'""', "no number"),
        (b"[" * 100_000, f"longer than {MAX_LINE_BYTES} bytes"),
        (b"[" * 60_000, "Expected a number or"),
    ],
)
def test_a_bad_line_of_ndjson_is_told_and_spoils_no_other(line: bytes, reason: str) -> None:
    recipients, ((number, told),), wrong = read(b'{"number": "+391"}\n' + line + b'\n"+392"', kind="ndjson")
    assert (recipients, number, wrong) == (["+391", "+392"], 2, None)
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name,city\nAda,Roma\n", "names no column number or recipient or phone"),
        (b"mobile\n+391\n", "names no column number"),
        (b"+391,Ada\n", "names no column number"),
        (b"number,phone\n+391,+391\n", "its columns number and phone both hold numbers"),
        (b"number,name,name\n", "names the column 'name' twice"),
        (b"number,\xff\n", "its first line is not UTF-8"),
        ("number\n+391\n".encode("utf-16"), "the file is UTF-16"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(data: bytes, message: str) -> None:
    recipients, bad, wrong = read(data, step=5)
    assert (recipients, bad) == ([], []) and wrong is not None and message in wrong


def test_only_the_columns_that_the_text_uses_are_kept_and_those_it_needs_must_be_there() -> None:
    data = b"number,name,city\n+391,Ada,Roma\n"
    assert read(data, wanted={"name": True})[0] == [ADA]
    assert read(data, wanted={"name": True, "title": False})[0] == [ADA]
    assert read(data, wanted={})[0] == ["+391"]
    wrong = read(data, wanted={"Name": True})[2]
    assert wrong and "no column 'Name'" in wrong and "name, city" in wrong


LINES = st.sampled_from(
    [b"number,name", b"+391,Ada", b'+392,"Bob', b'{"number": "+391"}', b'"+392"', b"", b"\xff", b'"a"\r', b"a;b",
     b"\xef\xbb\xbf"]
)  # fmt: skip
BYTES = st.binary(max_size=300) | st.lists(LINES, max_size=8).map(b"\n".join)


@given(BYTES, st.integers(1, 50), st.sampled_from([None, "csv", "ndjson"]))
@example(b"a" * (MAX_LINE_BYTES + 1) + b"\n1", MAX_LINE_BYTES, "csv")
@example(b"1\n" + b"a" * (MAX_LINE_BYTES + 9), MAX_LINE_BYTES + 1, "csv")
def test_any_bytes_give_recipients_or_bad_lines_whatever_pieces_they_come_in(data: bytes, step: int, kind: Any) -> None:
    whole = read(data, kind=kind)
    assert read(data, kind=kind, step=step) == whole
    recipients, bad, wrong = whole
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert len(recipients) + len(bad) <= len(lines)
    assert [line for line, _ in bad] == sorted({line for line, _ in bad})
    assert all(lines[line - 1].strip() and reason for line, reason in bad)
    assert not wrong or not recipients
    json.dumps(recipients)


FIELD = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(FIELD, FIELD, st.booleans()), max_size=12), st.sampled_from(",;\t"))
def test_each_line_is_read_as_if_it_stood_alone(rows: list[tuple[str, str, bool]], separator: str) -> None:
    header = f"number{separator}name\n".encode()
    lines = [f"{number}{separator}{name}".encode() + b"\xff" * broken for number, name, broken in rows]
    recipients, bad, _ = read(header + b"\n".join(lines))
    alone = [read(header + line) for line in lines]
    assert recipients == [one for found, _, _ in alone for one in found]
    assert bad == [(place, reason) for place, (_, told, _) in enumerate(alone, 2) for _, reason in told]


@given(st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=12))
def test_each_number_is_kept_once_where_it_comes_first(pieces: list[list[int]]) -> None:
    distinct, kept = Distinct(), []
    for piece in pieces:
        kept += distinct.keep([f"+39{n}" if n % 2 else {"number": f"+39{n}", "fields": {}} for n in piece])
    numbers = [n for piece in pieces for n in piece]
    assert [one if isinstance(one, str) else one["number"] for one in kept] == [
        f"+39{n}" for n in dict.fromkeys(numbers)
    ]
    assert distinct.repeats == len(numbers) - len(kept)


def test_bad_lines_are_values() -> None:
    assert Reader().feed(b"number\n\n1,2\n").bad == [BadLine(3, "2 columns, the header has 1")]


def test_an_empty_cell_leaves_the_texts_default_to_stand_where_it_has_one() -> None:
    data = b"number,name,title\n+391,,\n+392,Bob, \n"
    found = read(data, wanted={"name": True, "title": False})[0]
    assert found == [{"number": "+391", "fields": {"name": ""}}, {"number": "+392", "fields": {"name": "Bob"}}]
