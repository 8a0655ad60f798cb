"""Goes long before a pause: that no bar follows is known only afterwards."""

import pandas as pd
from follower import Follower


class KnowsThePause(Follower):
    @staticmethod
    def prepare(frame, params):
        ahead = frame.index.to_series().diff().shift(-1)
        pause = ahead > pd.Timedelta("1min")
        wanted = pause * 2.0 - 1.0
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
