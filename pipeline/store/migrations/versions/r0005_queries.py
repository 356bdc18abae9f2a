"""What requests said, indexes of the filters, statistics, erasures; PostgreSQL orders texts by their bytes."""

import secrets

import sqlalchemy as sql
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _order_by_bytes()
    text = sql.Text().with_variant(sql.Text(collation="C"), "postgresql")
    _make_tables(text)
    op.add_column("messages", sql.Column("send_at", text))
    uncommon = sql.text("detailed_state != 'DELIVERED'")
    op.create_index("messages_by_recipient", "messages", ["account", "recipient", "id"])
    op.create_index(
        "messages_by_state",
        "messages",
        ["account", "detailed_state", "id"],
        sqlite_where=uncommon,
        postgresql_where=uncommon,
    )
    projection = sql.table("projection", sql.column("id"), sql.column("epoch"), sql.column("salt"))
    op.execute(projection.insert().values(id=1, epoch=0, salt=secrets.token_hex(16)))


def _order_by_bytes() -> None:
    inspector = sql.inspect(op.get_bind())
    for table in ("messages", "ledger", "offsets"):
        for column in inspector.get_columns(table):
            if isinstance(column["type"], sql.Text):
                op.alter_column(table, column["name"], type_=sql.Text(collation="C"))


def _make_tables(text: sql.types.TypeEngine[str]) -> None:
    def key(*names: str) -> list[sql.Column[str]]:
        return [sql.Column(name, text, primary_key=True) for name in names]

    about = "account", "day", "country", "operator", "carrier"
    op.create_table(
        "requests",
        *key("account", "batch"),
        sql.Column("options", text),
        sql.Column("callback", text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "statistics",
        *key(*about, "state"),
        sql.Column("messages", sql.BigInteger, nullable=False),
        sql.Column("parts", sql.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery_times",
        *key(*about),
        sql.Column("step", sql.Integer, primary_key=True),
        sql.Column("messages", sql.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "projection",
        sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),
        sql.Column("epoch", sql.BigInteger, nullable=False),
        sql.Column("salt", text, nullable=False),
    )
    op.create_table(
        "erasures",
        *key("account", "recipient_hash"),
        sql.Column("until", text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table("swept", *key("what", "account"), sql.Column("id", text, nullable=False), sqlite_with_rowid=False)
