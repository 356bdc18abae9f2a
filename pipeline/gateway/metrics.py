"""Metrics of the gateway. `route` is the path's pattern, so labels stay few."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("sms_gateway_requests_total", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram(
    "sms_gateway_request_seconds",
    "Time of one HTTP request, first byte to answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECEIPTS = Counter("sms_gateway_receipts_total", "Receipts taken and durable.", ["carrier"])
