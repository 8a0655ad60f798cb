"""Page: the first page of the console, one per browser session. It looks at the board four times a second and sends
what changed."""

from __future__ import annotations

from typing import Any

import panel as pn
from theme import asset
from views import tables
from views.board import Board
from views.chart import Chart
from views.parts import Choice, Grid, Head, Quote
from views.words import Language, word

from arbig.client.client import ClientError

LOOK_MILLISECONDS = 250
SHOWN_TRADES = 60
INTERVALS = ("1m", "5m", "15m")
GRIDS = ("positions", "working_orders", "trades", "strategies", "services")


class Page:
    """The session's choices and what it has drawn so far."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen: dict[str, Any] = {}
        self._why = ""
        self.head = Head()
        self.language = Choice(value="en", options=[["en", "EN"], ["zh", "中文"]])
        self.colours = Choice(value="cn", page_class="west")
        self.symbol = Choice(value=board.symbols[0])
        self.interval = Choice(value="1m", options=[[name, name] for name in INTERVALS])
        self.quote = Quote()
        self.chart = Chart()
        self.grids = {name: Grid(self._act(name)) for name in GRIDS}
        self.language.param.watch(lambda _: self._speak(), "value")
        self.colours.param.watch(lambda _: self.chart.dye(self.colours.value), "value")
        for choice in (self.symbol, self.interval):
            choice.param.watch(lambda _: self.refresh(), "value")
        self._speak()

    @property
    def _tongue(self) -> Language:
        return "zh" if self.language.value == "zh" else "en"

    def template(self) -> pn.Template:
        template = pn.Template(asset("page.html"))
        for name in ("head", "language", "colours", "symbol", "interval", "quote"):
            template.add_panel(name, getattr(self, name))
        template.add_panel("chart", pn.pane.Bokeh(self.chart.model, sizing_mode="stretch_both"))
        for name, grid in self.grids.items():
            template.add_panel(name, grid)
        return template

    def _speak(self) -> None:
        """Say everything in the chosen language."""
        tongue = self._tongue
        self.colours.options = [["cn", word("colours_cn", tongue)], ["west", word("colours_west", tongue)]]
        self.chart.speak(tongue)
        web = self._board.settings.port("web")
        self.head.leave = [word("log_out", tongue), f"http://{{host}}:{web}/logout"]
        for name, grid in self.grids.items():
            grid.param.update(
                title=word(name, tongue),
                columns=tables.columns_of(name, tongue),
                empty=word("none", tongue),
                sure=word("sure", tongue),
            )
        self._seen.clear()
        self.refresh()

    # ---- four times a second

    def refresh(self) -> None:
        board = self._board
        self._refresh_head()
        self._refresh_choices()
        if self._changed("positions", board.revisions["positions"], board.revisions["tick"]):
            self._show("positions", tables.position_rows(board.marked_positions(), board.decimals, self._tongue))
        if self._changed("orders", board.revisions["orders"], board.revisions["order_status"]):
            rows = tables.order_rows(board.working(), board.decimals, self._tongue)
            self._show("working_orders", rows)
        if self._changed("trades", board.revisions["trade"]):
            newest = sorted(board.trades.values(), key=lambda trade: trade.datetime)[: -SHOWN_TRADES - 1 : -1]
            self._show("trades", tables.trade_rows(newest, board.decimals, self._tongue), len(board.trades))
        if self._changed("strategies", board.revisions["strategies"], board.revisions["positions"]):
            known = board.strategies.strategies if board.strategies else []
            self._show("strategies", tables.strategy_rows(known, board.pnl_by_strategy(), self._tongue))
        if self._changed("services", board.revisions["status"]):
            known_services = board.status.services if board.status else []
            self._show("services", tables.service_rows(known_services, self._tongue))
        self._refresh_chart()

    def _changed(self, part: str, *revisions: Any) -> bool:
        if self._seen.get(part) == revisions:
            return False
        self._seen[part] = revisions
        return True

    def _show(self, name: str, rows: list[tables.Row], count: int | None = None) -> None:
        note = str(len(rows) if count is None else count) if rows else ""
        self.grids[name].param.update(rows=rows, note=note)

    def _refresh_head(self) -> None:
        board, tongue = self._board, self._tongue
        lamp = tables.lamp_of(board, tongue)
        self.head.param.update(lamp=lamp, beat=self.head.beat + 1)
        why = board.trouble or self._why or " · ".join(board.status.alarms if board.status else ())
        if self.head.why != why:
            self.head.why = why
        parts = ("heartbeat", "account", "status")
        if self._changed("head", *(board.revisions[part] for part in parts)):
            self.head.items = self._head_items()

    def _head_items(self) -> list[list[str]]:
        board, tongue = self._board, self._tongue
        beat, status = board.heartbeat, board.status
        state = (status.trading_state if status else None) or "?"
        return [
            [
                word("session_time", tongue),
                f"{beat.session_time:%m-%d %H:%M:%S}" if beat and beat.session_time else "-",
                "",
            ],
            [word("trading_day", tongue), (beat.trading_day if beat else None) or "-", ""],
            [word("trading_state", tongue), word(state, tongue), "" if state == "ACTIVE" else "bad"],
            *tables.account_items(board.account.account if board.account else None, tongue),
        ]

    def _refresh_choices(self) -> None:
        options = [[symbol, symbol] for symbol in self._board.symbols]
        if self.symbol.options != options:
            self.symbol.options = options

    def _refresh_chart(self) -> None:
        board, symbol = self._board, self.symbol.value
        decimals = board.decimals.get(symbol, 2)
        revision = (symbol, self.interval.value, self._tongue, decimals, *(board.revisions[p] for p in MARKED))
        self.chart.refresh(
            board.candles(symbol, self.interval.value),
            [trade for trade in board.trades.values() if trade.symbol == symbol],
            [order for order in board.working() if order.symbol == symbol],
            decimals,
            self._tongue,
            revision,
        )
        if self._changed("quote", symbol, board.ticks.get(symbol)):
            self._refresh_quote(symbol, decimals)

    def _refresh_quote(self, symbol: str, decimals: int) -> None:
        tick = self._board.ticks.get(symbol)
        if tick is None:
            self.quote.param.update(price="", items=[])
            self.chart.draw_last(None, "")
            return
        base = tick.pre_settlement or tick.pre_close
        change = tick.last_price - base
        kind = "up" if change > 0 else "down" if change < 0 else ""
        price = lambda value: tables.number(value, decimals)
        self.quote.param.update(
            price=price(tick.last_price),
            kind=kind,
            items=[
                ["", f"{change:+.{decimals}f} {change / base:+.2%}" if base else "", kind],
                ["B", f"{price(tick.bid_price_1)} × {tick.bid_volume_1}", ""],
                ["A", f"{price(tick.ask_price_1)} × {tick.ask_volume_1}", ""],
                [word("turnover", self._tongue), f"{tick.volume:,}", ""],
            ],
        )
        self.chart.draw_last(tick.last_price, price(tick.last_price))

    # ---- what a person presses

    def _act(self, table: str) -> Any:
        return lambda action, key: self._board.spawn(self._do(table, action, key))

    async def _do(self, table: str, action: str, key: str) -> None:
        client = self._board.client
        deeds = {
            "working_orders": lambda: client.cancel_order(key),
            "strategies": lambda: client.control_strategy(key, action),
            "services": lambda: client.control_service(key, action),
        }
        try:
            await deeds[table]()
            self._why = ""
        except ClientError as error:
            self._why = str(error)


MARKED = ("trade", "orders", "order_status")
