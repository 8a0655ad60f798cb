"""Keeps the closes it has seen in a list of its own and breaks out of their range with stop orders."""

from arbig import BarData, CtaTemplate


class OwnMemory(CtaTemplate):
    length = 40
    parameters = ["length"]

    def on_init(self) -> None:
        self.closes: list[float] = []
        self.load_bar(1)

    def on_bar(self, bar: BarData) -> None:
        self.closes.append(bar.close_price)
        if not self.trading or len(self.closes) < self.length:
            return
        self.cancel_all()
        recent = self.closes[-self.length :]
        if self.pos == 0:
            self.buy(max(recent) + self.get_pricetick(), 1, stop=True)
            self.short(min(recent) - self.get_pricetick(), 1, stop=True)
        elif self.pos > 0:
            self.sell(min(recent[-10:]), self.pos, stop=True)
        else:
            self.cover(max(recent[-10:]), -self.pos, stop=True)
