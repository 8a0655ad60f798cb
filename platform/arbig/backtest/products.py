"""Products: a price process that all contracts of a product follow, so that their spreads and rolls make sense.

A product has one level: daily log returns with fat tails and slow volatility, a pure function of (seed, product),
and inside a day the simulated exchange's process, bent to end at the day's level. A contract is the level, its carry
to delivery, and a small mean-reverting difference of its own; it is traded most while it is the main contract.
The simulated exchange does not play it: there every contract goes its own way.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

from arbig.backtest.prices import (
    Character,
    Close,
    DayPath,
    Floats,
    Lead,
    clusters,
    day_path,
    generator,
    moments,
    on_tick,
    spans_of,
)
from arbig.domain.instruments import Instrument, InstrumentBook
from arbig.domain.sessions import Sessions, TradingCalendar

SLOW = 0.95
"""Share of yesterday's volatility, in logarithms, that stays today."""
BASIS_STAYS = 0.9
BASIS = 0.0012
"""A contract's own difference from its product: standard deviation, as a share of price."""
BASIS_INTRADAY = 0.0004
CARRY = (0.01, 0.05)
"""Per year, contango or backwardation."""
RISING_DAYS, FAR_DAYS, FALLING_DAYS = 15.0, 60.0, 6.0
QUIET = 0.004
"""What a contract trades that is not the main one, compared with the main one, at least."""
HOUR_MS = 3_600_000.0
SHORTEST_BREAK = 0.1
BREAK_HOURS = 8.0
"""A break of that length moves the price as much as the night gap."""


