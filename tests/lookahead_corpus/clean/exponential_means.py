"""Two exponential means cross."""

import numpy as np
import pandas as pd
from follower import Follower


class ExponentialMeans(Follower):
    @staticmethod
    def prepare(frame, params):
        fast = frame["close"].ewm(span=8, adjust=False).mean()
        slow = frame["close"].ewm(span=34, adjust=False).mean()
        wanted = np.sign(fast - slow)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
