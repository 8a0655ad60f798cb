"""Training: bars out of the desk's history, a judged version into the registry. Here, or on a Ray cluster: the same
folds, the same text, the same hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arbig.domain.features import FEATURE_SETS, FeatureSet
from arbig.ml.cards import card
from arbig.ml.fitting import FITS, params_of
from arbig.ml.folds import walk_forward
from arbig.ml.judging import OutOfSample, judged_fold, verdict
from arbig.ml.sets import SetError, TrainingSet, built, last_moment
from arbig.runtime.clock import WallClock
from arbig.store.models import Manifest, Origin, Registry

if TYPE_CHECKING:
    from arbig.lab.desk import Day, Desk

FOLDS = 5


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model, apart from its data."""

    kind: str
    params: dict[str, Any]
    horizon: int
    folds: int
    seed: int


@dataclass(frozen=True)
class Trained:
    """A version in the registry, and whether it answers from now on (`note`: why, or why not)."""

    manifest: Manifest
    promoted: bool
    note: str

    def __str__(self) -> str:
        found = self.manifest.metrics
        return (
            f"{self.manifest.name} {self.manifest.version} ({self.manifest.kind}, hash {self.manifest.hash[:12]}): "
            f"out of sample correlation {found['correlation']:.4f} (baseline {found['correlation_baseline']:.4f}), "
            f"confidence over the baseline {found['confidence_over_baseline']:.1f}; {self.note}"
        )

    __repr__ = __str__


def train(
    desk: Desk,
    name: str,
    symbols: str | Sequence[str],
    start: Day | None = None,
    end: Day | None = None,
    *,
    kind: str = "lightgbm",
    features: FeatureSet | str = "minutes",
    horizon: int = 5,
    folds: int = FOLDS,
    seed: int = 1,
    params: Mapping[str, Any] | None = None,
    promote: bool | None = None,
    ray: str | None = None,
) -> Trained:
    """A new version of model `name` from stored one-minute bars of these contracts.

    It is judged by a purged walk forward of `folds` folds, against a linear baseline on the same rows, then fitted on
    all of them. `horizon`: minutes ahead. `promote`: it answers from now on; by default only when it beats the
    baseline out of sample. `ray`: a cluster's address, `local` for one of this machine's own; without it all is done
    in this process. Raises SetError, ModelError or HistoryError, one line.
    """
    found = feature_set(features)
    if horizon < 1:
        raise SetError(f"horizon: found {horizon}, expected at least 1 minute")
    recipe = Recipe(kind, params_of(kind, params or {}), horizon, folds, seed)
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    series = [desk.history.bars(one, start, end) for one in wanted]
    if ray is None:
        rows = built(series, found, horizon)
        text, outside = fitted(rows, recipe)
    else:
        from arbig.ml.cluster import fitted_on

        rows, text, outside = fitted_on(ray, series, found, recipe)
    return registered(Registry(desk.settings.data / "models"), name, rows, recipe, text, outside, promote)


def feature_set(features: FeatureSet | str) -> FeatureSet:
    """Raises SetError for a name that is not known."""
    if isinstance(features, FeatureSet):
        return features
    if features not in FEATURE_SETS:
        raise SetError(f"feature set: found {features!r}, expected {' or '.join(FEATURE_SETS)}")
    return FEATURE_SETS[features]


def fitted(rows: TrainingSet, recipe: Recipe) -> tuple[str, list[OutOfSample]]:
    """The model's text, and what its folds said out of sample; in this process."""
    outside = [
        judged_fold(rows, fold, recipe.kind, recipe.params, recipe.seed) for fold in walk_forward(rows, recipe.folds)
    ]
    return FITS[recipe.kind](rows.values, rows.labels, recipe.params, recipe.seed), outside


def registered(
    registry: Registry,
    name: str,
    rows: TrainingSet,
    recipe: Recipe,
    text: str,
    outside: Sequence[OutOfSample],
    promote: bool | None,
) -> Trained:
    """Judged, saved, and promoted when it deserves it or a person says so."""
    judged = verdict(rows, outside)
    manifest = registry.save(
        Manifest(
            name=name,
            kind=recipe.kind,
            feature_set=rows.features.name,
            features=rows.features.names,
            fingerprint=rows.features.fingerprint,
            horizon=recipe.horizon,
            origin=Origin(
                symbols=tuple(sorted(set(rows.symbols.tolist()))),
                rows=len(rows),
                first=rows.moments.min().item(),
                last=rows.moments.max().item(),
                hash=rows.hash,
            ),
            trained_until=last_moment(rows),
            params={**recipe.params, "seed": recipe.seed, "folds": recipe.folds},
            metrics=judged.metrics,
            beats_baseline=judged.beats_baseline,
            created=WallClock().now().replace(tzinfo=None, microsecond=0),
        ),
        text,
        card,
    )
    if promote is False or (promote is None and not judged.beats_baseline):
        reason = "as was asked" if promote is False else "it does not beat the baseline out of sample"
        return Trained(manifest, False, f"not promoted: {reason}")
    registry.promote(f"{name}@{manifest.version}")
    return Trained(manifest, True, "it answers from now on")
