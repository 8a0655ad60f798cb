"""A strategy with a model in a backtest: the registry answers, the look-ahead check sees what the model has seen."""

from __future__ import annotations

import pytest

from arbig import FeaturePipeline, TargetPosTemplate
from arbig.backtest.plan import PlanError
from arbig.store.models import Registry


class Follows(TargetPosTemplate):
    """Goes where the model says."""

    model = "ml_gold"
    fallback = 0.0
    parameters = ["model"]

    def on_init(self):
        self.features = FeaturePipeline()
        self.said = []
        self.load_bar(2)

    def on_bar(self, bar):
        super().on_bar(bar)
        features = self.features.on_bar(bar)
        if features is None:
            return
        prediction = self.predict(features)
        self.said.append(prediction)
        if self.trading:
            self.set_target_pos(1 if prediction.value > 3 else -1 if prediction.value < -3 else 0)


UNSEEN = ("au2512", "2025-10-20", "2025-10-21")


def test_a_backtest_after_the_training_trades_and_is_clean(gold):
    result = gold.desk.backtest(Follows, *UNSEEN)
    assert len(result.trades) > 10 and not result.result.warnings and not result.result.failures
    report = gold.desk.check_lookahead(Follows, *UNSEEN, cuts=1)
    assert report.verdict == "clean", report


def test_both_engines_hear_the_same_predictions(gold):
    said = []

    class Told(Follows):
        def on_stop(self):
            said.append([one for one in self.said if not one.is_fallback])

    for matching in ("realistic", "vnpy"):
        gold.desk.backtest(Told, "au2512", "2025-10-20", "2025-10-20", matching=matching)
    assert said[0] == said[1] and {one.version for one in said[0]} == {"1"}


def test_a_model_trained_on_what_comes_later_is_flagged(gold):
    """Also where its orders are the same with the future cut away: the future is inside the model."""
    span = ("au2512", "2025-10-17", "2025-10-17")
    report = gold.desk.check_lookahead(Follows, *span, cuts=1)
    assert report.verdict == "looks ahead"
    assert "asks ml_gold 1, which was trained on data up to 2025-10-17 14:59" in str(report)
    (warning,) = gold.desk.backtest(Follows, *span).result.warnings
    assert "ml_gold 1 was trained on data up to 2025-10-17 14:59" in warning and "it looks ahead" in warning


def test_a_strategy_without_its_model_is_no_plan(gold):
    with pytest.raises(PlanError, match=r"no model 'silver' .* train it: arbig ml train silver"):
        gold.desk.plan(Follows, *UNSEEN, {"model": "silver"})


def test_a_sweep_asks_the_same_version_and_another_version_is_another_sweep(gold):
    from arbig.lab.jobs import job_of
    from arbig.lab.sources import source_of

    registry = Registry(gold.folder)
    plan = gold.desk.plan("MlGoldStrategy", *UNSEEN)
    single = gold.desk.backtest(plan)
    swept = gold.desk.sweep("MlGoldStrategy", *UNSEEN, {"entry": [3.0, 5.0]}, workers=1)
    assert swept.rows.loc[swept.rows["entry"] == 3.0, "total_net_pnl"].item() == single.statistics["total_net_pnl"]
    first = job_of(plan, source_of(plan.strategies[0].kind), 60)
    text = (registry.folder / "ml_gold" / "1" / "model.txt").read_text()
    other = registry.save(registry.manifest("ml_gold@1"), text + "\n", lambda one: "card")
    second = job_of(gold.desk.plan("MlGoldStrategy", *UNSEEN, {"model": f"ml_gold@{other.version}"}), source_of(
        plan.strategies[0].kind), 60)  # fmt: skip
    assert first.models == {"ml_gold": "ml_gold@1"} and first.fingerprint != second.fingerprint