@dataclass(frozen=True, eq=False)
class ProductPrices:
    """Prices of every contract of every product, one seed's. `anchor`: the day whose level is the start price."""

    seed: int
    book: InstrumentBook
    calendar: TradingCalendar
    characters: Mapping[str, Character]
    anchor: date
    _days: tuple[date, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_days", self.calendar.days_between(self.calendar.first, self.calendar.last))

    def first_close(self, symbol: str, day: date) -> Close:
        """What the trading day hands on: its close and open interest, and a settlement taken equal to the close."""
        instrument = self.book.get(symbol, day)
        price = on_tick(math.exp(self._log_price(instrument, self._index(day))), instrument.price_tick)
        return Close(price, price, self._open_interest(instrument, day))

    def path(self, symbol: str, day: date, before: Close) -> DayPath:
        """The contract's ticks on a trading day that follows `before`."""
        instrument = self.book.get(symbol, day)
        sessions = Sessions(instrument.night_close, self.calendar)
        lead = self._lead(instrument, day, sessions)
        share = self._share(instrument, day)
        character = self._character(instrument.product)
        quieter = replace(
            character,
            activity=character.activity * max(0.15, math.sqrt(share)),
            lots_per_tick=character.lots_per_tick * math.sqrt(share),
            depth=max(1.0, character.depth * share),
        )
        return day_path(self.seed, instrument, quieter, day, spans_of(sessions, day), before, lead)

    def _lead(self, instrument: Instrument, day: date, sessions: Sessions) -> Lead:
        product = _product_day(self, instrument.product, day, sessions.night_close)
        index = self._index(day)
        start, end = (self._offset(instrument, at) for at in (index - 1, index))
        noise = generator(self.seed, instrument.symbol, f"basis {day}").normal(0.0, 1.0, len(product.log_price))
        walk = np.cumsum(noise) / math.sqrt(len(noise))
        along = np.linspace(0.0, 1.0, len(walk))
        own = start + (end - start) * along + BASIS_INTRADAY * (walk - along * walk[-1])
        return replace(product, log_price=product.log_price + own, open_interest=self._open_interest(instrument, day))

    def _log_price(self, instrument: Instrument, index: int) -> float:
        return float(_levels(self, instrument.product)[index]) + self._offset(instrument, index)

    def _offset(self, instrument: Instrument, index: int) -> float:
        """The contract's logarithm above its product's, at the close of that trading day."""
        years = (instrument.last_trading_day - self._days[index]).days / 365.0
        own = float(_differences(self.seed, instrument.symbol, len(self._days))[index])
        return _carry(self.seed, instrument.product) * years + own

    def _open_interest(self, instrument: Instrument, day: date) -> int:
        noise = float(generator(self.seed, instrument.symbol, f"interest {day}").normal(0.0, 0.015))
        whole = self._character(instrument.product).open_interest
        return max(100, round(whole * self._share(instrument, day) * math.exp(noise)))

    def _share(self, instrument: Instrument, day: date) -> float:
        """How much of the main contract's trading this one has: the more the nearer its months as the main one, less
        and less after them."""
        begins, ends = _main_days(self, instrument.product, instrument.symbol, instrument.last_trading_day)
        if begins >= ends:
            return QUIET
        index = self._index(day)
        if index < begins:
            wait = begins - index
            return 0.75 * math.exp(-wait / RISING_DAYS) + 0.25 * math.exp(-wait / FAR_DAYS)
        return 1.0 if index < ends else max(QUIET, math.exp((ends - 1 - index) / FALLING_DAYS))

    def _character(self, product: str) -> Character:
        return self.characters.get(product) or Character(start_price=5000.0)

    def _index(self, day: date) -> int:
        return bisect_left(self._days, day)


@lru_cache(maxsize=64)
def _levels(prices: ProductPrices, product: str) -> Floats:
    """The logarithm of the product's level at every close of the calendar."""
    returns = _scales(prices.seed, product, len(prices._days)) * prices._character(product).volatility
    returns *= generator(prices.seed, product, "returns").standard_t(5.0, len(returns)) / math.sqrt(5.0 / 3.0)
    walk: Floats = np.cumsum(returns)
    walk += math.log(prices._character(product).start_price) - walk[prices._index(prices.anchor)]
    return walk


@lru_cache(maxsize=64)
def _scales(seed: int, product: str, size: int) -> Floats:
    """How lively each day is, about one."""
    shocks = generator(seed, product, "volatility").normal(0.0, 0.3 * math.sqrt(1 - SLOW**2), size)
    scales: Floats = np.exp(lfilter([1.0], [1.0, -SLOW], shocks) - 0.09)
    return scales


@lru_cache(maxsize=256)
def _differences(seed: int, symbol: str, size: int) -> Floats:
    shocks = generator(seed, symbol, "difference").normal(0.0, BASIS * math.sqrt(1 - BASIS_STAYS**2), size)
    found: Floats = lfilter([1.0], [1.0, -BASIS_STAYS], shocks)
    return found


def _carry(seed: int, product: str) -> float:
    draw = generator(seed, product, "carry")
    return float(draw.uniform(*CARRY) * draw.choice((-1.0, 1.0, 1.0)))


@lru_cache(maxsize=256)
def _main_days(prices: ProductPrices, product: str, symbol: str, last_day: date) -> tuple[int, int]:
    """The calendar's indexes between which the contract is its product's main one."""
    days = prices._days
    stop = bisect_left(days, last_day) + 1
    start = max(0, stop - 400)

    def position(day: date) -> tuple[bool, bool]:
        main = prices.book.main_contract(product, day)
        return main >= symbol, main > symbol

    near: Sequence[date] = days[start:stop]
    begins = bisect_left(near, True, key=lambda day: position(day)[0])
    ends = bisect_left(near, True, key=lambda day: position(day)[1])
    return start + begins, start + ends


@lru_cache(maxsize=2)
def _product_day(prices: ProductPrices, product: str, day: date, night_close: time | None) -> Lead:
    """The product's level on every half second of a trading day."""
    character, index = replace(prices._character(product), activity=1.0), prices._index(day)
    spans = spans_of(Sessions(night_close, prices.calendar), day)
    draw = generator(prices.seed, product, day.isoformat())
    offset_ms, opening, auction = moments(draw, character, spans)
    size = len(offset_ms)
    liveliness = opening * clusters(draw, size)
    liveliness /= math.sqrt(float(np.mean(liveliness**2)))
    scale = float(_scales(prices.seed, product, len(prices._days))[index])
    steps = draw.standard_t(4.0, size) / math.sqrt(2.0) * liveliness * (character.volatility * scale / math.sqrt(size))
    pauses = np.diff(offset_ms, prepend=offset_ms[0]) / HOUR_MS
    breaks = np.flatnonzero(pauses > SHORTEST_BREAK)
    gaps = np.minimum(1.0, np.sqrt(pauses[breaks] / BREAK_HOURS))
    steps[auction] += draw.normal(0.0, character.gap * scale, int(auction.sum()))
    steps[breaks] += draw.normal(0.0, character.gap * scale, len(breaks)) * gaps
    levels = _levels(prices, product)
    walk = np.cumsum(steps)
    walk += np.cumsum(liveliness**2) / size * (levels[index] - levels[index - 1] - walk[-1])
    return Lead(offset_ms, levels[index - 1] + walk, liveliness * scale)
