"""Messages and offsets."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "messages",
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
        sqlite_with_rowid=False,
    )
    op.create_index("messages_by_request", "messages", ["account", "request_id", "detailed_state"])
    op.create_table(
        "offsets",
        sql.Column("topic", sql.Text, primary_key=True),
        sql.Column("partition", sql.Integer, primary_key=True),
        sql.Column("next_offset", sql.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
