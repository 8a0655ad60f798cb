"""The high and low of the day before, moved on by a day before they are joined."""

import pandas as pd
from follower import Follower


class DayBefore(Follower):
    @staticmethod
    def prepare(frame, params):
        days = frame.groupby("trading_day").agg(high=("high", "max"), low=("low", "min")).shift(1)
        high, low = frame["trading_day"].map(days["high"]), frame["trading_day"].map(days["low"])
        wanted = (frame["close"] > high).astype(float) - (frame["close"] < low)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
