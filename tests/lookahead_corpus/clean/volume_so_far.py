"""Trades with the bar when its volume is larger than usual."""

import numpy as np
import pandas as pd
from follower import Follower


class VolumeSoFar(Follower):
    @staticmethod
    def prepare(frame, params):
        busy = frame["volume"] > frame["volume"].rolling(30).mean() * 1.5
        wanted = np.sign(frame["close"] - frame["open"]).where(busy, 0.0)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
