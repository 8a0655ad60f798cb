"""Folds: a purged walk forward. Each fold trains on the past and is judged on the days after it; a row whose label
reaches into those days is left out of the training, and so are the rows right before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbig.ml.sets import SetError, TrainingSet

EMBARGO = np.timedelta64(60, "m")


@dataclass(frozen=True, eq=False)
class Fold:
    """Row numbers of a set."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def walk_forward(rows: TrainingSet, count: int) -> Iterator[Fold]:
    """`count` folds over whole trading days; the first part of the days is only trained on. Raises SetError."""
    days = np.unique(rows.trading_days)
    if len(days) < 2 * (count + 1):
        raise SetError(
            f"found {len(days)} trading days, expected at least {2 * (count + 1)} for {count} folds; "
            "give a longer range or fewer folds"
        )
    parts = np.array_split(days, count + 1)
    for part in parts[1:]:
        test = np.flatnonzero((rows.trading_days >= part[0]) & (rows.trading_days <= part[-1]))
        begins = rows.moments[test].min()
        train = np.flatnonzero((rows.label_ends < begins) & (rows.moments < begins - EMBARGO))
        if not len(train):
            raise SetError(f"nothing to train on before {begins}; give a longer range or fewer folds")
        yield Fold(train, test)
