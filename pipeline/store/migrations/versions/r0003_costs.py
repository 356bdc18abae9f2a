"""Of each message its original operator, and what it cost us."""

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sql.Column("operator", sql.Text))
    op.add_column("messages", sql.Column("cost", sql.BigInteger))
