"""A market whose hidden rule is known, one without any, and a registry with a model trained on the first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from arbig import Desk
from arbig.ml.planting import planted
from arbig.ml.training import train

ROOT = Path(__file__).parents[2]
FIRST, LAST, SEEN = "2025-09-01", "2025-10-24", "2025-10-17"


def desk_in(folder: Path, seed: int, strength: float) -> Desk:
    desk = Desk(root=ROOT, data=folder, history=folder / "bars")
    desk.history.generate("au2512", FIRST, LAST, seed=seed)
    if strength:
        desk.history.write(planted(desk.history.bars("au2512"), strength, 0.02), replace=True)
    return desk


@pytest.fixture(scope="session")
def planted_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk_in(tmp_path_factory.mktemp("planted"), 3, 2.0)


@pytest.fixture(scope="session")
def noise_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk_in(tmp_path_factory.mktemp("noise"), 3, 0.0)


@pytest.fixture(scope="session")
def gold(planted_desk: Desk) -> SimpleNamespace:
    """ml_gold 1, trained on all but the last week."""
    trained = train(planted_desk, "ml_gold", "au2512", FIRST, SEEN)
    return SimpleNamespace(desk=planted_desk, trained=trained, folder=planted_desk.settings.data / "models")
