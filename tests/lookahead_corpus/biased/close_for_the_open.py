"""Buys at the open of a bar that it knows will close higher: the fill is the engine's, the knowledge is not."""

import pandas as pd
from follower import Follower

from arbig import BarData


class CloseForTheOpen(Follower):
    @staticmethod
    def prepare(frame, params):
        rises = (frame["close"] > frame["open"]).shift(-1)
        return pd.DataFrame({"wanted": rises, "open": frame["open"].shift(-1)}, index=frame.index)

    def on_bar(self, bar: BarData) -> None:
        row = self.signals.at(bar.datetime)
        if not self.trading or row is None:
            return
        self.cancel_all()
        if row.wanted is True and self.pos == 0:
            self.buy(row.open, 1)
        elif self.pos > 0:
            self.sell(bar.close_price - 5 * self.get_pricetick(), self.pos)
