"""Metrics of the gateway. `route` is the path's pattern, so labels stay few."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("sms_gateway_requests_total", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram(
    "sms_gateway_request_seconds",
    "Time of one HTTP request, first byte to answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
UPLOADS = Counter("sms_gateway_uploads_total", "Uploads, by what became of them.", ["result"])
UPLOAD_LINES = Counter(
    "sms_gateway_upload_lines_total", "Lines of uploads that were taken, by what they gave.", ["kind"]
)
UPLOAD_COMMIT_SECONDS = Histogram(
    "sms_gateway_upload_commit_seconds",
    "Time of one upload's transaction, in which its part of the intake waits.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
RECEIPTS = Counter("sms_gateway_receipts_total", "Receipts taken and durable.", ["carrier"])
