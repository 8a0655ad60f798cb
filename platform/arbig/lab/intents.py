"""Intents: a position that a notebook wants, said once a trading day whoever runs the notebook how often; Trading does
the rest."""

from __future__ import annotations

import os
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from arbig.backtest.plan import PlanError
from arbig.client.client import ClientError
from arbig.domain.messages import SHANGHAI
from arbig.lab.handles import Handle
from arbig.lab.live import plain

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

RUN, NAME, DAY = "ARBIG_RUN", "ARBIG_RUN_NAME", "ARBIG_RUN_DAY"


class Intent(Handle):
    """One wish: WAITING, WORKING, then DONE, STOPPED, EXPIRED or REFUSED."""

    under_way = ("WAITING", "WORKING")

    def __init__(self, desk: Desk, told: dict[str, Any], asked: int) -> None:
        super().__init__(desk, str(told["id"]))
        self.repeated = bool(told.get("repeated"))
        self.asked = asked

    @property
    def now(self) -> dict[str, Any]:
        """id, strategy_name, intent, symbol, target, state, detail, orders, ..."""
        return self._desk.live.ask(lambda client: client.intent(self.id))

    @property
    def orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.now["orders"]
        return found

    def stop(self) -> None:
        """What works of it is cancelled, what is held stays."""
        self._desk.live.ask(lambda client: client.stop_intent(self.id))

    @property
    def _said(self) -> str:
        now = self.now
        before = ""
        if self.repeated:
            other = f", asked again with {self.asked:+d}: not executed" if self.asked != now["target"] else ""
            before = f" (said before{other})"
        return f"{now['target']:+d} {now['symbol']} {now['intent']}: {now['state']}, {now['detail']}{before}"

    def __repr__(self) -> str:
        return f"<intent {self._said}>"

    def _repr_html_(self) -> str:
        return f"<b>{escape(self.now['strategy_name'])}</b> {escape(self._said)}"


def target(
    desk: Desk, symbol: str, volume: int, intent: str, strategy_name: str | None, trading_day: str | date | None
) -> Intent:
    """What `Desk.target` says."""
    name = strategy_name or os.environ.get(NAME)
    if name is None:
        raise PlanError("target: no schedule runs this notebook; write e.g. strategy_name='close_gold'")
    day = _day(desk, trading_day)
    wish = {
        "strategy_name": name,
        "symbol": plain(symbol),
        "target": int(volume),
        "intent": intent.replace("{trading_day}", day).replace("{name}", name),
        "trading_day": day,
        "run_id": os.environ.get(RUN),
    }
    return Intent(desk, desk.live.ask(lambda client: client.want(wish)), int(volume))


def trading_day(desk: Desk) -> str:
    """What `Desk.trading_day` says: the run's, so that a run that is tried again after midnight means the same."""
    if run_day := os.environ.get(DAY):
        return run_day
    now = desk.live.ask(lambda client: client.clock())["session_time"]
    if now is None:
        raise ClientError("the session's clock is not known yet; ask again in a moment")
    return desk.calendar.trading_day_of(datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)).isoformat()


def _day(desk: Desk, given: str | date | None) -> str:
    if given is None:
        return trading_day(desk)
    return given if isinstance(given, str) else given.isoformat()
