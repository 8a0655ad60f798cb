"""Trades with the bar when the next bar's volume is larger."""

import numpy as np
import pandas as pd
from follower import Follower


class FutureVolume(Follower):
    @staticmethod
    def prepare(frame, params):
        busy = frame["volume"].shift(-1) > frame["volume"] * 1.5
        wanted = np.sign(frame["close"] - frame["open"]).where(busy, 0.0)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
