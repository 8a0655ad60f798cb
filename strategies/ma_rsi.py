"""Two moving averages cross; the RSI must agree.

Fast average crosses above the slow one with RSI above `rsi_long`: close shorts, go long. Crosses below with RSI below
`rsi_short`: close longs, go short. One-minute bars, `volume` lots.
"""

from typing import Annotated

from arbig import ArrayManager, BarData, CtaTemplate, Range


class MaRsiStrategy(CtaTemplate):
    author = "ARBIG"

    fast_window: Annotated[int, Range(1, 500)] = 10
    slow_window: Annotated[int, Range(2, 1000)] = 30
    rsi_window: Annotated[int, Range(2, 500)] = 14
    rsi_long: Annotated[float, Range(0, 100)] = 40.0
    rsi_short: Annotated[float, Range(0, 100)] = 60.0
    volume: Annotated[int, Range(1, 1000)] = 1
    ticks_across: Annotated[int, Range(0, 100)] = 5

    fast_ma = 0.0
    slow_ma = 0.0
    rsi = 0.0

    parameters = ["fast_window", "slow_window", "rsi_window", "rsi_long", "rsi_short", "volume", "ticks_across"]
    variables = ["fast_ma", "slow_ma", "rsi"]

    def on_init(self) -> None:
        self.arrays = ArrayManager(max(self.slow_window, self.rsi_window) + 70)
        self.load_bar(10)

    def on_bar(self, bar: BarData) -> None:
        self.arrays.update_bar(bar)
        if not self.arrays.inited:
            return
        fast = self.arrays.sma(self.fast_window, array=True)
        slow = self.arrays.sma(self.slow_window, array=True)
        self.fast_ma, self.slow_ma = float(fast[-1]), float(slow[-1])
        self.rsi = float(self.arrays.rsi(self.rsi_window))
        if not self.trading:
            return
        if fast[-1] > slow[-1] and fast[-2] <= slow[-2] and self.rsi > self.rsi_long:
            self.go_long(bar.close_price)
        elif fast[-1] < slow[-1] and fast[-2] >= slow[-2] and self.rsi < self.rsi_short:
            self.go_short(bar.close_price)

    def go_long(self, price: float) -> None:
        self.cancel_all()
        price += self.ticks_across * self.get_pricetick()
        if self.pos < 0:
            self.cover(price, -self.pos)
        if self.pos <= 0:
            self.buy(price, self.volume)

    def go_short(self, price: float) -> None:
        self.cancel_all()
        price -= self.ticks_across * self.get_pricetick()
        if self.pos > 0:
            self.sell(price, self.pos)
        if self.pos >= 0:
            self.short(price, self.volume)
