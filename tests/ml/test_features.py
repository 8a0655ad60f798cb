"""Features: what a strategy sees bar by bar is what the training saw, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from arbig import FeaturePipeline
from arbig.domain.features import MINUTES, FeatureError, FeatureSet, mismatch, refusal
from arbig.ml.sets import built, chunks, collected, rows_of


@pytest.fixture(scope="module")
def series(noise_desk):
    return noise_desk.history.bars("au2512", "2025-09-22", "2025-09-30")


def test_a_strategy_sees_the_rows_of_the_training_table_to_the_last_bit(series):
    """Also one that was started in the middle, and whatever parts the table was built in."""
    rows = built([series], MINUTES, 5)
    trained = {moment.item(): values.tobytes() for moment, values in zip(rows.moments, rows.values, strict=True)}
    for start in (0, 1000):
        pipeline = FeaturePipeline()
        live = [found for bar in series.rows(start, len(series)).bars() if (found := pipeline.on_bar(bar))]
        both = [found for found in live if found.datetime in trained]
        assert len(both) > 1000
        assert all(np.array(found.values).tobytes() == trained[found.datetime] for found in both)
    parts = [rows_of(part, MINUTES, 5) for part in reversed(list(chunks(series, MINUTES, 4)))]
    assert collected(parts, MINUTES, 5).hash == rows.hash


def test_no_label_reaches_over_a_night_or_beyond_its_horizon(series):
    rows = built([series], MINUTES, 5)
    closes = dict(zip(series.datetime.tolist(), series.close, strict=True))
    assert (rows.label_ends - rows.moments <= np.timedelta64(130, "m")).all()
    for row in (0, len(rows) // 2, len(rows) - 1):
        at = list(series.datetime).index(rows.moments[row])
        expected = np.log(closes[rows.label_ends[row].item()] / series.open[at + 1]) * 1e4
        assert rows.labels[row] == expected and series.datetime[at + 5] == rows.label_ends[row]


def test_a_bar_twice_or_too_late_changes_nothing(series):
    one, two = FeaturePipeline(), FeaturePipeline()
    bars = [series.bar(row) for row in range(100)]
    for bar in bars:
        first = one.on_bar(bar)
        second = two.on_bar(bar)
        assert two.on_bar(bar) is None and two.on_bar(bars[0]) is None
        assert first == second


def test_features_that_are_old_broken_or_another_set_s_are_refused(series):
    pipeline = FeaturePipeline()
    features = [found for row in range(70) if (found := pipeline.on_bar(series.bar(row)))][-1]
    now = features.datetime
    assert refusal(features, now + timedelta(minutes=4)) is None
    assert "stale features" in refusal(features, now + timedelta(minutes=6))
    assert "it is only" in refusal(features, now - timedelta(minutes=1))
    broken = type(features)(**{**_fields(features), "values": (float("nan"), *features.values[1:])})
    assert refusal(broken, now) == "feature return_1 is no finite number"
    assert "for 13 features" in refusal(type(features)(**{**_fields(features), "values": (1.0,)}), now)
    assert mismatch(features, MINUTES.names, MINUTES.fingerprint) is None
    assert "missing spread; not known body" in mismatch(
        features, [*(one for one in MINUTES.names if one != "body"), "spread"], MINUTES.fingerprint
    )


def _fields(features):
    return {name: getattr(features, name) for name in features.__struct_fields__}


def test_the_fingerprint_tells_another_computation_under_the_same_names():
    same = FeatureSet("minutes", MINUTES.names, MINUTES.bars, lambda window: MINUTES.function(window))
    other = replace(same, function=lambda window: [*MINUTES.function(window)[:-1], 0.0])
    assert same.fingerprint == MINUTES.fingerprint != other.fingerprint
    with pytest.raises(FeatureError, match="found 1 values, expected 13"):
        _ = replace(same, function=lambda window: [1.0]).fingerprint
