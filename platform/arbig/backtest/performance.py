"""Performance: what a run was worth, counted from its trading days, its fills and the prices it met.

A figure that cannot be known is NaN and `Statistics.notes` says why. Money is yuan, shares are fractions of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from datetime import datetime as Time
from itertools import groupby
from math import inf, isfinite, isnan, nan
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from arbig.backtest.contracts import Grid, settlement_of
from arbig.backtest.plan import Matching, Plan, StrategyPlan
from arbig.backtest.result import Day, Result
from arbig.backtest.series import BarSeries, Floats, Series, TickSeries, Times
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import trade_commission
from arbig.domain.messages import SHANGHAI, Direction, Offset, TradeData
from arbig.domain.positions import Holding

TRADING_DAYS = 240
FEW_DAYS = 60


# ---- round trips --------------------------------------------------------------------------------------------------


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What one fill cost, in yuan."""

    commission: float = 0.0
    slippage: float = 0.0

    def share(self, lots: int, of: int) -> Cost:
        return self if lots == of else Cost(self.commission * (lots / of), self.slippage * (lots / of))

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.commission + other.commission, self.slippage + other.slippage)


class RoundTrip(msgspec.Struct, frozen=True, gc=False):
    """Lots that one order opened and one order closed; prices are averages over its fills. Still open when `exit_time`
    is None, then valued at `exit_price`, the last price or settlement price.

    `pnl` is what the prices made, before costs. `worst` and `best` are the deepest loss and the highest profit it
    showed while held (MAE, MFE), by the bars' lows and highs; None without prices. `bars` counts the rows held.
    """

    strategy_name: str
    vt_symbol: str
    direction: Direction
    volume: int
    entry_time: Time
    entry_price: float
    exit_time: Time | None
    exit_price: float
    pnl: float
    cost: Cost = Cost()
    worst: float | None = None
    best: float | None = None
    bars: int | None = None

    @property
    def is_open(self) -> bool:
        return self.exit_time is None

    @property
    def net_pnl(self) -> float:
        return self.pnl - self.cost.commission - self.cost.slippage

    @property
    def held(self) -> timedelta | None:
        """Wall time from the first entry fill to the last exit fill, closed hours included."""
        return None if self.exit_time is None else self.exit_time - self.entry_time


_Lot: TypeAlias = tuple[TradeData, Cost, int]
"""An opening fill, what it cost, and how many of its lots are still open."""
_Piece: TypeAlias = tuple[TradeData, TradeData | None, int, Cost]
"""An opening fill, the closing fill that took lots of it (None: still open), how many, and what they cost."""


def round_trips(
    trades: Iterable[TradeData],
    sizes: Mapping[str, float],
    costs: Iterable[Cost] | None = None,
    prices: Mapping[str, float] | None = None,
) -> tuple[RoundTrip, ...]:
    """First in, first out, per strategy and contract, on the net position: a fill against it closes the oldest lots,
    the rest of a larger one opens the other side. Offsets do not matter here: a locked position is flat.

    `sizes`: units a lot by vt_symbol. `costs`: one per trade, shared among its lots. `prices`: the last price by
    vt_symbol for what is still open (its entry price without one). Closed trips come in the order of their exits, then
    the open ones. The sum of `pnl` is what the account made from prices, that of `cost` what it paid.
    """
    each = zip(trades, costs, strict=True) if costs is not None else ((trade, Cost()) for trade in trades)
    pieces = sorted(_pieces(each), key=lambda piece: piece[1] is None)
    by_orders: dict[tuple[str, str, str, str | None], list[_Piece]] = {}
    for piece in pieces:
        entry, close, _, _ = piece
        key = (entry.strategy_name, entry.vt_symbol, entry.vt_orderid, close.vt_orderid if close else None)
        by_orders.setdefault(key, []).append(piece)
    return tuple(_joined(found, sizes, prices or {}) for found in by_orders.values())


