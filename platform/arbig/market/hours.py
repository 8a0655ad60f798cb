"""Hours: the sessions of a symbol on a day, from the instrument book and the calendar."""

from __future__ import annotations

from datetime import date, time

from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import Sessions, TradingCalendar


class Hours:
    """One Sessions per night close, shared by the products that have it."""

    def __init__(self, book: InstrumentBook, calendar: TradingCalendar) -> None:
        self.book = book
        self.calendar = calendar
        self._sessions: dict[time | None, Sessions] = {}

    def of(self, symbol: str, day: date | None = None) -> Sessions:
        """Raises UnknownSymbol."""
        night_close = self.book.get(symbol, day).night_close
        if night_close not in self._sessions:
            self._sessions[night_close] = Sessions(night_close, self.calendar)
        return self._sessions[night_close]
