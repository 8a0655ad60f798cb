"""Models on disk: `data/models/{name}/{version}/` holds `model.txt`, `model.json` and `card.md`; `current` names the
version that answers. Text only; a version is there as a whole or not at all, and is never changed afterwards.

LightGBM's own text, or a linear model's JSON. A file that is cut short or altered is refused by its hash.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime as Time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from arbig.domain.features import FEATURE_SETS, FeatureError, Features, Prediction, mismatch

Floats = NDArray[np.float64]
MODEL, MANIFEST, CARD, CURRENT = "model.txt", "model.json", "card.md", "current"
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


class ModelError(ValueError):
    """A model that cannot be used: which, why, what mends it. One line."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The data a model was made of. `hash`: of every row, features and labels. Times are naive Shanghai."""

    symbols: tuple[str, ...]
    rows: int
    first: Time
    last: Time
    hash: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one version. `trained_until`: the last moment any label looked at; `hash`: of `model.txt`."""

    name: str
    kind: str
    feature_set: str
    features: tuple[str, ...]
    fingerprint: str
    horizon: int
    origin: Origin
    trained_until: Time
    params: dict[str, Any]
    metrics: dict[str, float]
    beats_baseline: bool
    created: Time
    hash: str = ""
    version: str = ""
    seal: str = ""

    def sealed(self) -> Manifest:
        return msgspec.structs.replace(self, seal=self._seal())

    @property
    def is_whole(self) -> bool:
        return self.seal == self._seal()

    def _seal(self) -> str:
        bare = msgspec.structs.replace(self, seal="")
        return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()


class Model:
    """A loaded version."""

    def __init__(self, manifest: Manifest, function: Callable[[Floats], Floats]) -> None:
        self.manifest = manifest
        self.function = function

    def answer(self, features: Features) -> Prediction:
        """Raises FeatureError for features that are not the ones it was trained with."""
        manifest = self.manifest
        reason = mismatch(features, manifest.features, manifest.fingerprint)
        if reason is not None:
            raise FeatureError(f"{manifest.name} {manifest.version}: {reason}")
        value = float(self.function(np.array([features.values], np.float64))[0])
        return Prediction(
            value=value, model=manifest.name, version=manifest.version, trained_until=manifest.trained_until
        )


class Registry:
    """The models of one house. Reading never writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path.name for path in found if NAME.fullmatch(path.name) and self.versions(path.name))

    def versions(self, name: str) -> list[str]:
        """Oldest first."""
        place = self.folder / name
        found = place.iterdir() if NAME.fullmatch(name) and place.is_dir() else ()
        return sorted((path.name for path in found if path.name.isdigit()), key=int)

    def current(self, name: str) -> str | None:
        """The version that answers for the bare name; None while none was promoted."""
        try:
            return (self.folder / name / CURRENT).read_text().strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def manifest(self, reference: str) -> Manifest:
        """Read and checked against its seal and the model's file; the model itself is not made."""
        return self._read(reference)[0]

    def load(self, reference: str) -> Model:
        """`ml_gold` (its current version) or `ml_gold@3`. Raises ModelError."""
        manifest, text = self._read(reference)
        known = FEATURE_SETS.get(manifest.feature_set)
        if known is not None and (known.names, known.fingerprint) != (manifest.features, manifest.fingerprint):
            raise ModelError(
                f"model {manifest.name} {manifest.version}: trained with other features than the set "
                f"{manifest.feature_set!r} has now; train it again: arbig ml train {manifest.name}"
            )
        return Model(manifest, KINDS[manifest.kind](text))

    def card(self, reference: str) -> str:
        return (self._place(reference) / CARD).read_text(encoding="utf-8")

    def save(self, manifest: Manifest, text: str, card: Callable[[Manifest], str]) -> Manifest:
        """A new version, the next number; it answers only once it is promoted. Raises ModelError."""
        if not NAME.fullmatch(manifest.name):
            raise ModelError(f"model name: found {manifest.name!r}, expected small letters, digits, _; e.g. ml_gold")
        if manifest.kind not in KINDS:
            raise ModelError(f"model {manifest.name}: found kind {manifest.kind!r}, expected {' or '.join(KINDS)}")
        place = self.folder / manifest.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            return self._written(place, manifest, text, card)
        except OSError as error:
            raise ModelError(f"{place}: {error.strerror or error}: the model was not saved") from None

    def promote(self, reference: str) -> Manifest:
        """That version answers from now on. Raises ModelError when it cannot be loaded."""
        manifest = self.load(reference).manifest
        place = self.folder / manifest.name
        handle, fresh = tempfile.mkstemp(dir=place, prefix=".current-")
        with os.fdopen(handle, "w") as file:
            file.write(manifest.version + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, place / CURRENT)
        return manifest

    def _written(self, place: Path, manifest: Manifest, text: str, card: Callable[[Manifest], str]) -> Manifest:
        digest = hashlib.sha256(text.encode()).hexdigest()
        while True:
            version = str(max((int(one) for one in self.versions(manifest.name)), default=0) + 1)
            sealed = msgspec.structs.replace(manifest, version=version, hash=digest).sealed()
            fresh = Path(tempfile.mkdtemp(dir=place, prefix=".new-"))
            try:
                _keep(fresh / MODEL, text)
                _keep(fresh / MANIFEST, msgspec.json.format(msgspec.json.encode(sealed), indent=1).decode() + "\n")
                _keep(fresh / CARD, card(sealed))
                fresh.chmod(0o755)
                os.rename(fresh, place / version)  # fails on a version that another training made meanwhile
            except OSError:
                if not (place / version).exists():
                    raise
            else:
                return sealed
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    def _place(self, reference: str) -> Path:
        name, _, version = reference.partition("@")
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "none yet"
            raise ModelError(f"no model {name!r} in {self.folder} (there: {known}); train it: arbig ml train {name}")
        wanted = version or self.current(name)
        if wanted is None:
            raise ModelError(
                f"model {name}: no version was promoted (there: {', '.join(versions)}); "
                f"promote one: arbig ml promote {name}@{versions[-1]}"
            )
        if wanted not in versions:
            raise ModelError(f"model {name}: found version {wanted!r}, there are {', '.join(versions)}")
        return self.folder / name / wanted

    def _read(self, reference: str) -> tuple[Manifest, str]:
        place = self._place(reference)
        mend = f"remove the folder, or promote another version of {place.parent.name}"
        try:
            manifest = msgspec.json.decode((place / MANIFEST).read_bytes(), type=Manifest)
            content = (place / MODEL).read_bytes()
        except (OSError, msgspec.DecodeError) as error:
            raise ModelError(f"{place}: cannot be read ({str(error).splitlines()[0]}); {mend}") from None
        if not manifest.is_whole or (manifest.name, manifest.version) != (place.parent.name, place.name):
            raise ModelError(f"{place / MANIFEST}: was altered after training; {mend}")
        found = hashlib.sha256(content).hexdigest()
        if found != manifest.hash:
            raise ModelError(
                f"{place / MODEL}: cut short or altered ({len(content)} bytes, hash {found[:12]}, "
                f"expected {manifest.hash[:12]}); {mend}"
            )
        if manifest.kind not in KINDS:
            raise ModelError(f"{place}: found kind {manifest.kind!r}, expected {' or '.join(KINDS)}; update arbig")
        return manifest, content.decode()


