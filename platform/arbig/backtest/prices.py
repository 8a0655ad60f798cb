"""Prices: the ticks of one contract and one trading day, a pure function of (seed, contract, day, the day before).

Log returns with fat tails and clustered volatility that is high at the open and falls away, a book of one level whose
spread widens when the market moves, lots and open interest, an auction tick, a closing tick at every segment's end,
all on the contract's price tick and inside its limits. Nobody's orders move it.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Protocol

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from arbig.domain.instruments import Instrument
from arbig.domain.messages import Exchange, TickData
from arbig.domain.sessions import Sessions

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SLOT_MS = 500
AUCTION_LEAD = timedelta(minutes=1)
GRID = 1200
"""Slots of one draw of the slow volatility: ten minutes."""
LIVELY_LOTS = 4.0
"""Lots in a tick of a contract whose auctions have their usual size."""


@dataclass(frozen=True)
class Character:
    """How lively a contract is. Shares of price are per trading day."""

    start_price: float
    price_limit: float = 0.08
    volatility: float = 0.011
    gap: float = 0.0025
    activity: float = 0.7
    lots_per_tick: float = 4.0
    depth: float = 12.0
    open_interest: int = 180_000


@dataclass(frozen=True)
class Close:
    """What a day hands on to the next."""

    settlement: float
    close: float
    open_interest: int


@dataclass(frozen=True)
class Span:
    """A continuous segment: first slot after `start`, last one at `end`."""

    start: datetime
    end: datetime
    opens_with_auction: bool


@dataclass(frozen=True)
class Lead:
    """A price that a contract follows, on every half second of a trading day: logarithms, how lively it is about one,
    and the open interest at the close."""

    offset_ms: Integers
    log_price: Floats
    liveliness: Floats
    open_interest: int = 0


class Path(Protocol):
    """The ticks of one contract and one trading day, made or recorded."""

    @property
    def instrument(self) -> Instrument: ...
    @property
    def trading_day(self) -> date: ...
    @property
    def limit_up(self) -> float: ...
    @property
    def limit_down(self) -> float: ...
    @property
    def close(self) -> Close: ...
    def first_after(self, moment: datetime) -> int: ...
    def is_auction_at(self, index: int) -> bool: ...
    def ticks(self, start: int, stop: int) -> Iterator[TickData]: ...
    def columns(self) -> DayPath: ...


@dataclass(frozen=True)
class DayPath:
    """A day's ticks as columns; `TickData` are made only when they are due."""

    instrument: Instrument
    trading_day: date
    base: datetime
    before: Close
    limit_up: float
    limit_down: float
    offset_ms: Integers
    is_auction: NDArray[np.bool_]
    last: Floats
    bid: Floats
    ask: Floats
    bid_volume: Integers
    ask_volume: Integers
    traded: Integers
    open_interest: Integers

    def __len__(self) -> int:
        return len(self.offset_ms)

    @cached_property
    def volume(self) -> Integers:
        return np.cumsum(self.traded)

    @cached_property
    def turnover(self) -> Floats:
        return np.round(np.cumsum(self.traded * self.last) * self.instrument.size, 2)

    @cached_property
    def high(self) -> Floats:
        return np.maximum.accumulate(self.last)

    @cached_property
    def low(self) -> Floats:
        return np.minimum.accumulate(self.last)

    @cached_property
    def close(self) -> Close:
        average = float(self.turnover[-1]) / (int(self.volume[-1]) * self.instrument.size)
        settlement = min(max(on_tick(average, self.instrument.price_tick), self.limit_down), self.limit_up)
        return Close(settlement, float(self.last[-1]), int(self.open_interest[-1]))

    def is_auction_at(self, index: int) -> bool:
        return bool(self.is_auction[index])

    def columns(self) -> DayPath:
        return self

    def first_after(self, moment: datetime) -> int:
        """Index of the first tick later than `moment`."""
        return int(np.searchsorted(self.offset_ms, _ms(moment - self.base), side="right"))

    def ticks(self, start: int, stop: int) -> Iterator[TickData]:
        """The ticks [start, stop), numbered from 1 within the trading day."""
        own = slice(start, stop)
        rows = zip(
            self.offset_ms[own].tolist(),
            self.last[own].tolist(),
            self.bid[own].tolist(),
            self.ask[own].tolist(),
            self.bid_volume[own].tolist(),
            self.ask_volume[own].tolist(),
            self.traded[own].tolist(),
            self.volume[own].tolist(),
            self.turnover[own].tolist(),
            self.open_interest[own].tolist(),
            self.high[own].tolist(),
            self.low[own].tolist(),
            strict=True,
        )
        symbol, exchange = self.instrument.symbol, Exchange(self.instrument.exchange)
        open_price = float(self.last[0])
        for seq, row in enumerate(rows, start + 1):
            ms, last, bid, ask, bid_volume, ask_volume, traded, volume, turnover, interest, high, low = row
            yield TickData(
                symbol=symbol,
                exchange=exchange,
                datetime=self.base + timedelta(milliseconds=ms),
                last_price=last,
                volume=volume,
                open_interest=interest,
                last_volume=traded,
                open_price=open_price,
                high_price=high,
                low_price=low,
                pre_close=self.before.close,
                limit_up=self.limit_up,
                limit_down=self.limit_down,
                bid_price_1=bid,
                bid_volume_1=bid_volume,
                ask_price_1=ask,
                ask_volume_1=ask_volume,
                turnover=turnover,
                pre_settlement=self.before.settlement,
                trading_day=self.trading_day,
                seq=seq,
            )


