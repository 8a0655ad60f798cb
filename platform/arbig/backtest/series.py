"""Series: one contract's bars or ticks as columns. A backtest reads columns; bars are made only for whoever looks.

Times are wall clock in Shanghai, kept naive in the columns and aware in the messages made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from datetime import datetime as Time
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from arbig.domain.messages import SHANGHAI, BarData, Exchange, TickData

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Series:
    """What bars and ticks share. `datetime` ascends; every column has one value a row."""

    symbol: str
    exchange: Exchange
    datetime: Times
    trading_day: Times

    def __len__(self) -> int:
        return len(self.datetime)

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    def rows(self, start: int, stop: int) -> Self:
        """The rows [start, stop) as views: nothing is copied."""
        columns = ((field.name, getattr(self, field.name)) for field in fields(self))
        cut: dict[str, Any] = {name: one[start:stop] for name, one in columns if isinstance(one, np.ndarray)}
        return replace(self, **cut)

    def days(self, first: date, last: date) -> Self:
        """The rows of the trading days from `first` to `last`, both included."""
        start, stop = self.first_of(first), int(np.searchsorted(self.trading_day, np.datetime64(last), side="right"))
        return self.rows(start, max(start, stop))

    def first_of(self, day: date) -> int:
        """The index of the first row of that trading day or a later one."""
        return int(np.searchsorted(self.trading_day, np.datetime64(day), side="left"))

    def before(self, moment: Time) -> int:
        """How many rows are earlier than a moment (naive Shanghai time, or aware)."""
        naive = moment.astimezone(SHANGHAI).replace(tzinfo=None) if moment.tzinfo else moment
        return int(np.searchsorted(self.datetime, np.datetime64(naive), side="left"))


@dataclass(frozen=True, eq=False)
class BarSeries(Series):
    """Bars. `datetime` datetime64[s], stamped with the bar's start; `trading_day` datetime64[D]; `volume` in lots,
    `turnover` in yuan (0 where unknown)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    turnover: Floats
    open_interest: Floats
    interval: str = "1m"

    @classmethod
    def from_bars(cls, bars: Sequence[BarData]) -> Self:
        """Columns of bars of one contract, oldest first. Raises ValueError for none or for several contracts."""
        names = {bar.vt_symbol for bar in bars}
        if len(names) != 1:
            raise ValueError(f"BarSeries: found bars of {sorted(names) or 'nothing'}, expected one contract's")
        return cls(
            symbol=bars[0].symbol,
            exchange=bars[0].exchange,
            interval=bars[0].interval,
            datetime=_seconds(bar.datetime for bar in bars),
            trading_day=np.array([bar.trading_day or bar.datetime.date() for bar in bars], "datetime64[D]"),
            open=np.array([bar.open_price for bar in bars], np.float64),
            high=np.array([bar.high_price for bar in bars], np.float64),
            low=np.array([bar.low_price for bar in bars], np.float64),
            close=np.array([bar.close_price for bar in bars], np.float64),
            volume=np.array([bar.volume for bar in bars], np.float64),
            turnover=np.array([bar.turnover or 0.0 for bar in bars], np.float64),
            open_interest=np.array([bar.open_interest for bar in bars], np.float64),
        )

    def bar(self, index: int) -> BarData:
        """One row as the message a live strategy gets."""
        return BarData(
            symbol=self.symbol,
            exchange=self.exchange,
            datetime=self.datetime[index].astype(Time).replace(tzinfo=SHANGHAI),
            interval=self.interval,
            open_price=float(self.open[index]),
            high_price=float(self.high[index]),
            low_price=float(self.low[index]),
            close_price=float(self.close[index]),
            volume=int(self.volume[index]),
            open_interest=int(self.open_interest[index]),
            turnover=float(self.turnover[index]),
            trading_day=self.trading_day[index].astype(date),
        )

    def bars(self) -> Iterator[BarData]:
        return map(self.bar, range(len(self)))


@dataclass(frozen=True, eq=False)
class TickSeries(Series):
    """Ticks. `datetime` datetime64[ms]; `volume` and `turnover` since the start of the trading day."""

    last_price: Floats
    volume: Floats
    open_interest: Floats
    last_volume: Floats
    open_price: Floats
    high_price: Floats
    low_price: Floats
    pre_close: Floats
    limit_up: Floats
    limit_down: Floats
    bid_price_1: Floats
    bid_volume_1: Floats
    ask_price_1: Floats
    ask_volume_1: Floats
    turnover: Floats
    pre_settlement: Floats

    @classmethod
    def from_ticks(cls, ticks: Sequence[TickData]) -> Self:
        """Columns of ticks of one contract, oldest first. Raises ValueError for none or for several contracts."""
        names = {tick.vt_symbol for tick in ticks}
        if len(names) != 1:
            raise ValueError(f"TickSeries: found ticks of {sorted(names) or 'nothing'}, expected one contract's")
        return cls(
            symbol=ticks[0].symbol,
            exchange=ticks[0].exchange,
            datetime=_milliseconds(tick.datetime for tick in ticks),
            trading_day=np.array([tick.trading_day or tick.datetime.date() for tick in ticks], "datetime64[D]"),
            **{name: np.array([getattr(tick, name) or 0.0 for tick in ticks], np.float64) for name in TICK_COLUMNS},
        )

    def tick(self, index: int) -> TickData:
        """One row as the message a live strategy gets."""
        values = {name: float(getattr(self, name)[index]) for name in TICK_COLUMNS}
        values |= {name: int(values[name]) for name in TICK_WHOLE}
        return TickData(
            symbol=self.symbol,
            exchange=self.exchange,
            datetime=self.datetime[index].astype(Time).replace(tzinfo=SHANGHAI),
            trading_day=self.trading_day[index].astype(date),
            **values,  # type: ignore[arg-type]
        )

    def ticks(self) -> Iterator[TickData]:
        return map(self.tick, range(len(self)))


TICK_COLUMNS = tuple(
    field.name for field in fields(TickSeries) if field.name not in ("symbol", "exchange", "datetime", "trading_day")
)
TICK_WHOLE = ("volume", "open_interest", "last_volume", "bid_volume_1", "ask_volume_1")


def _seconds(moments: Iterable[Time]) -> Times:
    return np.array([moment.replace(tzinfo=None) for moment in moments], "datetime64[s]")


def _milliseconds(moments: Iterable[Time]) -> Times:
    return np.array([moment.replace(tzinfo=None) for moment in moments], "datetime64[ms]")
