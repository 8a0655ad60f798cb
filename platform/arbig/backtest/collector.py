"""Collector: Python's garbage collector has little to find in a backtest, and looks seldom while one runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 1_000_000


@contextmanager
def patient() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(max(SELDOM, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
