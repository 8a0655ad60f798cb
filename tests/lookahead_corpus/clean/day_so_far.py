"""cummax and cummin: the day's high and low so far."""

import pandas as pd
from follower import Follower


class DaySoFar(Follower):
    @staticmethod
    def prepare(frame, params):
        days = frame.groupby("trading_day")
        high, low = days["high"].cummax(), days["low"].cummin()
        place = (frame["close"] - low) / (high - low)
        wanted = (place < 0.1).astype(float) - (place > 0.9)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
