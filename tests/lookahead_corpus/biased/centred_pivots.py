"""argrelextrema: a low is a low because the bars after it are higher."""

import numpy as np
import pandas as pd
from follower import Follower
from scipy.signal import argrelextrema


class CentredPivots(Follower):
    @staticmethod
    def prepare(frame, params):
        close = frame["close"].to_numpy()
        wanted = np.zeros(len(close))
        wanted[argrelextrema(close, np.less_equal, order=8)[0]] = 1.0
        wanted[argrelextrema(close, np.greater_equal, order=8)[0]] = -1.0
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
