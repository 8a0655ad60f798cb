"""What was sent of which contract on which day, why a request was denied, and which rule set a trading state. Rows
from before say nothing of it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table, name, kind in (
        ("inbox", "symbol", sa.Text),
        ("inbox", "trading_day", sa.Date),
        ("inbox", "messages", sa.Integer),
        ("inbox", "code", sa.Text),
        ("trading_states", "cause", sa.Text),
        ("trading_states", "trading_day", sa.Date),
    ):
        op.add_column(table, sa.Column(name, kind))


def downgrade() -> None:
    raise RuntimeError("an older build cannot count messages: restore a copy of the older database")
