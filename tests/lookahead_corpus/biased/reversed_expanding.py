"""Reversed, expanded, reversed back: the highest price from here on."""

import numpy as np
import pandas as pd
from follower import Follower


class ReversedExpanding(Follower):
    @staticmethod
    def prepare(frame, params):
        best = frame["close"][::-1].expanding().max()[::-1]
        worst = frame["close"][::-1].expanding().min()[::-1]
        wanted = np.sign((best - frame["close"]) - (frame["close"] - worst))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
