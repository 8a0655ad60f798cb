"""Training: it finds what is there, finds nothing where nothing is, and does it again bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.features import MINUTES
from arbig.ml.folds import EMBARGO, walk_forward
from arbig.ml.sets import SetError, TrainingSet
from arbig.ml.training import train
from arbig.store.models import ModelError, Registry


def test_the_model_beats_the_baseline_out_of_sample_where_a_signal_was_planted(gold):
    metrics = gold.trained.manifest.metrics
    assert gold.trained.promoted and gold.trained.manifest.beats_baseline
    assert metrics["confidence_over_baseline"] > 4 and metrics["correlation"] > metrics["correlation_baseline"] + 0.05


def test_on_noise_it_does_not_and_is_not_promoted(noise_desk):
    trained = train(noise_desk, "quiet", "au2512")
    assert not trained.promoted and not trained.manifest.beats_baseline
    assert "does not beat the baseline" in trained.note
    registry = Registry(noise_desk.settings.data / "models")
    assert registry.current("quiet") is None
    with pytest.raises(ModelError, match=r"no version was promoted .* arbig ml promote quiet@1"):
        registry.load("quiet")


def test_the_same_seed_gives_the_same_model_and_other_data_another(gold):
    again = train(gold.desk, "ml_gold", "au2512", "2025-09-01", "2025-10-17", promote=False)
    first = gold.trained.manifest
    assert again.manifest.hash == first.hash and again.manifest.origin.hash == first.origin.hash
    assert int(again.manifest.version) > 1 and not again.promoted
    shorter = train(gold.desk, "shorter", "au2512", "2025-09-01", "2025-10-16", kind="linear")
    assert shorter.manifest.hash != first.hash and shorter.manifest.origin.hash != first.origin.hash


@settings(max_examples=25, deadline=None)
@given(days=st.integers(12, 30), per_day=st.integers(1, 40), horizon=st.integers(1, 400), count=st.integers(1, 5))
def test_no_training_row_s_label_reaches_into_the_days_it_is_judged_on(days, per_day, horizon, count):
    moments = np.concatenate(
        [np.datetime64("2025-09-01T09:00:00") + np.timedelta64(day, "D") + np.arange(per_day) * np.timedelta64(60, "s")
         for day in range(days)]
    )  # fmt: skip
    rows = TrainingSet(
        MINUTES, horizon, np.array(["au2512.SHFE"] * len(moments)), moments, moments.astype("datetime64[D]"),
        moments + np.timedelta64(horizon, "m"), np.zeros((len(moments), 13)), np.zeros(len(moments)),
    )  # fmt: skip
    tested = []
    for fold in walk_forward(rows, count):
        begins = rows.moments[fold.test].min()
        assert (rows.label_ends[fold.train] < begins).all() and (rows.moments[fold.train] < begins - EMBARGO).all()
        tested.append(set(rows.trading_days[fold.test].tolist()))
    assert sum(len(one) for one in tested) == len(set.union(*tested))


def test_what_cannot_be_trained_is_one_line(noise_desk):
    for words, line in (
        ({"start": "2025-10-20", "end": "2025-10-22"}, "found 3 trading days, expected at least 12"),
        ({"kind": "forest"}, "model kind: found 'forest', expected lightgbm or linear"),
        ({"params": {"leaves": 3}}, "lightgbm has no parameter 'leaves'"),
        ({"features": "ticks"}, "feature set: found 'ticks', expected minutes"),
        ({"horizon": 0}, "horizon: found 0"),
    ):
        with pytest.raises((SetError, ModelError), match=line):
            train(noise_desk, "bad", "au2512", **words)
    with pytest.raises(ModelError, match=r"model name: found '../out'"):
        train(noise_desk, "../out", "au2512", "2025-09-01", "2025-09-18", kind="linear")
