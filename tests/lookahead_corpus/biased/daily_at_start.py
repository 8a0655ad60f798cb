"""Daily bars stamped with the day's first minute, merged into the minutes of that day."""

import numpy as np
import pandas as pd
from follower import Follower


class DailyAtStart(Follower):
    @staticmethod
    def prepare(frame, params):
        closes = frame.groupby("trading_day")["close"].last()
        first = frame.index[frame["trading_day"] != frame["trading_day"].shift(1)]
        daily = closes.set_axis(first).reindex(frame.index, method="ffill")
        wanted = np.sign(daily - frame["close"])
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