class RegistryPredictor:
    """Answers from the registry, in this process, for these models and no others; each is read once, at the start, and
    stays the version it was. `known`: reference -> the version that is meant by it. Raises ModelError."""

    def __init__(
        self, registry: Registry, references: Sequence[str] = (), known: Mapping[str, str] | None = None
    ) -> None:
        self.registry = registry
        wanted = known if known is not None else {one: one for one in references}
        self._models = {reference: registry.load(one) for reference, one in wanted.items()}

    def answer(self, model: str, features: Features) -> Prediction:
        if model not in self._models:
            raise FeatureError(f"model {model!r} was not named before the run; there are {', '.join(self._models)}")
        return self._models[model].answer(features)

    @property
    def versions(self) -> dict[str, str]:
        """Reference -> `ml_gold@3`."""
        return {name: f"{one.manifest.name}@{one.manifest.version}" for name, one in self._models.items()}

    @property
    def hashes(self) -> dict[str, str]:
        return {name: one.manifest.hash for name, one in self._models.items()}


def _keep(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


# ---- kinds ----------------------------------------------------------------------------------------------------------


def _lightgbm(text: str) -> Callable[[Floats], Floats]:
    try:
        import lightgbm
    except ImportError:
        raise ModelError("lightgbm is not installed; write: pip install 'arbig[ml]'") from None
    booster = lightgbm.Booster(model_str=text)
    return lambda rows: np.asarray(booster.predict(rows, num_threads=1), np.float64)


class Linear(msgspec.Struct, frozen=True):
    """Ridge on standardised features."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float


def _linear(text: str) -> Callable[[Floats], Floats]:
    found = msgspec.json.decode(text, type=Linear)
    mean, scale, weights = np.array(found.mean), np.array(found.scale), np.array(found.weights)

    def values(rows: Floats) -> Floats:
        # summed column by column: one row and many give the same bits
        result = np.full(len(rows), found.intercept)
        for column in range(len(weights)):
            result += (rows[:, column] - mean[column]) / scale[column] * weights[column]
        return result

    return values


KINDS: Mapping[str, Callable[[str], Callable[[Floats], Floats]]] = {"lightgbm": _lightgbm, "linear": _linear}
