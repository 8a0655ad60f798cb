"""Fitted again and again on the past, but the newest labels are returns of the next ten minutes."""

import numpy as np
import pandas as pd
from follower import Follower


class UnpurgedLabels(Follower):
    @staticmethod
    def prepare(frame, params):
        move = frame["close"].diff(3).fillna(0.0)
        label = (frame["close"].shift(-10) - frame["close"]).fillna(0.0)
        slope = (move * label).rolling(60).sum() / (move * move).rolling(60).sum()
        wanted = np.sign((slope * move).fillna(0.0))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
