"""Charts: candles with fills, equity and drawdown, round trips as a histogram. Bokeh figures that need no server.

Bars stand side by side on a plain index, so that nights and breaks leave no holes. Rising is red and falling green, as
on every screen in China. Figures have no background of their own and fit a light page and a dark one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    FixedTicker,
    HoverTool,
    NoOverlap,
    NumeralTickFormatter,
    Range1d,
    RangeTool,
    Span,
    Title,
)
from bokeh.plotting import figure

from arbig.backtest.performance import Equity, RoundTrip, row_at
from arbig.backtest.series import Floats
from arbig.domain.messages import Direction, Offset, TradeData
from arbig.lab.downsampling import CANDLES, Candles, group_size, grouped, packed

UP_RED, DOWN_GREEN = "#d03a3a", "#12885b"
BLUE, QUIET, GRID = "#4a7bea", "#808a97", "rgba(128, 138, 151, 0.18)"
LINES = (BLUE, "#d98324", "#8b5cd6", "#1a9aa8", "#c2417f", "#6b8e23", "#b08900", "#5d6d7e")
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"
MOST_DATES = 9

OFFSETS = {
    Offset.OPEN: "open 开仓",
    Offset.CLOSE: "close 平仓",
    Offset.CLOSETODAY: "close today 平今",
    Offset.CLOSEYESTERDAY: "close yesterday 平昨",
}
SIDES = {Direction.LONG: "buy 买", Direction.SHORT: "sell 卖"}


@cache
def asset(name: str) -> str:
    """A text of `assets/`: styles, scripts, the page."""
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


# ---- candles ------------------------------------------------------------------------------------------------------


def price_chart(
    bars: Candles, price_tick: float, trades: Sequence[TradeData], trips: Sequence[RoundTrip], title: str
) -> tuple[Any, Range1d]:
    """Candles and volume of one contract with its fills (triangles: filled opens, hollow closes) and round trips
    (lines from entry to exit, red won, green lost); below it the whole stretch to move about in. Also the range of
    rows in view, for whoever wants to move it."""
    size = group_size(len(bars))
    first = grouped(bars, size)
    source = ColumnDataSource(_candle_columns(first))
    marks = _mark_columns(bars, trades)
    links = _link_columns(bars, trips)
    all_marks, all_links = ColumnDataSource(marks), ColumnDataSource(links)
    shown_marks = ColumnDataSource({name: [] for name in (*marks, "size", "halo")})
    shown_links = ColumnDataSource({name: [] for name in links})
    span = Range1d(start=-1, end=len(bars), bounds=(-1, len(bars)), min_interval=10)
    low, high = (float(first.low.min()), float(first.high.max())) if len(bars) else (0.0, 1.0)
    prices = _figure(x_range=span, y_range=Range1d(start=low, end=high), height=380, tools=MOVE, title=title)
    volumes = _figure(x_range=span, y_range=Range1d(start=0, end=1), height=90, tools=MOVE)
    note = Title(text="", text_color=QUIET, text_font_size="11px", text_font_style="normal", align="right")
    prices.add_layout(note, "above")
    bodies = _draw_candles(prices, volumes, source, price_tick)
    _draw_trips(prices, shown_links)
    _draw_fills(prices, shown_marks)
    prices.add_tools(_candle_words(bodies, price_tick))
    for plot in (prices, volumes):
        plot.add_tools(CrosshairTool(dimensions="height", line_color=QUIET, line_alpha=0.5))
    prices.xaxis.visible = False
    volumes.xaxis.ticker = FixedTicker(ticks=[])
    volumes.xaxis[0].major_label_policy = NoOverlap(min_distance=14)
    prices.xgrid.ticker = volumes.xgrid.ticker = volumes.xaxis[0].ticker
    volumes.yaxis[0].formatter = NumeralTickFormatter(format="0a")
    volumes.yaxis[0].ticker.desired_num_ticks = 2
    look = CustomJS(
        args={
            "source": source,
            "marks": shown_marks,
            "links": shown_links,
            "all_marks": all_marks,
            "all_links": all_links,
            "span": span,
            "plot": prices,
            "prices": prices.y_range,
            "volumes": volumes.y_range,
            "axis": volumes.xaxis[0],
            "note": note,
            "packed": packed(bars, price_tick).as_words(),
            "most": CANDLES,
            "colors": [UP_RED, DOWN_GREEN],
        },
        code=asset("candles.js"),
    )
    for change in ("start", "end"):
        span.js_on_change(change, look)
    prices.js_on_change("inner_width", look)
    return column(prices, volumes, _overview(first, span), sizing_mode="stretch_width", spacing=0), span


def _candle_columns(given: Candles) -> dict[str, Any]:
    rising = given.close >= given.open
    return {
        "i": given.start + (given.count - 1) / 2,
        "start": given.start,
        "count": given.count,
        "time": given.time.astype(np.int64).astype(np.float64),
        "day": given.day.astype(np.int64).astype(np.float64),
        "open": given.open,
        "high": given.high,
        "low": given.low,
        "close": given.close,
        "volume": given.volume,
        "middle": (given.open + given.close) / 2,
        "body": np.abs(given.close - given.open),
        "half": given.volume / 2,
        "width": 0.7 * given.count,
        "color": np.where(rising, UP_RED, DOWN_GREEN).tolist(),
        "label": [str(time)[:16].replace("T", " ") for time in given.time],
    }


def _mark_columns(bars: Candles, trades: Sequence[TradeData]) -> dict[str, list[Any]]:
    opens = [trade.offset is Offset.OPEN for trade in trades]
    long = [trade.direction is Direction.LONG for trade in trades]
    return {
        "i": [row_at(bars.time, trade.datetime) for trade in trades],
        "price": [trade.price for trade in trades],
        "side": [1 if up else -1 for up in long],
        "marker": ["triangle" if up else "inverted_triangle" for up in long],
        "color": [UP_RED if up else DOWN_GREEN for up in long],
        "fill": [0.95 if one else 0.0 for one in opens],
        "text": [_fill_words(trade) for trade in trades],
    }


def _fill_words(trade: TradeData) -> str:
    deed = f"{SIDES[trade.direction]} {OFFSETS[trade.offset]} {trade.volume} @ {trade.price:g}"
    return f"{trade.datetime:%Y-%m-%d %H:%M:%S} {deed} {trade.strategy_name}"


def _link_columns(bars: Candles, trips: Sequence[RoundTrip]) -> dict[str, list[Any]]:
    ends = [end_of(bars, trip) for trip in trips]
    return {
        "x0": [row_at(bars.time, trip.entry_time) for trip in trips],
        "y0": [trip.entry_price for trip in trips],
        "x1": ends,
        "y1": [trip.exit_price for trip in trips],
        "color": [UP_RED if trip.net_pnl > 0 else DOWN_GREEN for trip in trips],
    }


def end_of(bars: Candles, trip: RoundTrip) -> int:
    """The row of a trip's exit; of one still open the last row it was held."""
    if trip.exit_time is not None:
        return row_at(bars.time, trip.exit_time)
    held = len(bars) if trip.bars is None else row_at(bars.time, trip.entry_time) + max(trip.bars, 1)
    return min(held, len(bars)) - 1


