"""Faust's recovery of a table, with the changelog read beside it.

Faust brings every record of a changelog through its consumer's thread, a queue and several tasks: 2,000 to 10,000 a
second. Here an own consumer reads what is missing, and writes it to the store thousands of records at a time, each
time with the offset in the same atomic write. What is left then (what does not fit in the time) Faust recovers.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import rocksdict
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from faust.tables import manager
from faust.tables import recovery as faust_recovery
from faust.types import TP

from pipeline.config import Kafka
from pipeline.streaming import client

log = structlog.get_logger()

#: Faust gives each step of a recovery broker_request_timeout, 60 s. At 50,000 records a second that is a lot of state.
_SECONDS = 45.0
#: Records at a time: how long the loop, which other stages share, stands still for them.
_RECORDS = 5_000


class Recovery(faust_recovery.Recovery):  # type: ignore[misc]
    """`kafka`: where to read, the same for all apps of a process."""

    kafka: Kafka

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: dict[TP, int], title: str) -> None:
        """Where each store stands; Faust goes on from there."""
        await super()._build_offsets(consumer, tps, destination, title)
        behind = {tp: self.active_highwaters[tp] for tp in tps if self.active_highwaters[tp] > destination[tp]}
        if title == "active" and behind:
            began, records = time.monotonic(), sum(end - destination[tp] for tp, end in behind.items())
            await self._catch_up(behind, destination)
            seconds = round(time.monotonic() - began, 2)
            log.info("table.recovered", topic=next(iter(behind)).topic, offsets=records, seconds=seconds)

    async def _catch_up(self, ends: dict[TP, int], reached: dict[TP, int]) -> None:
        """Bring the stores level with the last offsets `ends`; `reached` follows."""
        until = time.monotonic() + _SECONDS
        async with client.consumer(self.kafka) as reader:
            places = {TopicPartition(*tp): tp for tp in ends}
            reader.assign(list(places))
            for place, tp in places.items():
                reader.seek(place, reached[tp] + 1)
            while places and time.monotonic() < until:
                found = await reader.getmany(*places, timeout_ms=1000, max_records=_RECORDS)
                for place, records in found.items():
                    if not self._apply(places[place], records):
                        return
                for place, tp in list(places.items()):
                    # by the position, and not by the last record's offset: that record may be compacted away
                    reached[tp] = max(reached[tp], min(await reader.position(place) - 1, ends[tp]))
                    if reached[tp] >= ends[tp]:
                        del places[place]
                await asyncio.sleep(0)

    def _apply(self, tp: TP, records: Sequence[ConsumerRecord]) -> bool:
        """Write records and the last one's offset at once; False where the partition is not ours any more."""
        store = self.tp_to_table[tp].data
        db = store._dbs.get(tp.partition)
        if db is None:
            return False
        batch = rocksdict.WriteBatch(raw_mode=True)
        for record in records:
            if record.value is None:
                batch.delete(record.key)
            else:
                batch.put(record.key, record.value)
        batch.put(store.offset_key, str(records[-1].offset).encode())
        db.write(batch)
        return True


manager.Recovery = Recovery
