"""SessionTime: the exchange's clock as a connector to a real counter can know it.

CTP has no clock to ask: the log-in names the exchange's time, ticks name theirs. Between them the wall runs on. The
time told lags a little, so that a minute is not over before its last tick has come. A test front that plays at odd
hours (SimNow's 7x24) takes the clock with it; a broker's does not.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from arbig.domain.messages import SHANGHAI
from arbig.domain.sessions import TradingCalendar
from arbig.gateway.ctp.translate import clock_of, natural_day
from arbig.runtime.clock import Clock

LAG = timedelta(seconds=1)
ODD = timedelta(minutes=10)
DAY = timedelta(days=1)


class SessionTime:
    def __init__(self, clock: Clock, calendar: TradingCalendar, follows_ticks: bool) -> None:
        self._clock = clock
        self._calendar = calendar
        self._follows_ticks = follows_ticks
        self._ahead = timedelta(0)
        self._told: datetime | None = None

    def begin(self, written: str, trading_day: date) -> None:
        """The log-in says what time it is at the exchange; nothing when it says nothing. A test front may be in another
        day altogether: its trading day says which."""
        self._ahead, self._told = timedelta(0), None
        moment = clock_of(written)
        if moment is None:
            return
        wall = self._clock.now()
        if self._follows_ticks:
            there = datetime.combine(natural_day(trading_day, moment, self._calendar), moment, SHANGHAI)
            if abs(there - wall) > DAY:
                self._ahead = there - wall
                return
        near = datetime.combine(wall.date(), moment, SHANGHAI)
        self._ahead = min((near - wall + shift for shift in (-DAY, timedelta(0), DAY)), key=abs)

    def hear(self, tick: datetime, is_first: bool) -> None:
        """A tick's time. The first one after a subscription may be hours old."""
        if self._follows_ticks and not is_first and abs(tick - self._estimate()) > ODD:
            self._ahead, self._told = tick - self._clock.now(), None
        if tick <= self._estimate() + ODD and (self._told is None or tick > self._told):
            self._told = tick

    def now(self) -> datetime:
        """Never back, but for a test front that jumps."""
        told = self._estimate() - LAG
        if self._told is None or told > self._told:
            self._told = told
        return self._told

    def _estimate(self) -> datetime:
        return self._clock.now() + self._ahead
