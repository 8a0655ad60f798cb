"""A value known once in a while, bfill-ed: the rows before it have it too early."""

import numpy as np
import pandas as pd
from follower import Follower


class BackFilled(Follower):
    @staticmethod
    def prepare(frame, params):
        rare = frame["close"].where(np.arange(len(frame)) % 30 == 29)
        wanted = np.sign(rare.bfill() - frame["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