def _pieces(trades: Iterable[tuple[TradeData, Cost]]) -> Iterator[_Piece]:
    books: dict[tuple[str, str], deque[_Lot]] = {}
    for trade, cost in trades:
        lots = books.setdefault((trade.strategy_name, trade.vt_symbol), deque())
        left = trade.volume
        while left and lots and lots[0][0].direction is not trade.direction:
            fill, its_cost, held = lots.popleft()
            taken = min(left, held)
            left -= taken
            if taken < held:
                lots.appendleft((fill, its_cost, held - taken))
            yield fill, trade, taken, its_cost.share(taken, fill.volume) + cost.share(taken, trade.volume)
        if left:
            lots.append((trade, cost, left))
    for lots in books.values():
        for fill, cost, held in lots:
            yield fill, None, held, cost.share(held, fill.volume)


def _joined(pieces: Sequence[_Piece], sizes: Mapping[str, float], prices: Mapping[str, float]) -> RoundTrip:
    first, last = pieces[0][0], pieces[-1][1]
    symbol = first.vt_symbol
    volume = sum(lots for _, _, lots, _ in pieces)
    entry = sum(fill.price * lots for fill, _, lots, _ in pieces) / volume
    left = prices.get(symbol, entry)
    leave = sum((left if close is None else close.price) * lots for _, close, lots, _ in pieces) / volume
    return RoundTrip(
        strategy_name=first.strategy_name,
        vt_symbol=symbol,
        direction=first.direction,
        volume=volume,
        entry_time=first.datetime,
        entry_price=entry,
        exit_time=last.datetime if last else None,
        exit_price=leave,
        pnl=first.direction.sign * (leave - entry) * volume * sizes[symbol],
        cost=sum((cost for _, _, _, cost in pieces[1:]), pieces[0][3]),
    )


def round_trips_of(result: Result) -> tuple[RoundTrip, ...]:
    """Every round trip of a run with its costs, its worst and best moment and the bars it was held. What is open when
    its strategy's days end is valued as the account was: at the day's settlement price, in matching `vnpy` or after a
    failure at the last price."""
    sizes = _sizes(result.plan)
    series = {one.name: _lived(result, one.name) for one in result.plan.strategies}
    return tuple(
        _with_path(trip, series[trip.strategy_name][trip.vt_symbol], sizes[trip.vt_symbol])
        for trip in _trips_of(result)
    )


def _trips_of(result: Result) -> tuple[RoundTrip, ...]:
    """Without their worst and best moment, which no figure needs and which take longest."""
    plan = result.plan
    found: list[RoundTrip] = []
    for one in plan.strategies:
        carried = tuple(_carried(plan, one))
        trades = [trade for trade in result.trades if trade.strategy_name == one.name]
        costs = (*(Cost() for _ in carried), *costs_of(plan, trades))
        marks = dict(_marks(result, one.name))
        found += round_trips((*carried, *trades), _sizes(plan), costs, marks)
    return tuple(sorted(found, key=lambda trip: (trip.is_open, trip.exit_time or trip.entry_time)))


def _carried(plan: Plan, one: StrategyPlan) -> Iterator[TradeData]:
    """Lots a strategy begins with, as fills at the prices its account counts them from, at the first moment."""
    for symbol, holding in one.opening.holdings.items():
        instrument = plan.book.get(symbol, plan.start)
        for direction in Direction:
            for lots in holding.side(direction).lots:
                yield TradeData(
                    trade_id="carried",
                    order_id="carried",
                    symbol=instrument.symbol,
                    exchange=instrument.exchange,
                    direction=direction,
                    offset=Offset.OPEN,
                    price=lots.mark,
                    volume=lots.volume,
                    datetime=_first_moment(plan, instrument.vt_symbol),
                    strategy_name=one.name,
                    trading_day=plan.start,
                )


def _first_moment(plan: Plan, name: str) -> Time:
    rows = plan.series[name].days(plan.start, plan.end).datetime
    first: Time = rows[0].astype(Time) if len(rows) else Time.combine(plan.start, time())
    return first.replace(tzinfo=SHANGHAI)


def _lived(result: Result, name: str) -> dict[str, BarSeries | TickSeries]:
    """The rows a strategy lived through: up to its last day, or to the moment it failed."""
    plan = result.plan
    last = max((day.trading_day for day in result.days if day.strategy_name == name), default=plan.end)
    rows = {symbol: one.days(plan.start, last) for symbol, one in plan.series.items()}
    end = _failed(result, name)
    return rows if end is None else {symbol: one.rows(0, _seen(plan, one, end)) for symbol, one in rows.items()}


