"""The Hilbert transform needs the whole signal to say where in its cycle it is now."""

import numpy as np
import pandas as pd
from follower import Follower
from scipy.signal import hilbert


class InstantPhase(Follower):
    @staticmethod
    def prepare(frame, params):
        moves = frame["close"].diff().fillna(0.0).to_numpy()
        wanted = np.sign(np.sin(np.angle(hilbert(moves))))
        return pd.DataFrame({"wanted": wanted}, index=frame.index)
