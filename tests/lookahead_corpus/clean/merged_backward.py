"""merge_asof backward: the newest quote that was there."""

import numpy as np
import pandas as pd
from follower import Follower


class MergedBackward(Follower):
    @staticmethod
    def prepare(frame, params):
        quotes = frame.loc[frame.index.minute % 30 == 0, ["close"]].rename(columns={"close": "quote"})
        merged = pd.merge_asof(frame[["close"]], quotes, left_index=True, right_index=True)
        wanted = np.sign(merged["quote"] - merged["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
