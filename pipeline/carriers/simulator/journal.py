"""The journal of everything accepted: an append-only file of NDJSON, and what can be told of it without reading it."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

_CHUNK = 1024 * 1024
_TABLES = 256


class Entry(msgspec.Struct, rename="camel", gc=False):
    """One accepted message. `times`: which request under this idempotency key it was accepted in (1 = the first)."""

    reference: str
    id: str
    sender: str = msgspec.field(name="from")
    number: str = msgspec.field(name="to")
    parts: int
    text: str
    idempotency_key: str
    accepted_at: str
    times: int


_decode = msgspec.json.Decoder(Entry).decode


class Journal:
    """Each batch is written with one call before it is answered, so a killed simulator leaves all it accepted."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending; raises OSError where that cannot be."""
        self.path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (lives as long as the journal)
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, entries: list[Entry]) -> None:
        """Append one line an entry. The lines are the kernel's on return."""
        rest = memoryview(self._encode(entries))
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        """The lines after the first `since`, in pieces of at most 1 MiB, as far as the file reaches now."""
        with open(self.path, "rb") as file:
            left = os.fstat(file.fileno()).st_size
            while left and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                if since:
                    since, chunk = _skip(chunk, since)
                if chunk:
                    yield chunk

    def entries(self) -> Iterator[Entry]:
        """What was accepted so far, by this process and those before it, oldest first."""
        with open(self.path, "rb") as file:
            yield from map(_decode, file)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _skip(chunk: bytes, lines: int) -> tuple[int, bytes]:
    """Leave out up to `lines` lines: how many are still to be left out, and the rest of the chunk."""
    found = chunk.count(b"\n")
    if found < lines:
        return lines - found, b""
    position = 0
    for _ in range(lines):
        position = chunk.index(b"\n", position) + 1
    return 0, chunk[position:]


class Distinct:
    """Counts distinct 64-bit fingerprints: open addressing in flat arrays, 12 to 24 bytes each (a set takes 90).

    256 small tables instead of one, so that growing never holds up the event loop for more than a moment.
    """

    def __init__(self) -> None:
        self._tables = [array("Q", bytes(8 * 16)) for _ in range(_TABLES)]
        self._counts = [0] * _TABLES
        self.count = 0

    def add(self, fingerprint: int) -> bool:
        """True where the fingerprint is new. (1,000,000 references: one false repeat in 30 million runs.)"""
        fingerprint = fingerprint or 1  # 0 marks a free place
        which = fingerprint & (_TABLES - 1)
        table = self._tables[which]
        place = _place(table, fingerprint)
        if table[place]:
            return False
        table[place] = fingerprint
        self.count += 1
        self._counts[which] += 1
        if self._counts[which] * 3 > len(table) * 2:
            self._tables[which] = _doubled(table)
        return True


def _place(table: "array[int]", fingerprint: int) -> int:
    """Where the fingerprint stands, or the free place where it belongs."""
    mask = len(table) - 1
    place = (fingerprint >> 8) & mask
    while table[place] and table[place] != fingerprint:
        place = (place + 1) & mask
    return place


def _doubled(table: "array[int]") -> "array[int]":
    wider = array("Q", bytes(16 * len(table)))
    for fingerprint in table:
        if fingerprint:
            wider[_place(wider, fingerprint)] = fingerprint
    return wider
