"""The recipients of one upload on disk: read, checked and cut into requests as they come, so that memory holds a
piece of them, whatever their number. Nothing here waits for Kafka: not before the last line is known.

The file has no name, so it is gone with the process, however that ends.
"""

import tempfile
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from pipeline.config import Settings
from pipeline.recipients import Distinct, Found, Reader, Recipient
from schemas.batch import MOST_BAD_LINES, BadLine
from schemas.errors import TOO_LARGE, TOO_MANY_RECIPIENTS, Error

DIRECTORY = "uploads"
#: What a request's id and brackets take of its record.
_MARGIN = 512


class Spool:
    """Feed it, finish it, then read the requests' recipients from it. Blocking: everything but the counts belongs into
    a thread.

    `head`: bytes that every request's record has beside its recipients; `mark`: stands for what else is asked for, in
    the digest. `wrong` is set where the upload cannot be taken. Errors: 3001 no list, 3003 too many recipients, 3011
    too large.
    """

    def __init__(self, settings: Settings, reader: Reader, head: bytes, mark: bytes = b"") -> None:
        limits = settings.uploads
        directory = settings.storage.directory / DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        self.recipients = 0
        self.bad_line_count = 0
        self.bad_lines: list[BadLine] = []
        self.sizes: list[int] = []
        self._reader = reader
        self._most_recipients, self._most_bytes = limits.recipients, limits.bytes
        self._together = limits.request_recipients
        self._room = settings.limits.request_bytes - len(head) - _MARGIN
        self._wrong: Error | None = None
        self._distinct = Distinct()
        self._waiting: list[Recipient] = []
        self._digest = blake2b(head + mark, digest_size=16)
        self._bytes = 0
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 closed by close()

    @property
    def wrong(self) -> Error | None:
        """Why the upload cannot be taken, as far as it is known."""
        return self._wrong or self._reader.wrong

    @property
    def repeats(self) -> int:
        """Lines whose number stands earlier; they are left out."""
        return self._distinct.repeats

    @property
    def digest(self) -> str:
        """Stands for the content: what is asked for and for whom, however it was written."""
        return self._digest.hexdigest()

    def feed(self, data: bytes) -> None:
        """Some more bytes. Raises OSError where the disk does not take them."""
        self._take(self._reader.feed(data))
        while len(self._waiting) >= self._together:
            self._write(self._waiting[: self._together])
            del self._waiting[: self._together]

    def finish(self) -> None:
        """The end of the list."""
        self._take(self._reader.finish())
        if self._waiting:
            self._write(self._waiting)
        self._waiting = []
        self._file.seek(0)

    def read(self, sizes: list[int]) -> list[bytes]:
        """The next requests' recipients, JSON arrays."""
        return [self._file.read(size) for size in sizes]

    def close(self) -> None:
        """Nothing is left."""
        self._file.close()

    def _take(self, found: Found) -> None:
        self.bad_line_count += len(found.bad)
        self.bad_lines += found.bad[: MOST_BAD_LINES - len(self.bad_lines)]
        kept = self._distinct.keep(found.recipients)
        self.recipients += len(kept)
        self._waiting += kept
        if self.recipients > self._most_recipients:
            self._wrong = Error(
                TOO_MANY_RECIPIENTS, f"recipients: at most {self._most_recipients} in one upload; split it"
            )

    def _write(self, recipients: list[Recipient]) -> None:
        if self.wrong:
            return
        for encoded in self._cut(recipients):
            if len(encoded) > self._room:
                self._wrong = Error(TOO_LARGE, "recipients: the fields of one do not fit into a record; shorten them")
            self._bytes += len(encoded)
            if self._bytes > self._most_bytes:
                message = (
                    f"recipients: they take more than {self._most_bytes} bytes with their fields; split the upload"
                )
                self._wrong = Error(TOO_LARGE, message)
            if self._wrong:
                return
            self._file.write(encoded)
            self.sizes.append(len(encoded))
            self._digest.update(encoded[1:-1] + b",")

    def _cut(self, recipients: list[Recipient]) -> Iterator[bytes]:
        """In as many arrays as it takes for each to fit into a record."""
        encoded = msgspec.json.encode(recipients)
        if len(encoded) <= self._room or len(recipients) == 1:
            yield encoded
            return
        half = len(recipients) // 2
        yield from self._cut(recipients[:half])
        yield from self._cut(recipients[half:])
