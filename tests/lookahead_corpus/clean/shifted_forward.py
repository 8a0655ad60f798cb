"""shift(+1): the row before, which is over."""

import numpy as np
import pandas as pd
from follower import Follower


class ShiftedForward(Follower):
    @staticmethod
    def prepare(frame, params):
        wanted = np.sign(frame["close"] - frame["close"].shift(1))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