def _failed(result: Result, name: str) -> Time | None:
    return next((one.datetime for one in result.failures if one.strategy_name == name), None)


def _seen(plan: Plan, series: Series, moment: Time) -> int:
    """How many rows were over at a moment of a run: in matching `realistic` a bar speaks at its end, in `vnpy` it is
    named by its start."""
    if plan.matching is Matching.REALISTIC and isinstance(series, BarSeries):
        return series.before(moment)
    return series.before(moment + timedelta(milliseconds=1))


def _marks(result: Result, name: str) -> Iterator[tuple[str, float]]:
    """The prices at which a strategy's account stands in the end."""
    plan, broken_off = result.plan, _failed(result, name) is not None
    for symbol, rows in _lived(result, name).items():
        if len(rows):
            at_last = broken_off or plan.matching is Matching.VNPY
            yield symbol, float(_closes(rows)[-1]) if at_last else _settlement(plan, symbol, rows)


def _sizes(plan: Plan) -> dict[str, float]:
    return {name: plan.book.get(name, plan.start).size for name in plan.series}


def _settlement(plan: Plan, name: str, series: Series) -> float:
    day: date = series.trading_day[-1].astype(date)
    instrument = plan.book.get(name, day)
    return settlement_of(series, series.first_of(day), len(series), instrument, Grid(instrument.price_tick))


def _with_path(trip: RoundTrip, series: Series, size: float) -> RoundTrip:
    """From the bar of the entry up to the bar of the exit, whose price counts instead of its range."""
    start = row_at(series.datetime, trip.entry_time)
    stop = len(series) if trip.exit_time is None else max(row_at(series.datetime, trip.exit_time), start)
    ends = np.array([trip.entry_price, trip.exit_price])
    low = min(ends.min(), _lows(series)[start:stop].min(initial=inf))
    high = max(ends.max(), _highs(series)[start:stop].max(initial=-inf))
    bad, good = (low, high) if trip.direction is Direction.LONG else (high, low)
    money = trip.direction.sign * trip.volume * size
    return msgspec.structs.replace(
        trip,
        worst=float(money * (bad - trip.entry_price)),
        best=float(money * (good - trip.entry_price)),
        bars=stop - start,
    )


def row_at(times: Times, moment: Time) -> int:
    """The row a moment falls into: the last one that begins at or before it (the first for an earlier moment)."""
    found = np.datetime64(moment.replace(tzinfo=None)).astype(times.dtype)  # of another unit, all times would be cast
    return max(int(np.searchsorted(times, found, side="right")) - 1, 0)


def _closes(series: Series) -> Floats:
    return series.last_price if isinstance(series, TickSeries) else _bars(series).close


def _highs(series: Series) -> Floats:
    return series.last_price if isinstance(series, TickSeries) else _bars(series).high


def _lows(series: Series) -> Floats:
    return series.last_price if isinstance(series, TickSeries) else _bars(series).low


def _bars(series: Series) -> BarSeries:
    assert isinstance(series, BarSeries)
    return series


# ---- costs --------------------------------------------------------------------------------------------------------


def costs_of(plan: Plan, trades: Iterable[TradeData]) -> Iterator[Cost]:
    """What each fill cost: in matching `vnpy` by the plan's rate and slippage, otherwise the contract's own fees, a
    close by the age of the lots it took. Slippage in ticks is in the fill's price already."""
    counted = _vnpy_costs if plan.matching is Matching.VNPY else _counter_costs
    return counted(plan, trades)


def _vnpy_costs(plan: Plan, trades: Iterable[TradeData]) -> Iterator[Cost]:
    rate, slippage, sizes = plan.costs.rate, plan.costs.slippage, _sizes(plan)
    for trade in trades:
        lots = trade.volume * sizes[trade.vt_symbol]
        yield Cost(lots * trade.price * rate, lots * slippage)