def _draw_candles(prices: Any, volumes: Any, source: ColumnDataSource, price_tick: float) -> Any:
    prices.segment("i", "high", "i", "low", source=source, color="color", line_width=1)
    bodies = prices.rect("i", "middle", "width", "body", source=source, color="color", line_width=1)
    volumes.rect("i", "half", "width", "volume", source=source, color="color", alpha=0.5, line_alpha=0)
    prices.yaxis[0].formatter = NumeralTickFormatter(format=price_format(price_tick))
    return bodies


def _draw_trips(prices: Any, links: ColumnDataSource) -> None:
    prices.segment("x0", "y0", "x1", "y1", source=links, color="color", line_width=1.4, line_dash=[5, 3], alpha=0.85)


def _draw_fills(prices: Any, marks: ColumnDataSource) -> None:
    place = {"x": "i", "y": "price", "source": marks, "marker": "marker"}
    prices.scatter(size="halo", color="#ffffff", alpha=0.85, **place)
    glyphs = prices.scatter(
        size="size", fill_color="color", fill_alpha="fill", line_color="color", line_width=1.4, **place
    )
    prices.add_tools(HoverTool(tooltips="@text", renderers=[glyphs]))


def _candle_words(bodies: Any, price_tick: float) -> HoverTool:
    shape = price_format(price_tick)
    names = {"open": "开", "high": "高", "low": "低", "close": "收"}
    words = [
        ("time 时间", "@label"),
        *((f"{name} {chinese}", f"@{name}{{{shape}}}") for name, chinese in names.items()),
    ]
    return HoverTool(
        tooltips=[*words, ("volume 量", "@volume{0,0}")],
        renderers=[bodies],
        mode="vline",
        line_policy="nearest",
        point_policy="follow_mouse",
    )


