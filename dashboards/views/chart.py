"""Chart: candles and volume of one contract, what a strategy reads from them, our trades and working orders, the last
price as a line.

Bars stand side by side on a plain index, so that breaks and nights leave no holes; the axis writes their times. The
volume stands at the foot of the same figure, in a range of its own: a second figure is a third of the page's work. New
candles are streamed, the growing one is patched, older ones are streamed to a source of their own, newest first;
nothing is drawn anew unless contract or interval change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    AllIndices,
    CDSView,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    CustomJSTicker,
    CustomJSTickFormatter,
    DataRange1d,
    HoverTool,
    HSpan,
    Label,
    LabelSet,
    LinearColorMapper,
    Range1d,
    Rect,
    Scatter,
    Segment,
    Span,
)
from bokeh.plotting import figure
from theme import PLOT_FONT, Palette, asset
from views.series import KEPT_CANDLES, Candle, Series
from views.words import Words, side_word

from arbig.domain.indicators import Line
from arbig.domain.messages import Direction, Offset, OrderData, TradeData

SHOWN = 120
MARGIN = 8
PATCHED = 3
WARM_UP = 150
AHEAD = 100
MOST_PANES = 3
VOLUMES = "volumes"
ROOM = 0.2
"""How much of the figure's height the volumes have."""

COLUMNS = ("i", "time", "open", "high", "low", "close", "volume", "side", "middle", "body", "half")
MARKS = ("i", "price", "side", "marker", "fill", "text")
WISHES = ("price", "side", "text")


def candle_rows(candles: Iterable[Candle], places: Iterable[int]) -> dict[str, Any]:
    """Columns for the browser; numbers travel as they lie in memory."""
    rows = [_row(place, candle) for place, candle in zip(places, candles, strict=True)]
    return {name: np.array([row[name] for row in rows], np.float64) for name in COLUMNS}


def _row(place: int, candle: Candle) -> dict[str, float]:
    return {
        "i": place,
        "time": candle.time.replace(tzinfo=UTC).timestamp() * 1000,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "side": float(candle.close >= candle.open),
        "middle": (candle.open + candle.close) / 2,
        "body": abs(candle.open - candle.close),
        "half": candle.volume / 2,
    }


