"""A few cells of the crash matrix, drawn from a seed: what `make test` has time for."""

import random
from pathlib import Path

import pytest
from cells import CELLS
from matrix import played

pytestmark = pytest.mark.processes

SEED = 4
COUNT = 12
QUICK = ("kill", "cut", "repeated", "reordered", "line cut")


def test_a_dozen_cells_lose_and_double_nothing(tmp_path: Path) -> None:
    quick = [cell for cell in CELLS if cell.fault in QUICK and cell.victim != "supervisor" and "market." not in cell.at]
    quick = [cell for cell in quick if not cell.needs_postgresql]
    rows = played(random.Random(SEED).sample(quick, COUNT), tmp_path, SEED, port_offset=3700)
    assert not [f"{row.number}: {row.verdict}" for row in rows if not row.passed]
