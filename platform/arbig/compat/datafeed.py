"""vnpy's datafeeds by name: `tushare` is the package vnpy_tushare; what it answers becomes bars of ours.

vnpy's bars are stamped with their start, as ours are: its adapters of sources that stamp the end (RQData, TuShare) move
them. For one that does not, say `stamps="end"`. vnpy is imported when a datafeed is opened, never before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from arbig.domain.messages import SHANGHAI, BarData, Exchange, Interval

Stamps = Literal["start", "end"]
MINUTE = timedelta(minutes=1)


class DatafeedError(ValueError):
    """A datafeed that cannot be used, in one line."""


@dataclass(frozen=True)
class Datafeed:
    """An open one. `feed` is vnpy's object: `query_bar_history(HistoryRequest, output)`."""

    name: str
    feed: Any
    stamps: Stamps = "start"

    def bars(self, symbol: str, exchange: Exchange, start: datetime, end: datetime) -> list[BarData]:
        """One-minute bars from `start` to `end` (naive Shanghai time, or aware), oldest first; each minute once, rows
        without a price left out. Raises DatafeedError."""
        shift = MINUTE if self.stamps == "end" else timedelta()
        wanted = self._request(symbol, exchange, _aware(start) + shift, _aware(end) + shift)
        said: list[str] = []
        try:
            rows = self.feed.query_bar_history(wanted, said.append)
        except Exception as error:
            raise DatafeedError(f"{self.name}: {symbol}: {type(error).__name__}: {error}") from error
        if not rows and said:
            raise DatafeedError(f"{self.name}: {symbol}: {said[-1]}")
        found = {bar.datetime: bar for bar in _converted(rows or (), symbol, exchange, shift)}
        return [found[moment] for moment in sorted(found) if _aware(start) <= moment <= _aware(end)]

    def _request(self, symbol: str, exchange: Exchange, start: datetime, end: datetime) -> Any:
        constants, objects = import_module("vnpy.trader.constant"), import_module("vnpy.trader.object")
        return objects.HistoryRequest(
            symbol=symbol,
            exchange=constants.Exchange[exchange],
            start=start,
            end=end,
            interval=constants.Interval.MINUTE,
        )


def open_datafeed(name: str, username: str = "", password: str = "", stamps: Stamps = "start") -> Datafeed:
    """Import vnpy_{name}, log in. Raises DatafeedError."""
    package = name if name.startswith("vnpy_") else f"vnpy_{name}"
    settings = _imported("vnpy.trader.setting", package).SETTINGS
    settings |= {
        "datafeed.name": package.removeprefix("vnpy_"),
        "datafeed.username": username,
        "datafeed.password": password,
    }
    module = _imported(package, package)
    if not hasattr(module, "Datafeed"):
        raise DatafeedError(f"{package}: found no Datafeed in it, expected a vnpy datafeed package, e.g. vnpy_tushare")
    said: list[str] = []
    try:
        feed = module.Datafeed()
        is_open = feed.init(said.append)
    except Exception as error:
        raise DatafeedError(f"{package}: {type(error).__name__}: {error}") from error
    if not is_open:
        reason = said[-1] if said else "it would not open; check its user name and password"
        raise DatafeedError(f"{package}: {reason}")
    return Datafeed(package, feed, stamps)


def _imported(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        need = f"it needs {missing}, which is" if missing != package else "it is"
        raise DatafeedError(f"{package}: {need} not installed; run: pip install {missing}") from None


def _converted(rows: Iterable[Any], symbol: str, exchange: Exchange, shift: timedelta) -> Iterator[BarData]:
    for row in rows:
        prices = [float(getattr(row, f"{name}_price")) for name in ("open", "high", "low", "close")]
        if not all(math.isfinite(price) and price > 0 for price in prices):
            continue
        first, high, low, last = prices
        yield BarData(
            symbol=symbol,
            exchange=exchange,
            datetime=_aware(row.datetime) - shift,
            interval=Interval.MINUTE,
            open_price=first,
            high_price=high,
            low_price=low,
            close_price=last,
            volume=_whole(row.volume),
            open_interest=_whole(row.open_interest),
            turnover=_finite(row.turnover),
        )


def _finite(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else 0.0


def _whole(value: float | None) -> int:
    return round(_finite(value))


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=SHANGHAI) if moment.tzinfo is None else moment.astimezone(SHANGHAI)
