"""Judging: what a model is worth out of sample, against the baseline and against saying nothing.

Squared errors are compared day by day (the rows of a day are not independent of one another): a model beats another
when the mean daily gain is more than `CONFIDENT` of its standard errors above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbig.ml.fitting import DEFAULTS, FITS, predicted
from arbig.ml.folds import Fold
from arbig.ml.sets import TrainingSet

Floats = NDArray[np.float64]
CONFIDENT = 2.0


@dataclass(frozen=True)
class Verdict:
    """`metrics` are of the rows of all test folds together. `beats_baseline`: the baseline and saying nothing, too."""

    metrics: dict[str, float]
    beats_baseline: bool


@dataclass(frozen=True, eq=False)
class OutOfSample:
    """What was said to one fold's test rows by the model, the baseline, and the training's mean."""

    test: NDArray[np.int64]
    model: Floats
    baseline: Floats
    nothing: Floats


def judged_fold(rows: TrainingSet, fold: Fold, kind: str, params: dict[str, Any], seed: int) -> OutOfSample:
    """One fold: both models fitted on its past."""
    values, labels = rows.values[fold.train], rows.labels[fold.train]
    unseen = rows.values[fold.test]
    linear = predicted("linear", FITS["linear"](values, labels, DEFAULTS["linear"], seed), unseen)
    nothing = np.full(len(fold.test), labels.mean())
    if kind == "linear" and params == DEFAULTS["linear"]:
        return OutOfSample(fold.test, linear, nothing, nothing)
    model = predicted(kind, FITS[kind](values, labels, params, seed), unseen)
    return OutOfSample(fold.test, model, nothing if kind == "linear" else linear, nothing)


def verdict(rows: TrainingSet, folds: Sequence[OutOfSample]) -> Verdict:
    """All folds together."""
    test = np.concatenate([one.test for one in folds])
    labels, days = rows.labels[test], rows.trading_days[test]
    said = {name: np.concatenate([getattr(one, name) for one in folds]) for name in ("model", "baseline", "nothing")}
    errors = {name: (labels - values) ** 2 for name, values in said.items()}
    mse = {name: float(values.mean()) for name, values in errors.items()}
    over_baseline = confidence(errors["baseline"] - errors["model"], days)
    over_nothing = confidence(errors["nothing"] - errors["model"], days)
    metrics = {
        "rows": float(len(test)),
        "days": float(len(np.unique(days))),
        "correlation": correlation(said["model"], labels),
        "correlation_baseline": correlation(said["baseline"], labels),
        "hit_rate": hit_rate(said["model"], labels),
        "mse": mse["model"],
        "mse_baseline": mse["baseline"],
        "mse_nothing": mse["nothing"],
        "skill": 1 - mse["model"] / mse["nothing"] if mse["nothing"] else 0.0,
        "skill_over_baseline": 1 - mse["model"] / mse["baseline"] if mse["baseline"] else 0.0,
        "confidence_over_baseline": over_baseline,
        "confidence_over_nothing": over_nothing,
    }
    return Verdict(metrics, over_baseline > CONFIDENT and over_nothing > CONFIDENT)


def confidence(gains: Floats, days: NDArray[np.datetime64]) -> float:
    """The mean daily gain in its own standard errors; zero where nothing differs."""
    _, place = np.unique(days, return_inverse=True)
    daily = np.bincount(place, gains) / np.bincount(place)
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else 0.0
    return float(daily.mean()) / spread * sqrt(len(daily)) if spread > 0 else 0.0


def correlation(said: Floats, labels: Floats) -> float:
    if said.std() == 0 or labels.std() == 0:
        return 0.0
    return float(np.corrcoef(said, labels)[0, 1])


def hit_rate(said: Floats, labels: Floats) -> float:
    """How often the sign was right, of the rows that moved."""
    moved = labels != 0
    return float((np.sign(said[moved]) == np.sign(labels[moved])).mean()) if moved.any() else 0.0
