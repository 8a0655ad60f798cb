"""Buys when the trading day begins and holds for so many minutes."""

from typing import Annotated

from arbig import BarData, CtaTemplate, Range


class EveningStrategy(CtaTemplate):
    minutes: Annotated[int, Range(1, 500)] = 30
    volume: Annotated[int, Range(1, 10)] = 1
    parameters = ["minutes", "volume"]
    seen = 0
    day = ""
    variables = ["seen", "day"]

    def on_init(self) -> None:
        self.load_bar(1)

    def on_bar(self, bar: BarData) -> None:
        day = str(bar.trading_day)
        self.seen = self.seen + 1 if day == self.day else 0
        self.day = day
        if not self.trading:
            return
        if self.seen == 0 and not self.pos:
            self.buy(bar.close_price + 1, self.volume)
        elif self.seen >= self.minutes and self.pos > 0:
            self.cancel_all()
            self.sell(bar.close_price - 1, self.pos)
