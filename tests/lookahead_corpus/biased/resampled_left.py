"""Half-hour bars labelled with their start: their close is read before it is made."""

import numpy as np
import pandas as pd
from follower import Follower


class ResampledLeft(Follower):
    @staticmethod
    def prepare(frame, params):
        long = frame["close"].resample("30min", label="left", closed="left").last().dropna()
        wanted = np.sign(long.reindex(frame.index, method="ffill") - frame["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
