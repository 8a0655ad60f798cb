"""An order touches fewer pages: only children stand in the index of parents, and the outbox needs none (what is unsaid
is looked for once, at start).
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("DROP INDEX IF EXISTS outbox_unpublished")
    op.execute("DROP INDEX orders_by_parent")
    op.execute("CREATE INDEX orders_by_parent ON orders (parent_id) WHERE parent_id IS NOT NULL")


def downgrade() -> None:
    raise RuntimeError("indices are made anew by an older build's own upgrade: restore a copy of the older database")
