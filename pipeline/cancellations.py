"""Cancellations: the word that messages are not to be sent, on its way to those who act on it.

Track acts on it for what waits for its time, dispatch for what no carrier was called for yet (`stages/scheduled.py`,
`stages/dispatch.py`). Each message is with one of them at any moment, and what comes later is too late.
"""

import time
from collections.abc import Sequence

import msgspec
import structlog

from pipeline import ids
from pipeline.config import Settings
from pipeline.records import Batch, Cancellation, decode_cancellation, encode_one
from pipeline.streaming.follow import Follower
from pipeline.streaming.topics import TopicNames
from schemas import errors
from schemas.errors import Error
from schemas.intake import VALIDITY_SECONDS

log = structlog.get_logger()

#: The error of a message that was cancelled.
CANCELED = Error(errors.CANCELED, "cancelled by request before a carrier was called")

#: A request's cancellation is for what was requested until then; the clocks of two gateways may differ by this.
_CLOCKS_MS = 60_000
#: How long a word may stop what dispatch reads: nothing is valid for longer. An hour more, for what waits to be read.
_KEPT_MS = (VALIDITY_SECONDS + 3600) * 1000
#: Messages a record names at most.
_A_RECORD = 1000


class Row(msgspec.Struct, frozen=True):
    """A record of the topic, to be produced."""

    partition: int
    key: bytes
    value: bytes


def of_request(account: str, request_id: str, by: str, partitions: int) -> list[Row]:
    """The word that everything of a request is cancelled. Its batches may be in any partition."""
    request = ids.request_hash(account, request_id)
    value = encode_one(Cancellation(account, request, [], by, _now()))
    return [Row(partition, request, value) for partition in range(partitions)]


def of_messages(account: str, messages: Sequence[str], by: str, partitions: int) -> list[Row]:
    """The word that messages (their ids) are cancelled, as far as they are the account's; "": whosever."""
    by_partition: dict[int, list[bytes]] = {}
    for message in map(bytes.fromhex, messages):
        home = ids.partition_of(message[: ids.BATCH_BYTES], partitions)
        by_partition.setdefault(home, []).append(message)
    return [
        Row(home, named[start], encode_one(Cancellation(account, b"", named[start : start + _A_RECORD], by, _now())))
        for home, named in by_partition.items()
        for start in range(0, len(named), _A_RECORD)
    ]


def covers(batch: Batch, at: int) -> bool:
    """Whether a request's cancellation of that time is for this batch of the request."""
    return batch.received_at <= at + _CLOCKS_MS


def _now() -> int:
    return time.time_ns() // 1_000_000


class _Period(msgspec.Struct):
    """What was cancelled in one stretch of time: messages by whose they are to be, requests and when."""

    messages: dict[str, set[bytes]] = {}
    requests: dict[bytes, int] = {}


class Cancellations:
    """Those that may still stop something. A message costs some 150 bytes, a request as many; each is forgotten after
    one to two times the longest validity."""

    def __init__(self) -> None:
        self._periods: dict[int, _Period] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic."""
        try:
            said = decode_cancellation(value or b"")
        except msgspec.DecodeError as error:
            log.error("cancellation.unreadable", key=key, error=str(error))
            return
        oldest = _now() // _KEPT_MS - 1
        for past in [period for period in self._periods if period < oldest]:
            del self._periods[past]
        if (period := said.at // _KEPT_MS) < oldest:
            return
        found = self._periods.setdefault(period, _Period())
        if said.request:
            found.requests[said.request] = max(said.at, found.requests.get(said.request, 0))
        if said.messages:  # whose: so that nobody's word stands in the place of another's
            found.messages.setdefault(said.account, set()).update(said.messages)

    def holds(self, batch: Batch, position: int) -> bool:
        """Whether the message at `position` of the batch is cancelled. Costs next to nothing where nothing is."""
        for period in self._periods.values():
            if batch.request in period.requests and covers(batch, period.requests[batch.request]):
                return True
            if period.messages:
                message = batch.id + batch.index[position].to_bytes(3, "big")
                if any(message in period.messages.get(whose, ()) for whose in (batch.account, "")):
                    return True
        return False


class CancellationDirectory(Cancellations):
    """The same, followed from the topic. Start it before use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._follower = Follower(settings.kafka, TopicNames(settings.kafka.topic_prefix).cancellations, self.take)

    async def start(self) -> None:
        """Return when every cancellation is read."""
        await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()
