"""The specification's two tables (7.3), to the letter."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("order_id", sa.Text, unique=True),
        sa.Column("request_id", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("exchange", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("offset", sa.Text),
        sa.Column("price", sa.Float),
        sa.Column("volume", sa.Integer),
        sa.Column("traded", sa.Integer),
        sa.Column("status", sa.Text),
        sa.Column("strategy_name", sa.Text),
        sa.Column("created_at", sa.DateTime),
        sa.Column("updated_at", sa.DateTime),
    )
    op.create_table(
        "trades",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("trade_id", sa.Text, unique=True),
        sa.Column("order_id", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("exchange", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("offset", sa.Text),
        sa.Column("price", sa.Float),
        sa.Column("volume", sa.Integer),
        sa.Column("strategy_name", sa.Text),
        sa.Column("traded_at", sa.DateTime),
    )


def downgrade() -> None:
    op.drop_table("trades")
    op.drop_table("orders")