def _overview(first: Candles, span: Range1d) -> Any:
    """The whole stretch as a line, with a window to pull."""
    plot = _figure(height=46, tools="", x_range=Range1d(start=-1, end=span.end))
    plot.line(first.start + (first.count - 1) / 2, first.close, color=QUIET, line_width=1)
    window = RangeTool(x_range=span, start_gesture="pan")
    window.overlay.fill_color, window.overlay.fill_alpha = BLUE, 0.15
    plot.add_tools(window)
    plot.axis.visible = False
    plot.grid.visible = False
    return plot


def price_format(price_tick: float) -> str:
    """Bokeh's number format with the decimals of a price tick."""
    decimals = f"{price_tick:.6f}".rstrip("0").partition(".")[2]
    return f"0.{'0' * len(decimals)}" if decimals else "0"


# ---- equity -------------------------------------------------------------------------------------------------------


def equity_chart(accounts: Mapping[str, Equity], share: bool = False) -> Any:
    """Balance by trading day and, below, how far under the highest one. Several accounts share both; `share` draws
    returns on the capital instead of yuan, to compare unequal capitals."""
    days = sorted({day for account in accounts.values() for day in account.days})
    places = {day: place for place, day in enumerate(days)}
    span = Range1d(start=-0.5, end=max(len(days) - 0.5, 1))
    top = _figure(x_range=span, height=230, tools=MOVE_ONLY, y_range=None)
    bottom = _figure(x_range=span, height=100, tools=MOVE_ONLY, y_range=None)
    lines = zip(accounts.items(), LINES * (1 + len(accounts) // len(LINES)), strict=False)
    for (name, account), color in lines:
        source = ColumnDataSource(_equity_columns(account, places, share))
        legend = {"legend_label": name} if len(accounts) > 1 else {}
        drawn = top.line("x", "value", source=source, color=color, line_width=1.8, **legend)
        if len(account.days) == 1:
            drawn = top.scatter("x", "value", source=source, color=color, size=6)
        shade = DOWN_GREEN if len(accounts) == 1 else color
        bottom.varea("x", 0, "below", source=source, color=shade, alpha=0.28 if len(accounts) == 1 else 0.1)
        bottom.line("x", "below", source=source, color=shade, line_width=1)
        top.add_tools(_equity_words(drawn, name if len(accounts) > 1 else "", share))
    base = 0.0 if share else next((account.capital for account in accounts.values()), 0.0)
    top.add_layout(Span(location=base, dimension="width", line_color=QUIET, line_dash="dotted", line_width=1))
    top.yaxis[0].formatter = NumeralTickFormatter(format="0.0%" if share else "0,0")
    bottom.yaxis[0].formatter = NumeralTickFormatter(format="0.0%")
    bottom.yaxis[0].ticker.desired_num_ticks = 3
    ticks = dates(days)
    bottom.xaxis.ticker = top.xaxis.ticker = FixedTicker(ticks=list(ticks))
    top.xgrid.ticker = bottom.xgrid.ticker = bottom.xaxis[0].ticker
    bottom.xaxis.major_label_overrides = ticks
    top.xaxis.visible = False
    _dress_legend(top)
    return column(top, bottom, sizing_mode="stretch_width", spacing=0)


def equity_drawing(account: Equity, width: int = 760, height: int = 150) -> str:
    """The balance as a small SVG, for a page that keeps no scripts (a saved notebook). At most a point a pixel."""
    values = np.concatenate(([account.capital], account.balance))
    if len(values) > width:
        values = values[np.linspace(0, len(values) - 1, width).round().astype(int)]
    low, high = float(values.min()), float(values.max())
    across = np.linspace(2, width - 2, len(values))
    up = height - 4 - (values - low) / (high - low or 1.0) * (height - 8)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across.tolist(), up.tolist(), strict=True))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg">'
        f'<line x1="0" x2="{width}" y1="{up[0]:.1f}" y2="{up[0]:.1f}" stroke="{QUIET}" stroke-dasharray="2 4"/>'
        f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="1.8"/></svg>'
    )


def _equity_columns(account: Equity, places: Mapping[date, int], share: bool) -> dict[str, Any]:
    balance = account.balance
    return {
        "x": [places[day] for day in account.days],
        "day": [day.isoformat() for day in account.days],
        "value": balance / account.capital - 1 if share else balance,
        "balance": balance,
        "below": account.drawdown_share,
        "net_pnl": account.net_pnl,
    }


