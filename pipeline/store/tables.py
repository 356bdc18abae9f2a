"""The read model's tables. A change here needs a migration; a test holds the two together."""

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql

metadata = sql.MetaData()

#: Ordered by its bytes, as SQLite orders it: stretches of keys are asked for, whatever the server's language is.
_Text = sql.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

#: One row a message. The key leads with the account and message ids begin with their time: a page of an account,
#: newest first, is one stretch of the table. `error` and `custom` are JSON. `operator`: that of the number's
#: range. `cost`: what the carrier takes for all parts, in micro-units; null while none took them, and where it is not
#: known. It is ours to know: no account is told.
messages = sql.Table(
    "messages",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("id", _Text, primary_key=True),
    sql.Column("request_id", _Text),
    sql.Column("index", sql.Integer, nullable=False),
    sql.Column("sender", _Text),
    sql.Column("recipient", _Text, nullable=False),
    sql.Column("international_prefix", _Text),
    sql.Column("country_code", _Text),
    sql.Column("state", _Text, nullable=False),
    sql.Column("detailed_state", _Text, nullable=False),
    sql.Column("sequence", sql.Integer, nullable=False),
    sql.Column("encoding", _Text),
    sql.Column("characters_count", sql.Integer, nullable=False),
    sql.Column("message_count", sql.Integer, nullable=False),
    sql.Column("parts_delivered", sql.Integer, nullable=False),
    sql.Column("price", _Text, nullable=False),
    sql.Column("total_price", _Text, nullable=False),
    sql.Column("currency", _Text, nullable=False),
    sql.Column("carrier", _Text),
    sql.Column("carrier_reference", _Text),
    sql.Column("dry_run", sql.Boolean, nullable=False),
    sql.Column("message", _Text),
    sql.Column("error", _Text),
    sql.Column("custom", _Text, nullable=False),
    sql.Column("updated_at", _Text, nullable=False),
    sql.Column("sent_at", _Text),
    sql.Column("delivered_at", _Text),
    sql.Column("operator", _Text),
    sql.Column("cost", sql.BigInteger),
    sql.Column("send_at", _Text),
    sqlite_with_rowid=False,
)

# Counting by state reads this index alone, in its order (80 ms a million messages; 2 µs a row written).
sql.Index("messages_by_request", messages.c.account, messages.c.request_id, messages.c.detailed_state)
# "Did it reach this number?", and erasing it. Written once a message.
sql.Index("messages_by_recipient", messages.c.account, messages.c.recipient, messages.c.id)
#: The state that most messages end in. It is not in the index by state, which so holds what is under way and what went
#: wrong: some pages, however many messages there are.
COMMON_STATE = "DELIVERED"
_uncommon = messages.c.detailed_state != COMMON_STATE
sql.Index(
    "messages_by_state", messages.c.account, messages.c.detailed_state, messages.c.id,
    sqlite_where=_uncommon, postgresql_where=_uncommon,
)  # fmt: skip

#: Digits of a message id that name its batch (pipeline/ids.py).
BATCH_DIGITS = 18

#: What the request of a batch said that is not the default: options and callback as JSON, null where there is none.
#: A batch without either has no row.
requests = sql.Table(
    "requests",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("batch", _Text, primary_key=True),
    sql.Column("options", _Text),
    sql.Column("callback", _Text),
    sqlite_with_rowid=False,
)

