"""Machine learning: every minute a model says how far gold will move; go with it when it expects more than the costs.

Train one first: arbig ml train ml_gold au2512. Without a model it stays as it is (the fallback expects no move) and
closes what it holds once nothing was predicted for a while.
"""

from arbig import BarData, FeaturePipeline, TargetPosTemplate


class MlGoldStrategy(TargetPosTemplate):
    author = "ARBIG"

    model = "ml_gold"
    fallback = 0.0

    entry = 3.0
    leave = 0.5
    patience = 10
    volume = 1

    expected = 0.0
    version = ""
    silent = 0

    parameters = ["model", "entry", "leave", "patience", "volume"]
    variables = ["expected", "version", "silent"]

    def on_init(self) -> None:
        self.tick_add = 3 * self.get_pricetick()
        self.features = FeaturePipeline()
        self.load_bar(3)

    def on_bar(self, bar: BarData) -> None:
        super().on_bar(bar)
        features = self.features.on_bar(bar)
        if features is None or not self.trading:
            return
        prediction = self.predict(features, timeout=0.2)
        self.expected, self.version = prediction.value, prediction.version
        self.silent = self.silent + 1 if prediction.is_fallback else 0
        target = self.wanted()
        if target != self.pos or not self.check_order_finished():
            self.set_target_pos(target)

    def wanted(self) -> int:
        """In basis points: enter above `entry`, stay while it is above `leave`; without a model no new lots."""
        if self.silent:
            return 0 if self.silent > self.patience else self.pos
        if abs(self.expected) >= self.entry:
            return self.volume if self.expected > 0 else -self.volume
        return self.pos if self.pos * self.expected > self.leave * abs(self.pos) else 0
