"""Store: alembic's entry. The connection comes from the caller, so that a revision is part of its transaction."""

from __future__ import annotations

from alembic import context

from arbig.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
)
context.run_migrations()
