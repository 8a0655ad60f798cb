"""Chart: the candles of a contract with our trades and working orders, what a strategy reads from them, the book, the
ticks as they come."""

from __future__ import annotations

import panel as pn
from views import tables
from views.chart import Chart
from views.parts import Book, Choice, Quote, TapeView, tile, tiles
from views.series import LENGTHS
from views.tape import print_cells
from views.visit import Changes, Visit

from arbig.domain.messages import TickData

SHOWN_TRADES = 60
MARKED = ("trade", "orders", "order_status")
AREAS = '"chart chart book" minmax(0, 1fr) "working_orders trades book" minmax(130px, 24%) / 0.88fr 1fr 286px'
NO_LINES = "-"
TEXTS = {
    "book": ("Book", "盘口"),
    "tape": ("Ticks", "分笔"),
    "lots": ("Lots", "现手"),
    "interest": ("OI +/-", "仓差"),
    "nature": ("Kind", "性质"),
    "opens_long": ("Open L", "多开"),
    "opens_short": ("Open S", "空开"),
    "closes_long": ("Close L", "多平"),
    "closes_short": ("Close S", "空平"),
    "opens_both": ("Open", "双开"),
    "closes_both": ("Close", "双平"),
    "turns_long": ("Turn L", "多换"),
    "turns_short": ("Turn S", "空换"),
    "ask": ("Ask", "卖一"),
    "bid": ("Bid", "买一"),
    "day_open": ("Open", "今开"),
    "day_high": ("High", "最高"),
    "day_low": ("Low", "最低"),
    "settled": ("Pre-settle", "昨结"),
    "limit_up": ("Limit up", "涨停"),
    "limit_down": ("Limit dn", "跌停"),
    "day_volume": ("Volume", "总手"),
    "open_interest": ("OI", "持仓量"),
    "turnover_day": ("Turnover", "成交额"),
    "average_price": ("VWAP", "均价"),
    "no_lines": ("No indicators", "无指标"),
}


