"""Positions that notebooks want, each once, and what they may hold with real money."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "intents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("strategy_name", sa.Text, nullable=False),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("trading_day", sa.Date, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("target", sa.Integer, nullable=False),
        sa.Column("until", sa.Date, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("account_id", "strategy_name", "intent", "trading_day", name="one_intent_a_day"),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("strategy_name", sa.Text, nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.Column("given_at", sa.DateTime, nullable=False),
        sa.Column("given_by", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.DateTime),
    )


def downgrade() -> None:
    raise RuntimeError("an older build would execute the same intent again: restore a copy of the older database")
