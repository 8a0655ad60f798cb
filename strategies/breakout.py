"""Breakout: a stop order stands at each end of the last `entry_window` bars' range; a trailing stop leaves again.

The entries wait at Strategy as local stop orders and go out when the price is touched.
"""

from typing import Annotated

from arbig import ArrayManager, BarData, CtaTemplate, OrderData, Range, StopOrder, StopOrderStatus, TradeData


class BreakoutStrategy(CtaTemplate):
    author = "ARBIG"

    entry_window: Annotated[int, Range(2, 500)] = 20
    atr_window: Annotated[int, Range(1, 500)] = 14
    trail_atr: Annotated[float, Range(0.1, 100)] = 3.0
    volume: Annotated[int, Range(1, 1000)] = 1

    upper = 0.0
    lower = 0.0
    atr = 0.0
    best_price = 0.0
    trailing_stop = 0.0

    parameters = ["entry_window", "atr_window", "trail_atr", "volume"]
    variables = ["upper", "lower", "atr", "best_price", "trailing_stop"]

    def on_init(self) -> None:
        self.arrays = ArrayManager(max(self.entry_window, self.atr_window) + 50)
        self.entries: list[str] = []
        self.on_their_way: set[str] = set()  # triggered, their fills not known yet
        self.load_bar(5)

    def on_bar(self, bar: BarData) -> None:
        self.arrays.update_bar(bar)
        if not self.arrays.inited:
            return
        upper, lower = self.arrays.donchian(self.entry_window)
        self.upper, self.lower = float(upper), float(lower)
        self.atr = float(self.arrays.atr(self.atr_window))
        if not self.trading or self.on_their_way:
            return
        self.cancel_all()
        if self.pos == 0:
            self.enter()
        else:
            self.trail(bar)
        self.put_event()

    def enter(self) -> None:
        step = self.get_pricetick()
        self.entries = self.buy(self.upper + step, self.volume, stop=True)
        self.entries += self.short(self.lower - step, self.volume, stop=True)

    def trail(self, bar: BarData) -> None:
        distance = self.trail_atr * self.atr
        if self.pos > 0:
            self.best_price = max(self.best_price or bar.high_price, bar.high_price)
            self.trailing_stop = self.best_price - distance
            self.sell(self.trailing_stop, self.pos, stop=True)
        else:
            self.best_price = min(self.best_price or bar.low_price, bar.low_price)
            self.trailing_stop = self.best_price + distance
            self.cover(self.trailing_stop, -self.pos, stop=True)

    def on_trade(self, trade: TradeData) -> None:
        self.best_price = trade.price if self.pos else 0.0
        self.sync_data()

    def on_stop_order(self, stop_order: StopOrder) -> None:
        """One side goes in: the other side's entry is taken away."""
        if stop_order.status is StopOrderStatus.TRIGGERED:
            self.on_their_way.update(stop_order.vt_orderids)
            for name in self.entries:
                self.cancel_order(name)
            self.entries = []

    def on_order(self, order: OrderData) -> None:
        if not order.is_active():
            self.on_their_way.discard(order.vt_orderid)
