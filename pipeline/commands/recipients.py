"""Recipients from the command line and from files, cut into requests that one record can hold."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from pipeline.commands.common import fail
from schemas.intake import MAX_RECIPIENTS

NUMBER = "number"
#: What a request's other fields may take of a record's limit, the text aside.
_MARGIN = 4096

Recipient = str | dict[str, Any]


def read(lines: Iterable[str]) -> Iterator[Recipient]:
    """A number a line, or CSV whose header names `number` and the template's fields. Blank lines are left out.

    What a number is worth is judged by the validate stage; only what is no such file ends the command.
    """
    rows = csv.reader(line.removeprefix("\ufeff") for line in lines)
    header: list[str] | None = None
    for cells in rows:
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if header is None:
            header = cells if NUMBER in cells else []
            if header:
                continue
        if header:
            yield _with_fields(header, cells, rows.line_num)
        elif len(cells) == 1:
            yield cells[0]
        else:
            fail(f"line {rows.line_num}: a number a line, or a first line that names the columns: {NUMBER},name,…", 2)


def _with_fields(header: list[str], cells: list[str], line: int) -> Recipient:
    if len(cells) != len(header):
        fail(f"line {line}: {len(cells)} columns, the header has {len(header)}", 2)
    fields = dict(zip(header, cells, strict=True))
    number = fields.pop(NUMBER)
    return {"number": number, "fields": fields} if fields else number


def distinct(given: Iterable[Recipient]) -> tuple[list[Recipient], int]:
    """The recipients, each number once, and how many repeats were left out (the stages see only a request's own)."""
    found: dict[str, Recipient] = {}
    repeats = 0
    for recipient in given:
        number = recipient if isinstance(recipient, str) else recipient["number"]
        repeats += number in found
        found.setdefault(number, recipient)
    return list(found.values()), repeats


def cut(recipients: list[Recipient], request: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """Requests of at most MAX_RECIPIENTS and about `limit` bytes: `requestId`, then with -2, -3 … at its end."""
    room = limit - _MARGIN - len(orjson.dumps(request))
    chunk: list[Recipient] = []
    used, number = 0, 1
    for recipient in recipients:
        size = len(orjson.dumps(recipient)) + 1
        if len(chunk) == MAX_RECIPIENTS or (chunk and used + size > room):
            yield _numbered(request, chunk, number)
            chunk, used, number = [], 0, number + 1
        chunk.append(recipient)
        used += size
    yield _numbered(request, chunk, number)


def _numbered(request: dict[str, Any], recipients: list[Recipient], number: int) -> dict[str, Any]:
    request_id = request["requestId"] if number == 1 else f"{request['requestId']}-{number}"
    return {**request, "requestId": request_id, "recipients": recipients}
