"""A regression line through the last thirty closes."""

import numpy as np
import pandas as pd
from follower import Follower


class TrailingSlope(Follower):
    @staticmethod
    def prepare(frame, params):
        ahead = np.arange(30.0) - 14.5
        slope = frame["close"].rolling(30).apply(lambda rows: float(ahead @ rows), raw=True)
        wanted = np.sign(slope)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
