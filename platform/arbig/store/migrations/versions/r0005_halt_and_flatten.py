"""A number that grows with each trading state, so that the Gateway knows the newer one; and what is being made flat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("trading_states", sa.Column("number", sa.Integer))
    op.execute("UPDATE trading_states SET number = id")
    op.create_table(
        "flattens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("strategy_name", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    raise RuntimeError("an older build cannot know which trading state is newer: restore a copy of the older database")
