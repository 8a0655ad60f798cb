"""Replay: a recorded trading day through the backtest, from where the live session began, on what it had.

Twice where live had less than there was: on what it heard, and on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from datetime import datetime as Time
from functools import cached_property

import numpy as np

from arbig.backtest.contracts import Grid, settlement_of
from arbig.backtest.engine import run
from arbig.backtest.plan import Costs, Heard, Opening, Plan, Protection, StrategyPlan
from arbig.backtest.result import Result
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.bars import BarGenerator
from arbig.domain.messages import SHANGHAI, BarData, Direction
from arbig.domain.sessions import Sessions
from arbig.lab.desk import Desk
from arbig.lab.history import History
from arbig.lab.recorded import ParityError, Setup, Tape
from arbig.lab.signals import with_signals
from arbig.runtime.loader import Source, find_class, load_class
from arbig.runtime.simulation import load_simulation

WARMUP_DAYS = 60
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Leg:
    """A contract's data of the day. `bars`: what live was told; `ticks`: what it received, None where ticks were not
    kept; `whole_bars`, `whole_ticks`: the same of the whole market, equal where nothing was missed. `before`: bars for
    `load_bar`."""

    vt_symbol: str
    symbol: str
    before: tuple[BarData, ...]
    bars: tuple[BarData, ...]
    ticks: TickSeries | None
    whole_bars: tuple[BarData, ...]
    whole_ticks: TickSeries | None

    @cached_property
    def missed_minutes(self) -> list[Time]:
        """The minutes whose bar live had not, or otherwise."""
        had = {bar.datetime: bar for bar in self.bars}
        return [bar.datetime for bar in self.whole_bars if _values(had.get(bar.datetime)) != _values(bar)]

    @cached_property
    def missed_ticks(self) -> int:
        if self.ticks is None or self.whole_ticks is None:
            return 0
        return len(self.whole_ticks) - int(np.isin(self.whole_ticks.datetime, self.ticks.datetime).sum())

    @property
    def series(self) -> BarSeries | TickSeries:
        """The whole market of the day."""
        if self.whole_ticks is not None:
            return self.whole_ticks
        return BarSeries.from_bars([*self.before, *self.whole_bars])


def _values(bar: BarData | None) -> tuple[float, ...] | None:
    if bar is None:
        return None
    return (bar.open_price, bar.high_price, bar.low_price, bar.close_price, bar.volume)


def leg(desk: Desk, tape: Tape, symbol: str, day: date, since: Time | None, reference: History | None) -> Leg:
    """A contract's day as it was recorded. Raises ParityError, HistoryError, UnknownSymbol."""
    instrument = desk.book.get(symbol, day)
    symbol = instrument.symbol
    stored = tape.bars(symbol, day)
    ticks = tape.ticks(symbol, day)
    if not stored and ticks is None:
        raise ParityError(
            f"parity: {symbol}: neither bars nor ticks of {day} in {tape.bars_of.folder.parent}; "
            "was it among config/arbig.yaml: symbols?"
        )
    begin = _begin(stored, ticks, since)
    ticks = None if ticks is None else _within(ticks, begin, None)
    bars = tuple(bar for bar in stored if bar.datetime >= begin.replace(second=0, microsecond=0))
    earlier = [bar for bar in stored if bar.datetime < begin.replace(second=0, microsecond=0)]
    sessions = Sessions(instrument.night_close, desk.calendar)
    whole_ticks, whole_bars = _whole(symbol, day, begin, ticks, bars, sessions, reference)
    return Leg(
        vt_symbol=instrument.vt_symbol,
        symbol=symbol,
        before=(*_earlier_days(tape, symbol, day), *earlier),
        bars=bars,
        ticks=ticks,
        whole_bars=whole_bars,
        whole_ticks=whole_ticks,
    )


def _begin(bars: Sequence[BarData], ticks: TickSeries | None, since: Time | None) -> Time:
    first = _aware(ticks.datetime[0]) if ticks is not None else bars[0].datetime
    return first if since is None else max(first, since)


def _aware(moment: np.datetime64) -> Time:
    found: Time = moment.astype("datetime64[us]").astype(Time)
    return found.replace(tzinfo=SHANGHAI)


def _within(ticks: TickSeries, begin: Time, end: Time | None) -> TickSeries:
    stop = len(ticks) if end is None else ticks.before(end + timedelta(milliseconds=1))
    return ticks.rows(ticks.before(begin), stop)


def _earlier_days(tape: Tape, symbol: str, day: date) -> list[BarData]:
    days = [one for one in tape.bars_of.days(symbol) if day - timedelta(days=WARMUP_DAYS) <= one < day]
    return [bar for one in days for bar in tape.bars(symbol, one)]