def _counter_costs(plan: Plan, trades: Iterable[TradeData]) -> Iterator[Cost]:
    held = {
        (one.name, symbol): (plan.start, holding)
        for one in plan.strategies
        for symbol, holding in one.opening.holdings.items()
    }
    for trade in trades:
        instrument, day = _instrument(plan, trade), _day(trade)
        key = (trade.strategy_name, trade.symbol)
        last, holding = held.get(key) or (day, _nothing(instrument))
        if last != day:
            holding = holding.rolled(trade.price)
        yield Cost(trade_commission(trade, holding.closed_by(trade), instrument))
        held[key] = (day, holding.after(trade))


def _nothing(instrument: Instrument) -> Holding:
    return Holding(symbol=instrument.symbol, position_date_type=instrument.position_date_type)


def _instrument(plan: Plan, trade: TradeData) -> Instrument:
    return plan.book.get(trade.symbol, _day(trade))


def _day(trade: TradeData) -> date:
    return trade.trading_day or trade.datetime.date()


# ---- time in the market -------------------------------------------------------------------------------------------


def exposure_of(result: Result, trips: Iterable[RoundTrip]) -> float:
    """The share of the run's minutes (of the contracts' bars) in which any lot was held; NaN without a bar."""
    lived = [rows for one in result.plan.strategies for rows in _lived(result, one.name).values()]
    minutes = _minutes([rows.datetime for rows in lived])
    if not len(minutes):
        return nan
    held = list(trips)
    starts = _rows_at(minutes, [trip.entry_time for trip in held])
    closed = np.array([not trip.is_open for trip in held], bool)
    stops = np.full(len(held), len(minutes))
    stops[closed] = _rows_at(minutes, [trip.exit_time for trip in held if trip.exit_time is not None])
    change = np.zeros(len(minutes) + 1, np.int64)
    np.add.at(change, starts, 1)
    np.subtract.at(change, np.maximum(stops, starts + 1), 1)
    return float((np.cumsum(change[:-1]) > 0).mean())


def _minutes(times: Sequence[Times]) -> Times:
    """Every minute of some columns once, ascending. Sorted only where they do not ascend together already."""
    found = np.concatenate(times or [np.empty(0, "datetime64[m]")]).astype("datetime64[m]")
    step = np.diff(found.view(np.int64))
    return found if (step > 0).all() else np.unique(found)


def _rows_at(times: Times, moments: Sequence[Time]) -> NDArray[np.intp]:
    """`row_at` of many moments, which are of one time zone, as all that a run tells are."""
    naive = np.array([moment.replace(tzinfo=None) for moment in moments], times.dtype)
    return np.maximum(np.searchsorted(times, naive, side="right") - 1, 0)


# ---- statistics ---------------------------------------------------------------------------------------------------


class Statistics(dict[str, float]):
    """Figures by name. `notes`: for a figure that is NaN, or that has to be read with care, the reason."""

    def __init__(self, figures: Mapping[str, float], notes: Mapping[str, str]) -> None:
        super().__init__(figures)
        self.notes = dict(notes)


@dataclass(frozen=True, eq=False)
class Equity:
    """An account by trading day, all strategies together; the arrays have a value a day, in yuan. `balance` is the
    capital and every net_pnl since."""

    days: tuple[date, ...]
    capital: float
    net_pnl: Floats
    commission: Floats
    slippage: Floats
    turnover: Floats
    trade_count: Floats

    @property
    def balance(self) -> Floats:
        return self.capital + np.cumsum(self.net_pnl)

    @property
    def returns(self) -> Floats:
        """Of each day on the balance before it; days after a balance of nothing have none."""
        before = np.concatenate(([self.capital], self.balance[:-1]))
        known: Floats = np.divide(self.net_pnl, before, out=np.zeros(len(before)), where=before > 0)
        return known

    @property
    def high(self) -> Floats:
        """The highest balance so far, the capital included."""
        return np.maximum.accumulate(np.maximum(self.balance, self.capital))

    @property
    def drawdown(self) -> Floats:
        """Yuan below the highest balance so far, zero or negative."""
        return self.balance - self.high

    @property
    def drawdown_share(self) -> Floats:
        share: Floats = self.drawdown / self.high
        return share

    @property
    def blown_up(self) -> date | None:
        """The first day that ended with nothing left."""
        gone = np.flatnonzero(self.balance <= 0)
        return self.days[gone[0]] if len(gone) else None


