"""The range of the first half hour of the day session, from five-minute bars, traded out of until the afternoon."""

from datetime import time

from arbig import BarData, BarGenerator, CtaTemplate


class OpeningRange(CtaTemplate):
    def on_init(self) -> None:
        self.generator = BarGenerator(self.on_bar, 5, self.on_five_minutes)
        self.high, self.low, self.day = 0.0, 0.0, None

    def on_bar(self, bar: BarData) -> None:
        self.generator.update_bar(bar)

    def on_five_minutes(self, bar: BarData) -> None:
        if not time(9) <= bar.datetime.time() < time(15):
            return
        if bar.datetime.date() != self.day:
            self.day, self.high, self.low = bar.datetime.date(), bar.high_price, bar.low_price
        if bar.datetime.time() < time(9, 30):
            self.high, self.low = max(self.high, bar.high_price), min(self.low, bar.low_price)
            return
        self.trade(bar)

    def trade(self, bar: BarData) -> None:
        self.cancel_all()
        if bar.datetime.time() >= time(14, 40):
            if self.pos > 0:
                self.sell(bar.close_price - 1.0, self.pos)
            elif self.pos < 0:
                self.cover(bar.close_price + 1.0, -self.pos)
        elif self.pos == 0 and bar.close_price > self.high:
            self.buy(bar.close_price + 0.2, 1)
        elif self.pos == 0 and bar.close_price < self.low:
            self.short(bar.close_price - 0.2, 1)
