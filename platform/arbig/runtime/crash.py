"""Crash points: places where a test lets the process die as if the power had failed.

`ARBIG_CRASH=gw.after_commit:3` ends the process at the third pass of that point.
"""

from __future__ import annotations

import os

EXIT_CODE = 137


def _plan(text: str) -> dict[str, int]:
    points = (part.partition(":") for part in text.split(",") if part)
    return {name.strip(): int(passes or 1) for name, _, passes in points}


_remaining = _plan(os.environ.get("ARBIG_CRASH", ""))


def crash_point(name: str) -> None:
    """Nothing, unless the environment names this point."""
    if not _remaining or name not in _remaining:
        return
    _remaining[name] -= 1
    if _remaining[name] == 0:
        os._exit(EXIT_CODE)
