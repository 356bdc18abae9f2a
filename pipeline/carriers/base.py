"""What passes between the dispatch stage and a carrier, whatever the carrier speaks: values only.

An outcome tells apart what dispatch must tell apart: answered message by message, asked to wait, surely not
sent (another carrier may be tried), unknown (may have been taken), refused as a whole.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.errors import Error


class Outbound(msgspec.Struct, frozen=True, gc=False):
    """One message as it goes to a carrier. `reference`: the message id, 24 hex digits; `number`: E.164 with the plus.

    `encoding`: "GSM-7" or "UCS-2"; `parts`: how many parts the text makes; `validity_seconds`: how long to keep trying.
    """

    reference: str
    sender: str
    number: str
    text: str
    encoding: str
    parts: int
    validity_seconds: int


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The carrier took the message. `id`: its own name for it, "" where it gave none."""

    id: str


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """The carrier refused the message; `error.permanent` is what the carrier says."""

    error: Error


class Unanswered(msgspec.Struct, frozen=True, tag=True):
    """The answer does not speak of the message: whether it was taken is unknown."""


Result = Accepted | Rejected | Unanswered


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The carrier answered; `results` in the order of the messages submitted."""

    results: list[Result]


class SlowDown(msgspec.Struct, frozen=True, tag=True):
    """Nothing was taken; the same submission may be repeated after `seconds`, and the whole carrier should pause."""

    seconds: float


class NotSent(msgspec.Struct, frozen=True, tag=True):
    """Nothing reached the carrier (refused connection, name, TLS): the messages may go elsewhere."""

    error: Error


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """The carrier may or may not have taken the messages: repeat only where it recognises a repeat."""

    error: Error


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The carrier refused the submission as a whole, for good."""

    error: Error


Outcome = Answered | SlowDown | NotSent | Unknown | Refused


class Carrier(Protocol):
    """A way out. One object serves many submissions at once."""

    async def submit(self, messages: Sequence[Outbound], key: str) -> Outcome:
        """Hand over `messages` (at most the carrier's `batch`). Never raises for what the network or carrier does.

        `key` names the attempt: repeating an attempt repeats its key.
        """
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...
