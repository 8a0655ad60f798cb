"""Comparison: several runs side by side, their returns in one picture and their figures in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from arbig.lab.charts import LINES, equity_chart
from arbig.lab.results import BacktestResult
from arbig.lab.sheet import Kept, Part, Rows, Sheet, SheetError, both, cell, heading
from arbig.lab.tearsheet import FIGURES, Run, written


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Sheet):
    """The page of several runs. `statistics`: a row per figure, a column per run."""

    statistics: pd.DataFrame


def compare(results: Sequence[BacktestResult] | Mapping[str, BacktestResult]) -> Comparison:
    """Runs by name, or named after their strategies and numbered where names repeat. Raises SheetError for none."""
    runs = {name: Run(result.result) for name, result in _named(results).items()}
    if not runs:
        raise SheetError("compare: found no results, expected at least one; write compare([first, second])")
    title = f"Comparison of {len(runs)} runs"
    statistics = pd.DataFrame({name: dict(run.statistics) for name, run in runs.items()})
    first = next(iter(_named(results).values()))
    kept = Kept("comparison", "comparison", lambda: {"strategies": ", ".join(runs)}, first.data)
    return Comparison(title, lambda: _rows(title, runs), lambda: _figures(runs), statistics, kept=kept)


def _named(results: Sequence[BacktestResult] | Mapping[str, BacktestResult]) -> Mapping[str, BacktestResult]:
    if isinstance(results, Mapping):
        return results
    named: dict[str, BacktestResult] = {}
    for result in results:
        name = ", ".join(one.name for one in result.plan.strategies)
        named[name if name not in named else f"{name} ({len(named) + 1})"] = result
    return named


def _rows(title: str, runs: Mapping[str, Run]) -> Rows:
    accounts = {name: run.account for name, run in runs.items()}
    spans = " · ".join(dict.fromkeys(f"{run.plan.start} .. {run.plan.end}" for run in runs.values()))
    return [
        [Part("head", f"<h1><b>ARBIG</b>{title}</h1><small>{len(runs)}次回测对比 · {spans}</small>")],
        [Part("equity", heading("Return and drawdown", "收益与回撤"), equity_chart(accounts, share=True))],
        [Part("statistics", heading("Statistics", "绩效指标") + _figures(runs))],
    ]


def _figures(runs: Mapping[str, Run]) -> str:
    colors = LINES * (1 + len(runs) // len(LINES))
    head = "".join(
        f'<th><span class="swatch" style="background:{color}"></span>{escape(name)}</th>'
        for name, color in zip(runs, colors, strict=False)
    )
    body = "".join(
        f"<tr><th>{both(*words)}</th>{''.join(cell(written(run.statistics, key)) for run in runs.values())}</tr>"
        for group in FIGURES.values()
        for key, *words, _ in group
    )
    head = f"<thead><tr><th></th>{head}</tr></thead>"
    return f'<div class="wide"><table class="cmp">{head}<tbody>{body}</tbody></table></div>'
