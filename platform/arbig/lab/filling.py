"""Filling: trading days from a vnpy datafeed, placed and checked like any other import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Literal

import numpy as np

from arbig.backtest.series import BarSeries
from arbig.compat.datafeed import DatafeedError, open_datafeed
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.messages import Exchange
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.lab.barfiles import HistoryError
from arbig.lab.columns import Reading
from arbig.lab.importing import Options, chosen, contracts

DAYS_AT_ONCE = 10


def spells(days: Sequence[date]) -> list[list[date]]:
    """The days in pieces small enough for one question."""
    return [list(days[start : start + DAYS_AT_ONCE]) for start in range(0, len(days), DAYS_AT_ONCE)]


def fetched(
    name: str,
    username: str,
    password: str,
    stamps: Literal["start", "end"],
    instrument: Instrument,
    asked: Sequence[Sequence[date]],
    book: InstrumentBook,
    calendar: TradingCalendar,
) -> Iterator[BarSeries]:
    """The answers, spell after spell, of the asked days only; spells without bars are left out. Raises HistoryError."""
    import pandas

    if not asked:
        return
    try:
        feed = open_datafeed(name, username, password, stamps)
        for days in asked:
            first, last = (Sessions(instrument.night_close, calendar).segments(day) for day in (days[0], days[-1]))
            until = last[-1].end + timedelta(minutes=1)
            bars = feed.bars(instrument.symbol, Exchange(instrument.exchange), first[0].start, until)
            if not bars:
                continue
            columns = ("datetime", "open_price", "high_price", "low_price", "close_price", "volume", "open_interest")
            rows = [[getattr(bar, column) for column in (*columns, "turnover")] for bar in bars]
            frame = pandas.DataFrame(rows, columns=[*columns, "turnover"])
            options = Options(symbol=instrument.symbol, stamps="start", off_session="drop")
            (part,) = contracts(frame, Reading(feed.name, 0), options, book, calendar)
            series = chosen(part.series, np.isin(part.series.trading_day, np.array(days, "datetime64[D]")))
            if len(series):
                yield series
    except DatafeedError as error:
        raise HistoryError(str(error)) from None
