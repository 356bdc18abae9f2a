"""The simulator's figures: plain numbers, shown by `GET /stats` as JSON and by `GET /metrics` for Prometheus."""

from collections.abc import Iterator

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Stats(msgspec.Struct, rename="camel"):
    """Counts since the process started; times are RFC 3339 UTC with milliseconds.

    `requests`: POSTs of messages, whatever their answer; `throttled`: answered 429 or 503; `repeated_references`:
    acceptances of a reference accepted before (a message sent twice); `receipts_failed`: receipts in refused or broken
    POSTs, counted again at each attempt.
    """

    requests: int = 0
    repeated_requests: int = 0
    accepted: int = 0
    accepted_parts: int = 0
    distinct_references: int = 0
    repeated_references: int = 0
    rejected: int = 0
    throttled: int = 0
    receipts_pending: int = 0
    receipts_sent: int = 0
    receipts_failed: int = 0
    first_accepted_at: str | None = None
    last_accepted_at: str | None = None
    last_receipt_at: str | None = None


_MEANINGS = {
    "requests": "Submissions received.",
    "repeated_requests": "Submissions whose idempotency key was known and whose results were given again.",
    "accepted": "Messages accepted.",
    "accepted_parts": "Parts of the messages accepted.",
    "distinct_references": "References accepted at least once.",
    "repeated_references": "Messages accepted whose reference had been accepted before.",
    "rejected": "Messages rejected.",
    "throttled": "Submissions answered 429 or 503.",
    "receipts_sent": "Receipts taken by the gateway.",
    "receipts_failed": "Receipts in failed attempts.",
}


class StatsCollector(Collector):
    """Reads the figures when Prometheus asks: nothing is counted twice on the hot path."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        for name, meaning in _MEANINGS.items():
            yield CounterMetricFamily(f"sms_simulator_{name}", meaning, value=getattr(self._stats, name))
        yield GaugeMetricFamily(
            "sms_simulator_receipts_pending", "Receipts not yet taken.", value=self._stats.receipts_pending
        )