def _equity_words(drawn: Any, name: str, share: bool) -> HoverTool:
    words = [
        ("day 交易日", "@day"),
        ("balance 权益", "@balance{0,0.00}"),
        ("day's profit 当日盈亏", "@net_pnl{+0,0.00}"),
        ("drawdown 回撤", "@below{0.00%}"),
    ]
    names = [("", name)] if name else []
    returns = [("return 收益", "@value{0.00%}")] if share else []
    return HoverTool(tooltips=[*names, *words, *returns], renderers=[drawn], mode="vline" if not name else "mouse")


def dates(days: Sequence[date], most: int = MOST_DATES) -> dict[int, str]:
    """Places and labels for an axis of trading days: the first of each month where that is few enough, otherwise every
    so many days or months."""
    months = [n for n, day in enumerate(days) if n and (day.year, day.month) != (days[n - 1].year, days[n - 1].month)]
    if len(months) >= 3:
        every = -(-len(months) // most)
        return {n: days[n].strftime("%Y-%m") for n in months[::every]}
    every = max(-(-len(days) // most), 1)
    return {n: days[n].strftime("%m-%d") for n in range(0, len(days), every)}


# ---- round trips --------------------------------------------------------------------------------------------------


def trip_chart(results: Floats) -> Any:
    """How often round trips made how much, after costs. `results` in yuan."""
    plot = _figure(height=230, tools="", y_range=None)
    counts, edges = np.histogram(results, bins=_edges(results))
    middle = (edges[:-1] + edges[1:]) / 2
    source = ColumnDataSource(
        {
            "left": edges[:-1],
            "right": edges[1:],
            "count": counts,
            "color": [UP_RED if place > 0 else DOWN_GREEN for place in middle.tolist()],
        }
    )
    bars = plot.quad("left", "right", "count", 0, source=source, color="color", alpha=0.75, line_color=None)
    plot.add_tools(
        HoverTool(tooltips=[("yuan 元", "@left{0,0} .. @right{0,0}"), ("trips 笔数", "@count")], renderers=[bars])
    )
    plot.add_layout(Span(location=0, dimension="height", line_color=QUIET, line_dash="dotted"))
    if len(results):
        mean = float(results.mean())
        plot.add_layout(Span(location=mean, dimension="height", line_color=BLUE, line_width=1.5))
    plot.xaxis[0].formatter = NumeralTickFormatter(format="0,0")
    plot.xaxis[0].ticker.desired_num_ticks = 5
    plot.yaxis[0].formatter = BasicTickFormatter(use_scientific=False)
    plot.yaxis[0].ticker.min_interval = 1
    plot.y_range.start = 0
    return plot


def _edges(results: Floats) -> Floats:
    """At most 40 even classes, zero between two of them, so that no bar is won and lost at once."""
    if not len(results):
        return np.array([-1.0, 0.0, 1.0])
    low, high = min(float(results.min()), 0.0), max(float(results.max()), 0.0)
    if low == high:
        return np.array([-1.0, 0.0, 1.0])
    width = (high - low) / min(max(len(results) // 3, 8), 40)
    below, above = int(np.ceil(-low / width)), int(np.ceil(high / width))
    return np.arange(-below, above + 1, dtype=np.float64) * width


# ---- what all figures share ---------------------------------------------------------------------------------------

MOVE = "xpan,xwheel_zoom,reset"
MOVE_ONLY = "xpan,reset"


def _figure(**given: Any) -> Any:
    ranges = {name: value for name, value in given.items() if value is not None}
    title = ranges.pop("title", "")
    plot = figure(
        toolbar_location=None,
        y_axis_location="right",
        min_border=0,
        output_backend="canvas",
        sizing_mode="stretch_width",
        **({"active_scroll": "xwheel_zoom"} if "wheel" in given["tools"] else {}),
        **ranges,
    )
    if title:
        plot.title.text, plot.title.text_color, plot.title.text_font_size = title, QUIET, "13px"
    plot.outline_line_color = None
    plot.background_fill_color = plot.border_fill_color = None
    plot.grid.grid_line_color = GRID
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_line_color = GRID
        axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = QUIET
        axis.major_label_text_font = FONT
        axis.major_label_text_font_size = "10.5px"
    plot.min_border_right = 74
    plot.min_border_left = 8
    plot.min_border_top = 6
    return plot


def _dress_legend(plot: Any) -> None:
    for legend in plot.legend:
        legend.location, legend.orientation = "top_left", "horizontal"
        legend.background_fill_alpha, legend.border_line_color = 0, None
        legend.label_text_color, legend.label_text_font_size = QUIET, "11px"
        legend.click_policy = "mute"
