"""Every metric of every process, with its one-line meaning (docs/metrics.md is made from this module).

Labels are few and bounded: stage, lane, carrier, reason. Ids belong in logs.
"""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENCY = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)

STAGE_RECORDS = Counter("sms_stage_records_total", "Records a stage read and finished.", ["stage"])
STAGE_SECONDS = Histogram(
    "sms_stage_window_seconds", "Time of one window of records, reading to acknowledging.", ["stage"], buckets=_FAST
)
MESSAGES_IN = Counter("sms_stage_messages_in_total", "Messages that entered a stage.", ["stage", "lane"])
MESSAGES_OUT = Counter("sms_stage_messages_out_total", "Messages a stage passed on.", ["stage", "lane"])
BATCHES_IN = Counter("sms_stage_batches_in_total", "Batches that entered a stage.", ["stage", "lane"])
BATCHES_OUT = Counter("sms_stage_batches_out_total", "Batches a stage passed on.", ["stage", "lane"])
REPEATS = Counter("sms_stage_repeats_total", "Batches a stage recognised as seen before and left alone.", ["stage"])
REJECTIONS = Counter("sms_rejections_total", "Messages that ended in a stage, by error code.", ["stage", "code"])
PROHIBITED = Counter(
    "sms_prohibited_total",
    "Texts and senders in which a list found something, by severity and kind of find.",
    ["severity", "kind"],
)
BLOCKLISTED = Counter("sms_blocklisted_total", "Batches whose prohibited content had their account blocklisted.")
PENALTIES = Counter("sms_penalties_amount_total", "Penalties for prohibited content, in units of the currency.")
LIMITS = Counter("sms_limits_reached_total", "Times an account's limit was reached, once a day and code.", ["code"])
HOLDS = Counter("sms_traffic_held_total", "Ranges of numbers that an account's sudden, costly traffic had held.")
LIST_RELOADS = Counter(
    "sms_list_reloads_total", "Changes of the moderation's lists that were taken in, or refused as faulty.", ["result"]
)
OPT_OUTS = Gauge("sms_opt_outs", "Recipients known to this process to have opted out.")
DEAD_LETTERS = Counter("sms_dead_letters_total", "Records no stage could read, sent to the dead letters.", ["stage"])
TABLE_KEYS = Gauge("sms_table_keys", "Keys in a stage's table in this process (RocksDB's estimate).", ["stage"])
LAG = Gauge(
    "sms_stage_lag_records", "Records that wait in the partitions a stage's process owns, by topic.", ["stage", "topic"]
)
HALTED = Gauge(
    "sms_stage_halted", "1 where a stage reads a topic no more: too much went to the dead letters.", ["stage", "topic"]
)
STAGE_READY = Gauge("sms_stage_ready", "1 while the stage reads records: assigned and recovered.", ["stage"])

PARKED = Counter(
    "sms_parked_total", "Messages that no carrier of their route could take, parked for the next try.", ["lane"]
)
DISPATCH_ATTEMPTS = Counter(
    "sms_dispatch_attempts_total", "Submissions to a carrier, by what came back.", ["carrier", "outcome"]
)
DISPATCH_MESSAGES = Counter(
    "sms_dispatch_messages_total", "Messages a carrier answered for, by answer.", ["carrier", "answer"]
)
DISPATCH_SECONDS = Histogram("sms_dispatch_seconds", "Time of one submission to a carrier.", ["carrier"], buckets=_FAST)
IN_DOUBT = Counter("sms_in_doubt_total", "Messages of which it is unknown whether the carrier took them.", ["carrier"])
RESOLUTIONS = Counter(
    "sms_resolutions_total", "Messages in doubt that an operator resolved, by action and result.", ["action", "result"]
)

SCHEDULED = Gauge("sms_scheduled_messages", "Messages that wait for their time in the partitions of this process.")
RELEASED = Counter("sms_released_total", "Messages whose time came and that went on to routing.", ["lane"])
RELEASE_LATENESS = Histogram(
    "sms_release_lateness_seconds", "From the time a batch is to be sent at to when it goes on.", buckets=_LATENCY
)
CANCELLATIONS = Counter(
    "sms_cancellations_total",
    "Messages that were to be cancelled, by result: canceled, left to dispatch, too late, or not known (yet).",
    ["result"],
)

RECEIPTS = Counter("sms_receipts_total", "Receipts by carrier and status word.", ["carrier", "status"])
RECEIPTS_UNMATCHED = Counter(
    "sms_receipts_unmatched_total", "Receipts for messages that are not known (yet): parked.", ["carrier"]
)
RECEIPTS_LATE = Counter("sms_receipts_late_total", "Receipts that came after the final state or twice.", ["carrier"])
TRANSITIONS = Counter("sms_messages_state_total", "Transitions published on the status topic.", ["state"])
SUBMIT_LATENCY = Histogram(
    "sms_intake_to_submitted_seconds",
    "From the intake record's timestamp (or the time it is to be sent at) to the carrier's acceptance.",
    ["lane"], buckets=_LATENCY,
)  # fmt: skip
FINAL_LATENCY = Histogram(
    "sms_intake_to_final_seconds",
    "From the intake record's timestamp (or the time it is to be sent at) to the final state.",
    buckets=_LATENCY,
)

CHILD_DEATHS = Counter(
    "sms_child_deaths_total", "Processes of `up` that died and were started again, by cause.", ["child", "cause"]
)
