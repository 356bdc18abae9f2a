"""A list of recipients, read piece by piece as it comes: no more than a line is held over."""

from collections.abc import Mapping
from typing import Literal

from pipeline.recipients.formats import Csv, Found, Ndjson, header, recognised
from schemas.batch import BadLine
from schemas.errors import MALFORMED_REQUEST, Error

#: A longer line is bad: nobody's fields take that much, and it must be held in memory until it ends.
MAX_LINE_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Kind = Literal["csv", "ndjson"]


class Reader:
    """`feed` it bytes as they come, `finish` at their end; the pieces' borders change nothing.

    `kind`: None is told from the first line. `wanted`: the fields that the text uses, and whether it needs them (has
    no default); the other columns of CSV are left out (None: all are kept). `wrong` is set (3001) where the whole list
    cannot be read; nothing comes any more then.
    """

    def __init__(self, kind: Kind | None = None, wanted: Mapping[str, bool] | None = None) -> None:
        self.wrong: Error | None = None
        self.lines = 0
        self._kind = kind
        self._wanted = wanted
        self._format: Csv | Ndjson | None = Ndjson() if kind == "ndjson" else None
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> Found:
        """What the lines that end in here give."""
        data = self._rest + data
        whole, ending, self._rest = data.rpartition(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest = self._rest[: MAX_LINE_BYTES + 1]
        return self._read(whole.split(b"\n")) if ending else Found([], [])

    def finish(self) -> Found:
        """What the last line gives, which need not be ended."""
        rest, self._rest = self._rest, b""
        return self._read([rest]) if rest else Found([], [])

    def _read(self, lines: list[bytes]) -> Found:
        if not self._begun:
            self._begun = True
            if lines[0].startswith(_UTF16):
                self.wrong = Error(MALFORMED_REQUEST, "recipients: the file is UTF-16; save it as UTF-8")
            lines[0] = lines[0].removeprefix(_BOM)
        first, self.lines = self.lines + 1, self.lines + len(lines)
        while self._format is None and lines and not self.wrong:
            if (line := lines[0]).strip() and not self._recognise(line):
                break
            lines, first = lines[1:], first + 1
        if self.wrong or self._format is None or not lines:
            return Found([], [])
        long = []
        if max(map(len, lines)) > MAX_LINE_BYTES:
            reason = f"longer than {MAX_LINE_BYTES} bytes"
            long = [BadLine(at, reason) for at, line in enumerate(lines, first) if len(line) > MAX_LINE_BYTES]
            lines = [b"" if len(line) > MAX_LINE_BYTES else line for line in lines]
        found = self._format.read([line.removesuffix(b"\r") for line in lines], first)
        return Found(found.recipients, sorted([*found.bad, *long], key=lambda one: one.line)) if long else found

    def _recognise(self, line: bytes) -> bool:
        """Whether the line is a header, and so read."""
        line = line.removesuffix(b"\r")
        told = header(line, self._wanted) if self._kind == "csv" else recognised(line, self._wanted)
        if isinstance(told, Error):
            self.wrong = told
            return False
        self._format, is_header = told
        return is_header
