"""Chart: the candles of a contract with our trades and working orders, the last price, what was traded."""

from __future__ import annotations

import panel as pn
from views import tables
from views.chart import Chart
from views.parts import Choice, Quote, tile, tiles
from views.visit import Changes, Visit

SHOWN_TRADES = 60
INTERVALS = ("1m", "5m", "15m")
MARKED = ("trade", "orders", "order_status")
AREAS = '"chart chart" minmax(0, 1fr) "working_orders trades" minmax(150px, 28%) / 0.88fr 1fr'


class ChartPage:
    name = "chart"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = visit.words()
        self._changes = Changes()
        board = visit.board
        self._symbol = Choice(value=board.symbols[0])
        self._interval = Choice(value="1m", options=[[name, name] for name in INTERVALS])
        self._quote = Quote()
        self._chart = Chart(visit.palette, self._word)
        self._grids = {name: tables.grid(name, "trading", self._word, visit) for name in ("working_orders", "trades")}
        for choice in (self._symbol, self._interval):
            choice.param.watch(lambda _: self.refresh(), "value")
        line = pn.Row(self._symbol, self._interval, self._quote, sizing_mode="stretch_width", height=38)
        plot = pn.pane.Bokeh(self._chart.model, sizing_mode="stretch_both")
        self.panel = tiles(AREAS, chart=tile(line, plot, plot=True), **self._grids)

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
        self._refresh_chart()

    def _refresh_chart(self) -> None:
        board, symbol = self._visit.board, self._symbol.value
        decimals = board.decimals.get(symbol, 2)
        self._chart.refresh(
            board.candles(symbol, self._interval.value),
            [trade for trade in board.trades.values() if trade.symbol == symbol],
            [order for order in board.working() if order.symbol == symbol],
            decimals,
            self._word,
            (symbol, self._interval.value, decimals, *(board.revisions[part] for part in MARKED)),
        )
        if self._changes.changed("quote", symbol, board.ticks.get(symbol)):
            self._refresh_quote(symbol, decimals)

    def _refresh_quote(self, symbol: str, decimals: int) -> None:
        tick = self._visit.board.ticks.get(symbol)
        if tick is None:
            self._quote.param.update(price="", items=[])
            self._chart.draw_last(None, "")
            return
        base = tick.pre_settlement or tick.pre_close
        change = tick.last_price - base
        kind = "up" if change > 0 else "down" if change < 0 else ""
        price = lambda value: tables.number(value, decimals)
        self._quote.param.update(
            price=price(tick.last_price),
            kind=kind,
            items=[
                ["", f"{change:+.{decimals}f} {change / base:+.2%}" if base else "", kind],
                ["B", f"{price(tick.bid_price_1)} × {tick.bid_volume_1}", ""],
                ["A", f"{price(tick.ask_price_1)} × {tick.ask_volume_1}", ""],
                [self._word("turnover"), f"{tick.volume:,}", ""],
            ],
        )
        self._chart.draw_last(tick.last_price, price(tick.last_price))
