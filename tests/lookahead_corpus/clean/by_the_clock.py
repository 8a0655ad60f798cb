"""Buys at half past, sells at the hour: what the clock will say is no secret."""

from follower import Follower

from arbig import BarData


class ByTheClock(Follower):
    def wanted(self, bar: BarData) -> float:
        return {30: 1.0, 0: -1.0}.get(bar.datetime.minute, 0.0)
