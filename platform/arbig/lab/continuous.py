"""Continuous: one series of a product from its contracts, rolled as the main contract changes, never back.

Back-adjusted (ratio: every earlier price times the quotient of the two contracts' last closes before the roll;
difference: plus their difference): the newest prices are as they were traded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from arbig.backtest.series import BarSeries
from arbig.lab.barfiles import HistoryError, joined

if TYPE_CHECKING:
    import pandas

Adjust: TypeAlias = Literal["ratio", "difference"] | None
Rolling: TypeAlias = Literal["main", "volume"]
PRICES = ("open", "high", "low", "close")
RULES = {"main": "open_interest", "volume": "volume"}


@dataclass(frozen=True)
class Day:
    """A contract's trading day: last open interest, lots, last close."""

    open_interest: float
    volume: float
    close: float


@dataclass(frozen=True)
class Roll:
    """From `trading_day`'s first bar on (its night's opening) the series is `new`. `old_close`, `new_close`: the day
    before; `factor` and `offset`: what makes an old price a new one."""

    trading_day: date
    old: str
    new: str
    old_close: float
    new_close: float

    @property
    def factor(self) -> float:
        return self.new_close / self.old_close

    @property
    def offset(self) -> float:
        return self.new_close - self.old_close


@dataclass(frozen=True, eq=False)
class Continuous:
    """`series`: the bars, under the newest contract's name; `rolls`: the roll table, oldest first; `contracts`: which
    contract each trading day is of. Adjusted prices need not lie on the price tick. A backtest takes the series in a
    contract's place: `replace(plan, series={gold.series.vt_symbol: gold.series}, start=...)`."""

    product: str
    series: BarSeries
    adjust: Adjust
    rolls: tuple[Roll, ...]
    contracts: Mapping[date, str]

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """The roll table: trading_day, old, new, old_close, new_close, offset, factor."""
        import pandas

        names = ("trading_day", "old", "new", "old_close", "new_close", "offset", "factor")
        return pandas.DataFrame([[getattr(roll, name) for name in names] for roll in self.rolls], columns=list(names))

    def left(self) -> list[tuple[date, float]]:
        """The contracts' difference (yuan) that each roll leaves in the series."""
        return [(roll.trading_day, roll.offset if self.adjust is None else 0.0) for roll in self.rolls]

    def __repr__(self) -> str:
        days = np.unique(self.series.trading_day)
        how: str = f"back-adjusted by {self.adjust}" if self.adjust else "not adjusted"
        return f"{self.product} continuous, {how}: {days[0]} to {days[-1]}, {len(self.rolls)} rolls"

    def _repr_html_(self) -> str:
        return f"<b>{self!r}</b>{self.frame.to_html(index=False)}"


def chosen_contracts(days: Sequence[date], contracts: Mapping[str, Mapping[date, Day]], by: str) -> dict[date, str]:
    """Each trading day's contract: the one with the most of the day before, as it was known then; never an earlier
    delivery than the day before's. Symbols of one product order by delivery."""
    chosen: dict[date, str] = {}
    current: str | None = None
    for index, day in enumerate(days):
        known = days[max(0, index - 1)]
        there = {symbol: own[known] for symbol, own in contracts.items() if day in own and known in own}
        later = {symbol: seen for symbol, seen in there.items() if current is None or symbol >= current}
        if not later:
            found = " ".join(symbol for symbol, own in contracts.items() if day in own) or "none"
            raise HistoryError(
                f"continuous: no contract from {current} on has bars on both {known} and {day}, only {found}; bring "
                "the next contract's"
            )
        current = max(later, key=lambda symbol: (getattr(later[symbol], by), symbol))
        chosen[day] = current
    return chosen


def continuous(
    product: str, bars: Mapping[str, BarSeries], days: Sequence[date], adjust: Adjust, roll: str
) -> Continuous:
    """The contracts' bars as one series over `days`; the first of them only serves to choose. Raises HistoryError."""
    statistics = {symbol: _statistics(series) for symbol, series in bars.items()}
    chosen = chosen_contracts(days, statistics, RULES[roll])
    shown = days[1:] or days
    changes = [(before, day) for before, day in pairwise(shown) if chosen[before] != chosen[day]]
    rolls = tuple(
        Roll(day, old, new, statistics[old][before].close, statistics[new][before].close)
        for before, day in changes
        for old, new in [(chosen[before], chosen[day])]
    )
    pieces = [bars[chosen[day]].days(day, day) for day in shown]
    adjusted = [_adjusted(piece, day, rolls, adjust) for piece, day in zip(pieces, shown, strict=True)]
    whole = joined([replace(piece, symbol=pieces[-1].symbol) for piece in adjusted])
    return Continuous(product, whole, adjust, rolls, {day: chosen[day] for day in shown})


def _adjusted(piece: BarSeries, day: date, rolls: Sequence[Roll], adjust: Adjust) -> BarSeries:
    later = [roll for roll in rolls if roll.trading_day > day]
    if adjust is None or not later:
        return piece
    factor = float(np.prod([roll.factor for roll in later])) if adjust == "ratio" else 1.0
    offset = sum(roll.offset for roll in later) if adjust == "difference" else 0.0
    prices: dict[str, Any] = {name: getattr(piece, name) * factor + offset for name in PRICES}
    return replace(piece, **prices)


def _statistics(series: BarSeries) -> dict[date, Day]:
    first = np.flatnonzero(np.concatenate([[True], np.diff(series.trading_day).astype(np.int64) != 0]))
    last = np.append(first[1:], len(series)) - 1
    volume = np.add.reduceat(series.volume, first)
    rows = zip(series.trading_day[first].tolist(), last.tolist(), volume.tolist(), strict=True)
    return {day: Day(float(series.open_interest[end]), lots, float(series.close[end])) for day, end, lots in rows}
