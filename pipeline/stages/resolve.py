"""Resolve: which message does a receipt speak of that carries only the carrier's own id?

In: carriers' ids as dispatch learned them, and such receipts (`sms.references`), both keyed by carrier and id. Out:
the receipts with our reference (`sms.receipts`). A receipt that comes before the carrier's answer is parked until
the answer does. Hosted by the track stage, in its table:

    i<carrier> NUL <id>   the message (12 bytes)        o<carrier> NUL <id>   receipts parked for it
"""

import msgspec

from pipeline import ids
from pipeline.carriers import receipts
from pipeline.carriers.receipts import Receipt, ReceiptBatch
from pipeline.config import Settings
from pipeline.ops import metrics
from pipeline.records import Reference
from pipeline.streaming.stage import Decide, Record, Source, Step
from pipeline.streaming.topics import TopicNames

_decode = msgspec.msgpack.Decoder(Reference | ReceiptBatch).decode


#: Different receipts kept for one id that no carrier's answer has named yet.
_ORPHANS_KEPT = 16


class Orphans(msgspec.Struct, array_like=True):
    """Receipts that came before the carrier's answer, and when (Unix ms)."""

    receipts: list[Receipt] = []
    received_at_ms: int = 0


def sources(settings: Settings) -> list[Source]:
    """The one agent."""
    names = TopicNames(settings.kafka.topic_prefix)
    return [Source(names.references, _agent(settings, names), max_records=128)]


def _agent(settings: Settings, names: TopicNames) -> Decide:
    def decide(record: Record, step: Step) -> None:
        found = _decode(record.value)
        if isinstance(found, Reference):
            resolved, at = _learn(found, step), 0
        else:
            resolved, at = _look_up(found, step), found.received_at_ms
        by_partition: dict[int, list[Receipt]] = {}
        for message, receipt, received_at in resolved:
            at = max(at, received_at)
            home = ids.partition_of(message[: ids.BATCH_BYTES], settings.kafka.partitions)
            by_partition.setdefault(home, []).append(msgspec.structs.replace(receipt, reference=message.hex()))
        for partition, rows in by_partition.items():
            step.outbox.record(names.receipts, partition, receipts.encode(ReceiptBatch(found.carrier, at, rows)))

    return decide


def _learn(found: Reference, step: Step) -> list[tuple[bytes, Receipt, int]]:
    """Note the carrier's ids; the receipts that waited for them."""
    resolved = []
    for reference, message in zip(found.ids, found.messages, strict=True):
        key = f"{found.carrier}\0{reference}".encode()
        step.view.put(b"i" + key, message)
        orphans = step.view.get(b"o" + key, Orphans)
        if orphans:
            step.view.delete(b"o" + key)
            resolved += [(message, receipt, orphans.received_at_ms) for receipt in orphans.receipts]
    return resolved


def _look_up(found: ReceiptBatch, step: Step) -> list[tuple[bytes, Receipt, int]]:
    """The receipts whose message is known; the others are parked."""
    resolved = []
    for receipt in found.receipts:
        key = f"{found.carrier}\0{receipt.id}".encode()
        message = step.view.get(b"i" + key, bytes)
        if message is not None:
            resolved.append((message, receipt, found.received_at_ms))
            continue
        metrics.RECEIPTS_UNMATCHED.labels(found.carrier).inc()
        orphans = step.view.get(b"o" + key, Orphans) or Orphans()
        if receipt not in orphans.receipts and len(orphans.receipts) < _ORPHANS_KEPT:
            step.view.put(b"o" + key, Orphans([*orphans.receipts, receipt], found.received_at_ms))
    return resolved
