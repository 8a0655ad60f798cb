"""lfilter: the filter runs forward only and lags, as it must."""

import numpy as np
import pandas as pd
from follower import Follower
from scipy.signal import butter, lfilter


class CausalFilter(Follower):
    @staticmethod
    def prepare(frame, params):
        b, a = butter(2, 0.05)
        smooth = lfilter(b, a, frame["close"].to_numpy() - frame["close"].iloc[0])
        wanted = np.sign(np.diff(smooth, prepend=0.0))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
