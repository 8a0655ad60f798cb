"""The place among the last two hundred rows."""

import pandas as pd
from follower import Follower


class TrailingRank(Follower):
    @staticmethod
    def prepare(frame, params):
        place = frame["close"].rolling(200).rank(pct=True)
        wanted = (place < 0.2).astype(float) - (place > 0.8)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
