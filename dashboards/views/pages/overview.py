"""Overview: what is held, what runs, how the house fares."""

from __future__ import annotations

from views import tables
from views.parts import tiles
from views.visit import Changes, Visit

SOURCES = {"positions": "trading", "strategies": "strategy", "services": "web"}
AREAS = '"positions strategies" 1fr "services services" 1fr / 1fr 1fr'


class Overview:
    name = "overview"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = visit.words()
        self._changes = Changes()
        self._grids = {name: tables.grid(name, source, self._word, visit) for name, source in SOURCES.items()}
        self.panel = tiles(AREAS, **self._grids)

    def refresh(self) -> None:
        board, word, changed = self._visit.board, self._word, self._changes.changed
        if changed("positions", board.revisions["positions"], board.revisions["tick"]):
            self._grids["positions"].show(tables.position_rows(board.marked_positions(), board.decimals, word))
        if changed("strategies", board.revisions["strategies"], board.revisions["positions"]):
            known = board.strategies.strategies if board.strategies else []
            self._grids["strategies"].show(tables.strategy_rows(known, board.pnl_by_strategy(), word))
        if changed("services", board.revisions["status"]):
            self._grids["services"].show(tables.service_rows(board.status.services if board.status else [], word))
