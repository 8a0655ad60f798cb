"""Its stop stands one tick under the low that the day is still to make, and is never hit."""

import pandas as pd
from follower import Follower

from arbig import BarData


class StopAtTheLow(Follower):
    @staticmethod
    def prepare(frame, params):
        return pd.DataFrame({"low": frame.groupby("trading_day")["low"].transform("min")}, index=frame.index)

    def on_bar(self, bar: BarData) -> None:
        row = self.signals.at(bar.datetime)
        if not self.trading or row is None or bar.datetime.minute % 30:
            return
        self.cancel_all()
        if self.pos == 0:
            self.buy(bar.close_price + self.get_pricetick(), 1)
        else:
            self.sell(row.low - self.get_pricetick(), self.pos, stop=True)
