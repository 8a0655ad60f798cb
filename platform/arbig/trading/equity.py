"""Trading: the account's course. In: the counter's account, whenever it is asked. Keeps: a point a session minute."""

from __future__ import annotations

import logging
from asyncio import to_thread
from collections.abc import Mapping
from datetime import date, timedelta
from datetime import datetime as Time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from arbig.domain.messages import SHANGHAI
from arbig.store.database import StoreError
from arbig.store.equity import EquityStore

if TYPE_CHECKING:
    from arbig.trading.service import TradingService

log = logging.getLogger(__name__)

KEPT = timedelta(days=90)
Limit = Annotated[int, Query(ge=2, le=10_000)]


class EquityRecorder:
    """One point a minute of the exchange's time. It is a picture for people: no order waits for it."""

    def __init__(self, store: EquityStore) -> None:
        self.store = store
        self._newest = store.newest()

    def note(self, account: Mapping[str, Any], session_time: Time | None) -> None:
        if session_time is None or not account.get("trading_day"):
            return
        minute, day = session_time.replace(second=0, microsecond=0), date.fromisoformat(account["trading_day"])
        if self._newest is not None and minute <= self._newest:
            return
        is_new_day = self._newest is None or self._newest.date() != minute.date()
        try:
            self.store.add(minute, day, account)
            if is_new_day:
                self.store.prune(day - KEPT)
        except StoreError as error:
            log.warning("a point of the account's course is lost: %s", error)
        self._newest = minute


def add_history(app: FastAPI, trading: TradingService) -> None:
    @app.get("/account/history")
    async def history(since: Time | None = None, limit: Limit = 2000) -> dict[str, object]:
        moment = since.replace(tzinfo=SHANGHAI) if since is not None and since.tzinfo is None else since
        points = await to_thread(trading.equity.store.points, moment, limit)
        return {"points": [_shown(point) for point in points]}


def _shown(point: dict[str, Any]) -> dict[str, Any]:
    at: Time = point.pop("at")
    day: date = point.pop("trading_day")
    return {"datetime": at.replace(tzinfo=None).isoformat(), "trading_day": day.isoformat(), **point}
