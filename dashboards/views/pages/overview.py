"""Overview: what the account is worth and how it came to it, what is held, what runs, what has gone wrong."""

from __future__ import annotations

from typing import Any

from views import tables
from views.parts import Curve, Facts, tiles
from views.visit import Changes, Visit

AREAS = (
    '"account curve curve curve events events" minmax(250px, 1fr)'
    ' "connection curve curve curve events events" 176px'
    ' "positions positions strategies strategies services services" minmax(0, 1fr)'
    " / minmax(200px, 1fr) 1fr 1fr 1fr 1fr 1fr"
)
SOURCES = {"positions": "trading", "strategies": "strategy", "services": "web", "events": "events"}
EVENTS, POINTS = 80, 700
EVENT_SECONDS, CURVE_SECONDS = 2.0, 5.0


class Overview:
    name = "overview"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = word = visit.words()
        self._changes = Changes()
        self._account = Facts(title=word("account"), source="trading")
        self._connection = Facts(title=word("connection"), source="web")
        self._curve = Curve(title=word("curve"), source="curve", empty=word("collecting"))
        self._grids = {name: tables.grid(name, source, word, visit) for name, source in SOURCES.items()}
        parts = {"account": self._account, "connection": self._connection, "curve": self._curve, **self._grids}
        self.panel = tiles(AREAS, **parts)

    def refresh(self) -> None:
        board, word, changed = self._visit.board, self._word, self._changes.changed
        revisions = board.revisions
        if changed("account", revisions["account"], revisions["status"]):
            self._account.items = tables.account_facts(board, word)
        if changed("connection", revisions["status"], revisions["heartbeat"], revisions["trouble"]):
            self._connection.items = tables.connection_facts(board, word)
        if changed("positions", revisions["positions"], revisions["tick"]):
            rows = tables.position_rows(board.marked_positions(), board.ticks, board.decimals, word)
            self._grids["positions"].show(rows)
        if changed("strategies", revisions["strategies"], revisions["positions"]):
            known = board.strategies.strategies if board.strategies else []
            self._grids["strategies"].show(tables.strategy_rows(known, board.pnl_by_strategy(), word))
        if changed("services", revisions["status"]):
            self._grids["services"].show(tables.service_rows(board.status.services if board.status else [], word))
        self._refresh_watched()

    def _refresh_watched(self) -> None:
        watch, client = self._visit.watch, self._visit.board.client
        events = watch.look("events", lambda: client.events(limit=EVENTS), EVENT_SECONDS)
        if events is not None and self._changes.changed("events", watch.revisions["events"]):
            self._grids["events"].show(tables.event_rows(events.events, self._word))
        points = watch.look("curve", lambda: client.account_history(limit=POINTS), CURVE_SECONDS)
        if points is not None and self._changes.changed("curve", watch.revisions["curve"]):
            self._draw(points)

    def _draw(self, points: list[dict[str, Any]]) -> None:
        """Above or below what the account had at the first point."""
        self._curve.param.update(
            times=[point["datetime"][5:16].replace("T", " ") for point in points],
            values=[point["balance"] for point in points],
            base=points[0]["balance"] if points else 0.0,
        )
