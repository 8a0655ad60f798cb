"""Normalised with mean and deviation of what was known then."""

import pandas as pd
from follower import Follower


class ExpandingScore(Follower):
    @staticmethod
    def prepare(frame, params):
        known = frame["close"].expanding(200)
        score = (frame["close"] - known.mean()) / known.std()
        wanted = (score < -0.5).astype(float) - (score > 0.5)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
