"""Metrics of the read model."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("sms_store_rows_total", "Messages whose row was written, once a poll of the status topic.")
RECORDS = Counter("sms_store_records_total", "Status records read into the read model.")
MOVEMENTS = Counter("sms_store_movements_total", "Ledger entries read into the read model.")
LAG = Gauge("sms_store_lag_records", "Status records and ledger entries that wait to be read into the read model.")
WRITE_SECONDS = Histogram(
    "sms_store_write_seconds",
    "What a poll took to be written, waiting for the upkeep included.",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
UPKEEP_SECONDS = Histogram(
    "sms_store_upkeep_seconds",
    "What a transaction of the upkeep took: that long the projector may wait for it.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
REMOVED = Counter("sms_store_removed_total", "Messages removed because they were older than storage.read_model_days.")
ERASED = Counter("sms_store_erased_total", "Messages whose text or number was erased by age.", ["what"])
