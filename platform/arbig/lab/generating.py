"""Generating: the days of made contracts. The same seed gives the same bars, whatever range is asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date

from arbig.backtest.prices import Character, DayPath
from arbig.backtest.products import ProductPrices
from arbig.domain.instruments import InstrumentBook
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
