"""Chart: candles and volume of one contract, our trades and working orders on them, the last price as a line.

Bars stand side by side on a plain index, so that breaks and nights leave no holes; the axis writes their times. New
candles are streamed, the growing one is patched; nothing is drawn anew unless contract or interval change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bokeh.layouts import column
from bokeh.models import (
    BasicTickFormatter,
    CategoricalColorMapper,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    CustomJSTickFormatter,
    HoverTool,
    Label,
    LabelSet,
    NoOverlap,
    NumeralTickFormatter,
    Range1d,
    Span,
)
from bokeh.plotting import figure
from theme import PLOT_FONT, Palette, asset
from views.board import KEPT_CANDLES, Candle, Series
from views.words import Words, side_word

from arbig.domain.messages import Direction, Offset, OrderData, TradeData

SHOWN = 110
MARGIN = 8
PATCHED = 3

TIME_LABELS = """
const i = source.data['i']; if (!i.length) return '';
const place = Math.round(tick) - i[0];
return place >= 0 && place < i.length ? source.data['label'][place] : '';
"""


def candle_rows(candles: Iterable[Candle], first: int) -> dict[str, list[Any]]:
    rows = [_row(first + number, candle) for number, candle in enumerate(candles)]
    return {name: [row[name] for row in rows] for name in COLUMNS}


COLUMNS = ("i", "label", "open", "high", "low", "close", "volume", "side", "middle", "body", "half_volume")


def _row(place: int, candle: Candle) -> dict[str, Any]:
    return {
        "i": place,
        "label": candle.time.strftime("%m-%d %H:%M"),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "side": "up" if candle.close >= candle.open else "down",
        "middle": (candle.open + candle.close) / 2,
        "body": abs(candle.open - candle.close),
        "half_volume": candle.volume / 2,
    }


class Chart:
    """One per browser session. `refresh` sends what changed since the last call."""

    def __init__(self, palette: Palette, word: Words) -> None:
        self._palette = palette
        self._drawn: tuple[Series | None, int, int, int] = (None, -1, -1, 0)
        self._marked: tuple[Any, ...] = ()
        self._candles = ColumnDataSource({name: [] for name in COLUMNS})
        self._marks = ColumnDataSource({name: [] for name in ("i", "price", "side", "marker", "fill", "text")})
        self._wishes = ColumnDataSource({name: [] for name in ("price", "text", "side")})
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
        self._dyes = [
            CategoricalColorMapper(factors=["up", "down"], palette=[palette.up, palette.down]) for _ in range(2)
        ]
        self._hover_words = HoverTool(tooltips=[])
        self._mark_hover = HoverTool(tooltips="@text")
        self._prices, self._volumes = self._figures()
        self.model = column(self._prices, self._volumes, sizing_mode="stretch_both", spacing=0)
        self._speak(word)

    def _speak(self, word: Words) -> None:
        names = ("open", "high", "low", "close")
        self._hover_words.tooltips = [
            (word("time"), "@label"),
            *((word(name), f"@{name}{{0.00}}") for name in names),
            (word("turnover"), "@volume{0}"),
        ]

    def refresh(
        self,
        series: Series,
        trades: list[TradeData],
        working: list[OrderData],
        decimals: int,
        word: Words,
        revision: tuple[Any, ...],
    ) -> None:
        fresh = self._draw_candles(series)
        if fresh or revision != self._marked:
            self._marked = revision
            self._draw_marks(series, trades, decimals, word)
            self._draw_wishes(working, decimals, word)
            self._prices.yaxis[0].formatter = NumeralTickFormatter(format=f"0.{'0' * decimals}" if decimals else "0")

    def draw_last(self, price: float | None, text: str) -> None:
        if price is None:
            self._tag.visible = False
            self._last.location = None
        elif self._tag.text != text:
            self._last.location = price
            self._tag.update(y=price, text=text, visible=True)

    # ---- candles

    def _draw_candles(self, series: Series) -> bool:
        """True when everything was drawn anew."""
        drawn, epoch, revision, count = self._drawn
        if drawn is series and epoch == series.epoch and revision == series.revision:
            return False
        fresh = drawn is not series or epoch != series.epoch or count == 0
        if fresh:
            self._candles.data = candle_rows(series.candles, 0)
            self._show_end(len(series.candles))
        else:
            self._patch(series, count)
            if new := series.candles[count:]:
                self._candles.stream(candle_rows(new, count), rollover=KEPT_CANDLES)
                self._follow(len(series.candles))
        self._drawn = (series, series.epoch, series.revision, len(series.candles))
        return fresh

    def _patch(self, series: Series, count: int) -> None:
        """Of the last candles drawn, the cells that differ."""
        rows = len(self._candles.data["i"])
        patches: dict[str, list[tuple[int, Any]]] = {}
        for place in range(max(count - min(PATCHED, rows), 0), count):
            at = rows - (count - place)
            for name, value in _row(place, series.candles[place]).items():
                if self._candles.data[name][at] != value:
                    patches.setdefault(name, []).append((at, value))
        if patches:
            self._candles.patch(patches)

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
            "side": ["up" if trade.direction is Direction.LONG else "down" for _, trade in seen],
            "marker": ["triangle" if trade.direction is Direction.LONG else "inverted_triangle" for _, trade in seen],
            "fill": [0.95 if trade.offset is Offset.OPEN else 0.0 for _, trade in seen],
            "text": [describe(trade, decimals, word) for _, trade in seen],
        }

    def _draw_wishes(self, working: list[OrderData], decimals: int, word: Words) -> None:
        self._wishes.data = {
            "price": [order.price for order in working],
            "side": ["up" if order.direction is Direction.LONG else "down" for order in working],
            "text": [
                f"{side_word(order.direction, order.offset, word)} {order.volume - order.traded}" for order in working
            ],
        }

    # ---- the figures

    def _figures(self) -> tuple[Any, Any]:
        span = Range1d(start=0, end=SHOWN, min_interval=15)
        prices = _figure(self._palette, x_range=span, y_range=Range1d(start=0, end=1))
        volumes = _figure(
            self._palette,
            x_range=span,
            y_range=Range1d(start=0, end=1),
            height=110,
            sizing_mode="stretch_width",
        )
        side = {"field": "side", "transform": self._dyes[0]}
        prices.segment("i", "high", "i", "low", source=self._candles, color=side, line_width=1)
        bodies = prices.rect("i", "middle", 0.66, "body", source=self._candles, color=side, line_width=1)
        volumes.rect("i", "half_volume", 0.66, "volume", source=self._candles, color=side, alpha=0.55, line_alpha=0)
        self._draw_overlays(prices)
        self._fit_to_view(span, prices.y_range, volumes.y_range)
        for plot in (prices, volumes):
            plot.add_tools(CrosshairTool(dimensions="height", line_color=self._palette.quiet, line_alpha=0.4))
        self._hover_words.update(renderers=[bodies], mode="vline", line_policy="nearest", point_policy="follow_mouse")
        self._mark_hover.update(renderers=[self._mark_glyphs])
        prices.add_tools(self._hover_words, self._mark_hover)
        prices.xaxis.visible = False
        prices.min_border_bottom = volumes.min_border_top = 7
        volumes.xaxis[0].formatter = CustomJSTickFormatter(args={"source": self._candles}, code=TIME_LABELS)
        volumes.xaxis[0].major_label_policy = NoOverlap(min_distance=12)
        volumes.yaxis[0].formatter = BasicTickFormatter(use_scientific=False)
        volumes.yaxis[0].ticker.desired_num_ticks = 3
        return prices, volumes

    def _fit_to_view(self, span: Range1d, prices: Range1d, volumes: Range1d) -> None:
        given = {"source": self._candles, "span": span, "prices": prices, "volumes": volumes, "tag": self._tag}
        fit = CustomJS(args=given, code=asset("fit.js"))
        span.js_on_change("start", fit)
        span.js_on_change("end", fit)
        for change in ("data", "streaming", "patching"):
            self._candles.js_on_change(change, fit)

    def _draw_overlays(self, prices: Any) -> None:
        side = {"field": "side", "transform": self._dyes[1]}
        prices.add_layout(self._last)
        prices.add_layout(self._tag)
        prices.hspan("price", source=self._wishes, line_color=side, line_dash="dashed", line_alpha=0.8)
        self._mark_glyphs = prices.scatter(
            "i",
            "price",
            source=self._marks,
            marker="marker",
            size=12,
            fill_color=side,
            fill_alpha="fill",
            line_color=self._palette.paper,
            line_width=1.2,
        )
        prices.scatter(
            "i", "price", source=self._marks, marker="marker", size=12, fill_alpha=0, line_color=side, line_width=1.6
        )
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
                background_fill_color=self._palette.paper,
                background_fill_alpha=0.8,
            )
        )


def describe(trade: TradeData, decimals: int, word: Words) -> str:
    return (
        f"{trade.datetime:%H:%M:%S} {side_word(trade.direction, trade.offset, word)} {trade.volume} @ "
        f"{trade.price:.{decimals}f} {trade.strategy_name}"
    )


def _figure(palette: Palette, **given: Any) -> Any:
    shape = {"sizing_mode": "stretch_both"} | given
    plot = figure(
        tools="xpan,xwheel_zoom,reset",
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
