"""Hours: when a target wants to hear nothing but what is urgent."""

from __future__ import annotations

from datetime import datetime, time


def is_quiet(span: tuple[time, time] | None, now: datetime) -> bool:
    """`23:00-07:30` holds over midnight; the end is out."""
    if span is None:
        return False
    start, end = span
    at = now.time()
    return start <= at < end if start <= end else at >= start or at < end
