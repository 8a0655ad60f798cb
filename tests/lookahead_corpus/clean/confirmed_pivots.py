"""A low counts when eight bars have confirmed it, not when it is made."""

import pandas as pd
from follower import Follower


class ConfirmedPivots(Follower):
    @staticmethod
    def prepare(frame, params):
        close = frame["close"]
        low = close.shift(8) == close.rolling(17).min()
        high = close.shift(8) == close.rolling(17).max()
        wanted = low.astype(float) - high
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
