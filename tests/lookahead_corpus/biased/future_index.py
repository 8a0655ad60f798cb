"""Signals without fault, read one row too far: `i + 1`."""

from datetime import timedelta

import pandas as pd
from follower import Follower

from arbig import BarData


class FutureIndex(Follower):
    @staticmethod
    def prepare(frame, params):
        return pd.DataFrame({"wanted": frame["close"] - frame["open"]}, index=frame.index)

    def wanted(self, bar: BarData) -> float:
        row = self.signals.at(bar.datetime + timedelta(minutes=1))
        return 0.0 if row is None else row.wanted
