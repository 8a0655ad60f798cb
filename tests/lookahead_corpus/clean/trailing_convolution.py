"""np.convolve with a kernel that looks back, its tail cut off."""

import numpy as np
import pandas as pd
from follower import Follower


class TrailingConvolution(Follower):
    @staticmethod
    def prepare(frame, params):
        kernel = np.exp(-np.arange(40) / 10.0)
        close = frame["close"].to_numpy() - frame["close"].iloc[0]
        smooth = np.convolve(close, kernel / kernel.sum())[: len(close)]
        wanted = np.sign(close - smooth)
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
