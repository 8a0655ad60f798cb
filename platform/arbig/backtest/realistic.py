"""Realistic: the engine that trades as the simulated exchange does, with the counter's money.

Every strategy of a plan has a seat of its own (`seat.py`): its own orders, holdings and money, and the market to
itself, for nobody's orders move it. So strategies never disturb one another, and a plan of several is as many runs. On
bars the exchange's rules are those of `bar_course.py`; on ticks the orders meet the simulated exchange's own matcher
(`tick_course.py`). Closes are checked against what the strategy holds, opens against its money; each trading day is
settled at the contract's settlement price. A balance below its margin at settlement is closed at the next open; a
balance that is gone ends the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from heapq import merge
from typing import Any, TypeVar

from arbig.backtest.bar_course import BarSeat
from arbig.backtest.collector import patient
from arbig.backtest.contracts import TradingDay, covering
from arbig.backtest.feeds import playing
from arbig.backtest.plan import Plan, PlanError, Progress, StrategyPlan
from arbig.backtest.result import Failure, Interrupted, Records, Result
from arbig.backtest.seat import BlownUp, Seat
from arbig.backtest.series import TickSeries
from arbig.backtest.tick_course import TickSeat
from arbig.domain.messages import OrderData
from arbig.domain.sessions import CalendarError, Sessions, TradingCalendar
from arbig.domain.template import CtaTemplate, StopOrder, StrategyTemplate, Window, WindowFactory, window_factory
from arbig.domain.windows import Length, WindowGenerator

T = TypeVar("T")


def run(plan: Plan, progress: Progress | None = None) -> Result:
    """Run every strategy of the plan. Raises PlanError. Ctrl-C raises Interrupted, which holds what was done."""
    prepared = plan.prepared()
    _check(prepared)
    calendar, warnings = covering(plan.calendar, [*plan.series.values(), *plan.warmup.values()])
    seats = [_seat(prepared, one, calendar) for one in prepared.strategies]
    total = sum(day.stop - day.start for seat in seats for market in seat.markets.values() for day in market.days)
    failures: list[Failure] = []
    done = 0
    token = window_factory.set(_windows(prepared, calendar))
    try:
        for seat in seats:
            with playing(*seat.feeds()), patient():
                for rows in _course(seat, calendar, failures):
                    done += rows
                    if progress is not None:
                        progress(done, total)
    except KeyboardInterrupt:
        line = f"interrupted on {seat.day} of {seat.name}: what was done until then is kept"
        raise Interrupted(_result(plan, seats, failures, (*warnings, line))) from None
    finally:
        window_factory.reset(token)
    return _result(plan, seats, failures, warnings)


def _check(plan: Plan) -> None:
    if not plan.strategies:
        raise PlanError("plan: found no strategy, expected at least one")
    if plan.start > plan.end:
        raise PlanError(f"plan: start {plan.start} is later than end {plan.end}; exchange them")
    names = [one.name for one in plan.strategies]
    for one in plan.strategies:
        if names.count(one.name) > 1:
            raise PlanError(f"{one.name}: two strategies have this name; give each its own")
        if not issubclass(one.kind, CtaTemplate | StrategyTemplate):
            raise PlanError(f"{one.name}: {one.kind.__name__} is neither a CtaTemplate nor a StrategyTemplate")
        if issubclass(one.kind, CtaTemplate) and len(one.vt_symbols) != 1:
            raise PlanError(
                f"{one.name}: {one.kind.__name__} trades one contract, found {', '.join(one.vt_symbols) or 'none'}; "
                "a StrategyTemplate trades several"
            )
        if not one.capital > 0:
            raise PlanError(f"{one.name}: capital is {one.capital}, expected yuan above zero")
        for name in one.vt_symbols:
            _check_series(plan, one, name)


def _check_series(plan: Plan, one: StrategyPlan, name: str) -> None:
    series = plan.series.get(name)
    if series is None:
        raise PlanError(f"{one.name}: no series of {name}; the plan has {', '.join(plan.series) or 'none'}")
    if not len(series.days(plan.start, plan.end)):
        raise PlanError(f"{one.name}: {name} has no rows from {plan.start} to {plan.end}")
    kinds = {isinstance(plan.series[leg], TickSeries) for leg in one.vt_symbols if leg in plan.series}
    if len(kinds) > 1:
        raise PlanError(f"{one.name}: some legs are bars and some are ticks; give all of one kind")


def _seat(plan: Plan, one: StrategyPlan, calendar: TradingCalendar) -> Seat:
    if isinstance(plan.series[one.vt_symbols[0]], TickSeries):
        return TickSeat(plan, one, calendar)
    return BarSeat(plan, one, calendar)


def _windows(plan: Plan, calendar: TradingCalendar) -> WindowFactory:
    """Session windows of every contract, as live."""
    found: dict[str, Sessions] = {}
    for name, series in plan.series.items():
        found[series.symbol] = Sessions(plan.book.get(name, plan.start).night_close, calendar)

    def make(symbol: str, length: Length) -> Window:
        return WindowGenerator(length, found[symbol])

    return make


def _course(seat: Seat, calendar: TradingCalendar, failures: list[Failure]) -> Iterator[int]:
    """A strategy's whole run, day after day; yields the rows done. What ends it early is a Failure."""
    by_day: dict[date, dict[str, TradingDay]] = {}
    for name, market in seat.markets.items():
        for one in market.days:
            by_day.setdefault(one.day, {})[name] = one
    days = sorted(by_day)
    following = dict(zip(days, [*days[1:], _day_after(days[-1], calendar)], strict=True))
    try:
        for number, day in enumerate(days):
            seat.begin(day, by_day[day])
            if number == 0:
                seat.make()
            seat.play(day, by_day[day])
            seat.settle(following[day], by_day[day])
            yield sum(today.stop - today.start for today in by_day[day].values())
        seat.strategy.on_stop()
        seat.strategy.trading = False
        seat.tell()
    except KeyboardInterrupt:
        seat.break_off(following[seat.day])
        raise
    except BlownUp as ruin:
        failures.append(Failure(seat.name, seat.moment, str(ruin)))
        seat.break_off(following[seat.day])
    except Exception as error:
        failures.append(Failure.of(seat.name, seat.moment, error))
        seat.break_off(following[seat.day])


def _day_after(day: date, calendar: TradingCalendar) -> date:
    try:
        return calendar.next_day(day)
    except CalendarError:
        return day + timedelta(days=1)


def _result(plan: Plan, seats: Sequence[Seat], failures: Sequence[Failure], warnings: Sequence[str]) -> Result:
    """The seats' facts together, in the order of their birth."""
    working: list[OrderData | StopOrder] = [
        *(order.report() for seat in seats for order in seat.all_working()),
        *(stop.report() for seat in seats for stop in seat.waiting.values()),
    ]
    for seat in seats:
        seat.let_go()
    return Result(
        plan=plan,
        orders=Records(lambda: _merged([[order.report() for order in seat.orders] for seat in seats])),
        trades=_merged([seat.trades for seat in seats]),
        stop_orders=Records(lambda: _merged([[stop.report() for stop in seat.stops] for seat in seats])),
        days=tuple(merge(*(seat.days for seat in seats), key=lambda day: day.trading_day)),
        positions=tuple(row for seat in seats for row in seat.positions),
        working=tuple(working),
        logs=_merged([seat.logs for seat in seats]),
        warnings=(*warnings, *(line for seat in seats for line in seat.warnings)),
        failures=tuple(failures),
    )


def _merged(columns: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(merge(*columns, key=lambda one: one.datetime))
