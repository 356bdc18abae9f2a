"""What a window sends: collected while deciding, produced at once, acknowledged by the broker before going on."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline import records
from pipeline.streaming import pulse

Headers = list[tuple[str, bytes]]
Row = tuple[bytes | None, bytes | None, Headers, int | None]  # key, value, headers, timestamp in ms

#: Recipients and bytes that may share one internal record; an item is never cut, so a larger one travels alone.
PACK_WEIGHT = 500
PACK_BYTES = 256 * 1024

#: Senders to one topic and partition take turns: aiokafka lets a second batch wait with a clock that runs too fast.
_turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)


class _Pack:
    """Items that will be one record."""

    def __init__(self) -> None:
        self._items: list[bytes] = []
        self._weight = self._bytes = 0

    def has_room(self, weight: int, size: int) -> bool:
        return self._weight + weight <= PACK_WEIGHT and self._bytes + size <= PACK_BYTES

    def add(self, item: bytes, weight: int) -> None:
        self._items.append(item)
        self._weight += weight
        self._bytes += len(item)

    def value(self) -> bytes:
        """The record: a msgpack list of the items."""
        return records.join(self._items)


class Outbox:
    """Outputs of one window, by topic and partition.

    `pack` shares records: items of one topic and partition travel as one msgpack list. `record` is one record of its
    own (public topics, dead letters). The order within a topic and partition is the order of the calls.
    """

    def __init__(self) -> None:
        self._packs: dict[tuple[str, int], list[_Pack]] = {}
        self._records: dict[tuple[str, int], list[Row]] = {}
        self._latest: dict[tuple[str, int, bytes], bytes] = {}

    def pack(self, topic: str, partition: int, item: Any, weight: int = 1) -> None:
        """Add an item to a shared record. `weight`: its recipients."""
        packs = self._packs.setdefault((topic, partition), [])
        encoded = records.encode_one(item)
        if not packs or not packs[-1].has_room(weight, len(encoded)):
            packs.append(_Pack())
        packs[-1].add(encoded, weight)

    def record(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Add a record of its own."""
        self._records.setdefault((topic, partition), []).append((key, value, headers or [], timestamp_ms))

    def latest(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """A record of a compacted topic: only the window's last value of a key is sent."""
        self._latest[topic, partition, key] = value

    def drain(self) -> dict[tuple[str, int], list[Row]]:
        """Everything collected, as the rows of each topic and partition; nothing is left."""
        for place, packs in self._packs.items():
            self._records.setdefault(place, []).extend((None, pack.value(), [], None) for pack in packs)
        for (topic, partition, key), value in self._latest.items():
            self.record(topic, partition, value, key=key)
        waiting, self._records, self._packs, self._latest = self._records, {}, {}, {}
        return waiting

    async def flush(self, producer: AIOKafkaProducer) -> None:
        """Produce everything and return once the broker has it all. Raises what the producer raises."""
        await asyncio.gather(*(send(producer, place, rows) for place, rows in self.drain().items()))


async def send(
    producer: AIOKafkaProducer,
    place: tuple[str, int],
    rows: Sequence[Row],
) -> int:
    """Produce rows in order to one topic and partition; the offset of the last.

    Filling a batch by hand costs a tenth of a call of `send` a record, which counts where each message has its own.
    """
    topic, partition = place
    async with _turns[place]:
        pulse.check()
        builder = producer.create_batch()
        futures = []
        for key, value, headers, timestamp in rows:
            if builder.append(key=key, value=value, timestamp=timestamp, headers=headers) is None:
                futures.append(await producer.send_batch(builder, topic, partition=partition))
                builder = producer.create_batch()
                builder.append(key=key, value=value, timestamp=timestamp, headers=headers)
        last: int = builder.record_count()
        futures.append(await producer.send_batch(builder, topic, partition=partition))
    acknowledged = await asyncio.gather(*futures)
    offset: int = acknowledged[-1].offset
    return offset + last - 1
