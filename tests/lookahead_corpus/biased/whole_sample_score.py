"""Mean and deviation of the whole sample: the score of every row knows how the history ends."""

import pandas as pd
from follower import Follower


class WholeSampleScore(Follower):
    @staticmethod
    def prepare(frame, params):
        close = frame["close"]
        score = (close - close.mean()) / close.std()
        wanted = (score < -0.5).astype(float) - (score > 0.5)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
