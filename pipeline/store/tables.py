"""The read model's tables. A change here needs a migration; a test holds the two together."""

import sqlalchemy as sql

metadata = sql.MetaData()

#: One row a message. The key leads with the account and message ids begin with their time: a page of an account,
#: newest first, is one stretch of the table. `error` and `custom` are JSON. `operator`: that of the number's
#: range. `cost`: what the carrier takes for all parts, in micro-units; null while none took them, and where it is not
#: known. It is ours to know: no account is told.
messages = sql.Table(
    "messages",
    metadata,
    sql.Column("account", sql.Text, primary_key=True),
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("request_id", sql.Text),
    sql.Column("index", sql.Integer, nullable=False),
    sql.Column("sender", sql.Text),
    sql.Column("recipient", sql.Text, nullable=False),
    sql.Column("international_prefix", sql.Text),
    sql.Column("country_code", sql.Text),
    sql.Column("state", sql.Text, nullable=False),
    sql.Column("detailed_state", sql.Text, nullable=False),
    sql.Column("sequence", sql.Integer, nullable=False),
    sql.Column("encoding", sql.Text),
    sql.Column("characters_count", sql.Integer, nullable=False),
    sql.Column("message_count", sql.Integer, nullable=False),
    sql.Column("parts_delivered", sql.Integer, nullable=False),
    sql.Column("price", sql.Text, nullable=False),
    sql.Column("total_price", sql.Text, nullable=False),
    sql.Column("currency", sql.Text, nullable=False),
    sql.Column("carrier", sql.Text),
    sql.Column("carrier_reference", sql.Text),
    sql.Column("dry_run", sql.Boolean, nullable=False),
    sql.Column("message", sql.Text),
    sql.Column("error", sql.Text),
    sql.Column("custom", sql.Text, nullable=False),
    sql.Column("updated_at", sql.Text, nullable=False),
    sql.Column("sent_at", sql.Text),
    sql.Column("delivered_at", sql.Text),
    sql.Column("operator", sql.Text),
    sql.Column("cost", sql.BigInteger),
    sqlite_with_rowid=False,
)

# Counting by state reads this index alone, in its order (80 ms a million messages; 2 µs a row written).
sql.Index("messages_by_request", messages.c.account, messages.c.request_id, messages.c.detailed_state)

#: One row a movement of money (schemas/ledger.py). Amounts in micro-units; `balance` and `reserved` are the account's
#: after it, `at` is RFC 3339 in UTC with milliseconds, so that its order is that of time.
ledger = sql.Table(
    "ledger",
    metadata,
    sql.Column("account", sql.Text, primary_key=True),
    sql.Column("sequence", sql.BigInteger, primary_key=True),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("amount", sql.BigInteger, nullable=False),
    sql.Column("balance", sql.BigInteger, nullable=False),
    sql.Column("reserved", sql.BigInteger, nullable=False),
    sql.Column("currency", sql.Text, nullable=False),
    sql.Column("batch", sql.Text),
    sql.Column("request_id", sql.Text),
    sql.Column("messages", sql.Integer, nullable=False),
    sql.Column("parts", sql.Integer, nullable=False),
    sql.Column("reference", sql.Text),
    sql.Column("reason", sql.Text),
    sql.Column("price_list", sql.Text),
    sql.Column("bundle", sql.Text),
    sql.Column("bundle_left", sql.Integer),
    sql.Column("at", sql.Text, nullable=False),
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
    sql.Column("topic", sql.Text, primary_key=True),
    sql.Column("partition", sql.Integer, primary_key=True),
    sql.Column("next_offset", sql.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
