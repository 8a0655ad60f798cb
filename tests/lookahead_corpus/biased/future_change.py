"""pct_change(-1): the change that is still to come."""

import pandas as pd
from follower import Follower


class FutureChange(Follower):
    @staticmethod
    def prepare(frame, params):
        wanted = -frame["close"].pct_change(-1)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
