"""Bins whose borders are quantiles of the last three hundred moves."""

import pandas as pd
from follower import Follower


class TrailingQuantiles(Follower):
    @staticmethod
    def prepare(frame, params):
        move = frame["close"].diff(10)
        low, high = move.rolling(300).quantile(0.1), move.rolling(300).quantile(0.9)
        wanted = (move < low).astype(float) - (move > high)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
