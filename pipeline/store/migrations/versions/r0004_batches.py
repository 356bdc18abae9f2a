"""Uploads, and what the messages of a request cost."""

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
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
    op.create_index("batches_by_time", "batches", ["account", "created_at", "id"])
    op.create_index("ledger_by_request", "ledger", ["account", "request_id", "batch"])
    op.create_index("ledger_by_batch", "ledger", ["account", "batch"])
