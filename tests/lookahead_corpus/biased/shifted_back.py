"""shift(-1): tomorrow's close, or the next minute's, stands in this row."""

import numpy as np
import pandas as pd
from follower import Follower


class ShiftedBack(Follower):
    @staticmethod
    def prepare(frame, params):
        wanted = np.sign(frame["close"].shift(-1) - frame["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
