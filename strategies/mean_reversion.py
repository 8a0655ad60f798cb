"""Mean reversion: buy below the lower Bollinger line, sell above the upper one, be flat again at the average.

It only says which position it wants (TargetPosTemplate); the orders follow by themselves.
"""

from typing import Annotated

from arbig import ArrayManager, BarData, BarGenerator, Range, TargetPosTemplate, TickData


class MeanReversionStrategy(TargetPosTemplate):
    author = "ARBIG"

    bar_minutes: Annotated[int, Range(1, 240)] = 3
    boll_window: Annotated[int, Range(2, 500)] = 20
    boll_dev: Annotated[float, Range(0.1, 10)] = 2.0
    volume: Annotated[int, Range(1, 1000)] = 1

    upper = 0.0
    middle = 0.0
    lower = 0.0

    parameters = ["bar_minutes", "boll_window", "boll_dev", "volume"]
    variables = ["upper", "middle", "lower"]

    def on_init(self) -> None:
        self.tick_add = 3 * self.get_pricetick()
        self.generator = BarGenerator(self.on_bar, self.bar_minutes, self.on_window_bar)
        self.arrays = ArrayManager(self.boll_window + 20)
        self.load_bar(5)

    def on_tick(self, tick: TickData) -> None:
        super().on_tick(tick)
        if self.trading and self.pos != self.target_pos:
            self.trade()

    def on_bar(self, bar: BarData) -> None:
        super().on_bar(bar)
        self.generator.update_bar(bar)

    def on_window_bar(self, bar: BarData) -> None:
        self.arrays.update_bar(bar)
        if not self.arrays.inited:
            return
        upper, lower = self.arrays.boll(self.boll_window, self.boll_dev)
        self.upper, self.lower = float(upper), float(lower)
        self.middle = (self.upper + self.lower) / 2
        target = self.wanted(bar.close_price)
        if self.trading and target != self.target_pos:
            self.set_target_pos(target)

    def wanted(self, price: float) -> int:
        if price >= self.upper:
            return -self.volume
        if price <= self.lower:
            return self.volume
        crossed = (self.target_pos > 0 and price >= self.middle) or (self.target_pos < 0 and price <= self.middle)
        return 0 if crossed else self.target_pos
