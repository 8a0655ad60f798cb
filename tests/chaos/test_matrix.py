"""The crash matrix, cell by cell, and the proof that it would notice: builds broken on purpose fail the cells that
should catch them. ARBIG_CHAOS_SEED, ARBIG_CHAOS_CELL (one cell, or several: 10-20,137); ARBIG_TEST_DATABASE=postgresql
plays them on a house whose books lie there, and the cells of its server beside them."""

import os
import shutil
from pathlib import Path

import pytest
from cells import BY_NUMBER, CELLS, Cell
from matrix import played, write_table
from places import KIND, POSTGRESQL

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

SEED = int(os.environ.get("ARBIG_CHAOS_SEED", "1"))
CHOSEN = os.environ.get("ARBIG_CHAOS_CELL", "")
ROOT = Path(__file__).parents[2]
FEWEST = 200
NAME = ("crash-matrix", KIND if KIND == POSTGRESQL else "", CHOSEN)

BROKEN = {
    "acknowledge before send": (
        "bus/consumer.py",
        "        reason = await deliver(entry, self._handlers[entry.stream], PAUSES)\n",
        '        await self._call(("XACK", entry.stream, self._group, entry.id))\n'
        "        reason = await deliver(entry, self._handlers[entry.stream], PAUSES)\n",
        ("tr.after_read", "tr.after_judge"),
    ),
    "send before journal": (
        "gateway/subscriber.py",
        "            admission = self._journal.admit(command, waits)\n",
        "            from arbig.domain.counter import InsertOrder\n"
        "            from arbig.store.journal import memo_of\n"
        "            self._connector.insert(InsertOrder(\n"
        "                order_ref=self._journal._next_ref, memo=memo_of(command.request_id, command.strategy_name),\n"
        "                symbol=command.symbol, exchange=command.exchange, direction=command.direction,\n"
        "                offset=command.offset, order_type=command.order_type, price=command.price,\n"
        "                volume=command.volume,\n"
        "            ))\n"
        '            crash_point("gw.after_send")\n'
        "            admission = self._journal.admit(command, waits)._replace(is_new=False)\n",
        ("gw.after_send", "gw.before_ack"),
    ),
}


def test_no_cell_loses_or_doubles_anything(tmp_path: Path) -> None:
    """Each cell: the order at its place, the fault, then the exchange's books against ours."""
    print()
    rows = played(chosen(CHOSEN), tmp_path, SEED)
    path = write_table(rows, SEED, ROOT / "data" / "chaos", "-".join(filter(None, NAME)))
    failed = [f"{row.number}: {row.verdict}" for row in rows if not row.passed]
    print(f"seed {SEED}: {len(rows)} cells, {len(rows) - len(failed)} passed; {path}")
    assert not failed, "\n".join(failed)
    assert len(rows) >= (1 if CHOSEN else FEWEST)


@pytest.mark.parametrize("name", BROKEN)
def test_a_build_broken_on_purpose_fails_the_cells_that_should_catch_it(name: str, tmp_path: Path) -> None:
    """A copy of the package with one line put wrong; the houses of these cells run it."""
    file, right, wrong, points = BROKEN[name]
    package = tmp_path / "broken"
    shutil.copytree(ROOT / "platform" / "arbig", package / "arbig", ignore=shutil.ignore_patterns("__pycache__"))
    source = (package / "arbig" / file).read_text()
    assert source.count(right) == 1, f"{file} has changed: put the fault of {name!r} where it belongs now"
    (package / "arbig" / file).write_text(source.replace(right, wrong))
    cells = [cell for cell in CELLS if cell.fault == "kill" and cell.at in points and cell.victim in "trading gateway"]
    own = [cell for cell in cells if cell.at.startswith({"trading": "tr.", "gateway": "gw."}[cell.victim])]
    print(f"\n{name}: {', '.join(map(str, own))}")
    rows = played(own, tmp_path, SEED, package=package)
    for row in rows:
        assert row.point_hit and not row.passed, row
    assert len(rows) == len(points)


def chosen(words: str) -> list[Cell]:
    if not words:
        return list(CELLS)
    spans = [part.partition("-") for part in words.split(",")]
    return [BY_NUMBER[n] for first, _, last in spans for n in range(int(first), int(last or first) + 1)]
