"""Heatmap: a sweep over two of its parameters, as a Bokeh picture and as a plain coloured table.

Neighbours of a good set should be good as well: one bright spot alone is luck.
"""

from __future__ import annotations

from html import escape
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from arbig.lab.sheet import Part, Rows, Sheet
from arbig.lab.spaces import SweepError
from arbig.lab.sweep_page import kept_of
from arbig.runtime.loader import suggest

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from arbig.lab.sweeps import Sweep

MISSING = "#d9d9d9"


def heatmap(sweep: Sweep, x: str | None, y: str | None, value: str) -> Sheet:
    """The picture as a sheet: a Panel object, a plain coloured table where scripts are not kept, and `.save(path)`
    writes one HTML file that needs no network. One parameter alone gives a line. Raises SweepError for a name that is
    not there."""
    across, up = axes(sweep, x, y)
    checked_value(sweep, value)
    title = f"{_name(sweep, value)} of {sweep.job.class_name}"

    def make() -> Rows:
        drawn = _line(sweep, across, value) if up is None else _squares(sweep, across, up, value)
        return [[Part("heatmap", model=drawn)]]

    return Sheet(title, make, lambda: table(sweep, across, up, value), kept=kept_of(sweep, "heatmap"))


def grid(sweep: Sweep, across: str, up: str | None, value: str) -> pd.DataFrame:
    """`value` with `across` as columns and `up` as rows (one row without); the best where other parameters make
    several; nan for sets that did not finish well."""
    finite = np.isfinite(sweep.rows[value]) & sweep.rows["error"].isna()
    rows = sweep.rows.assign(**{value: sweep.rows[value].where(finite)})
    if up is None:
        return rows.groupby(across)[value].max().to_frame("").T
    return rows.pivot_table(index=up, columns=across, values=value, aggfunc="max", dropna=False)


def table(sweep: Sweep, across: str, up: str | None, value: str = "target", most: int = 40) -> str:
    """The same as an HTML table with coloured cells; needs no script. Empty when there is nothing to colour, or more
    than `most` rows or columns."""
    if not len(sweep.rows) or not np.isfinite(sweep.rows[value]).any():
        return ""
    found = grid(sweep, across, up, value)
    if max(found.shape) > most:
        return ""
    low, high = _ends(found)
    head = "".join(f"<th>{escape(_label(name))}</th>" for name in found.columns)
    body = "".join(
        f"<tr><th>{escape(_label(name))}</th>{''.join(_cell(one, low, high) for one in line)}</tr>"
        for name, line in zip(found.index[::-1], found.to_numpy(np.float64)[::-1], strict=True)
    )
    title = f"{_name(sweep, value)}: {f'{up} (down) by ' if up else ''}{across} (across){_others(sweep, across, up)}"
    caption = f"<caption style='white-space:nowrap;text-align:left'>{escape(title)}</caption>"
    return f"<table>{caption}<tr><th></th>{head}</tr>{body}</table>"


def axes(sweep: Sweep, x: str | None, y: str | None) -> tuple[str, str | None]:
    """The parameters asked for, else the first that vary. Raises SweepError."""
    for name in (x, y):
        if name is not None and name not in sweep.names:
            raise SweepError(f"heatmap: {name!r} was not varied{suggest(name, list(sweep.names))}")
    if x is not None and x == y:
        raise SweepError(f"heatmap: found {x!r} twice, expected two parameters")
    left = [name for name in sweep.names if name not in (x, y)]
    across = x or left.pop(0)
    return across, y or (left[0] if left else None)


def checked_value(sweep: Sweep, value: str) -> None:
    numbers = [str(name) for name in sweep.rows.columns if name not in (*sweep.names, "error")]
    if value not in numbers:
        raise SweepError(f"heatmap: {value!r} is no figure of a sweep{suggest(value, numbers)}")
    if not len(sweep.rows):
        raise SweepError("heatmap: no set has finished yet")


def _squares(sweep: Sweep, across: str, up: str, value: str) -> figure:
    from bokeh.models import ColorBar, HoverTool, LinearColorMapper
    from bokeh.palettes import Viridis256
    from bokeh.plotting import ColumnDataSource, figure

    found = grid(sweep, across, up, value)
    columns, lines = [_label(one) for one in found.columns], [_label(one) for one in found.index]
    low, high = _ends(found)
    mapper = LinearColorMapper(palette=Viridis256, low=low, high=high, nan_color=MISSING)
    source = ColumnDataSource(
        {
            "x": columns * len(lines),
            "y": [line for line in lines for _ in columns],
            "value": found.to_numpy(np.float64).ravel(),
        }
    )
    picture = figure(
        x_range=columns,
        y_range=lines,
        height=max(240, 90 + 34 * len(lines)),
        sizing_mode="stretch_width",
        title=f"{_name(sweep, value)}: {up} by {across}{_others(sweep, across, up)}",
        x_axis_label=across,
        y_axis_label=up,
        toolbar_location=None,
    )
    squares = picture.rect(
        "x", "y", 1, 1, source=source, line_color="white", fill_color={"field": "value", "transform": mapper}
    )
    tips = [(across, "@x"), (up, "@y"), (_name(sweep, value), "@value{0,0.0000}")]
    picture.add_tools(HoverTool(renderers=[squares], tooltips=tips))
    picture.add_layout(ColorBar(color_mapper=mapper), "right")
    picture.grid.grid_line_color = None
    return picture


def _line(sweep: Sweep, across: str, value: str) -> figure:
    from bokeh.models import HoverTool
    from bokeh.plotting import ColumnDataSource, figure

    best = grid(sweep, across, None, value).iloc[0]
    labels = [_label(one) for one in best.index]
    source = ColumnDataSource({"x": labels, "value": best.to_numpy(np.float64)})
    picture = figure(
        x_range=labels,
        height=280,
        sizing_mode="stretch_width",
        title=f"{_name(sweep, value)} by {across}",
        x_axis_label=across,
        toolbar_location=None,
    )
    picture.line("x", "value", source=source, line_width=2)
    dots = picture.scatter("x", "value", source=source, size=8)
    tips = [(across, "@x"), (_name(sweep, value), "@value{0,0.0000}")]
    picture.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    return picture


def _cell(value: float, low: float, high: float) -> str:
    if not isfinite(value):
        return f"<td style='background:{MISSING}'></td>"
    from bokeh.palettes import Viridis256

    place = round(255 * (value - low) / (high - low)) if high > low else 128
    ink = "white" if place < 140 else "black"
    style = f"background:{Viridis256[place]};color:{ink};text-align:right;padding:.35em .8em"
    return f"<td style='{style}'>{value:.4g}</td>"


def _ends(found: pd.DataFrame) -> tuple[float, float]:
    values = found.to_numpy(np.float64)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _name(sweep: Sweep, value: str) -> str:
    return sweep.target_name if value == "target" else value


def _others(sweep: Sweep, across: str, up: str | None) -> str:
    left = [name for name in sweep.names if name not in (across, up)]
    return f", best over {', '.join(left)}" if left else ""


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