class RecordedPath:
    """A recorded day: its ticks as they were, numbered anew from 1."""

    def __init__(self, instrument: Instrument, ticks: Sequence[TickData], opening: datetime) -> None:
        self.instrument = instrument
        self.trading_day = ticks[0].trading_day or ticks[-1].datetime.date()
        self.limit_up, self.limit_down = ticks[-1].limit_up, ticks[-1].limit_down
        self._opening = opening
        self._times = [tick.datetime for tick in ticks]
        self._ticks = [
            replace(tick, seq=seq, trading_day=self.trading_day, account_id=None) for seq, tick in enumerate(ticks, 1)
        ]

    @property
    def close(self) -> Close:
        last = self._ticks[-1]
        average = (
            last.turnover / (last.volume * self.instrument.size) if last.turnover and last.volume else last.last_price
        )
        return Close(on_tick(average, self.instrument.price_tick), last.last_price, last.open_interest)

    def first_after(self, moment: datetime) -> int:
        return bisect_right(self._times, moment)

    def is_auction_at(self, index: int) -> bool:
        return self._times[index] < self._opening

    def ticks(self, start: int, stop: int) -> Iterator[TickData]:
        return iter(self._ticks[start:stop])

    def columns(self) -> DayPath:
        ticks = self._ticks
        first = ticks[0]
        settled = first.pre_settlement or first.pre_close
        return DayPath(
            instrument=self.instrument,
            trading_day=self.trading_day,
            base=self._opening - AUCTION_LEAD,
            before=Close(settled, first.pre_close, first.open_interest),
            limit_up=self.limit_up,
            limit_down=self.limit_down,
            offset_ms=np.array([_ms(tick.datetime - self._opening + AUCTION_LEAD) for tick in ticks], dtype=np.int64),
            is_auction=np.array([self.is_auction_at(index) for index in range(len(ticks))]),
            last=np.array([tick.last_price for tick in ticks]),
            bid=np.array([tick.bid_price_1 for tick in ticks]),
            ask=np.array([tick.ask_price_1 for tick in ticks]),
            bid_volume=np.array([tick.bid_volume_1 for tick in ticks]),
            ask_volume=np.array([tick.ask_volume_1 for tick in ticks]),
            traded=np.diff(np.array([0, *(tick.volume for tick in ticks)], dtype=np.int64)).astype(np.int64),
            open_interest=np.array([tick.open_interest for tick in ticks], dtype=np.int64),
        )


