"""Watching: a live chart in a notebook cell. One-minute candles from Market, the one that forms from ticks, our fills.

Drawn as one small SVG, at most four times a second; a page that is not looked at costs its kernel a few messages.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets

from arbig.client.feed import News
from arbig.domain.messages import BarData, Direction, TickData, TradeData
from arbig.lab.drawings import Mark, candles
from arbig.lab.live import plain

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

DRAW_SECONDS = 0.25
MINUTE = timedelta(minutes=1)
Candle = tuple[float, float, float, float]


class Watch(widgets.VBox):  # type: ignore[misc]
    """Live until `close()`. `candles`: minute -> (open, high, low, close)."""

    def __init__(self, desk: Desk, symbol: str, minutes: int) -> None:
        self.symbol = plain(symbol)
        self._minutes = minutes
        self._drawn_at = 0.0
        self._last: TickData | None = None
        self._error = ""
        bars = desk.live.ask(lambda client: client.bars(self.symbol, "1m", None, minutes)).bars
        self.candles: dict[datetime, Candle] = {bar.datetime: _candle(bar) for bar in bars}
        trades = desk.live.ask(lambda client: client.trades(None)).trades
        self._trades = [trade for trade in trades if trade.symbol == self.symbol]
        self._picture = widgets.HTML()
        super().__init__([self._picture])
        self._draw()
        self._listening = desk.live.listen((f"tick:{self.symbol}", f"bar:{self.symbol}", "trade"), self._hear)

    def close(self) -> None:
        self._listening.stop()
        super().close()

    def _hear(self, news: News) -> None:
        topic = news.topic.partition(":")[0]
        if topic in ("tick", "bar", "trade"):
            self._error = ""
            self._take(news.message())
        elif topic == "lost":
            self._error = str(news.read(str))
        else:
            return
        now = time.monotonic()
        if topic != "tick" or now - self._drawn_at >= DRAW_SECONDS:
            self._drawn_at = now
            self._draw()

    def _take(self, message: object) -> None:
        if isinstance(message, TickData):
            self._last = message
            minute = message.datetime.replace(second=0, microsecond=0)
            price = message.last_price
            opened, high, low, _ = self.candles.get(minute, (price,) * 4)
            self.candles[minute] = (opened, max(high, price), min(low, price), price)
        elif isinstance(message, BarData):
            self.candles[message.datetime] = _candle(message)
        elif isinstance(message, TradeData) and message.symbol == self.symbol:
            self._trades.append(message)

    def _draw(self) -> None:
        shown = sorted(self.candles)[-self._minutes :]
        self.candles = {minute: self.candles[minute] for minute in shown}
        if not shown:
            self._picture.value = f"{escape(self.symbol)}: no bars yet {escape(self._error)}"
            return
        places = {minute: place for place, minute in enumerate(shown)}
        marks = [
            Mark(places[minute], trade.price, trade.direction is Direction.LONG)
            for trade in self._trades
            if (minute := trade.datetime.replace(second=0, microsecond=0)) in places
        ]
        labels = [f"{shown[place]:%H:%M}" for place in (0, len(shown) // 2, -1)] if len(shown) > 2 else []
        last = self._last.last_price if self._last else None
        self._picture.value = candles(list(self.candles.values()), labels, self._title(), marks, last).svg

    def _title(self) -> str:
        if self._error:
            return f"{self.symbol}  no data: {self._error}"
        if self._last is None:
            return self.symbol
        tick = self._last
        return (
            f"{self.symbol}  {tick.last_price:g}  bid {tick.bid_price_1:g} x {tick.bid_volume_1}  "
            f"ask {tick.ask_price_1:g} x {tick.ask_volume_1}  {tick.datetime:%Y-%m-%d %H:%M:%S}"
        )


def _candle(bar: BarData) -> Candle:
    return bar.open_price, bar.high_price, bar.low_price, bar.close_price
