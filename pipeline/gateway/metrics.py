"""Metrics of the gateway. `route` is the path's pattern, so labels stay few."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("sms_gateway_requests_total", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram(
    "sms_gateway_request_seconds",
    "Time of one HTTP request, first byte to answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REFUSALS = Counter("sms_gateway_refusals_total", "Requests refused, by error code.", ["code"])
REPEATS = Counter("sms_gateway_repeats_total", "Requests known by their key, answered again and not taken again.")
SIMULATED = Counter("sms_gateway_simulated_total", "Messages of dry runs and estimates.")
OTP_CODES = Counter("sms_gateway_otp_codes_total", "Login codes sent.", ["source"])
OTP_ATTEMPTS = Counter("sms_gateway_otp_attempts_total", "Tries to verify a login code, by result.", ["result"])
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
REFUSED = Counter("sms_gateway_refused_total", "Requests refused to protect the service, by the limit.", ["limit"])
CONNECTIONS = Gauge("sms_gateway_connections", "Connections of clients that are open.")
CLOSED = Counter("sms_gateway_connections_closed_total", "Connections closed on a client, by what it did.", ["reason"])
