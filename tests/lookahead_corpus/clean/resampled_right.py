"""Half-hour bars labelled with their end, used from the bar after it on."""

import numpy as np
import pandas as pd
from follower import Follower


class ResampledRight(Follower):
    @staticmethod
    def prepare(frame, params):
        long = frame["close"].resample("30min", label="right", closed="left").last().dropna()
        wanted = np.sign(long.reindex(frame.index, method="ffill") - frame["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
