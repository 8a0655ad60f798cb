"""Faults: what no room mends by trying again."""

from __future__ import annotations


class StartAnew(RuntimeError):
    """What this life knows is no longer what is written, or nobody can say whether it is: the service ends, and its
    next life reads the truth anew. It says nothing against the entry in hand, which comes again."""
