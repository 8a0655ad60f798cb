"""Fitting: rows in, a model's text out. The same rows and the same seed give the same text, on any number of cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arbig.store.models import KINDS, Linear, ModelError

Floats = NDArray[np.float64]
RIDGE = 10.0
TREES: Mapping[str, Any] = {
    "rounds": 100,
    "learning_rate": 0.03,
    "num_leaves": 8,
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"lightgbm": TREES, "linear": {"ridge": RIDGE}}


def params_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given. Raises ModelError for a kind or a name that is not known."""
    if kind not in DEFAULTS:
        raise ModelError(f"model kind: found {kind!r}, expected {' or '.join(DEFAULTS)}")
    unknown = sorted(set(given) - set(DEFAULTS[kind]))
    if unknown:
        raise ModelError(f"{kind} has no parameter {unknown[0]!r}; there are {', '.join(DEFAULTS[kind])}")
    return {**DEFAULTS[kind], **given}


def fit_linear(values: Floats, labels: Floats, params: Mapping[str, Any], seed: int) -> str:
    """Ridge on standardised features; needs no seed."""
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    rows = (values - mean) / scale
    square = rows.T @ rows + float(params["ridge"]) * np.eye(rows.shape[1])
    weights = np.linalg.solve(square, rows.T @ (labels - labels.mean()))
    found = Linear(tuple(mean.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), float(labels.mean()))
    return msgspec.json.encode(found).decode()


def fit_trees(values: Floats, labels: Floats, params: Mapping[str, Any], seed: int) -> str:
    """LightGBM on one core, all its draws from the seed. Raises ModelError without the `ml` extra."""
    try:
        import lightgbm
    except ImportError:
        raise ModelError("lightgbm is not installed; write: pip install 'arbig[ml]'") from None
    words = {name: value for name, value in params.items() if name != "rounds"}
    words |= {"objective": "regression", "seed": seed, "deterministic": True, "force_row_wise": True}
    words |= {"num_threads": 1, "verbosity": -1}
    rows = lightgbm.Dataset(values, label=labels, params={"verbosity": -1})
    text: str = lightgbm.train(words, rows, num_boost_round=int(params["rounds"])).model_to_string()
    return text


FITS: Mapping[str, Callable[[Floats, Floats, Mapping[str, Any], int], str]] = {
    "lightgbm": fit_trees,
    "linear": fit_linear,
}


def predicted(kind: str, text: str, values: Floats) -> Floats:
    """What the model of that text says to the rows."""
    return KINDS[kind](text)(values)
