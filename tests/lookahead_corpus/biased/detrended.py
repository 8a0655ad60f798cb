"""detrend: the straight line is fitted through the whole history."""

import pandas as pd
from follower import Follower
from scipy.signal import detrend


class Detrended(Follower):
    @staticmethod
    def prepare(frame, params):
        rest = detrend(frame["close"].to_numpy())
        wanted = (rest < -0.5).astype(float) - (rest > 0.5)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
