"""rank(pct=True): the place among all rows, future ones included."""

import pandas as pd
from follower import Follower


class RankedOverEverything(Follower):
    @staticmethod
    def prepare(frame, params):
        place = frame["close"].rank(pct=True)
        wanted = (place < 0.3).astype(float) - (place > 0.7)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
