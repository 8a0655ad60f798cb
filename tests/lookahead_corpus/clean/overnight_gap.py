"""The gap between a day's first open and the close before it."""

import numpy as np
import pandas as pd
from follower import Follower


class OvernightGap(Follower):
    @staticmethod
    def prepare(frame, params):
        first = frame["trading_day"] != frame["trading_day"].shift(1)
        gap = (frame["open"] - frame["close"].shift(1)).where(first).ffill()
        wanted = -np.sign(gap)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
