"""Cluster: the same training on Ray. Ray Data builds the rows out of parts of the bars, Ray Train's workers share the
folds; bars and rows travel, so a node needs nothing but this package with the `ml` extra."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from arbig.backtest.series import BarSeries
from arbig.domain.features import FeatureSet
from arbig.ml.fitting import FITS
from arbig.ml.folds import walk_forward
from arbig.ml.judging import OutOfSample, judged_fold
from arbig.ml.ray_start import begun
from arbig.ml.sets import SetError, TrainingSet, chunks, collected, rows_of
from arbig.ml.training import Recipe

PARTS = 8


class _Share(msgspec.Struct, frozen=True):
    """What one worker found: the final model (the first worker's), and what its folds said out of sample."""

    text: str
    folds: list[tuple[int, list[float], list[float], list[float]]]


class _Shares:
    """Where the workers leave what they found; plain JSON."""

    def __init__(self) -> None:
        self._found: list[bytes] = []

    def add(self, share: bytes) -> None:
        self._found.append(share)

    def all(self) -> list[bytes]:
        return self._found


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, begun here unless it runs already in this process; who began it ends it. Raises SetError."""
    was_there = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    ray = begun(address)
    if was_there:
        yield ray
        return
    try:
        yield ray
    finally:
        ray.shutdown()


def fitted_on(
    address: str, series: Sequence[BarSeries], features: FeatureSet, recipe: Recipe
) -> tuple[TrainingSet, str, list[OutOfSample]]:
    """Rows, model and out-of-sample words, as `training.fitted` gives them in one process."""
    with cluster(address) as ray:
        from ray import data
        from ray.train import DataConfig, RunConfig, ScalingConfig
        from ray.train.lightgbm import LightGBMTrainer

        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        parts = [part for one in series for part in chunks(one, features, PARTS)]
        built = (
            data.from_arrow(parts)
            .map_batches(
                partial(rows_of, features=features, horizon=recipe.horizon), batch_format="pyarrow", batch_size=None
            )
            .materialize()
        )
        rows = collected(ray.get(built.to_arrow_refs()), features, recipe.horizon)
        list(walk_forward(rows, recipe.folds))  # a set that is too short is said here, in one line
        workers = max(1, min(recipe.folds, int(ray.cluster_resources().get("CPU", 1)) - 1))
        shares = ray.remote(num_cpus=0)(_Shares).remote()
        with tempfile.TemporaryDirectory(prefix="arbig-train-") as folder:
            LightGBMTrainer(
                _work,
                train_loop_config={"recipe": recipe, "features": features, "shares": shares},
                scaling_config=ScalingConfig(num_workers=workers, placement_strategy="SPREAD"),
                run_config=RunConfig(name="arbig", storage_path=folder),
                datasets={"rows": built},
                dataset_config=DataConfig(datasets_to_split=[]),
            ).fit()
        found = [msgspec.json.decode(one, type=_Share) for one in ray.get(shares.all.remote())]
    return (rows, *_joined(rows, recipe, found))


def _work(config: dict[str, Any]) -> None:
    """One of Ray Train's workers: its share of the folds; the first one fits the final model, too."""
    import ray
    import ray.train

    recipe, features = config["recipe"], config["features"]
    batches = ray.train.get_dataset_shard("rows").iter_batches(batch_size=None, batch_format="pyarrow")
    rows = collected([_plain(one) for one in batches], features, recipe.horizon)
    place = ray.train.get_context()
    rank, size = place.get_world_rank(), place.get_world_size()
    mine = [(number, one) for number, one in enumerate(walk_forward(rows, recipe.folds)) if number % size == rank]
    said = [(number, judged_fold(rows, one, recipe.kind, recipe.params, recipe.seed)) for number, one in mine]
    text = FITS[recipe.kind](rows.values, rows.labels, recipe.params, recipe.seed) if rank == 0 else ""
    share = _Share(text, [(n, one.model.tolist(), one.baseline.tolist(), one.nothing.tolist()) for n, one in said])
    ray.get(config["shares"].add.remote(msgspec.json.encode(share)))
    ray.train.report({"folds": len(mine)})


def _plain(batch: pa.Table) -> pa.Table:
    return batch.combine_chunks()


def _joined(rows: TrainingSet, recipe: Recipe, found: Sequence[_Share]) -> tuple[str, list[OutOfSample]]:
    texts = {one.text for one in found if one.text}
    if len(texts) != 1:
        raise SetError(f"ray: found {len(texts)} final models, expected one: a worker was lost; train again")
    said = {one[0]: one[1:] for share in found for one in share.folds}
    folds = [
        OutOfSample(fold.test, *(np.array(column, np.float64) for column in said[number]))
        for number, fold in enumerate(walk_forward(rows, recipe.folds))
    ]
    return texts.pop(), folds
