"""Signals in research: a strategy's `prepare` sees DataFrames, its columns come back as `self.signals`.

    class Crossing(CtaTemplate):
        window, signals = 20, None
        parameters = ["window", "signals"]

        @staticmethod
        def prepare(frame, params):
            return frame[["close"]].assign(mean=frame["close"].rolling(params["window"]).mean())

        def on_bar(self, bar):
            row = self.signals.at(bar.datetime)

A strategy with legs gets a dictionary of DataFrames by vt_symbol. The index of what comes back is the rows' moments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from arbig.backtest.plan import Plan, PlanError, StrategyPlan
from arbig.backtest.series import BarSeries, TickSeries
from arbig.backtest.signals import Signals
from arbig.domain.template import StrategyTemplate

Prepare = Callable[[Any, Mapping[str, Any]], pd.DataFrame]


@dataclass(frozen=True)
class FromFrames:
    """`StrategyPlan.prepare` from a function of a DataFrame (with `legs`: of a dictionary of them by vt_symbol) and
    the params, `defaults` where the plan gives none. Frames have the columns of the series (open, high, low, close,
    volume, ...) and its moments as index, naive Shanghai time. Raises PlanError for anything but a DataFrame with a
    DatetimeIndex."""

    prepare: Prepare
    legs: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, series: Mapping[str, BarSeries | TickSeries], params: Mapping[str, Any]) -> dict[str, Signals]:
        frames = {name: frame_of(one) for name, one in series.items()}
        seen = frames if self.legs else next(iter(frames.values()))
        return {"signals": signals_of(self.prepare(seen, {**self.defaults, **params}))}


def with_signals(plan: Plan) -> Plan:
    """The plan in which strategies' own `prepare` (a static or class method) is run before them."""
    return replace(plan, strategies=tuple(_with_signals(one) for one in plan.strategies))


def frame_of(series: BarSeries | TickSeries) -> pd.DataFrame:
    """A series as a DataFrame of its own (a copy): its columns by their names, its moments as index."""
    columns = {column.name: getattr(series, column.name) for column in fields(series)}
    arrays = {name: one.copy() for name, one in columns.items() if isinstance(one, np.ndarray)}
    index = pd.DatetimeIndex(arrays.pop("datetime"), name="datetime")
    return pd.DataFrame(arrays, index=index)


def signals_of(frame: pd.DataFrame) -> Signals:
    """The rows of a DataFrame under their moments."""
    if not (isinstance(frame, pd.DataFrame) and isinstance(frame.index, pd.DatetimeIndex)):
        raise PlanError(f"found {type(frame).__name__}, expected a DataFrame whose index is the rows' moments")
    index = frame.index if frame.index.tz is None else frame.index.tz_convert("Asia/Shanghai").tz_localize(None)
    return Signals(index.to_numpy(), {str(name): frame[name].to_numpy() for name in frame.columns})


def _with_signals(strategy: StrategyPlan) -> StrategyPlan:
    kind = strategy.kind
    own = inspect.getattr_static(kind, "prepare", None)
    if strategy.prepare is not None or not isinstance(own, (staticmethod, classmethod)):
        return strategy
    defaults = {name: getattr(kind, name) for name in kind.parameters if hasattr(kind, name)}
    legs = issubclass(kind, StrategyTemplate)
    return replace(strategy, prepare=FromFrames(getattr(kind, "prepare"), legs, defaults))  # noqa: B009