def spans_of(sessions: Sessions, day: date) -> tuple[Span, ...]:
    """The day's continuous segments as the price process wants them."""
    auctions = {segment.end for segment in sessions.segments(day) if segment.kind == "auction"}
    return tuple(Span(segment.start, segment.end, segment.start in auctions) for segment in sessions.continuous(day))


def first_close(seed: int, instrument: Instrument, character: Character) -> Close:
    """Where the chain of days begins: near the product's start price, a little apart for every month."""
    draw = generator(seed, instrument.symbol, "start")
    price = on_tick(character.start_price * (1 + 0.01 * float(draw.uniform(-1, 1))), instrument.price_tick)
    return Close(price, price, character.open_interest)


def day_path(
    seed: int,
    instrument: Instrument,
    character: Character,
    trading_day: date,
    spans: Sequence[Span],
    before: Close,
    lead: Lead | None = None,
) -> DayPath:
    """One day, chained to the settlement of the day before; with a lead it follows that instead of a walk of its
    own."""
    draw = generator(seed, instrument.symbol, trading_day.isoformat())
    tick = instrument.price_tick
    lowest = math.ceil(before.settlement * (1 - character.price_limit) / tick - 1e-9)
    highest = math.floor(before.settlement * (1 + character.price_limit) / tick + 1e-9)
    base = spans[0].start - AUCTION_LEAD
    times, opening, auction = moments(draw, character, spans)
    size = len(times)

    if lead is None:
        liveliness, returns, latent = _own_walk(draw, character, opening, auction, before)
    else:
        along = np.searchsorted(lead.offset_ms, times)
        liveliness, latent = lead.liveliness[along], np.exp(lead.log_price[along])
        returns = np.diff(latent, prepend=before.close)
    level = np.clip(np.floor(latent / tick).astype(np.int64), lowest, highest)

    wide = draw.random(size) < np.clip(0.12 * liveliness, 0.0, 0.6)
    spread = 1 + wide * draw.integers(1, 3, size)
    no_ask, no_bid = level == highest, level == lowest
    bid = level
    ask = np.where(no_bid, lowest, np.minimum(level + spread, highest))

    lifts = draw.random(size) < np.clip(0.5 + 0.3 * np.sign(returns), 0.0, 1.0)
    struck = np.where(lifts & ~no_ask, ask, bid)
    struck = np.where(no_bid, ask, struck)
    lots = np.exp(draw.normal(0.0, 1.1, size)) * liveliness * character.lots_per_tick * 0.6
    traded = lots.astype(np.int64)
    traded[auction] = 20 + draw.integers(0, 180, int(auction.sum()))
    if lead is not None:
        traded[auction] = np.ceil(traded[auction] * min(1.0, character.lots_per_tick / LIVELY_LOTS))
    last = _carried(np.clip(struck, lowest, highest), traded)
    bid = np.where(auction, np.minimum(bid, last), bid)
    ask = np.where(auction & ~no_ask, np.maximum(ask, last), ask)

    interest = before.open_interest + np.cumsum(np.rint(traded * draw.uniform(-0.5, 0.5, size)).astype(np.int64))
    if lead is not None:
        interest += np.rint(np.linspace(0.0, lead.open_interest - int(interest[-1]), size)).astype(np.int64)
    return DayPath(
        instrument=instrument,
        trading_day=trading_day,
        base=base,
        before=before,
        limit_up=float(_prices(np.array([highest]), tick)[0]),
        limit_down=float(_prices(np.array([lowest]), tick)[0]),
        offset_ms=times,
        is_auction=auction,
        last=_prices(last, tick),
        bid=np.where(no_bid, 0.0, _prices(bid, tick)),
        ask=np.where(no_ask, 0.0, _prices(ask, tick)),
        bid_volume=np.where(no_bid, 0, _depth(draw, size, character) * np.where(no_ask, 40, 1)),
        ask_volume=np.where(no_ask, 0, _depth(draw, size, character) * np.where(no_bid, 40, 1)),
        traded=traded,
        open_interest=np.maximum(interest, 1000 if lead is None else 10),
    )


