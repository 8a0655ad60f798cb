"""Generating: the days of made contracts. The same seed gives the same bars, whatever range is asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from arbig.backtest.prices import Character, DayPath
from arbig.backtest.products import ProductPrices
from arbig.backtest.series import TickSeries
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import Exchange
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.simulation import load_simulation

LONGEST_LIFE = 800
"""Trading days from a contract's listing to its last, at most."""


def product_prices(
    seed: int, book: InstrumentBook, calendar: TradingCalendar, settings: Settings | None
) -> ProductPrices:
    """The characters are those of `config/simulation.yaml`, whose `first_day` has the start prices. Raises
    SettingsError, one line."""
    simulation = load_simulation(settings or load_settings())
    characters = {product: Character(**found.model_dump()) for product, found in simulation.products.items()}
    return ProductPrices(seed, book, calendar, characters, calendar.day_from(simulation.first_day))


def listed_days(symbol: str, book: InstrumentBook, calendar: TradingCalendar) -> tuple[date, ...]:
    """The trading days of a contract's whole life, as far as the calendar reaches."""
    instrument = book.get(symbol)
    last = min(instrument.last_trading_day, calendar.last)
    days = calendar.days_between(calendar.first, last)[-LONGEST_LIFE:]

    def is_listed(day: date) -> bool:
        return instrument.symbol in book.contracts(instrument.product, day)

    return days[bisect_left(days, True, key=is_listed) :]


def paths(prices: ProductPrices, symbol: str, days: Sequence[date]) -> Iterator[tuple[DayPath, Sessions]]:
    """The ticks of each trading day, in order, with its sessions. The chain begins a day earlier than asked."""
    calendar = prices.calendar
    eve = calendar.previous_day(days[0])
    before = prices.path(symbol, eve, prices.first_close(symbol, calendar.previous_day(eve))).close
    for day in days:
        path = prices.path(symbol, day, before)
        before = path.close
        yield path, Sessions(path.instrument.night_close, calendar)


def tick_series(path: DayPath) -> TickSeries:
    """A made day's ticks as columns."""
    base = np.datetime64(path.base.replace(tzinfo=None), "ms")
    constant = {
        "open_price": path.last[0],
        "pre_close": path.before.close,
        "pre_settlement": path.before.settlement,
        "limit_up": path.limit_up,
        "limit_down": path.limit_down,
    }
    columns = {
        "last_price": path.last,
        "volume": path.volume,
        "open_interest": path.open_interest,
        "last_volume": path.traded,
        "high_price": path.high,
        "low_price": path.low,
        "bid_price_1": path.bid,
        "bid_volume_1": path.bid_volume,
        "ask_price_1": path.ask,
        "ask_volume_1": path.ask_volume,
        "turnover": path.turnover,
    }
    size = len(path)
    return TickSeries(
        symbol=path.instrument.symbol,
        exchange=Exchange(path.instrument.exchange),
        datetime=base + path.offset_ms.astype("timedelta64[ms]"),
        trading_day=np.full(size, np.datetime64(path.trading_day, "D")),
        **{name: np.full(size, value) for name, value in constant.items()},
        **{name: column.astype(np.float64) for name, column in columns.items()},
    )
