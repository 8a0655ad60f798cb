"""Sweep page: a search on one page, for the archive: what was tried, how much of it is luck, the picture, the best."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from arbig.lab.sheet import Kept, Part, Rows, Sheet, heading, table

if TYPE_CHECKING:
    from arbig.lab.sweeps import Sweep
    from arbig.lab.walkforward import WalkForward

SHOWN_SETS = 40


def sweep_page(sweep: Sweep) -> Sheet:
    title = f"{sweep.job.class_name}: {sweep.start} .. {sweep.end}"
    return Sheet(title, lambda: _rows(sweep, title), sweep._repr_html_, kept=kept_of(sweep, "sweep"))


def kept_of(sweep: Sweep, kind: Any) -> Kept:
    return Kept(kind, sweep.job.class_name, lambda: _figures(sweep), sweep.data)


def walk_forward_page(walked: WalkForward) -> Sheet:
    search = walked.steps[0].search
    window = [walked.steps[0].window.test_start, walked.steps[-1].window.test_end]
    title = f"{search.job.class_name}, walk-forward: {window[0]} .. {window[1]}"
    figures = {
        "strategies": search.job.class_name,
        "contracts": " ".join(search.job.vt_symbols),
        "start": window[0].isoformat(),
        "end": window[1].isoformat(),
        "trials": walked.steps[-1].search.tried,
        "sets": sum(len(step.search.finished) for step in walked.steps),
        "sharpe": walked.sharpe,
        "in_sample": walked.in_sample,
        "out_of_sample": walked.out_of_sample,
        "probability_of_skill": walked.probability_of_skill,
    }
    rows: Rows = [
        [Part("head", _head(title, walked._summary()[1:]))],
        [Part("windows", heading("Windows", "窗口") + _frame(walked.windows))],
    ]
    kept = Kept("walk-forward", search.job.class_name, lambda: figures, search.data)
    return Sheet(title, lambda: rows, walked._repr_html_, kept=kept)


def _rows(sweep: Sweep, title: str) -> Rows:
    shown = sweep.rows[sweep._shown()].head(SHOWN_SETS)
    best = heading("Best sets", f"最优参数组（前{len(shown)}组）") + _frame(shown)
    picture = [list(row) for row in sweep.heatmap().make()] if _has_picture(sweep) else []
    return [[Part("head", _head(title, sweep._summary()[1:]))], *picture, [Part("best", best)]]


def _has_picture(sweep: Sweep) -> bool:
    return bool(sweep.names) and bool(len(sweep.rows)) and bool(np.isfinite(sweep.rows["target"]).any())


def _head(title: str, lines: list[tuple[str, str]]) -> str:
    said = table([(escape(name), f'<td class="left">{escape(value)}</td>') for name, value in lines])
    return f"<h1><b>ARBIG</b>{escape(title)}</h1>{said}"


def _frame(frame: pd.DataFrame) -> str:
    shown: str = frame.to_html(index=False, border=0, float_format=lambda value: f"{value:.4g}", na_rep="–")
    return f'<div class="wide">{shown}</div>'


def _figures(sweep: Sweep) -> dict[str, Any]:
    """The winner's statistics; nothing of them when no set has a finite target."""
    first = sweep.finished[0] if sweep.finished else None
    winner = dict(first.statistics) if first is not None and first.error is None else {}
    return {
        "strategies": sweep.job.class_name,
        "contracts": " ".join(sweep.job.vt_symbols),
        "start": sweep.start.isoformat(),
        "end": sweep.end.isoformat(),
        "sets": len(sweep.finished),
        "trials": sweep.tried,
        "target": sweep.target_name,
        "deflated_sharpe": sweep.deflated_sharpe,
        "overfitting": sweep.overfitting,
        **winner,
    }
