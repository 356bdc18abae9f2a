"""Offsets that are no records: the markers of transactions, and what was aborted.

Stages read committed records only: a producer of requests may use transactions (the gateway does for uploads), and
what it aborted must not be sent. Where it stood there are holes in the offsets, which must not be taken for lost
records. The client that reads the log knows them: what it leaves out in the middle of one answer of a broker is a
marker or aborted, for nothing else is missing there in a topic that is not compacted. `Skipping` has it tell.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from faust.types import TP

#: Of topics that stages read: where a hole begins to where it ends (exclusive). Facts of the log, whoever reads it.
_holes: dict[str, defaultdict[int, dict[int, int]]] = {}


def watch(topic: str) -> None:
    """Remember the holes of this topic."""
    _holes.setdefault(topic, defaultdict(dict))


def past(tp: TP, offset: int) -> int:
    """The first offset from `offset` on that is in no known hole."""
    known = _holes[tp.topic][tp.partition] if tp.topic in _holes else {}
    while (end := known.get(offset)) is not None:
        offset = end
    return offset


def forget(tp: TP, before: int) -> None:
    """Holes that begin below this offset are behind."""
    if tp.topic in _holes:
        known = _holes[tp.topic][tp.partition]
        for start in [start for start in known if start < before]:
            del known[start]


class Skipping(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one answer of a broker; what of it is left out becomes known before what stands behind it."""

    def _unpack_records(self) -> Iterator[Any]:
        known = _holes.get(self._tp.topic)
        if known is None:
            yield from super()._unpack_records()
            return
        holes = known[self._tp.partition]
        due = self.next_fetch_offset
        for record in super()._unpack_records():
            if record.offset > due:
                holes[due] = record.offset
            due = record.offset + 1
            yield record
        if self.next_fetch_offset > due:
            holes[due] = self.next_fetch_offset


fetcher.PartitionRecords = Skipping
