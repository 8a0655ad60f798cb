"""Store: what can go wrong with a book, in one line each."""

from __future__ import annotations

from arbig.domain.faults import StartAnew


class StoreError(RuntimeError):
    """The database cannot be used: which one, what was found, what mends it. Nothing was written."""


class Away(StoreError):
    """The server does not answer now: it may be asked again."""


class Contradiction(Exception):
    """A row says what another one says already. Nothing was written."""


class InDoubt(StartAnew):
    """The server went away with the answer to a commit: whether it was written can only be read anew. Whoever hears it
    ends, and starts again from the database."""
