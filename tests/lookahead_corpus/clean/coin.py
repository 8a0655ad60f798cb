"""Throws a coin that always falls the same way: seeded, begun anew in every run."""

from random import Random

from follower import Follower

from arbig import BarData


class Coin(Follower):
    def on_init(self) -> None:
        self.coin = Random(7)

    def wanted(self, bar: BarData) -> float:
        return self.coin.choice((-1.0, 0.0, 0.0, 0.0, 1.0))
