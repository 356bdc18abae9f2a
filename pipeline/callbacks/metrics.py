"""Metrics of the callbacks. `kind`: a request's callback, or an account's endpoint."""

from prometheus_client import Counter, Gauge, Histogram

QUEUED = Counter("sms_callback_events_total", "Events put into a queue to be told, by kind of target.", ["kind"])
CALLS = Counter("sms_callback_calls_total", "Calls to clients, by what came of their events.", ["kind", "outcome"])
TOLD = Counter("sms_callback_told_total", "Events that left their queue, delivered or given up.", ["kind", "outcome"])
SECONDS = Histogram(
    "sms_callback_seconds",
    "Time of one call to a client.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
QUEUE = Gauge("sms_callback_queue_events", "Events in the queues of this process, parked for a repeat included.")
OLDEST = Gauge("sms_callback_oldest_seconds", "Age of the oldest event at the head of a queue of this process.")
CIRCUITS = Gauge("sms_callback_open_circuits", "Targets that failed again and again and are only probed.")
RUNNING = Gauge("sms_callback_running_calls", "Calls to clients under way in this process.")
