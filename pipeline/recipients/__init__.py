"""Lists of recipients as people have them: CSV, a number a line, NDJSON. Bytes in, recipients and bad lines out; no
files, no HTTP."""

from pipeline.recipients.distinct import Distinct
from pipeline.recipients.formats import Found, Recipient
from pipeline.recipients.reader import MAX_LINE_BYTES, Kind, Reader

__all__ = ["MAX_LINE_BYTES", "Distinct", "Found", "Kind", "Reader", "Recipient"]
