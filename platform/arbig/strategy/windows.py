"""Windows: how a strategy's longer bars know the sessions of its contract."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from arbig.domain.template import Window, WindowFactory

if TYPE_CHECKING:
    from arbig.domain.instruments import InstrumentBook
    from arbig.domain.sessions import TradingCalendar
    from arbig.runtime.settings import Settings


def session_windows(settings: Settings | None = None) -> WindowFactory:
    """Nothing is read before the first window is asked for. Without settings, the environment's are taken."""

    @cache
    def ground() -> tuple[InstrumentBook, TradingCalendar]:
        from arbig.runtime.calendar import load_calendar
        from arbig.runtime.instruments import load_instruments
        from arbig.runtime.settings import load_settings

        found = settings or load_settings()
        return load_instruments(found), load_calendar(found)

    def make(symbol: str, length: int | Literal["day"]) -> Window:
        from arbig.domain.sessions import Sessions
        from arbig.domain.windows import WindowGenerator

        book, calendar = ground()
        sessions = Sessions(book.get(symbol).night_close, calendar)
        return WindowGenerator(length, sessions)

    return make
