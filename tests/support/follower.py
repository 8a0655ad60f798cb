"""What most strategies of the corpus share: they hold what the column `wanted` of their signals says."""

from math import isnan

from arbig import BarData, CtaTemplate


class Follower(CtaTemplate):
    """One lot long for `wanted` above zero, short below, nothing otherwise; orders across the spread."""

    signals = None
    parameters = ["signals"]

    def on_init(self) -> None:
        """Nothing to load: the signals know the history."""

    def on_bar(self, bar: BarData) -> None:
        if self.trading:
            self.hold(self.wanted(bar), bar)

    def wanted(self, bar: BarData) -> float:
        row = self.signals.at(bar.datetime)
        return 0.0 if row is None or isnan(row.wanted) else row.wanted

    def hold(self, wanted: float, bar: BarData) -> None:
        across = 5 * self.get_pricetick()
        if wanted > 0 and self.pos <= 0:
            self.cancel_all()
            if self.pos < 0:
                self.cover(bar.close_price + across, -self.pos)
            self.buy(bar.close_price + across, 1)
        elif wanted < 0 and self.pos >= 0:
            self.cancel_all()
            if self.pos > 0:
                self.sell(bar.close_price - across, self.pos)
            self.short(bar.close_price - across, 1)
