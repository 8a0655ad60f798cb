"""Waterfall: from one amount to another in named steps, as one Bokeh figure that needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, LabelSet, NumeralTickFormatter
from bokeh.plotting import figure

from arbig.lab.charts import BLUE, DOWN_GREEN, GRID, QUIET, UP_RED


def waterfall(before: float, steps: Sequence[tuple[str, float]], after: float) -> Any:
    """`before` and `after` stand on the ground, each step hangs where the one before it ended. Gains are red, losses
    green, as on every screen in China. Yuan."""
    names = ["backtest", *(name for name, _ in steps), "live"]
    levels = list(accumulate((amount for _, amount in steps), initial=before))
    bottoms = [0.0, *levels[:-1], 0.0]
    tops = [before, *levels[1:], after]
    amounts = [before, *(amount for _, amount in steps), after]
    colors = [BLUE, *(UP_RED if amount >= 0 else DOWN_GREEN for _, amount in steps), BLUE]
    source = ColumnDataSource({
        "name": names,
        "bottom": bottoms,
        "top": tops,
        "high": [max(pair) for pair in zip(bottoms, tops, strict=True)],
        "color": colors,
        "words": [f"{amount:,.2f}" for amount in amounts],
    })  # fmt: skip
    chart = figure(x_range=names, height=320, toolbar_location=None, sizing_mode="stretch_width")
    chart.vbar(x="name", top="top", bottom="bottom", width=0.72, color="color", source=source)
    chart.add_layout(
        LabelSet(
            x="name",
            y="high",
            text="words",
            source=source,
            y_offset=4,
            text_align="center",
            text_font_size="11px",
            text_color=QUIET,
        )
    )
    chart.add_tools(HoverTool(tooltips=[("", "@name"), ("yuan", "@words")]))
    chart.yaxis.formatter = NumeralTickFormatter(format="0,0")
    chart.xgrid.grid_line_color = None
    chart.ygrid.grid_line_color = GRID
    chart.background_fill_alpha = chart.border_fill_alpha = 0
    chart.outline_line_color = None
    for axis in (chart.xaxis, chart.yaxis):
        axis.major_label_text_color = QUIET
        axis.axis_line_color = axis.major_tick_line_color = GRID
    chart.y_range.range_padding = 0.12
    return chart
