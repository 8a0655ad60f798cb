"""groupby().transform('max'): the day's high, all day long."""

import pandas as pd
from follower import Follower


class DayExtremes(Follower):
    @staticmethod
    def prepare(frame, params):
        days = frame.groupby("trading_day")
        high, low = days["high"].transform("max"), days["low"].transform("min")
        place = (frame["close"] - low) / (high - low)
        wanted = (place < 0.1).astype(float) - (place > 0.9)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
