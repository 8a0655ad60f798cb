"""Plan: everything a backtest is told. The same plan gives the same result, to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import Any, TypeAlias

from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.features import Predictor
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import BarData
from arbig.domain.positions import Holding
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import BaseTemplate


class Matching(StrEnum):
    """`realistic`: the simulated exchange's rules and the counter's money. `vnpy`: vnpy_ctastrategy's, so that trades
    can be compared one by one."""

    REALISTIC = "realistic"
    VNPY = "vnpy"


class PlanError(ValueError):
    """A plan that cannot be run: what was found, where, what was expected, the mend. One line."""


Progress: TypeAlias = Callable[[int, int], None]
"""Told now and then how many rows of how many are done. What it raises ends the run and passes through."""

Prepare: TypeAlias = Callable[[Mapping[str, BarSeries | TickSeries], Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Opening:
    """What a strategy begins with. `holdings`: its lots, by symbol, as they stand before the first day; `variables`:
    put back after `on_init`, as after a restart."""

    holdings: Mapping[str, Holding] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """What strategies are told of a contract's ticks, in tick mode, where that is not all there is: `bars`, oldest
    first, instead of those that the ticks make; of the ticks only those with these times (all of them: None)."""

    bars: Sequence[BarData]
    ticks: frozenset[Time] | None = None


@dataclass(frozen=True)
class Protection:
    """The risk block of a strategy's file: percent of the average entry price, lots. In matching `realistic`; stop loss
    and take profit on ticks only, as live."""

    stop_loss_pct: float | None = None
    take_profit_pct: float | None = None
    max_position: int | None = None


@dataclass(frozen=True)
class StrategyPlan:
    """One strategy instance. `vt_symbols`: its contract, or its legs (StrategyTemplate). `capital` in yuan. `prepare`
    makes further params out of its series, by vt_symbol, and its params, once before the run: signals of all rows at
    once. The look-ahead check runs it again on cut data, so it is the one way to look at a whole history honestly."""

    kind: type[BaseTemplate]
    name: str
    vt_symbols: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    capital: float = 1_000_000.0
    prepare: Prepare | None = None
    opening: Opening = Opening()
    risk: Protection = Protection()

    def prepared(self, series: Mapping[str, BarSeries | TickSeries]) -> StrategyPlan:
        """With what `prepare` makes of the series among the params. Raises PlanError when it fails, or makes a param
        that the strategy does not have."""
        if self.prepare is None:
            return self
        try:
            made = self.prepare({name: series[name] for name in self.vt_symbols}, self.params)
        except Exception as error:
            raise PlanError(f"{self.name}: prepare failed: {type(error).__name__}: {error}") from error
        for name in made:
            if name not in self.kind.parameters:
                raise PlanError(
                    f"{self.name}: prepare made {name!r}, {self.kind.__name__} has no such parameter; "
                    f"write {name} = None and add it to `parameters`"
                )
        return replace(self, params={**self.params, **made}, prepare=None)


@dataclass(frozen=True)
class Costs:
    """What trading costs beside the instrument's own fees and margin. `slippage_ticks` moves every fill that takes
    liquidity (stops, orders across the book) against us, in price ticks. `volume_share` of a bar's volume is the most
    we may have of it on each side (0 to 1). `price_limits`: by product, the share of the last settlement price that a
    day may move; a product not named has its margin rate. Matching `vnpy` uses `rate` (of turnover) and `slippage`
    (yuan of price a unit) as vnpy's engine does, and none of the rest nor of the instrument's fees."""

    slippage_ticks: int = 1
    volume_share: float = 0.2
    price_limits: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0
    slippage: float = 0.0


@dataclass(frozen=True)
class Plan:
    """`series`: by vt_symbol, with the history before `start` that `load_bar` may ask for (bars: BarSeries, tick mode:
    TickSeries, then `warmup` holds the bars). `start`, `end`: trading days, both included. `heard`: by vt_symbol, where
    strategies heard less of the market than there was. Matching `vnpy` knows neither `heard` nor an `opening`.
    `predictor` answers `predict`, in this process."""

    strategies: tuple[StrategyPlan, ...]
    series: Mapping[str, BarSeries | TickSeries]
    start: date
    end: date
    book: InstrumentBook
    calendar: TradingCalendar
    matching: Matching = Matching.REALISTIC
    costs: Costs = Costs()
    warmup: Mapping[str, BarSeries] = field(default_factory=dict)
    heard: Mapping[str, Heard] = field(default_factory=dict)
    predictor: Predictor | None = None

    def prepared(self) -> Plan:
        """With every strategy's `prepare` done; itself where there is none. Each engine begins with this."""
        if all(one.prepare is None for one in self.strategies):
            return self
        return replace(self, strategies=tuple(one.prepared(self.series) for one in self.strategies))
