"""Recipients from the command line and from files, cut into requests that one record can hold."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import orjson

from pipeline.commands.common import fail
from pipeline.recipients import Found, Reader, Recipient
from schemas.intake import MAX_RECIPIENTS

#: What a request's other fields may take of a record's limit, the text aside.
_MARGIN = 4096
_BLOCK_BYTES = 256 * 1024


def read(file: BinaryIO) -> Iterator[Recipient]:
    """A number a line, CSV whose header names `number` and the template's fields, or NDJSON (pipeline/recipients).

    What a number is worth is judged by the validate stage; a line that is none ends the command.
    """
    reader = Reader()
    for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
        yield from _good(reader, reader.feed(block))
    yield from _good(reader, reader.finish())


def _good(reader: Reader, found: Found) -> list[Recipient]:
    if reader.wrong:
        fail(reader.wrong.message, 2)
    if found.bad:
        fail(f"line {found.bad[0].line}: {found.bad[0].reason}", 2)
    return found.recipients


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