def equity(days: Iterable[Day], capital: float) -> Equity:
    """The rows of all strategies added up by trading day."""
    ordered = sorted(days, key=lambda day: day.trading_day)
    groups = [(day, tuple(rows)) for day, rows in groupby(ordered, key=lambda row: row.trading_day)]

    def total(name: str) -> Floats:
        return np.array([sum(getattr(row, name) for row in rows) for _, rows in groups], np.float64)

    return Equity(
        days=tuple(day for day, _ in groups),
        capital=capital,
        net_pnl=total("net_pnl"),
        commission=total("commission"),
        slippage=total("slippage"),
        turnover=total("turnover"),
        trade_count=total("trade_count"),
    )


def statistics_of(result: Result, annual_days: int = TRADING_DAYS, risk_free: float = 0.0) -> Statistics:
    """Every figure of a run, all its strategies together."""
    trips = _trips_of(result)
    capital = sum(one.capital for one in result.plan.strategies)
    return statistics(result.days, trips, capital, annual_days, risk_free, exposure=exposure_of(result, trips))


def statistics(
    days: Iterable[Day],
    trips: Iterable[RoundTrip],
    capital: float,
    annual_days: int = TRADING_DAYS,
    risk_free: float = 0.0,
    *,
    exposure: float = nan,
) -> Statistics:
    """Figures of an account. Ratios are empyrical's over simple daily returns: Sharpe (sample deviation), Sortino
    (downside deviation over all days), Calmar (compound annual return over the largest drawdown).

    `capital` in yuan; `risk_free` a year, as a fraction; `exposure` as `exposure_of` finds it.
    vnpy's calculate_statistics takes log returns and a simple annual return (total return / days * 240) instead; the
    figures about money and drawdown are the same.
    """
    account = equity(days, capital)
    closed = [trip for trip in trips if not trip.is_open]
    figures: dict[str, float] = {}
    notes: dict[str, str] = {}
    for found, said in (_money(account), _risk(account, annual_days, risk_free), _trips(closed)):
        figures |= found
        notes |= said
    figures["exposure"] = exposure
    if isnan(exposure):
        notes["exposure"] = "no prices to count the time with"
    return Statistics(figures, notes)


Found = tuple[dict[str, float], dict[str, str]]


def _money(account: Equity) -> Found:
    count, balance = len(account.days), account.balance
    end = float(balance[-1]) if count else account.capital
    turnover = float(account.turnover.sum())
    figures = {
        "capital": account.capital,
        "end_balance": end,
        "total_net_pnl": end - account.capital,
        "total_return": end / account.capital - 1 if account.capital > 0 else nan,
        "total_days": float(count),
        "profit_days": float((account.net_pnl > 0).sum()),
        "loss_days": float((account.net_pnl < 0).sum()),
        "daily_net_pnl": _mean(account.net_pnl),
        "total_commission": float(account.commission.sum()),
        "total_slippage": float(account.slippage.sum()),
        "total_turnover": turnover,
        "daily_turnover": _mean(account.turnover),
        "total_trade_count": float(account.trade_count.sum()),
        "daily_trade_count": _mean(account.trade_count),
        "max_drawdown": float(account.drawdown.min(initial=0.0)),
        "max_drawdown_share": float(account.drawdown_share.min(initial=0.0)) if account.capital > 0 else nan,
        "max_drawdown_days": float(_longest(account.drawdown < 0)),
    }
    why = "no trading day" if not count else "no capital"
    return figures, {name: why for name, value in figures.items() if isnan(value)}


def _longest(flags: NDArray[np.bool_]) -> int:
    """The length of the longest run of True."""
    return max((sum(1 for _ in run) for flag, run in groupby(flags.tolist()) if flag), default=0)


RISK = ("annual_return", "annual_volatility", "sharpe", "sortino", "calmar")


