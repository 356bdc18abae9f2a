"""The batch record: one upload of recipients, on `sms.batches` (plain JSON, key = account/id).

It stands there if and only if all of its requests stand on the intake: they are produced in one transaction.
"""

import msgspec

#: Lines that are told; the others are only counted.
MOST_BAD_LINES = 100


class BadLine(msgspec.Struct, frozen=True):
    """A line that gives no recipient. `line`: from 1, as an editor counts."""

    line: int
    reason: str


class BatchRecord(msgspec.Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """`id` is the client's requestId, or one made for it; its requests have the ids `<id>/1` to `<id>/<requests>`.

    `created_at`: RFC 3339, the time of its requests. `repeats`: lines left out because their number stands earlier.
    `digest`: of the content, hex: the same again is the same upload.
    """

    account: str
    id: str
    name: str | None = None
    created_at: str
    recipients: int
    requests: int
    repeats: int = 0
    bad_line_count: int = 0
    bad_lines: list[BadLine] = []
    sender: str
    message: str
    dry_run: bool = False
    digest: str

    @property
    def key(self) -> bytes:
        """Its key on the topic. No account's name holds a slash."""
        return f"{self.account}/{self.id}".encode()

    @property
    def request_ids(self) -> list[str]:
        """The ids of its requests, in the order of its lines."""
        return [request_id(self.id, number) for number in range(1, self.requests + 1)]

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


#: Reads a record. Raises msgspec.DecodeError, UnicodeDecodeError.
decode = msgspec.json.Decoder(BatchRecord).decode


def request_id(batch: str, number: int) -> str:
    """The id of a batch's request; the first is 1."""
    return f"{batch}/{number}"
