"""Store: how an older trading database becomes today's. Alembic is imported here only."""
