"""Bands as wide as the deviation of all returns ever."""

import pandas as pd
from follower import Follower


class WholeSampleVolatility(Follower):
    @staticmethod
    def prepare(frame, params):
        mean = frame["close"].rolling(20).mean()
        band = frame["close"].diff().std() * 3
        wanted = (frame["close"] < mean - band).astype(float) - (frame["close"] > mean + band)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
