"""What a window sends: collected while deciding, produced at once, acknowledged by the broker before going on."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline import records

Headers = list[tuple[str, bytes]]
Row = tuple[bytes | None, bytes | None, Headers, int | None]  # key, value, headers, timestamp in ms

#: Recipients that may share one internal record; a batch is never cut, so a record holds at most this plus a batch.
PACK_WEIGHT = 500


class Outbox:
    """Outputs of one window, by topic and partition.

    `pack` shares records: items of one topic and partition travel as one msgpack list. `record` is one record of its
    own (public topics, dead letters). The order within a topic and partition is the order of the calls.
    """

    def __init__(self) -> None:
        self._packs: dict[tuple[str, int], list[list[Any]]] = {}
        self._weights: dict[tuple[str, int], int] = {}
        self._records: dict[tuple[str, int], list[Row]] = {}
        self._latest: dict[tuple[str, int, bytes], bytes] = {}

    def pack(self, topic: str, partition: int, item: Any, weight: int = 1) -> None:
        """Add an item to a shared record. `weight`: its recipients."""
        place = (topic, partition)
        packs = self._packs.setdefault(place, [])
        used = self._weights.get(place, 0)
        if not packs or used + weight > PACK_WEIGHT:
            packs.append([])
            used = 0
        packs[-1].append(item)
        self._weights[place] = used + weight

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

    async def flush(self, producer: AIOKafkaProducer) -> None:
        """Produce everything and return once the broker has it all. Raises what the producer raises."""
        for place, packs in self._packs.items():
            self._records.setdefault(place, []).extend((None, records.encode(pack), [], None) for pack in packs)
        for (topic, partition, key), value in self._latest.items():
            self.record(topic, partition, value, key=key)
        self._packs, self._weights, self._latest = {}, {}, {}
        waiting, self._records = self._records, {}
        await asyncio.gather(*(send(producer, place, rows) for place, rows in waiting.items()))


async def send(
    producer: AIOKafkaProducer,
    place: tuple[str, int],
    rows: Sequence[Row],
) -> int:
    """Produce rows in order to one topic and partition; the offset of the last.

    Filling a batch by hand costs a tenth of a call of `send` a record, which counts where each message has its own.
    """
    topic, partition = place
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