class Chart:
    """One per browser session. `refresh` sends what changed since the last call."""

    def __init__(self, palette: Palette, word: Words) -> None:
        self._palette = palette
        self._series: Series | None = None
        self._drawn = (-1, -1, 0)
        self._drawn_past = 0
        self._marked: tuple[Any, ...] = ()
        self._candles = _empty(COLUMNS)
        self._past = _empty(COLUMNS)
        self._lines = _Lines(self, palette)
        self._marks = _empty(MARKS)
        self._wishes = _empty(WISHES)
        self._last = Span(location=None, dimension="width", line_color=palette.blue, line_dash="dotted", line_width=1)
        self._tag = Label(
            x=0,
            y=0,
            x_offset=-2,
            text="",
            text_align="right",
            text_baseline="middle",
            text_color=palette.paper,
            text_font=PLOT_FONT,
            text_font_size="10.5px",
            background_fill_color=palette.blue,
            padding=3,
            visible=False,
        )
        self._all = AllIndices()
        self._dye = LinearColorMapper(palette=[palette.down, palette.up], low=0, high=1)
        self._volumes = Range1d(start=0, end=1)
        self._prices = self._figure(word)
        self.model = column(self._prices, sizing_mode="stretch_both", spacing=0)

    def refresh(
        self,
        series: Series,
        trades: list[TradeData],
        working: list[OrderData],
        decimals: int,
        word: Words,
        revision: tuple[Any, ...],
        lines: Sequence[Line] = (),
    ) -> None:
        fresh = self._draw_candles(series)
        self._draw_past(series)
        self._lines.draw(series, lines, self._drawn_past, fresh)
        if fresh or revision != self._marked:
            self._marked = revision
            self._draw_marks(series, trades, decimals, word)
            self._draw_wishes(working, word)
            self._write_decimals(decimals)

    def draw_last(self, price: float | None, text: str) -> None:
        if price is None:
            self._tag.visible = False
            self._last.location = None
        elif self._tag.text != text:
            self._last.location = price
            self._tag.update(y=price, text=text, visible=True)

    def wants_older(self, series: Series) -> bool:
        """Somebody looks near the left end."""
        start = self._prices.x_range.start
        return bool(series.candles) and not series.complete and start < -self._drawn_past + AHEAD

    # ---- candles

    def _draw_candles(self, series: Series) -> bool:
        """True when everything was drawn anew."""
        epoch, revision, count = self._drawn
        fresh = self._series is not series or epoch != series.epoch or count == 0
        if not fresh and revision == series.revision:
            return False
        if fresh:
            self._series, self._drawn_past = series, 0
            self._candles.data = candle_rows(series.candles, range(len(series.candles)))
            self._past.data = candle_rows((), ())
            self._show_end(len(series.candles))
        else:
            self._patch(series, count)
            if new := series.candles[count:]:
                self._candles.stream(candle_rows(new, range(count, count + len(new))), rollover=KEPT_CANDLES)
                self._follow(len(series.candles))
        self._drawn = (series.epoch, series.revision, len(series.candles))
        return fresh

    def _patch(self, series: Series, count: int) -> None:
        """Of the last candles drawn, the cells that differ."""
        places = range(max(count - PATCHED, 0), count)
        patch(self._candles, {place: _row(place, series.candles[place]) for place in places})

    def _draw_past(self, series: Series) -> None:
        """Newest first: what is older still comes after it. The oldest wait until those before them are known, from
        which an indicator begins."""
        known = len(series.past) if series.complete else max(len(series.past) - WARM_UP, 0)
        if known > self._drawn_past:
            places = range(-self._drawn_past - 1, -known - 1, -1)
            self._past.stream(candle_rows((series.past[place] for place in places), places))
            self._drawn_past = known

    def _show_end(self, count: int) -> None:
        span = self._prices.x_range
        span.update(start=max(count - SHOWN, -1), end=max(count, SHOWN // 2) + MARGIN)

    def _follow(self, count: int) -> None:
        """Move with the market, unless somebody looks at the past."""
        span = self._prices.x_range
        behind = count + MARGIN - span.end
        if 0 < behind <= 2 * MARGIN:
            span.update(start=span.start + behind, end=span.end + behind)

    # ---- what we did and want

    def _draw_marks(self, series: Series, trades: list[TradeData], decimals: int, word: Words) -> None:
        placed = [(series.place_of(trade.datetime), trade) for trade in trades]
        seen = [(place, trade) for place, trade in placed if place is not None]
        self._marks.data = {
            "i": [place for place, _ in seen],
            "price": [trade.price for _, trade in seen],
            "side": [float(trade.direction is Direction.LONG) for _, trade in seen],
            "marker": ["triangle" if trade.direction is Direction.LONG else "inverted_triangle" for _, trade in seen],
            "fill": [0.95 if trade.offset is Offset.OPEN else 0.0 for _, trade in seen],
            "text": [describe(trade, decimals, word) for _, trade in seen],
        }

    def _draw_wishes(self, working: list[OrderData], word: Words) -> None:
        """Orders of one side at one price are one line."""
        lots: dict[tuple[float, float, str], int] = {}
        for order in working:
            said = side_word(order.direction, order.offset, word)
            key = (order.price, float(order.direction is Direction.LONG), said)
            lots[key] = lots.get(key, 0) + order.volume - order.traded
        lines: dict[tuple[float, float], list[str]] = {}
        for (price, side, said), volume in lots.items():
            lines.setdefault((price, side), []).append(f"{said} {volume}")
        self._wishes.data = {
            "price": [price for price, _ in lines],
            "side": [side for _, side in lines],
            "text": [" · ".join(said) for said in lines.values()],
        }

    # ---- the figures

    def pane(self) -> Any:
        """A figure below the candles, as high as its lines."""
        plot = figure_of(
            self._palette,
            x_range=self._prices.x_range,
            y_range=DataRange1d(only_visible=True, range_padding=0.12),
            height=84,
            sizing_mode="stretch_width",
        )
        self._write_times(plot)
        plot.xaxis.visible = False
        plot.yaxis[0].ticker.desired_num_ticks = 3
        plot.min_border_bottom, plot.min_border_top = 9, 4
        plot.add_tools(self._crosshair())
        return plot

    def show_panes(self, panes: Sequence[Any]) -> None:
        self.model.children = [self._prices, *panes]

    @property
    def prices(self) -> Any:
        return self._prices

    def _crosshair(self) -> CrosshairTool:
        return CrosshairTool(dimensions="height", line_color=self._palette.quiet, line_alpha=0.4)

    def _figure(self, word: Words) -> Any:
        span = Range1d(start=0, end=SHOWN, min_interval=15)
        plot = figure_of(self._palette, x_range=span, y_range=Range1d(start=0, end=1))
        plot.extra_y_ranges = {VOLUMES: self._volumes}
        side = {"field": "side", "transform": self._dye}
        wick = Segment(x0="i", y0="high", x1="i", y1="low", line_color=side)
        body = Rect(x="i", y="middle", width=0.66, height="body", fill_color=side, line_color=side)
        turnover = Rect(x="i", y="half", width=0.66, height="volume", fill_color=side, fill_alpha=0.55, line_alpha=0)
        bodies = []
        for source in (self._past, self._candles):
            view = CDSView(filter=self._all)
            glyph_on(plot, source, turnover, view, y_range_name=VOLUMES)
            glyph_on(plot, source, wick, view)
            bodies.append(glyph_on(plot, source, body, view))
        self._draw_overlays(plot, side)
        self._fit_to_view(span, plot.y_range)
        self._write_amounts(plot)
        self._write_times(plot)
        marks = HoverTool(tooltips="@text", renderers=[self._mark_glyphs])
        plot.add_tools(self._crosshair(), _candle_words(bodies, word), marks)
        plot.min_border_bottom = 5
        return plot

    def _write_amounts(self, plot: Any) -> None:
        """Prices beside the candles, one volume beside the volumes."""
        amounts = asset("amounts.js")
        axis, given = plot.yaxis[0], {"prices": plot.y_range, "volumes": self._volumes, "room": ROOM, "decimals": 0}
        axis.ticker = CustomJSTicker(args=given, major_code=amounts + "return ticks();")
        axis.formatter = CustomJSTickFormatter(args=given, code=amounts + "return label(tick);")
        plot.ygrid[0].ticker = axis.ticker

    def _write_decimals(self, decimals: int) -> None:
        axis = self._prices.yaxis[0]
        for part in (axis.ticker, axis.formatter):
            if part.args["decimals"] != decimals:
                part.args = {**part.args, "decimals": decimals}

    def _write_times(self, plot: Any) -> None:
        """A tick where an hour, a day, ... begins among the bars, whatever lies between them in time."""
        sources = {"now": self._candles, "past": self._past}
        times = asset("times.js")
        plot.xaxis[0].ticker = CustomJSTicker(args=sources, major_code=times + "return places(cb_data.range);")
        plot.xgrid[0].ticker = plot.xaxis[0].ticker
        plot.xaxis[0].formatter = CustomJSTickFormatter(args=sources, code=times + "return label(tick, ticks);")

    def _fit_to_view(self, span: Range1d, prices: Range1d) -> None:
        sources = {"now": self._candles, "past": self._past}
        given = {**sources, "span": span, "prices": prices, "volumes": self._volumes, "room": ROOM, "tag": self._tag}
        fit = CustomJS(args=given, code=asset("fit.js"))
        span.js_on_change("start", fit)
        span.js_on_change("end", fit)
        for source in sources.values():
            for change in ("data", "streaming", "patching"):
                source.js_on_change(change, fit)

    def _draw_overlays(self, prices: Any, side: Any) -> None:
        prices.add_layout(self._last)
        prices.add_layout(self._tag)
        wish = HSpan(y="price", line_color=side, line_dash="dashed", line_alpha=0.8)
        glyph_on(prices, self._wishes, wish, CDSView(filter=self._all))
        shape = {"x": "i", "y": "price", "marker": {"field": "marker"}, "size": 12}
        paper = self._palette.paper
        inside = Scatter(fill_color=side, fill_alpha={"field": "fill"}, line_color=paper, line_width=1.2, **shape)
        marks = CDSView(filter=self._all)
        self._mark_glyphs = glyph_on(prices, self._marks, inside, marks)
        glyph_on(prices, self._marks, Scatter(fill_alpha=0, line_color=side, line_width=1.6, **shape), marks)
        prices.add_layout(
            LabelSet(
                x=6,
                y="price",
                x_units="screen",
                text="text",
                source=self._wishes,
                text_color=side,
                text_font_size="10px",
                y_offset=2,
                background_fill_color=paper,
                background_fill_alpha=0.8,
            )
        )


class _Lines:
    """What a strategy reads from the candles: over them, or in panes below. The present and the past have a source
    each, as the candles have; the past begins with the present's first row, so that a line has no hole."""

    def __init__(self, chart: Chart, palette: Palette) -> None:
        self._chart = chart
        self._palette = palette
        self._named: tuple[tuple[str, str], ...] = ()
        self._now = ColumnDataSource({"i": []})
        self._past = ColumnDataSource({"i": []})
        self._count = self._past_count = 0
        self._renderers: list[tuple[Any, Any]] = []

    def draw(self, series: Series, lines: Sequence[Line], past: int, fresh: bool) -> None:
        named = tuple((line.name, line.pane) for line in lines)
        if named != self._named:
            self._begin(lines, named)
            fresh = True
        if not lines:
            return
        origin, count = len(series.past), min(len(line.values) for line in lines) - len(series.past)
        rows = lambda places: (
            {"i": np.array(places, np.float64)}
            | {f"l{n}": line.values[np.array(places, np.int64) + origin] for n, line in enumerate(lines)}
        )
        if fresh:
            self._now.data = rows(range(count))
            self._past.data = rows(range(0, -past - 1, -1)) if count else rows(())
        else:
            self._patch(rows, self._count)
            if count > self._count:
                self._now.stream(rows(range(self._count, count)), rollover=KEPT_CANDLES)
            if past > self._past_count:
                self._past.stream(rows(range(-self._past_count - 1, -past - 1, -1)))
        self._count, self._past_count = count, past

    def _patch(self, rows: Any, count: int) -> None:
        places = range(max(count - PATCHED, 0), count)
        made = rows(places)
        patch(self._now, {place: {name: made[name][n] for name in made} for n, place in enumerate(places)})

    def _begin(self, lines: Sequence[Line], named: tuple[tuple[str, str], ...]) -> None:
        for plot, renderer in self._renderers:
            plot.renderers.remove(renderer)
        self._named, self._renderers = named, []
        empty = {name: np.array([]) for name in ("i", *(f"l{n}" for n in range(len(lines))))}
        self._now, self._past = ColumnDataSource(dict(empty)), ColumnDataSource(dict(empty))
        prices = self._chart.prices
        for legend in prices.legend:
            legend.items = []
        panes = {
            name: self._chart.pane()
            for name in list(dict.fromkeys(line.pane for line in lines if line.pane))[:MOST_PANES]
        }
        colours = self._palette.lines
        for n, line in enumerate(lines):
            plot = panes.get(line.pane) if line.pane else prices
            if plot is None:
                continue
            for source, label in ((self._past, {}), (self._now, {"legend_label": line.name})):
                drawn = plot.line("i", f"l{n}", source=source, color=colours[n % len(colours)], line_width=1.3, **label)
                self._renderers.append((plot, drawn))
        for plot in (prices, *panes.values()):
            self._dress(plot)
        self._chart.show_panes(list(panes.values()))

    def _dress(self, plot: Any) -> None:
        for legend in plot.legend:
            legend.update(
                location="top_left",
                orientation="horizontal",
                background_fill_alpha=0,
                border_line_color=None,
                label_text_color=self._palette.quiet,
                label_text_font_size="10.5px",
                padding=2,
                margin=2,
                spacing=10,
                glyph_width=14,
                glyph_height=12,
                label_height=12,
            )


def patch(source: ColumnDataSource, rows: dict[int, dict[str, float]]) -> None:
    """The cells of these rows that differ. A value that is not known is none that differs from another."""
    patches: dict[str, list[tuple[int, float]]] = {}
    for at, row in rows.items():
        for name, value in row.items():
            was = source.data[name][at]
            if was != value and not (was != was and value != value):
                patches.setdefault(name, []).append((at, float(value)))
    if patches:
        source.patch(patches)


def describe(trade: TradeData, decimals: int, word: Words) -> str:
    return (
        f"{trade.datetime:%H:%M:%S} {side_word(trade.direction, trade.offset, word)} {trade.volume} @ "
        f"{trade.price:.{decimals}f} {trade.strategy_name}"
    )


def _candle_words(bodies: list[Any], word: Words) -> HoverTool:
    names = ("open", "high", "low", "close")
    tooltips = [
        (word("time"), "@time{%m-%d %H:%M}"),
        *((word(name), f"@{name}{{0.00}}") for name in names),
        (word("turnover"), "@volume{0}"),
    ]
    return HoverTool(
        tooltips=tooltips,
        formatters={"@time": "datetime"},
        renderers=bodies,
        mode="vline",
        line_policy="nearest",
        point_policy="follow_mouse",
    )


def _empty(names: Sequence[str]) -> ColumnDataSource:
    return ColumnDataSource({name: [] for name in names})


def glyph_on(plot: Any, source: ColumnDataSource, glyph: Any, view: CDSView, **given: Any) -> Any:
    """Nothing is selected or muted here, so no glyph is made for it, and the glyphs of one source have one view: a page
    stands the sooner."""
    states = {"selection_glyph": glyph, "nonselection_glyph": glyph, "muted_glyph": glyph}
    return plot.add_glyph(source, glyph, view=view, **states, **given)


def figure_of(palette: Palette, **given: Any) -> Any:
    shape = {"sizing_mode": "stretch_both"} | given
    plot = figure(
        title=None,
        tools="xpan,xwheel_zoom",
        active_scroll="xwheel_zoom",
        active_drag="xpan",
        toolbar_location=None,
        y_axis_location="right",
        min_border=0,
        output_backend="canvas",
        **shape,
    )
    plot.outline_line_color = None
    plot.background_fill_color = plot.border_fill_color = palette.paper
    plot.grid.grid_line_color = palette.grid
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_line_color = palette.line
        axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = palette.quiet
        axis.major_label_text_font = PLOT_FONT
        axis.major_label_text_font_size = "10.5px"
    plot.yaxis.fixed_location = None
    plot.min_border_right = 64
    return plot
