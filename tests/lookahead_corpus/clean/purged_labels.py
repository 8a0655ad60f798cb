"""Fitted again and again on the past; labels are used when their ten minutes are over."""

import numpy as np
import pandas as pd
from follower import Follower


class PurgedLabels(Follower):
    @staticmethod
    def prepare(frame, params):
        move = frame["close"].diff(3).fillna(0.0)
        feature, label = move.shift(10), frame["close"] - frame["close"].shift(10)
        slope = (feature * label).rolling(60).sum() / (feature * feature).rolling(60).sum()
        wanted = np.sign((slope * move).fillna(0.0))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
