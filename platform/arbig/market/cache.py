"""MarketCache: the last tick of every symbol, and the bars of the days that were asked for; the files hold the rest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date

from arbig.domain.messages import BarData, TickData
from arbig.store.bars import BarStore

DAYS = 600


class MarketCache:
    """Bars are read from the store once per symbol and trading day, and kept up to date by `add`."""

    def __init__(self, store: BarStore) -> None:
        self._store = store
        self._bars: OrderedDict[tuple[str, date], list[BarData]] = OrderedDict()
        self.ticks: dict[str, TickData] = {}

    def take(self, tick: TickData) -> None:
        known = self.ticks.get(tick.symbol)
        if known is None or tick.datetime >= known.datetime:
            self.ticks[tick.symbol] = tick

    def add(self, bars: Sequence[BarData]) -> None:
        """Bars just finished, in order."""
        for bar in bars:
            assert bar.trading_day is not None
            known = self.day(bar.symbol, bar.trading_day)
            if not known or bar.datetime > known[-1].datetime:
                known.append(bar)

    def day(self, symbol: str, day: date) -> list[BarData]:
        """The one-minute bars of a trading day so far. Raises BarFileError."""
        key = (symbol, day)
        known = self._bars.get(key)
        if known is None:
            known = self._bars[key] = self._store.read_day(symbol, day)
            if len(self._bars) > DAYS:
                self._bars.popitem(last=False)
        self._bars.move_to_end(key)
        return known

    def days(self, symbol: str) -> list[date]:
        """The trading days with bars, in order."""
        held = (day for known, day in self._bars if known == symbol and self._bars[known, day])
        return sorted({*self._store.days(symbol), *held})

    def forget(self, symbol: str, day: date) -> None:
        """The day's file was written from outside the flow of bars."""
        self._bars.pop((symbol, day), None)
