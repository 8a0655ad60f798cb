"""Generating: made prices, day chained to day as the simulated exchange does. The same seed gives the same bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from arbig.backtest.prices import Character, DayPath, day_path, first_close, spans_of
from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.simulation import load_simulation


def characters_of(settings: Settings | None) -> Mapping[str, Character]:
    """How each product behaves: `config/simulation.yaml`. Raises SettingsError, one line."""
    products = load_simulation(settings or load_settings()).products
    return {product: Character(**found.model_dump()) for product, found in products.items()}


def paths(
    seed: int,
    symbol: str,
    days: Sequence[date],
    book: InstrumentBook,
    calendar: TradingCalendar,
    characters: Mapping[str, Character],
) -> Iterator[tuple[DayPath, Sessions]]:
    """The ticks of each trading day, in order."""
    instrument = book.get(symbol, days[0])
    character = characters.get(instrument.product) or Character(start_price=instrument.price_tick * 5000)
    before = first_close(seed, instrument, character)
    for day in days:
        instrument = book.get(symbol, day)
        sessions = Sessions(instrument.night_close, calendar)
        path = day_path(seed, instrument, character, day, spans_of(sessions, day), before)
        before = path.close
        yield path, sessions
