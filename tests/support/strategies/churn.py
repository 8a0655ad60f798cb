"""Churn: trades far too often, on purpose. Passive and crossing orders, cancels, closes; never more than five lots."""

from arbig import CtaTemplate, TickData


class ChurnStrategy(CtaTemplate):
    """Every `pace` ticks one of: buy or short at the best price, cross the spread, cancel all, close half."""

    parameters = ["pace"]
    variables = ["ticks"]
    pace = 8
    ticks = 0

    def on_init(self) -> None:
        self.write_log("ready to churn")

    def on_tick(self, tick: TickData) -> None:
        self.ticks += 1
        if self.ticks % self.pace:
            return
        step = self.ticks // self.pace % 6
        across = 2 * self.get_pricetick()
        if step == 5:
            self.cancel_all()
        elif self.pos >= 5:
            self.sell(tick.bid_price_1 - across, self.pos)
        elif self.pos <= -5:
            self.cover(tick.ask_price_1 + across, -self.pos)
        elif step == 0:
            self.buy(tick.bid_price_1, 1)
        elif step == 1:
            self.short(tick.ask_price_1, 1)
        elif step == 2:
            self.buy(tick.ask_price_1 + across, 1)
        elif step == 3 and self.pos > 0:
            self.sell(tick.bid_price_1 - across, 1)
        elif step == 4 and self.pos < 0:
            self.cover(tick.ask_price_1 + across, 1)