def _risk(account: Equity, annual_days: int, risk_free: float) -> Found:
    count = len(account.days)
    why = _unknowable(account)
    if why:
        return dict.fromkeys(RISK, nan), dict.fromkeys(RISK, why)
    figures = _ratios(account, annual_days, risk_free)
    notes = {name: _WITHOUT.get(name, _BEYOND) for name, value in figures.items() if isnan(value)}
    if count < FEW_DAYS:
        short = f"a year's figure from {count} trading days only"
        notes |= {name: short for name in RISK if not isnan(figures[name])}
    return figures, notes


def _ratios(account: Equity, annual_days: int, risk_free: float) -> dict[str, float]:
    """NaN where there is nothing to divide by, or the year's figure is beyond a number."""
    returns = account.returns
    excess = returns - risk_free / annual_days
    known = {
        "annual_return": True,
        "annual_volatility": True,
        "sharpe": excess.std() > _NOISE,
        "sortino": excess.min() < -_NOISE,
        "calmar": account.drawdown_share.min() < -_NOISE,
    }
    with np.errstate(all="ignore"):
        figures = ratios(returns, excess, annual_days)
    return {name: figures[name] if known[name] and isfinite(figures[name]) else nan for name in RISK}


def ratios(returns: Floats, excess: Floats, annual_days: int) -> dict[str, float]:
    """empyrical's annual_return, annual_volatility, sharpe_ratio, sortino_ratio and calmar_ratio, line by line: simple
    daily returns, and those above the risk-free rate. Written here because a sweep's processes would wait for pandas
    and scipy longer than they compute; the tests hold them against empyrical."""
    year = np.sqrt(annual_days)
    growth = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    high = np.maximum.accumulate(growth)
    annual = np.prod(1.0 + returns) ** (annual_days / len(returns)) - 1.0
    downside = np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2)) * year
    figures = {
        "annual_return": annual,
        "annual_volatility": returns.std(ddof=1) * year,
        "sharpe": excess.mean() / excess.std(ddof=1) * year,
        "sortino": excess.mean() * annual_days / downside,
        "calmar": annual / -((growth - high) / high).min(),
    }
    return {name: float(value) for name, value in figures.items()}


_WITHOUT = {
    "sharpe": "every day returned the same: no volatility to divide by",
    "sortino": "no day below the risk-free rate: no downside to divide by",
    "calmar": "no drawdown to divide by",
}
_BEYOND = "too large to be written as a year's figure"
_NOISE = 1e-12


def _unknowable(account: Equity) -> str:
    if len(account.days) < 2:
        return f"found {len(account.days)} trading days, at least 2 are needed"
    if account.capital <= 0:
        return "no capital"
    return f"the account was blown up on {account.blown_up}" if account.blown_up else ""


def _trips(closed: Sequence[RoundTrip]) -> Found:
    results = np.array([trip.net_pnl for trip in closed], np.float64)
    wins, losses = results[results > 0], results[results < 0]
    held = [trip.held.total_seconds() / 60 for trip in closed if trip.held is not None]
    lost = -float(losses.sum())
    figures = {
        "round_trips": float(len(closed)),
        "win_rate": len(wins) / len(closed) if closed else nan,
        "profit_factor": float(wins.sum()) / lost if lost else nan,
        "average_trip": _mean(results),
        "average_win": _mean(wins),
        "average_loss": _mean(losses),
        "best_trip": float(results.max()) if closed else nan,
        "worst_trip": float(results.min()) if closed else nan,
        "average_minutes_held": _mean(np.array(held)),
        "longest_losing_streak": float(_longest(results < 0)),
    }
    why = {"average_win": "no round trip won", "average_loss": "no round trip lost"}
    why["profit_factor"] = why["average_loss"]
    if not closed:
        why = {}
    return figures, {name: why.get(name, "no closed round trip") for name, value in figures.items() if isnan(value)}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else nan


# ---- by month -----------------------------------------------------------------------------------------------------


def monthly_returns(days: Iterable[Day], capital: float) -> dict[tuple[int, int], float]:
    """(year, month) of the trading day -> the share by which the balance grew in it; NaN once nothing was left."""
    account = equity(days, capital)
    last = {(day.year, day.month): end for day, end in zip(account.days, account.balance.tolist(), strict=True)}
    starts = [capital, *last.values()]
    return {
        month: end / start - 1 if start > 0 else nan for (month, end), start in zip(last.items(), starts, strict=False)
    }
