"""Operations on uploads of recipients, as pure functions from their arguments to calls."""

import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeGuard, Unpack

import msgspec

from pipeline.client import requests
from pipeline.client.answers import BadLine, Batch, Message
from pipeline.client.calls import Call, Page, Stream, data, new_request_id, paged, segment
from pipeline.client.exchange import Script
from pipeline.client.messages import until
from pipeline.client.requests import Options, Recipient, texts

#: Sent at a time.
_PIECE_BYTES = 64 * 1024
#: Recipients whose lines are put together before they are sent.
_LINES = 1000
_NDJSON = "application/x-ndjson"
_TYPES = {"csv": "text/csv", "ndjson": _NDJSON}

_read_batch = data(Batch)
_read_bad_lines = data(list[BadLine])
_encode = msgspec.json.Encoder().encode_lines

#: A file (by its path, or opened for reading bytes), or the recipients themselves.
Recipients = str | os.PathLike[str] | IO[bytes] | Iterable[str | Recipient]


def upload_batch(
    recipients: Recipients,
    message: str,
    *,
    format: Literal["csv", "ndjson"] | None = None,
    name: str | None = None,
    on_error: Literal["skip", "refuse"] | None = None,
    request_id: str | None = None,
    **options: Unpack[Options],
) -> Call[Batch]:
    """Send a text to as many recipients as a file has (CSV with a header, a number a line, or NDJSON; gzipped or not),
    or an iterable gives: sent while they are read, taken whole or not at all. A str is the path of a file. OSError:
    there is none; TypeError: it was opened as text.

    `format`: of a file, where its name does not tell. `on_error`: "refuse" takes nothing where a line is bad, else such
    are left out and told in the answer. An iterator is gone once it was read, so an upload from one is not repeated
    after its first bytes; one from a list or a file is.
    """
    id_ = request_id or new_request_id()
    request = requests.body(message, options, requestId=id_, name=name, onError=on_error)
    content_type, body = _body(request, recipients, format)
    headers = {"Content-Type": content_type}
    return Call("POST", "/batches", _read_batch, headers=headers, body=body, request_id=id_)


def batch(id: str) -> Call[Batch]:
    """An upload, or a request to several by its request_id: how far it is, and what it cost."""
    return Call("GET", f"/batches/{segment(id)}", _read_batch)


def batches(*, page_size: int = 100) -> Call[Page[Batch]]:
    """The account's uploads, newest first."""
    return paged("/batches", Batch, {"limit": page_size})


def batch_messages(id: str, *, state: str | Sequence[str] | None = None, page_size: int = 1000) -> Call[Page[Message]]:
    """The messages of a batch in the order of its recipients; of some states only."""
    return paged(f"/batches/{segment(id)}/messages", Message, {"state": state, "limit": page_size})


def bad_lines(id: str) -> Call[list[BadLine]]:
    """The first lines of an upload that gave no recipient; its `bad_line_count` tells how many there were."""
    return Call("GET", f"/batches/{segment(id)}/errors", _read_bad_lines)


def wait_batch(id: str, timeout: float = 600.0) -> Script[Batch]:
    """The batch once each of its messages is final. StillOpen: they are not within `timeout` seconds."""
    found: Batch = yield from until(batch(id), lambda one: one.final, timeout, f"batch {id}")
    return found


def _body(request: Mapping[str, Any], recipients: Recipients, format: str | None) -> tuple[str, Stream]:
    """The content type, and what is sent."""
    if format not in (None, *_TYPES):
        raise ValueError(f"format {format!r}: one of {', '.join(_TYPES)}, or none")
    if isinstance(recipients, str | os.PathLike):
        path = Path(recipients)
        path.open("rb").close()  # what cannot be read is told before anything is sent
        return _multipart(request, lambda: _of_path(path), path.name, format, replayable=True)
    if _is_file(recipients):
        if isinstance(recipients.read(0), str):
            raise TypeError(f"{recipients!r}: open it in binary mode")
        file, begin = recipients, recipients.tell() if recipients.seekable() else None
        filename = str(getattr(file, "name", "")).rpartition("/")[2]
        return _multipart(request, lambda: _of_file(file, begin), filename, format, replayable=begin is not None)
    again = not isinstance(recipients, Iterator)
    return _NDJSON, Stream(lambda: _lines(request, recipients), replayable=again)


def _is_file(recipients: Recipients) -> TypeGuard[IO[bytes]]:
    """Not by its class: a temporary file is a wrapper of none."""
    return hasattr(recipients, "read")


def _of_path(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _of_file(file, None)


def _of_file(file: IO[bytes], begin: int | None) -> Iterator[bytes]:
    if begin is not None:
        file.seek(begin)
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _lines(request: Mapping[str, Any], recipients: Iterable[Any]) -> Iterator[bytes]:
    """The request on the first line, a recipient on each further one."""
    yield _encode([request])
    left = texts(recipients)
    while some := list(itertools.islice(left, _LINES)):
        yield _encode(some)


def _multipart(
    request: Mapping[str, Any],
    file: Callable[[], Iterator[bytes]],
    filename: str,
    format: str | None,
    *,
    replayable: bool,
) -> tuple[str, Stream]:
    """multipart/form-data (RFC 7578): the parts `request` and `recipients`."""
    boundary = uuid.uuid4().hex
    shown = re.sub(r"[^\w.-]", "_", filename, flags=re.ASCII)
    type_ = f"Content-Type: {_TYPES[format]}\r\n" if format else ""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="request"\r\nContent-Type: application/json\r\n\r\n',
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="recipients"; filename="{shown}"\r\n{type_}\r\n',
    )

    def chunks() -> Iterator[bytes]:
        yield msgspec.json.encode(request).join(part.encode() for part in head)
        yield from file()
        yield f"\r\n--{boundary}--\r\n".encode()

    return f"multipart/form-data; boundary={boundary}", Stream(chunks, replayable=replayable)