class ChartPage:
    name = "chart"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = visit.words(TEXTS)
        self._changes = Changes()
        board = visit.board
        self._symbol = Choice(value=board.symbols[0])
        self._interval = Choice(value="1m", options=[[name, name] for name in LENGTHS])
        self._reader = Choice(value="")
        self._quote = Quote()
        self._chart = Chart(visit.palette, self._word)
        self._book = Book(title=self._word("book"))
        titles = (("time", "m"), ("price", "n"), ("lots", "n"), ("interest", "n"), ("nature", ""))
        self._tape = TapeView(title=self._word("tape"), columns=[[self._word(key), kind] for key, kind in titles])
        self._told = 0
        self._grids = {name: tables.grid(name, "trading", self._word, visit) for name in ("working_orders", "trades")}
        for choice in (self._symbol, self._interval, self._reader):
            choice.param.watch(lambda _: self.refresh(), "value")
        line = pn.Row(self._symbol, self._interval, self._reader, self._quote, css_classes=["line"], margin=0)
        line.stylesheets = [LINE]
        line.sizing_mode = "stretch_width"
        plot = pn.pane.Bokeh(self._chart.model, sizing_mode="stretch_both")
        side = tile(self._book, self._tape)
        self.panel = tiles(AREAS, chart=tile(line, plot, plot=True), book=side, **self._grids)

    def refresh(self) -> None:
        board, word = self._visit.board, self._word
        options = [[symbol, symbol] for symbol in board.symbols]
        if self._symbol.options != options:
            self._symbol.options = options
        if self._changes.changed("orders", board.revisions["orders"], board.revisions["order_status"]):
            self._grids["working_orders"].show(tables.order_rows(board.working(), board.decimals, word))
        if self._changes.changed("trades", board.revisions["trade"]):
            newest = sorted(board.trades.values(), key=lambda trade: trade.datetime)[: -SHOWN_TRADES - 1 : -1]
            self._grids["trades"].show(tables.trade_rows(newest, board.decimals, word), len(board.trades))
        self._refresh_readers()
        self._refresh_chart()
        self._refresh_tape()

    # ---- candles

    def _refresh_readers(self) -> None:
        """Whose indicators are drawn: the strategies on this contract, the first of them unless another is chosen."""
        symbol = self._symbol.value
        names = [one.strategy_name for one in self._visit.board.readers(symbol)]
        if not self._changes.changed("readers", symbol, names):
            return
        self._reader.options = [
            *([name, name] for name in names),
            *([[NO_LINES, self._word("no_lines")]] if names else []),
        ]
        if self._reader.value not in (*names, NO_LINES):
            self._reader.value = names[0] if names else ""

    def _refresh_chart(self) -> None:
        board, symbol, interval = self._visit.board, self._symbol.value, self._interval.value
        decimals = board.decimals.get(symbol, 2)
        series = board.candles(symbol, interval)
        self._chart.refresh(
            series,
            [trade for trade in board.trades.values() if trade.symbol == symbol],
            [order for order in board.working() if order.symbol == symbol],
            decimals,
            self._word,
            (symbol, interval, decimals, len(series.past), *(board.revisions[part] for part in MARKED)),
            board.lines(symbol, interval, self._reader.value),
        )
        if self._chart.wants_older(series):
            board.spawn(board.load_older(symbol, interval))
        if self._changes.changed("quote", symbol, board.ticks.get(symbol)):
            self._refresh_quote(symbol, decimals)

    def _refresh_quote(self, symbol: str, decimals: int) -> None:
        tick = self._visit.board.ticks.get(symbol)
        if tick is None:
            self._quote.param.update(price="", items=[])
            self._book.param.update(levels=[], facts=[])
            self._chart.draw_last(None, "")
            return
        base = tick.pre_settlement or tick.pre_close
        change = tick.last_price - base
        kind = "up" if change > 0 else "down" if change < 0 else ""
        shown = tables.number(tick.last_price, decimals)
        percent = f"{change:+.{decimals}f} {change / base:+.2%}" if base else ""
        self._quote.param.update(price=shown, kind=kind, items=[["", percent, kind]])
        self._chart.draw_last(tick.last_price, shown)
        self._book.param.update(levels=self._levels(tick, decimals), facts=self._facts(tick, decimals))

    # ---- book and ticks

    def _levels(self, tick: TickData, decimals: int) -> list[list[object]]:
        most = max(tick.ask_volume_1, tick.bid_volume_1, 1)
        quotes = (
            ("ask", tick.ask_price_1, tick.ask_volume_1, "down"),
            ("bid", tick.bid_price_1, tick.bid_volume_1, "up"),
        )
        return [
            [self._word(name), tables.number(price, decimals) if price else "—", f"{lots:,}", lots / most, kind]
            for name, price, lots, kind in quotes
        ]

    def _facts(self, tick: TickData, decimals: int) -> list[list[str]]:
        base = tick.pre_settlement or tick.pre_close
        side = lambda value: "up" if value > base else "down" if value < base else ""
        price = lambda key, value: [self._word(key), tables.number(value, decimals) if value else "—", side(value)]
        size = self._visit.board.sizes.get(tick.symbol)
        average = tick.turnover / tick.volume / size if tick.turnover and tick.volume and size else 0.0
        return [
            price("day_open", tick.open_price),
            [self._word("settled"), tables.number(base, decimals), ""],
            price("day_high", tick.high_price),
            price("limit_up", tick.limit_up),
            price("day_low", tick.low_price),
            price("limit_down", tick.limit_down),
            [self._word("day_volume"), f"{tick.volume:,}", ""],
            [self._word("open_interest"), f"{tick.open_interest:,}", ""],
            price("average_price", average),
            [self._word("turnover_day"), large(tick.turnover, self._visit.language), ""],
        ]

    def _refresh_tape(self) -> None:
        symbol = self._symbol.value
        tape = self._visit.board.tape(symbol)
        decimals = self._visit.board.decimals.get(symbol, 2)
        rows = lambda prints: [print_cells(one, decimals, self._word) for one in prints]
        if self._changes.changed("tape", symbol):
            self._tape.rows = rows(tape.prints)[::-1]
        elif tape.count > self._told:
            self._tape.add(rows(tape.since(self._told)))
        self._told = tape.count


LINE = """
:host { display: flex !important; flex-wrap: wrap; align-items: center; gap: 6px 10px; padding: 6px 10px;
        border-bottom: 1px solid var(--line); height: auto !important; }
:host > * { margin: 0 !important; width: auto !important; max-width: 100%; overflow-x: auto; scrollbar-width: none; }
"""


def large(value: float | None, language: str) -> str:
    """Yuan as a headline says it."""
    if value is None:
        return "—"
    steps = ((1e8, "亿"), (1e4, "万")) if language == "zh" else ((1e9, "B"), (1e6, "M"), (1e3, "K"))
    for step, name in steps:
        if value >= step:
            return f"{value / step:,.2f}{name}"
    return f"{value:,.0f}"
