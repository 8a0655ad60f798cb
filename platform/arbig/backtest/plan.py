"""Plan: everything a backtest is told. The same plan gives the same result, to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import BaseTemplate


class Matching(StrEnum):
    """`realistic`: the simulated exchange's rules and the counter's money. `vnpy`: vnpy_ctastrategy's, so that trades
    can be compared one by one."""

    REALISTIC = "realistic"
    VNPY = "vnpy"


class PlanError(ValueError):
    """A plan that cannot be run: what was found, where, what was expected, the mend. One line."""


@dataclass(frozen=True)
class StrategyPlan:
    """One strategy instance. `vt_symbols`: its contract, or its legs (StrategyTemplate). `capital` in yuan."""

    kind: type[BaseTemplate]
    name: str
    vt_symbols: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    capital: float = 1_000_000.0


@dataclass(frozen=True)
class Costs:
    """What trading costs beside the instrument's own fees and margin. `slippage_ticks` moves every fill that takes
    liquidity (stops, orders across the book) against us, in price ticks. Matching `vnpy` uses `rate` (of turnover) and
    `slippage` (yuan of price a unit) as vnpy's engine does, and none of the instrument's fees."""

    slippage_ticks: int = 1
    rate: float = 0.0
    slippage: float = 0.0


@dataclass(frozen=True)
class Plan:
    """`series`: by vt_symbol, with the history before `start` that `load_bar` may ask for (bars: BarSeries, tick mode:
    TickSeries, then `warmup` holds the bars). `start`, `end`: trading days, both included."""

    strategies: tuple[StrategyPlan, ...]
    series: Mapping[str, BarSeries | TickSeries]
    start: date
    end: date
    book: InstrumentBook
    calendar: TradingCalendar
    matching: Matching = Matching.REALISTIC
    costs: Costs = Costs()
    warmup: Mapping[str, BarSeries] = field(default_factory=dict)
