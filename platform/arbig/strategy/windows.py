"""Windows: how a strategy's longer bars know the sessions of their contract."""

from __future__ import annotations

from functools import cache
from typing import Literal

from arbig.domain.messages import split_vt_symbol
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.domain.template import Window, WindowFactory
from arbig.domain.windows import WindowGenerator
from arbig.strategy.frames import Load


def session_windows(load: Load) -> WindowFactory:
    """The calendar is put together when the first window is asked for."""
    night_closes = {split_vt_symbol(name)[0]: contract.night_close for name, contract in load.contracts.items()}

    @cache
    def calendar() -> TradingCalendar:
        return TradingCalendar(frozenset(load.calendar.days), frozenset(load.calendar.no_night))

    def make(symbol: str, length: int | Literal["day"]) -> Window:
        return WindowGenerator(length, Sessions(night_closes[symbol], calendar()))

    return make