def on_tick(price: float, tick: float) -> float:
    """The nearest price the contract may have."""
    return float(_prices(np.array([round(price / tick)]), tick)[0])


def _own_walk(
    draw: np.random.Generator, character: Character, opening: Floats, auction: NDArray[np.bool_], before: Close
) -> tuple[Floats, Floats, Floats]:
    """For every tick how lively the market is, its logarithmic return, and the price between the ticks of the scale."""
    size = len(opening)
    liveliness = opening * clusters(draw, size)
    liveliness /= math.sqrt(float(np.mean(liveliness**2)))
    tails = draw.standard_t(4.0, size) / math.sqrt(2.0)
    returns = tails * liveliness * (character.volatility / math.sqrt(size))
    returns[auction] += draw.normal(0.0, character.gap, int(auction.sum()))
    return liveliness, returns, before.close * np.exp(np.cumsum(returns))


def moments(
    draw: np.random.Generator, character: Character, spans: Sequence[Span]
) -> tuple[Integers, Floats, NDArray[np.bool_]]:
    """When there is a tick: in most half seconds, at every segment's end, and one where an auction is matched; with
    how lively the market is then, and which of them are auctions."""
    times: list[Integers] = []
    lively: list[Floats] = []
    base = spans[0].start - AUCTION_LEAD
    auction: list[NDArray[np.bool_]] = []
    for span in spans:
        start, end = _ms(span.start - base), _ms(span.end - base)
        slots = np.arange(start + SLOT_MS, end + 1, SLOT_MS, dtype=np.int64)
        is_open = draw.random(len(slots)) < character.activity
        is_open[-1] = True
        slots = slots[is_open]
        hush = (slots - start) / 60_000.0
        strength = 1.5 if span.opens_with_auction else 0.5
        if span.opens_with_auction:
            times.append(np.array([start - _ms(AUCTION_LEAD)], dtype=np.int64))
            lively.append(np.array([1.0]))
            auction.append(np.array([True]))
        times.append(slots)
        lively.append(0.8 + strength * np.exp(-hush / 12.0))
        auction.append(np.zeros(len(slots), dtype=np.bool_))
    return np.concatenate(times), np.concatenate(lively), np.concatenate(auction)


def clusters(draw: np.random.Generator, size: int) -> Floats:
    """Slow volatility: a mean-reverting walk in its logarithm, one step each ten minutes."""
    steps = size // GRID + 2
    shocks = draw.normal(0.0, 0.25, steps)
    walk = np.empty(steps)
    value = 0.0
    for index, shock in enumerate(shocks.tolist()):
        value = 0.8 * value + shock
        walk[index] = value
    return np.exp(np.interp(np.arange(size), np.arange(steps) * GRID, walk))


def _carried(struck: Integers, traded: Integers) -> Integers:
    """The last price stays where it was while nothing trades."""
    moved = traded > 0
    moved[0] = True
    source = np.maximum.accumulate(np.where(moved, np.arange(len(struck)), 0))
    return struck[source]


def _depth(draw: np.random.Generator, size: int, character: Character) -> Integers:
    return 1 + (draw.standard_exponential(size) * character.depth).astype(np.int64)


def _prices(levels: Integers, tick: float) -> Floats:
    exponent = Decimal(str(tick)).normalize().as_tuple().exponent
    digits = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    return np.round(levels * tick, digits)


def generator(seed: int, symbol: str, what: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{symbol}/{what}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
