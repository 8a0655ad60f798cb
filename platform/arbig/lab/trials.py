"""Trials: every backtest ever tried is remembered, so that the best of many is not mistaken for a find.

`data/trials/{class}-{contracts}.jsonl`, a line per trial: which code, setting, parameters and days, and its Sharpe
ratio. Deleting it makes every later deflated Sharpe ratio too good.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from arbig.backtest.overfitting import moments
from arbig.backtest.plan import Plan
from arbig.backtest.series import Floats
from arbig.domain.template import BaseTemplate
from arbig.lab.jobs import setting_of
from arbig.lab.lines import Lines

Key: TypeAlias = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Trial:
    """`code`: the strategy's text as a hash; `setting`: matching, costs and capital as one; `params`: all of them as
    JSON; `sharpe` a day, not annualised, of `days` trading days."""

    code: str
    setting: str
    params: str
    start: str
    end: str
    sharpe: float
    days: int

    @property
    def key(self) -> Key:
        return (self.code, self.setting, self.params, self.start, self.end)


@dataclass(frozen=True)
class Count:
    """What is known of the trials that saw a stretch of days. `tried`: different (code, setting, parameters) of the
    strategy on these contracts whose days overlap it; `variance`: of the daily Sharpe ratios of those over exactly
    these days in this setting."""

    tried: int
    variance: float


class Ledger:
    """The trials of one strategy class on its contracts, whatever its code was at the time."""

    def __init__(self, data: Path, class_name: str, vt_symbols: Sequence[str]) -> None:
        self._lines = Lines(data / "trials" / f"{class_name}-{'+'.join(vt_symbols)}.jsonl")
        self._known: dict[Key, Trial] | None = None

    @property
    def path(self) -> Path:
        return self._lines.path

    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._read().values())

    def add(self, trial: Trial) -> None:
        """Once, however often it is run. Raises OSError."""
        known = self._read()
        if trial.key not in known:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lines.append(asdict(trial))
            known[trial.key] = trial

    def count(self, start: date, end: date, setting: str) -> Count:
        self._known = None
        first, last = start.isoformat(), end.isoformat()
        overlapping = [one for one in self.trials() if one.start <= last and first <= one.end]
        alike = [one.sharpe for one in overlapping if (one.start, one.end, one.setting) == (first, last, setting)]
        variance = float(np.var(alike, ddof=1)) if len(alike) > 1 else 0.0
        return Count(len({(one.code, one.setting, one.params) for one in overlapping}), variance)

    def _read(self) -> dict[Key, Trial]:
        if self._known is None:
            self._known = {trial.key: trial for trial in _trials(self._lines.read())}
        return self._known


def trials_of(plan: Plan, data: Path | None) -> int | None:
    """How many different sets were ever tried of the strategy of a plan on its days; of several strategies the most.
    None where no ledger was kept."""
    if data is None:
        return None
    counts = [
        Ledger(data, one.kind.__name__, one.vt_symbols).count(
            plan.start, plan.end, setting_of(plan.matching, one.capital, plan.costs, one.vt_symbols)
        )
        for one in plan.strategies
    ]
    return max((one.tried for one in counts), default=None)


def trial_of(
    kind: type[BaseTemplate],
    code: str,
    setting: str,
    params: Mapping[str, Any],
    days: tuple[date, date],
    returns: Floats,
) -> Trial:
    """`params`: those that were given; the class's own defaults stand for the rest."""
    defaults = {name: getattr(kind, name) for name in kind.parameters if hasattr(kind, name)}
    every = json.dumps({**defaults, **params}, sort_keys=True, ensure_ascii=False, default=repr)
    start, end = days
    return Trial(code, setting, every, start.isoformat(), end.isoformat(), moments(returns)[0], len(returns))


def _trials(lines: Iterable[Mapping[str, Any]]) -> Iterable[Trial]:
    for words in lines:
        try:
            yield Trial(**words)
        except TypeError:
            continue  # another version's line
