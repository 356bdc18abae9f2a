"""The body of an upload: what is asked for, then the recipients, as they come.

    multipart/form-data     the parts `request` (JSON) and `recipients` (CSV or NDJSON), in this order
    application/x-ndjson    the request on the first line, a recipient on each further one

Either may be packed (Content-Encoding: gzip), and so may the file of recipients. What is received, and what it unpacks
to, is bounded while it comes.
"""

import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import NamedTuple

from fastapi import Request

from pipeline.gateway.batches.multipart import Malformed, Multipart, Part, boundary_of
from pipeline.gateway.problems import Refusal, refuse
from pipeline.recipients import Kind
from schemas import errors

#: Bytes of the request: its text and what comes back with each message.
MAX_REQUEST_BYTES = 256 * 1024
#: Unpacked at a time, whatever it was packed to.
_PIECE_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_KINDS: dict[str, Kind] = {
    "text/csv": "csv", "application/csv": "csv", "text/tab-separated-values": "csv",
    "application/x-ndjson": "ndjson", "application/jsonl": "ndjson", "application/x-jsonlines": "ndjson",
}  # fmt: skip
_ENDINGS: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


class Unusable(Exception):
    """The upload is refused for what it is. `drain`: the rest of the body may be read, so that the client comes to
    read the answer."""

    def __init__(self, refusal: Refusal, *, drain: bool = True) -> None:
        super().__init__(refusal.error.message)
        self.refusal = refusal
        self.drain = drain


class Body(NamedTuple):
    """`kind` of the recipients: None where nothing tells it but themselves."""

    request: bytes
    kind: Kind | None
    recipients: AsyncIterator[bytes]


async def received(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as sent. Raises Unusable (413) as soon as it is longer than `limit` bytes, declared or not."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


async def opened(request: Request, stream: AsyncIterator[bytes], limit: int) -> Body:
    """The request, and the recipients behind it. Raises Unusable: 413 too large, 415 another type, 400 not of it."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        stream = unpacked(stream, limit)
    elif encoding != "identity":
        message = f"Content-Encoding: {encoding[:64]!r} is not taken; send gzip, or as it is"
        raise Unusable(refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, errors.MALFORMED_REQUEST, message))
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        boundary = boundary_of(content_type)
        if boundary is None:
            raise unreadable("Content-Type: names no boundary")
        return await _of_parts(Multipart(stream, boundary), limit)
    if media_type == "application/x-ndjson":
        return await _of_lines(stream)
    message = (
        "Content-Type: send multipart/form-data with the parts request and recipients (curl -F request='{…}' -F "
        "recipients=@people.csv), or application/x-ndjson with the request on the first line"
    )
    raise Unusable(refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, errors.MALFORMED_REQUEST, message))


async def unpacked(stream: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """What gzip (RFC 1952) packed, in pieces of bounded size. Raises Unusable: 413 past `limit` bytes, 400 no gzip."""
    count, inflating = 0, zlib.decompressobj(wbits=31)
    async for packed in stream:
        while packed:
            if inflating.eof:  # another member
                inflating = zlib.decompressobj(wbits=31)
            try:
                piece = inflating.decompress(packed, _PIECE_BYTES)
            except zlib.error as error:
                raise unreadable(f"not gzip: {error}") from None
            packed = inflating.unconsumed_tail or inflating.unused_data
            count += len(piece)
            if count > limit:
                raise _too_large(limit, " when unpacked")
            if piece:
                yield piece
    if not inflating.eof:
        raise unreadable("the gzip data ends before its end")


async def _of_parts(parts: Multipart, limit: int) -> Body:
    try:
        part = await parts.part()
        if part is None or part.name != "request":
            raise unreadable(f"the first part is {_named(part)}; it must be request, and recipients the second")
        request = b""
        async for piece in parts.data():
            request += piece
            if len(request) > MAX_REQUEST_BYTES:
                raise _too_large(MAX_REQUEST_BYTES, " of request")
        part = await parts.part()
    except Malformed as error:
        raise unreadable(f"no multipart/form-data: {error}") from None
    if part is None or part.name != "recipients":
        raise unreadable(f"the second part is {_named(part)}; it must be recipients, a file")
    kind = _KINDS.get(part.media_type) or _kind_of(part.filename.lower().removesuffix(".gz"))
    return Body(request, kind, _last(parts, limit))


async def _last(parts: Multipart, limit: int) -> AsyncIterator[bytes]:
    """The recipients; behind them the body must end as it should."""
    try:
        async for piece in _perhaps_packed(parts.data(), limit):
            yield piece
        if more := await parts.part():
            raise unreadable(f"a third part is {_named(more)}; send request and recipients")
    except Malformed as error:
        raise unreadable(f"no multipart/form-data: {error}") from None


async def _perhaps_packed(stream: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    held = b""
    async for piece in stream:
        held += piece
        if len(held) >= len(_GZIP):
            break
    whole = _chain(held, stream)
    async for piece in unpacked(whole, limit) if held.startswith(_GZIP) else whole:
        yield piece


async def _of_lines(stream: AsyncIterator[bytes]) -> Body:
    held = b""
    while (end := held.find(b"\n")) < 0:
        piece = await anext(stream, None)
        if piece is None:
            raise unreadable("the body has one line; the request stands on the first, recipients on the others")
        held += piece
        if len(held) > MAX_REQUEST_BYTES and b"\n" not in held:
            raise _too_large(MAX_REQUEST_BYTES, " on its first line, the request")
    return Body(held[:end], "ndjson", _chain(held[end + 1 :], stream))


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


def _kind_of(filename: str) -> Kind | None:
    return next((kind for ending, kind in _ENDINGS.items() if filename.endswith(ending)), None)


def _named(part: Part | None) -> str:
    return "missing" if part is None else repr(part.name[:64])


def unreadable(message: str) -> Unusable:
    """400: not of the form it says."""
    return Unusable(refuse(HTTPStatus.BAD_REQUEST, errors.UPLOAD_UNREADABLE, message))


def _too_large(limit: int, what: str = "") -> Unusable:
    message = f"an upload may have {limit} bytes{what}; split it"
    return Unusable(
        refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, errors.TOO_LARGE, message, Connection="close"), drain=False
    )