def _whole(
    symbol: str,
    day: date,
    begin: Time,
    ticks: TickSeries | None,
    bars: tuple[BarData, ...],
    sessions: Sessions,
    reference: History | None,
) -> tuple[TickSeries | None, tuple[BarData, ...]]:
    """What there was from the session's first moment to its last, as far as anybody knows."""
    whole = ticks
    if reference is not None and ticks is not None and day in reference.tick_days(symbol):
        whole = _within(reference.ticks(symbol, day, day), begin, _aware(ticks.datetime[-1]))
    known: list[BarData] = []
    if whole is not None:
        known = _made(whole, sessions)
    elif reference is not None and day in reference.days(symbol):
        known = [bar for bar in reference.bars(symbol, day, day).bars() if bar.datetime >= bars[0].datetime]
        known = [bar for bar in known if bar.datetime <= bars[-1].datetime]
    mended = {bar.datetime: bar for bar in known if not bar.partial}
    mended |= {bar.datetime: bar for bar in bars if not bar.partial or bar.datetime not in mended}
    return whole, tuple(mended[moment] for moment in sorted(mended))


def _made(ticks: TickSeries, sessions: Sessions) -> list[BarData]:
    generator = BarGenerator(ticks.symbol, sessions)
    return [bar for tick in ticks.ticks() for bar in generator.on_tick(tick)]


# ---- the run


@dataclass(frozen=True)
class Replay:
    """A strategy's day in the backtest: on what it heard, and on the whole where that was more (else the same)."""

    heard: Result
    whole: Result
    source: Source

    @property
    def missed(self) -> bool:
        return self.heard is not self.whole


def source_of(desk: Desk, setup: Setup) -> Source:
    return find_class(desk.settings.root / "strategies", setup.kind)


def replay(desk: Desk, setup: Setup, legs: Sequence[Leg], day: date, opening: Opening, capital: float) -> Replay:
    """Raises PlanError, StrategyFault."""
    source = source_of(desk, setup)
    strategy = StrategyPlan(
        kind=load_class(source.path, setup.kind),
        name=setup.name,
        vt_symbols=tuple(one.vt_symbol for one in legs),
        params=dict(setup.params),
        capital=capital,
        opening=opening,
        risk=Protection(**setup.risk),
    )
    on_ticks = all(one.whole_ticks is not None for one in legs)
    whole = Plan(
        strategies=(strategy,),
        series={one.vt_symbol: one.series if on_ticks else _bars(one, one.whole_bars) for one in legs},
        start=day,
        end=day,
        book=desk.book,
        calendar=desk.calendar,
        costs=Costs(slippage_ticks=0 if on_ticks else 1, price_limits=_price_limits(desk)),
        warmup={one.vt_symbol: BarSeries.from_bars(one.before) for one in legs if one.before and on_ticks},
        heard={one.vt_symbol: Heard(one.whole_bars) for one in legs if on_ticks},
    )
    complete = run(with_signals(whole))
    if not any(one.missed_minutes or one.missed_ticks for one in legs):
        return Replay(complete, complete, source)
    heard = {one.vt_symbol: Heard(one.bars, _moments(one)) for one in legs}
    less = (
        replace(whole, heard=heard)
        if on_ticks
        else replace(whole, series={one.vt_symbol: _bars(one, one.bars) for one in legs})
    )
    return Replay(run(with_signals(less)), complete, source)


def _bars(one: Leg, bars: Sequence[BarData]) -> BarSeries:
    return BarSeries.from_bars([*one.before, *bars])


def _moments(one: Leg) -> frozenset[Time] | None:
    if not one.missed_ticks or one.ticks is None:
        return None
    return frozenset(_aware(moment) for moment in one.ticks.datetime)


def _price_limits(desk: Desk) -> dict[str, float]:
    return {name: one.price_limit for name, one in load_simulation(desk.settings).products.items()}


# ---- the market at a moment


class Quotes:
    """What an order would have paid at a moment: on ticks the best opposite price then displayed, on bars the open of
    the minute, the last close where there is none."""

    def __init__(self, legs: Mapping[str, Leg]) -> None:
        self._legs = legs
        self._bars = {
            symbol: (np.array([bar.datetime.replace(tzinfo=None) for bar in one.whole_bars], "datetime64[s]"), one)
            for symbol, one in legs.items()
        }

    def __call__(self, symbol: str, moment: Time, direction: Direction) -> float | None:
        one = self._legs.get(symbol)
        if one is None:
            return None
        ticks = one.whole_ticks
        if ticks is None:
            return self._of_bar(symbol, moment)
        row = ticks.before(moment + timedelta(milliseconds=1)) - 1
        if row < 0:
            return None
        best = ticks.ask_price_1 if direction is Direction.LONG else ticks.bid_price_1
        return float(best[row]) or float(ticks.last_price[row])

    def _of_bar(self, symbol: str, moment: Time) -> float | None:
        starts, one = self._bars[symbol]
        row = int(np.searchsorted(starts, np.datetime64(moment.replace(tzinfo=None)), side="right")) - 1
        if row < 0:
            return None
        bar = one.whole_bars[row]
        return bar.open_price if moment < bar.datetime + MINUTE else bar.close_price


def mark_of(desk: Desk, one: Leg, day: date) -> float:
    """What lots are worth in the end: the settlement price of the day's data."""
    instrument = desk.book.get(one.symbol, day)
    if one.whole_ticks is not None:
        series: BarSeries | TickSeries = one.whole_ticks
    else:
        series = BarSeries.from_bars(one.whole_bars)
    return settlement_of(series, 0, len(series), instrument, Grid(instrument.price_tick))
