"""qcut: the borders of the bins are quantiles of everything."""

import pandas as pd
from follower import Follower


class QuantileBins(Follower):
    @staticmethod
    def prepare(frame, params):
        move = frame["close"].diff(10).fillna(0.0)
        bins = pd.qcut(move.rank(method="first"), 10, labels=False)
        wanted = (bins == 0).astype(float) - (bins == 9)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
