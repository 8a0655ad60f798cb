"""vnpy: the rules of vnpy_ctastrategy's BacktestingEngine, order by order and callback by callback.

Kept as they are, because trades are compared one by one: limit orders rest until the next bar and fill at the better of
their price and its open; a stop triggers on its bar's high or low and fills at once, also one sent a moment ago by
`on_trade` of a limit order of the same bar; what a callback cancels while its bar is crossed still fills; closes are
not checked against holdings; no session is closed, no price is limited, no margin is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from datetime import datetime as Time
from decimal import Decimal
from functools import partial
from math import inf, isfinite
from typing import Any

import numpy as np

from arbig.backtest.collector import patient
from arbig.backtest.feeds import Feed, LateBar, Sheet, playing, store_of
from arbig.backtest.late import Fill, LateOrder, LateTrade, Order
from arbig.backtest.plan import Plan, PlanError, Progress, StrategyPlan
from arbig.backtest.predictions import Asked, NoModels
from arbig.backtest.quiet import Collecting, is_silent
from arbig.backtest.result import Day, Failure, Interrupted, Log, Records, Result
from arbig.backtest.series import BarSeries, Series, TickSeries
from arbig.backtest.shortcuts import Word, shorten
from arbig.backtest.windows import VnpyRules, vnpy_rule
from arbig.domain.arrays import HIGH, LOW
from arbig.domain.features import Features, Prediction
from arbig.domain.instruments import Instrument
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    Interval,
    Offset,
    OrderData,
    OrderType,
    PositionData,
    Status,
    TickData,
    TradeData,
)
from arbig.domain.sessions import CalendarError, Sessions
from arbig.domain.template import (
    LONG,
    STOP_PREFIX,
    BaseTemplate,
    CtaTemplate,
    EngineType,
    StopOrder,
    StopOrderStatus,
    generator_rules,
)
from arbig.domain.windows import WindowGenerator

CHUNK = 4096
"""Rows between two words of progress."""
EDGE = 0.499999
EXACT_WHOLE = 2.0**53
"""Whole numbers up to here are exact in binary."""
EXACT_STEPS = 1e8
"""Up to here a price in steps of its tick is far finer than what EDGE leaves to decimal arithmetic."""
INTERVALS = {
    Interval.MINUTE: timedelta(minutes=1),
    Interval.HOUR: timedelta(hours=1),
    Interval.DAILY: timedelta(days=1),
}


def run(plan: Plan, progress: Progress | None = None) -> Result:
    """One CtaTemplate, one contract. Raises PlanError for anything else; at Ctrl-C Interrupted with what was done."""
    prepared = plan.prepared()
    strategy_plan, series = _only(prepared)
    engine = VnpyEngine(prepared, strategy_plan, series)
    try:
        engine.run(progress)
    except KeyboardInterrupt:
        engine.warnings.append(f"interrupted after {engine.now.row + 1 - engine.first} rows: what was done is kept")
        raise Interrupted(engine.result(plan)) from None
    return engine.result(plan)


def _only(plan: Plan) -> tuple[StrategyPlan, BarSeries | TickSeries]:
    found = [f"{one.name} on {', '.join(one.vt_symbols)}" for one in plan.strategies]
    if (
        len(found) != 1
        or len(plan.strategies[0].vt_symbols) != 1
        or not issubclass(plan.strategies[0].kind, CtaTemplate)
    ):
        raise PlanError(
            f'matching="vnpy" runs one CtaTemplate on one contract, found {"; ".join(found) or "no strategy"}; '
            'write matching="realistic"'
        )
    one = plan.strategies[0]
    series = plan.series.get(one.vt_symbols[0])
    if series is None:
        raise PlanError(
            f"{one.name}: no series of {one.vt_symbols[0]}; the plan has {', '.join(plan.series) or 'none'}"
        )
    if plan.start > plan.end:
        raise PlanError(f"{one.name}: start {plan.start} is later than end {plan.end}; exchange them")
    if not len(series.days(plan.start, plan.end)):
        raise PlanError(f"{one.name}: {one.vt_symbols[0]} has no rows from {plan.start} to {plan.end}")
    return one, series


Stop = tuple[str, Direction, Offset, float, Any, int]
"""Name, direction, offset, price, volume, row of birth. What became of it: it waits in `stops`, or it was triggered, or
it was cancelled. A strategy that sends some at every bar makes a million of them."""


class Place:
    """Where in the ticks the run is."""

    row = -1


class VnpyEngine:
    """EnginePort. A message is made where a strategy's own callback reads it, or the result's reader does."""

    def __init__(self, plan: Plan, strategy_plan: StrategyPlan, series: BarSeries | TickSeries) -> None:
        self.plan = plan
        self.strategy_plan = strategy_plan
        self.series = series
        self.vt_symbol = strategy_plan.vt_symbols[0]
        self.instrument: Instrument = plan.book.get(self.vt_symbol, plan.start)
        self.tick = self.instrument.price_tick
        self.first = series.first_of(plan.start)
        self.stop = self.first + len(series.days(plan.start, plan.end))
        self.feed = Feed(store_of(series), vnpy_rule) if isinstance(series, BarSeries) else None
        self.now = self.feed or Place()
        self.now.row = self.first - 1
        self.limits: dict[str, Order] = {}
        self.stops: dict[str, Stop] = {}
        self.lowest_buy, self.highest_sell = inf, -inf  # no stop is nearer
        self.orders: list[Order] = []
        self.stop_orders: list[Stop] = []
        self.triggered: dict[str, str] = {}
        self.fills: list[Fill] = []
        self.logs: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.failures: list[Failure] = []
        self.asked = Asked(plan.predictor or NoModels(), self.warnings.append)
        self._whole_sheet = self._sheet = Sheet(series, 0, len(series))
        self._unit = Decimal(str(self.tick))
        self._hears_orders = self._hears_stops = self._hears_trades = True
        self.strategy: CtaTemplate
        self._collecting: Collecting

    # ---- the run

    def run(self, progress: Progress | None) -> None:
        with self._rules(), patient():
            if not self._guarded(self._begin):
                return
            for start in range(self.first, self.stop, CHUNK):
                stop = min(start + CHUNK, self.stop)
                if not self._guarded(partial(self._play, start, stop)):
                    return
                if progress is not None:
                    progress(stop - self.first, self.stop - self.first)
            self._guarded(self.strategy.on_stop)

    @contextmanager
    def _rules(self) -> Iterator[None]:
        token = generator_rules.set(VnpyRules)
        try:
            with playing(*(() if self.feed is None else (self.feed,))):
                yield
        finally:
            generator_rules.reset(token)

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Whether the strategy came through it."""
        try:
            step()
        except Exception as error:
            moment = self._moment(max(self.now.row, self.first))
            self.failures.append(Failure.of(self.strategy_plan.name, moment, error))
            return False
        return True

    def _begin(self) -> None:
        made = self.strategy_plan.kind
        assert issubclass(made, CtaTemplate)
        strategy = made(self, self.strategy_plan.name, self.vt_symbol, dict(self.strategy_plan.params))
        self.strategy = strategy
        self._collecting = Collecting(strategy)
        shorten(strategy, self, partial(self._word, strategy), self._cancelling(strategy))
        is_loading_ours = strategy.cta_engine is self and type(strategy).load_bar is CtaTemplate.load_bar
        if is_loading_ours and self.feed is not None and self._collecting.names:
            strategy.load_bar = self._loading(strategy, self.feed)  # type: ignore[method-assign]
        self._hears_orders = not is_silent(strategy.on_order)
        self._hears_stops = not is_silent(strategy.on_stop_order)
        self._hears_trades = not is_silent(strategy.on_trade)
        strategy.on_init()
        strategy.inited = True
        strategy.on_start()
        strategy.trading = True

    def _play(self, start: int, stop: int) -> None:
        if isinstance(self.series, TickSeries):
            self._play_ticks(self.series, start, stop)
        elif self.feed is not None:
            self._play_bars(self.feed, start, stop)

    def _play_bars(self, feed: Feed, start: int, stop: int) -> None:
        at_hand = self._sheet.read()
        sheet = self._sheet = Sheet(feed.store, start, stop)
        spans = self._collecting.spans(feed, start, stop)
        if spans is None:
            self._play_each(feed, sheet, start, stop, at_hand)
        else:
            self._play_spans(feed, sheet, spans)

    def _play_each(self, feed: Feed, sheet: Sheet, start: int, stop: int, at_hand: tuple[str, ...] = ()) -> None:
        on_bar, limits, stops = self.strategy.on_bar, self.limits, self.stops
        begin = sheet.start
        for row, bar in enumerate(sheet.bars(slice(start - begin, stop - begin), at_hand), start):
            feed.bar, feed.row = bar, row
            if limits:
                self._cross_limits(bar.low_price, bar.high_price, bar.open_price, bar.open_price)
            if stops:
                high, low = sheet.high_price[row - begin], sheet.low_price[row - begin]
                if high >= self.lowest_buy or low <= self.highest_sell:
                    self._cross_stops(high, low, bar.open_price)
            on_bar(bar)

    def _play_spans(self, feed: Feed, sheet: Sheet, spans: list[int]) -> None:
        """The same for a strategy that only collects minutes: where no limit order waits and no stop is within reach of
        a whole span, only its last bar is given."""
        on_bar, limits, stops, collecting = self.strategy.on_bar, self.limits, self.stops, self._collecting
        begin = sheet.start
        firsts = np.array([begin, *(last + 1 for last in spans[:-1])])
        highs = np.maximum.reduceat(feed.columns[HIGH][: sheet.stop], firsts).tolist()
        lows = np.minimum.reduceat(feed.columns[LOW][: sheet.stop], firsts).tolist()
        for first, last, high, low in zip(firsts.tolist(), spans, highs, lows, strict=True):
            crosses = limits or (stops and (high >= self.lowest_buy or low <= self.highest_sell))
            if crosses or not collecting.waits(first):
                self._play_each(feed, sheet, first, last + 1)
            else:
                collecting.pass_over(last)
                bar: Any = LateBar(sheet, last - begin)
                feed.bar, feed.row = bar, last
                on_bar(bar)

    def _play_ticks(self, series: TickSeries, start: int, stop: int) -> None:
        on_tick, limits, stops = self.strategy.on_tick, self.limits, self.stops
        for row in range(start, stop):
            tick = series.tick(row)
            self.now.row = row
            if limits:
                self._cross_limits(tick.ask_price_1, tick.bid_price_1, tick.ask_price_1, tick.bid_price_1)
            if stops:
                self._cross_stops(tick.last_price, tick.last_price, tick.last_price)
            on_tick(tick)

    # ---- crossing

    def _cross_limits(self, buys_down_to: float, sells_up_to: float, best_buy: float, best_sell: float) -> None:
        for order in list(self.limits.values()):
            if order.status is Status.SUBMITTING:
                self._say(order, Status.NOTTRADED)
            if order.direction is LONG:
                if not order.price >= buys_down_to > 0:
                    continue
                price, change = min(order.price, best_buy), order.volume
            else:
                if not (order.price <= sells_up_to and sells_up_to > 0):
                    continue
                price, change = max(order.price, best_sell), -order.volume
            order.traded = order.volume
            self._say(order, Status.ALLTRADED)
            self.limits.pop(order.name, None)
            self._fill(order, price, change)

    def _cross_stops(self, buys_up_to: float, sells_down_to: float, best: float) -> None:
        for stop in list(self.stops.values()):
            name, direction, offset, wanted, volume, _ = stop
            if direction is LONG:
                if not wanted <= buys_up_to:
                    continue
                price, change = max(wanted, best), volume
            else:
                if not wanted >= sells_down_to:
                    continue
                price, change = min(wanted, best), -volume
            order = self._new_order(direction, offset, wanted, volume)
            order.traded = volume
            self.triggered[name] = order.name
            self.stops.pop(name, None)
            self._say_stop(stop)
            self._say(order, Status.ALLTRADED)
            self._fill(order, price, change)
        self._bound()

    def _bound(self) -> None:
        """The nearest stops anew: a stop that went on its own leaves them too near, which costs a look and no more."""
        self.lowest_buy = min((stop[3] for stop in self.stops.values() if stop[1] is LONG), default=inf)
        self.highest_sell = max((stop[3] for stop in self.stops.values() if stop[1] is not LONG), default=-inf)

    def _say(self, order: Order, status: Status) -> None:
        order.status = status
        if self._hears_orders:
            self.strategy.on_order(LateOrder(self._order_data, order, status, order.traded))  # type: ignore[arg-type]

    def _say_stop(self, stop: Stop) -> None:
        if self._hears_stops:
            self.strategy.on_stop_order(self._stop_data(stop))

    def _fill(self, order: Order, price: float, change: Any) -> None:
        fill = (order, price, self.now.row, len(self.fills) + 1)
        self.fills.append(fill)
        self.strategy.pos += change
        if self._hears_trades:
            self.strategy.on_trade(LateTrade(self._trade_data, fill))  # type: ignore[arg-type]

    # ---- EnginePort

    def send_order(
        self,
        strategy: BaseTemplate,
        vt_symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        stop: bool,
        lock: bool,
        net: bool,
    ) -> list[str]:
        assert isinstance(strategy, CtaTemplate)
        return self._word(strategy, direction, offset)(price, volume, stop)

    def _word(self, strategy: CtaTemplate, direction: Direction, offset: Offset) -> Word:
        """What a strategy says to trade. The nearest step of the price tick is found in binary where binary cannot be
        wrong about it; an exact whole number divided once is rounded as the decimal one is."""
        tick, feed, limits, stops, every = self.tick, self.now, self.limits, self.stops, self.stop_orders
        upper, lower = map(float, self._unit.as_integer_ratio())
        most = min(EXACT_STEPS, EXACT_WHOLE / upper) if lower < EXACT_WHOLE else 0.0

        def wish(price: float, volume: Any, stop: bool = False, lock: bool = False, net: bool = False) -> list[str]:
            if not strategy.trading:
                return []
            steps = float(price) / tick
            nearest = (steps + 0.5) // 1.0
            if -EDGE < steps - nearest < EDGE and -most < nearest < most:
                rounded = nearest * upper / lower
            else:
                rounded = self._rounded(price, steps)
            if not stop:
                order = self._new_order(direction, offset, rounded, volume)
                limits[order.name] = order
                return [order.name]
            name = f"{STOP_PREFIX}{len(every) + 1}"
            stops[name] = made = (name, direction, offset, rounded, volume, feed.row)
            every.append(made)
            if direction is LONG:
                if rounded < self.lowest_buy:
                    self.lowest_buy = rounded
            elif rounded > self.highest_sell:
                self.highest_sell = rounded
            return [name]

        return wish

    def _new_order(self, direction: Direction, offset: Offset, price: float, volume: Any) -> Order:
        name = f"BACKTESTING.{len(self.orders) + 1}"
        order = Order(name, direction, offset, price, volume, self.now.row, Status.SUBMITTING)
        self.orders.append(order)
        return order

    def _rounded(self, price: float, steps: float) -> float:
        """To the price tick as vnpy does: half to even, in decimal."""
        if not isfinite(steps):
            raise ValueError(f"order price: found {price}, expected a number; has the indicator behind it a value yet?")
        return float(round(Decimal(str(price)) / self._unit) * self._unit)

    def _cancelling(self, strategy: CtaTemplate) -> Callable[[], None]:
        """`cancel_all` of a strategy that mostly has nothing to cancel."""
        limits, stops = self.limits, self.stops

        def cancel_all() -> None:
            if stops and not limits and not self._hears_stops and strategy.trading:
                stops.clear()
                self.lowest_buy, self.highest_sell = inf, -inf
            elif (limits or stops) and strategy.trading:
                self.cancel_all(strategy)

        return cancel_all

    def cancel_order(self, strategy: BaseTemplate, vt_orderid: str) -> None:
        if (stop := self.stops.pop(vt_orderid, None)) is not None:
            self._say_stop(stop)
        elif (order := self.limits.pop(vt_orderid, None)) is not None:
            self._say(order, Status.CANCELLED)

    def cancel_all(self, strategy: BaseTemplate) -> None:
        if self.limits:
            for name in list(self.limits):
                self.cancel_order(strategy, name)
        if self.stops:
            if self._hears_stops:
                for name in list(self.stops):
                    self.cancel_order(strategy, name)
            else:
                self.stops.clear()
            if not self.stops:
                self.lowest_buy, self.highest_sell = inf, -inf

    def write_log(self, msg: str, strategy: BaseTemplate) -> None:
        self.logs.append((self.now.row, msg))

    def get_engine_type(self) -> EngineType:
        return EngineType.BACKTESTING

    def get_pricetick(self, strategy: BaseTemplate, vt_symbol: str) -> float:
        return self.tick

    def get_size(self, strategy: BaseTemplate, vt_symbol: str) -> int:
        return self.instrument.size  # type: ignore[return-value]

    def put_strategy_event(self, strategy: BaseTemplate) -> None:
        """Nobody watches."""

    def send_email(self, msg: str, strategy: BaseTemplate) -> None:
        """Nobody is written to."""

    def sync_strategy_data(self, strategy: BaseTemplate) -> None:
        """Nothing is kept."""

    def predict(self, strategy: BaseTemplate, features: Features, timeout: float) -> Prediction:
        return self.asked.answer(strategy, features, self._moment(max(self.now.row, self.first)))

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> Iterable[BarData]:
        """The `days` calendar days before the first row of the run."""
        series = self.plan.warmup.get(vt_symbol) or self.plan.series.get(vt_symbol)
        if not isinstance(series, BarSeries):
            raise ValueError(f"load_bar: no bars of {vt_symbol}")
        begin, end = self._before(series, vt_symbol, days)
        if interval is not Interval.MINUTE:
            return self._longer(series.rows(begin, end), interval)
        if series is self.series and self.feed is not None:
            return self.feed.play(begin, end)
        return series.rows(begin, end).bars()

    def _before(self, series: BarSeries, vt_symbol: str, days: int) -> tuple[int, int]:
        start = self._start()
        begin, end = series.before(start - timedelta(days=days)), series.before(start)
        self._warn_if_short(series.rows(begin, end), vt_symbol, days)
        return begin, end

    def _loading(self, strategy: CtaTemplate, feed: Feed) -> Callable[..., None]:
        """`load_bar` of a strategy that only collects minutes: those that matter. No order is sent meanwhile."""

        def load_bar(
            days: int, interval: Interval = Interval.MINUTE, callback: Any = None, use_database: bool = False
        ) -> None:
            if interval is not Interval.MINUTE or callback is not None or self.plan.warmup.get(self.vt_symbol):
                CtaTemplate.load_bar(strategy, days, interval, callback, use_database)
            elif isinstance(self.series, BarSeries):
                begin, end = self._before(self.series, self.vt_symbol, days)
                self._play_bars(feed, begin, min(begin + 1, end))
                self._play_bars(feed, min(begin + 1, end), end)

        return load_bar

    def _longer(self, history: BarSeries, interval: Interval) -> Iterable[BarData]:
        """Hours and days, made of the minutes; whole ones only."""
        sessions = Sessions(self.instrument.night_close, self.plan.calendar)
        windows = WindowGenerator("day" if interval is Interval.DAILY else 60, sessions)
        return (whole for bar in history.bars() for whole in windows.on_bar(bar))

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[TickData], None]) -> Iterable[TickData]:
        series = self.plan.series.get(vt_symbol)
        if not isinstance(series, TickSeries):
            raise ValueError(f"load_tick: no ticks of {vt_symbol}")
        start = self._start()
        return series.rows(series.before(start - timedelta(days=days)), series.before(start)).ticks()

    def _start(self) -> Time:
        found: Time = self.series.datetime[self.first].astype("datetime64[us]").astype(Time)
        return found

    def _warn_if_short(self, history: Series, vt_symbol: str, days: int) -> None:
        wanted = (self._start() - timedelta(days=days)).date()
        try:
            wanted = self.plan.calendar.day_from(wanted)
        except CalendarError:
            return
        begins = history.trading_day[0].astype(object) if len(history) else self.plan.start
        if begins > wanted:
            self.warnings.append(
                f"{self.strategy_plan.name}: load_bar({days}) wants {vt_symbol} from {wanted}, its history begins "
                f"{begins if len(history) else 'with the run'}"
            )

    # ---- messages, made when somebody reads them

    def _moment(self, row: int) -> Time:
        found: Time = self._value("datetime", row, lambda: self.series.datetime[row].item().replace(tzinfo=SHANGHAI))
        return found

    def _trading_day(self, row: int) -> date:
        found: date = self._value("trading_day", row, lambda: self.series.trading_day[row].item())
        return found

    def _value(self, name: str, row: int, alone: Callable[[], Any]) -> Any:
        """From the column of a sheet where one was read anyway, else alone."""
        sheet = self._sheet
        if sheet.start <= row < sheet.stop and (sheet is self._whole_sheet or sheet.has(name)):
            return getattr(sheet, name)[row - sheet.start]
        return alone()

    def _order_data(self, order: Order) -> OrderData:
        return OrderData(
            order_id=order.number,
            symbol=self.series.symbol,
            exchange=self.series.exchange,
            direction=order.direction,
            offset=order.offset,
            order_type=OrderType.LIMIT,
            price=order.price,
            volume=order.volume,
            traded=order.traded,
            status=order.status,
            datetime=self._moment(order.row),
            strategy_name=self.strategy_plan.name,
            request_id=order.name,
            trading_day=self._trading_day(order.row),
        )

    def _stop_data(self, stop: Stop) -> StopOrder:
        name, direction, offset, price, volume, row = stop
        order = self.triggered.get(name)
        waits = StopOrderStatus.WAITING if name in self.stops else StopOrderStatus.CANCELLED
        return StopOrder(
            vt_symbol=self.vt_symbol,
            direction=direction,
            offset=offset,
            price=price,
            volume=volume,
            stop_orderid=name,
            strategy_name=self.strategy_plan.name,
            datetime=self._moment(row),
            vt_orderids=(order,) if order else (),
            status=StopOrderStatus.TRIGGERED if order else waits,
        )

    def _trade_data(self, fill: Fill) -> TradeData:
        order, price, row, number = fill
        return TradeData(
            trade_id=str(number),
            order_id=order.number,
            symbol=self.series.symbol,
            exchange=self.series.exchange,
            direction=order.direction,
            offset=order.offset,
            price=price,
            volume=order.volume,
            datetime=self._moment(row),
            strategy_name=self.strategy_plan.name,
            request_id=order.name,
            trading_day=self._trading_day(row),
        )

    # ---- the result

    def result(self, plan: Plan) -> Result:
        working: list[OrderData | StopOrder] = [self._order_data(one) for one in self.limits.values()]
        working += [self._stop_data(one) for one in self.stops.values()]
        name = self.strategy_plan.name
        return Result(
            plan=plan,
            orders=self._records(self._order_data, self.orders),
            trades=self._records(self._trade_data, self.fills),
            stop_orders=self._records(self._stop_data, self.stop_orders),
            days=tuple(self._days()),
            positions=tuple(self._positions()),
            working=tuple(working),
            logs=Records(lambda: (Log(self._moment(row), name, msg) for row, msg in self.logs)),
            warnings=tuple(self.warnings),
            failures=tuple(self.failures),
        )

    def _records(self, make: Callable[..., Any], made_of: Sequence[Any]) -> Records[Any]:
        """Messages made when they are read; many of them are worth a column of all rows' times."""

        def read() -> Iterator[Any]:
            if 8 * len(made_of) > len(self.series):
                self._sheet = self._whole_sheet
            return map(make, made_of)

        return Records(read)

    def _days(self) -> Iterator[Day]:
        """vnpy's daily results, by trading day: holding at the close before, trades at their own prices."""
        if self.now.row < self.first:
            return
        series, size = self.series, self.instrument.size
        costs = self.plan.costs
        played = series.trading_day[self.first : self.now.row + 1]
        ends = self.first + np.append(np.flatnonzero(played[1:] != played[:-1]) + 1, len(played)) - 1
        closes = (series.close if isinstance(series, BarSeries) else series.last_price)[ends].tolist()
        fills = iter(self.fills)
        fill = next(fills, None)
        position: Any = 0
        before, balance = 0.0, self.strategy_plan.capital
        for end, close, day in zip(ends.tolist(), closes, series.trading_day[ends].tolist(), strict=True):
            holding = position * (close - before) * size
            trading = turnover = commission = slippage = 0.0
            count = 0
            while fill is not None and fill[2] <= end:
                order, price, _, _ = fill
                change = order.volume if order.direction is LONG else -order.volume
                position += change
                count += 1
                trading += change * (close - price) * size
                slippage += order.volume * size * costs.slippage
                turnover += order.volume * size * price
                commission += order.volume * size * price * costs.rate
                fill = next(fills, None)
            net = trading + holding - commission - slippage
            balance += net
            before = close
            held: Mapping[str, int] = {self.vt_symbol: position}
            yield Day(
                trading_day=day,
                strategy_name=self.strategy_plan.name,
                balance=balance,
                net_pnl=net,
                holding_pnl=holding,
                trading_pnl=trading,
                commission=commission,
                slippage=slippage,
                turnover=turnover,
                trade_count=count,
                margin=0.0,
                position=held,
            )

    def _positions(self) -> Iterator[PositionData]:
        """What is held after the last row, at the average price of what opened it."""
        position: Any = 0
        average = 0.0
        since_day: Any = 0
        last = max(self.now.row, self.first)
        today = np.searchsorted(self.series.trading_day, self.series.trading_day[last])
        for order, price, row, _ in self.fills:
            change = order.volume if order.direction is LONG else -order.volume
            if position * change >= 0:
                average = (average * position + price * change) / (position + change) if position + change else 0.0
            elif abs(change) > abs(position):
                average = price
            position += change
            if row < today:
                since_day = position
        if not position:
            return
        close = float((self.series.close if isinstance(self.series, BarSeries) else self.series.last_price)[last])
        kept = min(abs(position), abs(since_day)) if position * since_day > 0 else 0
        yield PositionData(
            symbol=self.series.symbol,
            exchange=self.series.exchange,
            direction=Direction.LONG if position > 0 else Direction.SHORT,
            volume=abs(position),
            frozen=0,
            price=average,
            pnl=(close - average) * position * self.instrument.size,
            yd_volume=kept,
            datetime=self._moment(last),
            trading_day=self._trading_day(last),
        )
