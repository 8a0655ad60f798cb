"""A scaler fitted on everything, the test period included, before the rule is applied."""

import numpy as np
import pandas as pd
from follower import Follower


class LeakedScaler(Follower):
    @staticmethod
    def prepare(frame, params):
        spread = frame["high"] - frame["low"]
        lowest, highest = spread.min(), spread.max()
        scaled = (spread - lowest) / (highest - lowest)
        move = np.sign(frame["close"] - frame["open"])
        wanted = move.where(scaled > 0.35, 0.0)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
