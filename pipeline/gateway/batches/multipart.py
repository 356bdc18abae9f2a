"""multipart/form-data (RFC 7578) as it comes: parts in their order, each read to its end before the next."""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

_MOST_PREAMBLE = 1024
_MOST_HEADERS = 8 * 1024
_MOST_PADDING = 128

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data[ \t]*;([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb'(?:^|[;\s])name="([^"]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb'(?:^|[;\s])filename="([^"]*)"', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:[ \t]*([^\s;]+)", re.IGNORECASE | re.MULTILINE)


class Malformed(Exception):
    """The body is no multipart/form-data, or ends before its end."""


class Part(NamedTuple):
    """What the headers of a part say; `media_type` in lower case, "" where there is none."""

    name: str
    filename: str
    media_type: str


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names."""
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("latin-1", "replace") if found else None


class Multipart:
    """Ask for a `part`, read its `data`, ask for the next. Raises Malformed."""

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream = stream
        self._delimiter = b"\r\n--" + boundary
        self._held = b"\r\n"  # the first delimiter has no line before it
        self._begun = False

    async def part(self) -> Part | None:
        """The next part, once what is left of this one is skipped; None behind the last."""
        if not self._begun:
            self._begun = True
            await self._until(self._delimiter, _MOST_PREAMBLE)
        while len(self._held) < 2:
            await self._more()
        if self._held.startswith(b"--"):
            return None
        if (await self._until(b"\r\n", _MOST_PADDING)).strip(b" \t"):
            raise Malformed("a boundary is followed by other characters")
        self._held = b"\r\n" + self._held
        return _part(await self._until(b"\r\n\r\n", _MOST_HEADERS))

    async def data(self) -> AsyncIterator[bytes]:
        """The part's bytes as they come."""
        keep = len(self._delimiter) - 1
        while (at := self._held.find(self._delimiter)) < 0:
            ready, self._held = self._held[:-keep], self._held[-keep:]
            if ready:
                yield ready
            await self._more()
        ready, self._held = self._held[:at], self._held[at + len(self._delimiter) :]
        if ready:
            yield ready

    async def _until(self, mark: bytes, most: int) -> bytes:
        """What stands before `mark`, which is dropped."""
        while (at := self._held.find(mark)) < 0:
            if len(self._held) > most:
                raise Malformed(f"no {mark!r} in {most} bytes")
            await self._more()
        found, self._held = self._held[:at], self._held[at + len(mark) :]
        return found

    async def _more(self) -> None:
        more = await anext(self._stream, None)
        if more is None:
            raise Malformed("it ends before its last boundary")
        self._held += more


def _part(headers: bytes) -> Part:
    disposition = _DISPOSITION.search(headers)
    name = disposition and _NAME.search(disposition[1])
    if not disposition or not name:
        raise Malformed("a part has no Content-Disposition: form-data with a name")
    filename, media_type = _FILENAME.search(disposition[1]), _TYPE.search(headers)
    return Part(_text(name), _text(filename), _text(media_type).lower())


def _text(found: re.Match[bytes] | None) -> str:
    return found[1].decode("utf-8", "replace") if found else ""
