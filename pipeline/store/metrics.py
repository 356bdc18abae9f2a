"""Metrics of the read model."""

from prometheus_client import Counter, Gauge

ROWS = Counter("sms_store_rows_total", "Messages whose row was written, once a poll of the status topic.")
RECORDS = Counter("sms_store_records_total", "Status records read into the read model.")
MOVEMENTS = Counter("sms_store_movements_total", "Ledger entries read into the read model.")
LAG = Gauge("sms_store_lag_records", "Status records and ledger entries that wait to be read into the read model.")
