"""Walk-forward: choose on one stretch of days, trade the choice on the next, and see what is left of it.

Between the two lies a gap (`purge`), so that neither a position held over the end of the choosing nor the warm-up of
the trading reaches from one into the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from arbig.backtest.overfitting import moments, probabilistic_sharpe
from arbig.backtest.plan import Plan
from arbig.backtest.series import Floats
from arbig.lab.spaces import SweepError

if TYPE_CHECKING:
    from arbig.lab.sweeps import Campaign, Row, Sweep

YEAR = 240


@dataclass(frozen=True)
class Forward:
    """Trading days: `train` to choose on, then a gap of `purge`, then `test` to trade. The next window begins `test`
    days later; with `anchored` the choosing always begins with the first day."""

    train: int
    test: int
    purge: int = 5
    anchored: bool = False

    def __post_init__(self) -> None:
        for name, least in (("train", 2), ("test", 1), ("purge", 0)):
            found = getattr(self, name)
            if isinstance(found, bool) or not isinstance(found, int) or found < least:
                raise SweepError(f"walk_forward: {name}: found {found!r}, expected a whole number of days from {least}")

    def windows(self, days: Sequence[date]) -> Iterator[Window]:
        """The last window's test may be shorter. Raises SweepError when there is not one window."""
        first = self.train + self.purge
        if len(days) <= first:
            raise SweepError(
                f"walk_forward: found {len(days)} trading days, expected more than {first} "
                f"(train {self.train} + purge {self.purge}); take a longer range or smaller windows"
            )
        for start in range(first, len(days), self.test):
            train = days[0 if self.anchored else start - first : start - self.purge]
            test = days[start : start + self.test]
            yield Window(train[0], train[-1], test[0], test[-1])


@dataclass(frozen=True)
class Window:
    train_start: date
    train_end: date
    test_start: date
    test_end: date


@dataclass(frozen=True, eq=False)
class Step:
    """One window: the search on its train days, and the choice traded on its test days."""

    window: Window
    search: Sweep
    outside: Row


@dataclass(frozen=True, eq=False, repr=False)
class WalkForward:
    """What walking forward left: `.windows` a row per window, `.rows` every set of every search, `.in_sample` and
    `.out_of_sample` the mean target of the choices, `.returns` the daily returns of the test days in a row."""

    steps: tuple[Step, ...]
    complete: bool
    remarks: tuple[str, ...] = ()

    @cached_property
    def windows(self) -> pd.DataFrame:
        """Per window: its days, the parameters chosen, the target where they were chosen and where they traded."""
        rows = [
            {
                "train_start": step.window.train_start,
                "train_end": step.window.train_end,
                "test_start": step.window.test_start,
                "test_end": step.window.test_end,
                **{name: step.search.best[name] for name in step.search.names},
                "in_sample": step.search.best_value,
                "out_of_sample": step.outside.value(step.search.target),
                "error": step.outside.error,
            }
            for step in self.steps
        ]
        return pd.DataFrame(rows)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Every set of every search, with its window (from 1)."""
        tables = [step.search.rows.assign(window=number) for number, step in enumerate(self.steps, 1)]
        filled = [table.dropna(axis=1, how="all") for table in tables]
        return pd.concat(filled, ignore_index=True) if tables else pd.DataFrame()

    @property
    def best(self) -> dict[str, Any]:
        """The newest choice: what would trade now."""
        if not self.steps:
            raise SweepError("walk_forward: no window has finished")
        return self.steps[-1].search.best

    @property
    def in_sample(self) -> float:
        return _mean([step.search.best_value for step in self.steps])

    @property
    def out_of_sample(self) -> float:
        """Over the windows that have a finite target."""
        return _mean([step.outside.value(step.search.target) for step in self.steps])

    @property
    def kept(self) -> float:
        """The share of the in-sample target that is left out of sample; nan when there was none to keep."""
        return self.out_of_sample / self.in_sample if self.in_sample > 0 else math.nan

    @property
    def returns(self) -> Floats:
        """Simple daily returns of the test days, one window after the other, each with fresh capital."""
        return np.concatenate([step.outside.returns for step in self.steps]) if self.steps else np.empty(0)

    @property
    def sharpe(self) -> float:
        """Of the test days together, annualised."""
        return moments(self.returns)[0] * math.sqrt(YEAR)

    @property
    def probability_of_skill(self) -> float:
        """The probability that the true Sharpe ratio of the test days is above zero: no set was chosen on them."""
        sharpe, skewness, kurtosis = moments(self.returns)
        return probabilistic_sharpe(sharpe, 0.0, len(self.returns), skewness, kurtosis)

    def save(self, path: Path | str | None = None) -> Path:
        """The windows as one HTML page; without a path it goes to the archive, `data/research/`. Raises SweepError
        when no window has finished."""
        from arbig.lab.sweep_page import walk_forward_page

        if not self.steps:
            raise SweepError("walk_forward: no window has finished; there is nothing to save")
        return walk_forward_page(self).save(path)

    def text(self) -> str:
        """The summary and the windows, for a terminal."""
        return f"{self!r}\n\n{self.windows.to_string(index=False, na_rep='')}"

    def __repr__(self) -> str:
        return "\n".join(f"{name:<14} {value}" for name, value in self._summary())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._summary()
        )
        failed = any(step.outside.error for step in self.steps)
        shown = self.windows if failed else self.windows.drop(columns="error", errors="ignore")
        windows = shown.to_html(index=False, float_format=lambda value: f"{value:.4g}", na_rep="")
        return f"<table>{rows}</table>{windows}"

    def _summary(self) -> list[tuple[str, str]]:
        target = self.steps[0].search.target_name if self.steps else "target"
        lines = [
            ("walk-forward", f"{len(self.steps)} windows, {len(self.returns)} test days"),
            ("in sample", f"{target} {self.in_sample:.4g} (mean of the choices)"),
            ("out of sample", f"{target} {self.out_of_sample:.4g} (the same choices on the days after)"),
            ("test days", f"Sharpe ratio {self.sharpe:.4g}; above zero with {self.probability_of_skill:.1%}"),
        ]
        return lines + [("remark", line) for line in self.remarks]


def forward_of(given: Forward | Mapping[str, Any] | tuple[int, int]) -> Forward:
    """A `Forward` from what `desk.sweep` was given. Raises SweepError."""
    if isinstance(given, Forward):
        return given
    try:
        return Forward(**given) if isinstance(given, Mapping) else Forward(*given)
    except TypeError:
        raise SweepError(
            f"walk_forward: found {given!r}, expected (train, test) in trading days, "
            f"or {{'train': 60, 'test': 20, 'purge': 5, 'anchored': False}}"
        ) from None


def walk(campaign: Campaign, plan: Plan, forward: Forward) -> WalkForward:
    """Window by window; Ctrl-C keeps the finished ones."""
    windows = tuple(forward.windows(plan.calendar.days_between(plan.start, plan.end)))
    steps: list[Step] = []
    remarks: list[str] = []
    for number, window in enumerate(windows, 1):
        search = campaign.run(window.train_start, window.train_end, f"window {number} of {len(windows)}")
        if campaign.stopped:
            remarks.append(f"stopped by hand after {len(steps)} of {len(windows)} windows; the same call goes on")
            break
        if not math.isfinite(search.finished[0].value(search.target)):
            remarks.append(f"window {number}: no set has a finite {search.target_name}; nothing was chosen")
            continue
        steps.append(
            Step(window, search, campaign.one(search.finished[0].task.params, window.test_start, window.test_end))
        )
    return WalkForward(tuple(steps), not campaign.stopped, tuple(remarks))


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
