"""Keeps only those signals of a sound rule that turned out well ten minutes later."""

import numpy as np
import pandas as pd
from follower import Follower


class FilteredByTheOutcome(Follower):
    @staticmethod
    def prepare(frame, params):
        fast, slow = frame["close"].ewm(span=5).mean(), frame["close"].ewm(span=20).mean()
        rule = np.sign(fast - slow)
        outcome = frame["close"].shift(-10) - frame["close"]
        wanted = rule.where(rule * outcome > 0, 0.0)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