#: Messages by what statistics are asked by, counted as their rows are written; `day` (UTC) is that of the request. What
#: is not known is "". Dry runs are not counted.
statistics = sql.Table(
    "statistics",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("day", _Text, primary_key=True),
    sql.Column("country", _Text, primary_key=True),
    sql.Column("operator", _Text, primary_key=True),
    sql.Column("carrier", _Text, primary_key=True),
    sql.Column("state", _Text, primary_key=True),
    sql.Column("messages", sql.BigInteger, nullable=False),
    sql.Column("parts", sql.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: How long deliveries took, in steps of a twelfth of a power of two (store/tallies.py).
delivery_times = sql.Table(
    "delivery_times",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("day", _Text, primary_key=True),
    sql.Column("country", _Text, primary_key=True),
    sql.Column("operator", _Text, primary_key=True),
    sql.Column("carrier", _Text, primary_key=True),
    sql.Column("step", sql.Integer, primary_key=True),
    sql.Column("messages", sql.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: One row a movement of money (schemas/ledger.py). Amounts in micro-units; `balance` and `reserved` are the account's
#: after it, `at` is RFC 3339 in UTC with milliseconds, so that its order is that of time.
ledger = sql.Table(
    "ledger",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("sequence", sql.BigInteger, primary_key=True),
    sql.Column("kind", _Text, nullable=False),
    sql.Column("amount", sql.BigInteger, nullable=False),
    sql.Column("balance", sql.BigInteger, nullable=False),
    sql.Column("reserved", sql.BigInteger, nullable=False),
    sql.Column("currency", _Text, nullable=False),
    sql.Column("batch", _Text),
    sql.Column("request_id", _Text),
    sql.Column("messages", sql.Integer, nullable=False),
    sql.Column("parts", sql.Integer, nullable=False),
    sql.Column("reference", _Text),
    sql.Column("reason", _Text),
    sql.Column("price_list", _Text),
    sql.Column("bundle", _Text),
    sql.Column("bundle_left", sql.Integer),
    sql.Column("at", _Text, nullable=False),
    sqlite_with_rowid=False,
)

# A statement of some kinds, or of some time: few of an account's movements are an operator's.
sql.Index("ledger_by_kind", ledger.c.account, ledger.c.kind, ledger.c.sequence)
sql.Index("ledger_by_time", ledger.c.account, ledger.c.at)

# What requests cost: their reserves name them, what follows names the internal batch only.
sql.Index("ledger_by_request", ledger.c.account, ledger.c.request_id, ledger.c.batch)
sql.Index("ledger_by_batch", ledger.c.account, ledger.c.batch)

#: One row an upload (schemas/batch.py). `bad_lines`: JSON; `created_at` as `at` above.
batches = sql.Table(
    "batches",
    metadata,
    sql.Column("account", sql.Text, primary_key=True),
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("name", sql.Text),
    sql.Column("created_at", sql.Text, nullable=False),
    sql.Column("recipients", sql.Integer, nullable=False),
    sql.Column("requests", sql.Integer, nullable=False),
    sql.Column("repeats", sql.Integer, nullable=False),
    sql.Column("bad_line_count", sql.Integer, nullable=False),
    sql.Column("bad_lines", sql.Text, nullable=False),
    sql.Column("sender", sql.Text, nullable=False),
    sql.Column("message", sql.Text, nullable=False),
    sql.Column("dry_run", sql.Boolean, nullable=False),
    sql.Column("digest", sql.Text, nullable=False),
    sqlite_with_rowid=False,
)

sql.Index("batches_by_time", batches.c.account, batches.c.created_at, batches.c.id)

#: Up to where the topics are in the tables: written in the transaction of the rows.
offsets = sql.Table(
    "offsets",
    metadata,
    sql.Column("topic", _Text, primary_key=True),
    sql.Column("partition", sql.Integer, primary_key=True),
    sql.Column("next_offset", sql.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: One row. `epoch` grows when somebody else changes what the projector holds in memory (offsets, erasures): it then
#: writes nothing of what it read before; 0 is a database whose statistics were never counted. `salt`: of the numbers in
#: `erasures`.
projection = sql.Table(
    "projection",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("epoch", sql.BigInteger, nullable=False),
    sql.Column("salt", _Text, nullable=False),
)

#: Recipients whose messages were erased, by keyed hash: what is read again stays erased. `account` "" is all of them.
#: `until`: messages requested up to then, as the first 8 hex digits of their ids.
erasures = sql.Table(
    "erasures",
    metadata,
    sql.Column("account", _Text, primary_key=True),
    sql.Column("recipient_hash", _Text, primary_key=True),
    sql.Column("until", _Text, nullable=False),
    sqlite_with_rowid=False,
)

#: Up to which message id an account's texts, or numbers, were erased by age.
swept = sql.Table(
    "swept",
    metadata,
    sql.Column("what", _Text, primary_key=True),
    sql.Column("account", _Text, primary_key=True),
    sql.Column("id", _Text, nullable=False),
    sqlite_with_rowid=False,
)
