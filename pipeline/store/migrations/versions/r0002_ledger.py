"""The ledger: movements of money."""

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger",
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
    op.create_index("ledger_by_kind", "ledger", ["account", "kind", "sequence"])
    op.create_index("ledger_by_time", "ledger", ["account", "at"])
