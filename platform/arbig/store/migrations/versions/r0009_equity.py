"""What the account was worth, a point a session minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "equity",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime, primary_key=True),
        sa.Column("trading_day", sa.Date, nullable=False),
        sa.Column("balance", sa.Float, nullable=False),
        sa.Column("available", sa.Float, nullable=False),
        sa.Column("margin", sa.Float, nullable=False),
        sa.Column("commission", sa.Float, nullable=False),
        sa.Column("close_profit", sa.Float, nullable=False),
        sa.Column("position_profit", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("equity")
