"""Templates: what a strategy is: callbacks, parameters and variables, under the names that vnpy's users know.

A strategy never sees an account, a socket or a clock: it speaks to the engine behind `EnginePort`, which is the
live one, a backtest, or a test. `CtaTemplate` trades one contract, `StrategyTemplate` several at once (its legs).
"""

# ruff: noqa: B027 - callbacks a strategy may leave out

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime as Time
from datetime import time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from arbig.domain.features import MAX_AGE, Features, Prediction
from arbig.domain.feeds import Feed, Longer, feed_of
from arbig.domain.messages import BarData, Direction, Interval, Offset, OrderData, TickData, TradeData

STOP_PREFIX = "STOP."
# looked up at every order of a backtest
LONG, SHORT, OPEN, CLOSE = Direction.LONG, Direction.SHORT, Offset.OPEN, Offset.CLOSE


class EngineType(StrEnum):
    LIVE = "LIVE"
    BACKTESTING = "BACKTESTING"


class StopOrderStatus(StrEnum):
    WAITING = "WAITING"
    CANCELLED = "CANCELLED"
    TRIGGERED = "TRIGGERED"


class StopOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that waits for a price. Kept by the engine, unknown to the exchange until it triggers."""

    vt_symbol: str
    direction: Direction
    offset: Offset
    price: float
    volume: int
    stop_orderid: str
    strategy_name: str
    datetime: Time
    lock: bool = False
    net: bool = False
    vt_orderids: tuple[str, ...] = ()
    status: StopOrderStatus = StopOrderStatus.WAITING


class EnginePort(Protocol):
    """What a strategy may ask of whoever runs it."""

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
        """The names of the orders this wish became: none when it was refused."""

    def cancel_order(self, strategy: BaseTemplate, vt_orderid: str) -> None: ...

    def cancel_all(self, strategy: BaseTemplate) -> None: ...

    def write_log(self, msg: str, strategy: BaseTemplate) -> None: ...

    def get_engine_type(self) -> EngineType: ...

    def get_pricetick(self, strategy: BaseTemplate, vt_symbol: str) -> float: ...

    def get_size(self, strategy: BaseTemplate, vt_symbol: str) -> int: ...

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> Iterable[BarData]:
        """Bars the template then feeds to the callback; empty when the engine fed them itself."""

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[TickData], None]) -> Iterable[TickData]: ...

    def put_strategy_event(self, strategy: BaseTemplate) -> None: ...

    def send_email(self, msg: str, strategy: BaseTemplate) -> None: ...

    def sync_strategy_data(self, strategy: BaseTemplate) -> None: ...

    def predict(self, strategy: BaseTemplate, features: Features, timeout: float) -> Prediction:
        """The answer of the strategy's model, or its fallback with the reason; within the timeout, never raising."""


class BaseTemplate(ABC):
    """What both templates share: a name, parameters a person sets, variables a person sees."""

    author: str = ""
    parameters: list[str] = []
    variables: list[str] = []
    own_variables: ClassVar[tuple[str, ...]] = ("inited", "trading")
    model: str = ""
    """The model that `predict` asks, `ml_gold` or one version of it, `ml_gold@3`."""
    fallback: float | None = None
    """What `predict` says when the model does not answer."""
    max_age: timedelta = MAX_AGE
    """Older features are refused."""

    def __init__(self, engine: EnginePort, strategy_name: str, setting: dict[str, Any]) -> None:
        self.cta_engine = self.strategy_engine = engine
        self.strategy_name = strategy_name
        self.inited = False
        self.trading = False
        self.variables = [*self.own_variables, *self.variables]
        self.update_setting(setting)

    def update_setting(self, setting: dict[str, Any]) -> None:
        """Take over the parameters that the setting names."""
        for name in self.parameters:
            if name in setting:
                setattr(self, name, setting[name])

    @classmethod
    def get_class_parameters(cls) -> dict[str, Any]:
        """Every parameter with the value the class gives it."""
        return {name: getattr(cls, name) for name in cls.parameters}

    def get_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.parameters}

    def get_variables(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.variables}

    @abstractmethod
    def on_init(self) -> None:
        """Before the first data: the place for `load_bar`."""

    def on_start(self) -> None:
        """From here on orders are sent."""

    def on_stop(self) -> None:
        """The last word before orders are cancelled."""

    def on_tick(self, tick: TickData) -> None:
        """A new tick of a contract of ours."""

    def cancel_order(self, vt_orderid: str) -> None:
        if self.trading:
            self.strategy_engine.cancel_order(self, vt_orderid)

    def write_log(self, msg: str) -> None:
        self.strategy_engine.write_log(msg, self)

    def get_engine_type(self) -> EngineType:
        return self.strategy_engine.get_engine_type()

    def put_event(self) -> None:
        """Show the variables as they are now."""
        if self.inited:
            self.strategy_engine.put_strategy_event(self)

    def send_email(self, msg: str) -> None:
        if self.inited:
            self.strategy_engine.send_email(msg, self)

    def sync_data(self) -> None:
        """Keep the variables over a restart."""
        if self.trading:
            self.strategy_engine.sync_strategy_data(self)

    def predict(self, features: Features, timeout: float = 0.2) -> Prediction:
        """What `model` says to the features, within `timeout` seconds; else the declared `fallback` with its `reason`:
        no model there, too late, stale or wrong features. While history is read no model is asked."""
        if not self.model or self.fallback is None:
            raise ValueError(
                f"{type(self).__name__}: predict needs the class to declare a model and what to do without it; "
                'write e.g. model = "ml_gold" and fallback = 0.0'
            )
        if not self.inited:
            return Prediction(value=self.fallback, model=self.model, reason="history is being read")
        return self.strategy_engine.predict(self, features, timeout)


class CtaTemplate(BaseTemplate):
    """A strategy of one contract. `pos` is its own net position in lots, kept by the engine."""

    own_variables = ("inited", "trading", "pos")

    def __init__(self, cta_engine: EnginePort, strategy_name: str, vt_symbol: str, setting: dict[str, Any]) -> None:
        self.vt_symbol = vt_symbol
        self.pos = 0
        super().__init__(cta_engine, strategy_name, setting)

    def get_data(self) -> dict[str, Any]:
        return {
            "strategy_name": self.strategy_name,
            "vt_symbol": self.vt_symbol,
            "class_name": type(self).__name__,
            "author": self.author,
            "parameters": self.get_parameters(),
            "variables": self.get_variables(),
        }

    def on_bar(self, bar: BarData) -> None:
        """A finished one-minute bar."""

    def on_trade(self, trade: TradeData) -> None:
        """A fill of ours; `pos` counts it already."""

    def on_order(self, order: OrderData) -> None:
        """News of an order of ours."""

    def on_stop_order(self, stop_order: StopOrder) -> None:
        """News of a stop order of ours."""

    def buy(self, price: float, volume: float, stop: bool = False, lock: bool = False, net: bool = False) -> list[str]:
        """Open long."""
        return self.send_order(LONG, OPEN, price, volume, stop, lock, net)

    def sell(self, price: float, volume: float, stop: bool = False, lock: bool = False, net: bool = False) -> list[str]:
        """Close long."""
        return self.send_order(SHORT, CLOSE, price, volume, stop, lock, net)

    def short(
        self, price: float, volume: float, stop: bool = False, lock: bool = False, net: bool = False
    ) -> list[str]:
        """Open short."""
        return self.send_order(SHORT, OPEN, price, volume, stop, lock, net)

    def cover(
        self, price: float, volume: float, stop: bool = False, lock: bool = False, net: bool = False
    ) -> list[str]:
        """Close short."""
        return self.send_order(LONG, CLOSE, price, volume, stop, lock, net)

    def send_order(
        self,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        stop: bool = False,
        lock: bool = False,
        net: bool = False,
    ) -> list[str]:
        """The names of the orders sent: none before the start, after the stop, while paused, or when refused."""
        if not self.trading:
            return []
        return self.cta_engine.send_order(self, self.vt_symbol, direction, offset, price, volume, stop, lock, net)

    def cancel_all(self) -> None:
        """Cancel every working order and stop order of this strategy."""
        if self.trading:
            self.cta_engine.cancel_all(self)

    def get_pricetick(self) -> float:
        return self.cta_engine.get_pricetick(self, self.vt_symbol)

    def get_size(self) -> int:
        """Units per lot."""
        return self.cta_engine.get_size(self, self.vt_symbol)

    def load_bar(
        self,
        days: int,
        interval: Interval = Interval.MINUTE,
        callback: Callable[[BarData], None] | None = None,
        use_database: bool = False,
    ) -> None:
        """Feed the bars of the last `days` calendar days to `callback` (default `on_bar`), oldest first."""
        deliver = callback or self.on_bar
        for bar in self.cta_engine.load_bar(self.vt_symbol, days, interval, deliver, use_database):
            deliver(bar)

    def load_tick(self, days: int) -> None:
        """Feed recorded ticks to `on_tick`."""
        for tick in self.cta_engine.load_tick(self.vt_symbol, days, self.on_tick):
            self.on_tick(tick)


class CtaSignal(ABC):
    """One opinion among several: a wanted position between data and orders."""

    def __init__(self) -> None:
        self.signal_pos = 0

    def on_tick(self, tick: TickData) -> None:
        """A new tick."""

    @abstractmethod
    def on_bar(self, bar: BarData) -> None:
        """A finished bar."""

    def set_signal_pos(self, pos: int) -> None:
        self.signal_pos = pos

    def get_signal_pos(self) -> int:
        return self.signal_pos


class TargetPosTemplate(CtaTemplate):
    """Say which position you want (`set_target_pos`); the orders follow, `tick_add` across the best price."""

    tick_add: float = 1
    last_tick: TickData | None = None
    last_bar: BarData | None = None
    target_pos: int = 0

    def __init__(self, cta_engine: EnginePort, strategy_name: str, vt_symbol: str, setting: dict[str, Any]) -> None:
        super().__init__(cta_engine, strategy_name, vt_symbol, setting)
        self.active_orderids: list[str] = []
        self.cancel_orderids: list[str] = []
        self.variables.append("target_pos")

    def on_tick(self, tick: TickData) -> None:
        self.last_tick = tick

    def on_bar(self, bar: BarData) -> None:
        self.last_bar = bar

    def on_order(self, order: OrderData) -> None:
        if order.is_active():
            return
        for names in (self.active_orderids, self.cancel_orderids):
            if order.vt_orderid in names:
                names.remove(order.vt_orderid)

    def check_order_finished(self) -> bool:
        return not self.active_orderids

    def set_target_pos(self, target_pos: int) -> None:
        self.target_pos = target_pos
        self.trade()

    def trade(self) -> None:
        """One step towards the target: old orders go first."""
        if self.check_order_finished():
            self.send_new_order()
        else:
            self.cancel_old_order()

    def cancel_old_order(self) -> None:
        for vt_orderid in self.active_orderids:
            if vt_orderid not in self.cancel_orderids:
                self.cancel_order(vt_orderid)
                self.cancel_orderids.append(vt_orderid)

    def send_new_order(self) -> None:
        change = self.target_pos - self.pos
        if not change:
            return
        price = self._price_towards(change)
        checks_closes = getattr(self.cta_engine, "checks_closes", False)
        if self.get_engine_type() is EngineType.BACKTESTING and not checks_closes:
            names = self.buy(price, change) if change > 0 else self.short(price, -change)
        elif change > 0:
            # a live account closes before it opens the other side: one step now, the next after the fill
            names = self.cover(price, min(change, -self.pos)) if self.pos < 0 else self.buy(price, change)
        else:
            names = self.sell(price, min(-change, self.pos)) if self.pos > 0 else self.short(price, -change)
        self.active_orderids.extend(names)

    def _price_towards(self, change: float) -> float:
        tick, bar = self.last_tick, self.last_bar
        if tick is not None and change > 0:
            price = tick.ask_price_1 + self.tick_add
            return min(price, tick.limit_up) if tick.limit_up else price
        if tick is not None:
            price = tick.bid_price_1 - self.tick_add
            return max(price, tick.limit_down) if tick.limit_down else price
        if bar is not None:
            return bar.close_price + (self.tick_add if change > 0 else -self.tick_add)
        return 0.0


class StrategyTemplate(BaseTemplate):
    """A strategy of several contracts (its legs). `on_bars` gets the finished bars of one minute together."""

    own_variables = ("inited", "trading", "pos_data", "target_data")

    def __init__(
        self, strategy_engine: EnginePort, strategy_name: str, vt_symbols: list[str], setting: dict[str, Any]
    ) -> None:
        self.vt_symbols = vt_symbols
        self.pos_data: dict[str, int] = defaultdict(int)
        self.target_data: dict[str, int] = defaultdict(int)
        self.orders: dict[str, OrderData] = {}
        self.active_orderids: set[str] = set()
        super().__init__(strategy_engine, strategy_name, setting)

    @property
    def legs(self) -> list[str]:
        """The contracts of this strategy, `au2512.SHFE` and the like."""
        return self.vt_symbols

    def get_data(self) -> dict[str, Any]:
        return {
            "strategy_name": self.strategy_name,
            "vt_symbols": self.vt_symbols,
            "class_name": type(self).__name__,
            "author": self.author,
            "parameters": self.get_parameters(),
            "variables": self.get_variables(),
        }

    @abstractmethod
    def on_bars(self, bars: dict[str, BarData]) -> None:
        """The finished bars of one minute, by vt_symbol; a leg that did not trade is absent."""

    def update_trade(self, trade: TradeData) -> None:
        """A fill of ours; the engine sets `pos_data`."""
        self.pos_data[trade.vt_symbol] += trade.direction.sign * trade.volume

    def update_order(self, order: OrderData) -> None:
        """News of an order of ours."""
        self.orders[order.vt_orderid] = order
        if not order.is_active():
            self.active_orderids.discard(order.vt_orderid)

    def buy(self, vt_symbol: str, price: float, volume: float, lock: bool = False, net: bool = False) -> list[str]:
        """Open long."""
        return self.send_order(vt_symbol, LONG, OPEN, price, volume, lock, net)

    def sell(self, vt_symbol: str, price: float, volume: float, lock: bool = False, net: bool = False) -> list[str]:
        """Close long."""
        return self.send_order(vt_symbol, SHORT, CLOSE, price, volume, lock, net)

    def short(self, vt_symbol: str, price: float, volume: float, lock: bool = False, net: bool = False) -> list[str]:
        """Open short."""
        return self.send_order(vt_symbol, SHORT, OPEN, price, volume, lock, net)

    def cover(self, vt_symbol: str, price: float, volume: float, lock: bool = False, net: bool = False) -> list[str]:
        """Close short."""
        return self.send_order(vt_symbol, LONG, CLOSE, price, volume, lock, net)

    def send_order(
        self,
        vt_symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        lock: bool = False,
        net: bool = False,
    ) -> list[str]:
        if not self.trading:
            return []
        names = self.strategy_engine.send_order(self, vt_symbol, direction, offset, price, volume, False, lock, net)
        self.active_orderids.update(names)
        return names

    def cancel_all(self) -> None:
        for vt_orderid in sorted(self.active_orderids):
            self.cancel_order(vt_orderid)

    def get_pos(self, vt_symbol: str) -> int:
        return self.pos_data.get(vt_symbol, 0)

    def get_target(self, vt_symbol: str) -> int:
        return self.target_data[vt_symbol]

    def set_target(self, vt_symbol: str, target: int) -> None:
        self.target_data[vt_symbol] = target

    def rebalance_portfolio(self, bars: dict[str, BarData]) -> None:
        """Send what is missing between positions and targets, for the legs that have a bar."""
        self.cancel_all()
        for vt_symbol, bar in bars.items():
            pos = self.get_pos(vt_symbol)
            change = self.get_target(vt_symbol) - pos
            if not change:
                continue
            direction = Direction.LONG if change > 0 else Direction.SHORT
            price = self.calculate_price(vt_symbol, direction, bar.close_price)
            closing = min(abs(change), abs(pos)) if pos * change < 0 else 0
            opening = abs(change) - closing
            if closing:
                self.send_order(vt_symbol, direction, Offset.CLOSE, price, closing)
            if opening:
                self.send_order(vt_symbol, direction, Offset.OPEN, price, opening)

    def calculate_price(self, vt_symbol: str, direction: Direction, reference: float) -> float:
        """The price of a rebalancing order; override to go across the spread."""
        return reference

    def get_order(self, vt_orderid: str) -> OrderData | None:
        return self.orders.get(vt_orderid)

    def get_all_active_orderids(self) -> list[str]:
        return sorted(self.active_orderids)

    def get_pricetick(self, vt_symbol: str) -> float:
        return self.strategy_engine.get_pricetick(self, vt_symbol)

    def get_size(self, vt_symbol: str) -> int:
        return self.strategy_engine.get_size(self, vt_symbol)

    def load_bars(self, days: int, interval: Interval = Interval.MINUTE) -> None:
        """Feed the legs' history to `on_bars`, minute by minute."""
        history = [
            bar
            for vt_symbol in self.vt_symbols
            for bar in self.strategy_engine.load_bar(vt_symbol, days, interval, _ignore, False)
        ]
        for bars in slices(history):
            self.on_bars(bars)

    def send_notification(self, msg: str) -> None:
        self.send_email(msg)


def _ignore(bar: BarData) -> None:
    """`load_bars` delivers whole slices itself."""


def slices(bars: Sequence[BarData]) -> list[dict[str, BarData]]:
    """Bars of several contracts -> one dictionary per minute, oldest first."""
    found: dict[Time, dict[str, BarData]] = {}
    for bar in sorted(bars, key=lambda bar: bar.datetime):
        found.setdefault(bar.datetime, {})[bar.vt_symbol] = bar
    return list(found.values())


class Window(Protocol):
    """Collects bars; returns the long ones that are whole now."""

    def on_bar(self, bar: BarData) -> Sequence[BarData]: ...


WindowFactory = Callable[[str, int | Literal["day"]], Window]
window_factory: ContextVar[WindowFactory] = ContextVar("window_factory")


class GeneratorRules(Protocol):
    """Another way to count minutes and longer bars than the house's: vnpy's own, where trades must equal vnpy's."""

    def window(self, symbol: str) -> Window: ...

    def on_tick(self, tick: TickData) -> BarData | None:
        """The one-minute bar that this tick finishes."""

    def generate(self) -> BarData | None:
        """The running one-minute bar, which ends here."""


generator_rules: ContextVar[Callable[[BarGenerator], GeneratorRules] | None] = ContextVar(
    "generator_rules", default=None
)


class BarGenerator:
    """Longer bars from one-minute bars, under vnpy's face. One-minute bars themselves come from Market, through
    `on_bar`: `update_tick` builds nothing, so that no bar is seen twice (unless an engine sets `generator_rules`)."""

    def __init__(
        self,
        on_bar: Callable[[BarData], None],
        window: int = 0,
        on_window_bar: Callable[[BarData], None] | None = None,
        interval: Interval = Interval.MINUTE,
        daily_end: time | None = None,
    ) -> None:
        if interval is Interval.DAILY and daily_end is None:
            raise ValueError("BarGenerator: interval DAILY needs daily_end, e.g. daily_end=time(15, 0)")
        self.on_bar = on_bar
        self.window = window
        self.on_window_bar = on_window_bar
        self.interval = interval
        self.daily_end = daily_end
        self.last_tick: TickData | None = None
        self._windows: dict[str, Window] = {}
        rules = generator_rules.get()
        self._rules = rules(self) if rules else None
        self._feed: Feed | None = None
        self._first = self._due = -1
        self.expected = -1
        self._longer: Longer
        self._rows: Iterator[int]

    def update_tick(self, tick: TickData) -> None:
        """Remember the tick; the engine delivers finished bars."""
        if self._rules is not None and (minute := self._rules.on_tick(tick)) is not None:
            self.on_bar(minute)
        self.last_tick = tick

    def update_bar(self, bar: BarData) -> None:
        """Collect a one-minute bar; a whole window goes to `on_window_bar`."""
        feed = self._feed
        if feed is None or feed.bar is not bar or feed.row != self.expected:
            self._collect(bar)
            return
        self.expected += 1
        if feed.row == self._due:
            whole, self._due = next(self._longer.bars), next(self._rows, -1)
            if self.on_window_bar is not None:
                self.on_window_bar(whole)

    def due(self, feed: Feed, start: int, stop: int) -> Sequence[int] | None:
        """The rows [start, stop) of a feed at whose bars a longer one is whole; None when we do not wait for `start`.
        Who sets `expected` to one of them passes over the rows before it."""
        if self._feed is not feed or self.expected != start:
            return None
        rows = self._longer.rows
        return rows[bisect_left(rows, start) : bisect_left(rows, stop)]

    def _collect(self, bar: BarData) -> None:
        """Our first bar may be a feed's, which then knows the longer ones; any other is counted by ourselves."""
        if self._feed is not None:
            seen, self._feed = self._feed.bars(self._first, self.expected), None
            for one in seen:
                (self._windows.get(one.symbol) or self._begun(one.symbol)).on_bar(one)
        elif not self._windows and self._joins(bar):
            self.update_bar(bar)
            return
        window = self._windows.get(bar.symbol) or self._begun(bar.symbol)
        for whole in window.on_bar(bar):
            if self.on_window_bar is not None:
                self.on_window_bar(whole)

    def generate(self) -> BarData | None:
        """vnpy closes its running minute here; ours is closed by Market."""
        if self._rules is None or (minute := self._rules.generate()) is None:
            return None
        self.on_bar(minute)
        return minute

    def _joins(self, bar: BarData) -> bool:
        feed = feed_of(bar)
        longer = feed.longer(self) if feed is not None else None
        if feed is None or longer is None:
            return False
        self._feed, self._longer = feed, longer
        self._first = self.expected = feed.row
        self._rows = iter(longer.rows)
        self._due = next(self._rows, -1)
        return True

    def _begun(self, symbol: str) -> Window:
        window = self._rules.window(symbol) if self._rules else window_factory.get()(symbol, self._length())
        self._windows[symbol] = window
        return window

    def _length(self) -> int | Literal["day"]:
        if self.interval is Interval.DAILY:
            return "day"
        return self.window * (60 if self.interval is Interval.HOUR else 1)


def deliver_bar(strategy: CtaTemplate, bar: BarData) -> None:
    """A finished one-minute bar to a strategy. One that has no `on_bar` of its own and feeds its generators with ticks,
    as vnpy's may, gets it through them."""
    strategy.on_bar(bar)
    if type(strategy).on_bar.__module__ == __name__:
        for generator in [one for one in vars(strategy).values() if isinstance(one, BarGenerator)]:
            if generator.last_tick is not None and generator.last_tick.symbol == bar.symbol:
                generator.on_bar(bar)


def round_to(value: float, step: float) -> float:
    """The multiple of `step` that is nearest to `value`, without binary dust: 650.4300000001 -> 650.44 at 0.02."""
    unit = Decimal(str(step))
    return float(round(Decimal(str(value)) / unit) * unit)


def split_wish(
    direction: Direction, offset: Offset, volume: int, *, lock: bool, net: bool, holding: int, yesterday: int
) -> list[tuple[Offset, int]]:
    """What one wish becomes. `net` closes what the strategy holds on the other side (`holding`, lots free to close) and
    opens the rest, whatever offset was said; `lock` closes yesterday's lots only (free of close-today fees) and opens
    the rest as a locked position."""
    if lock:
        closing = min(volume, yesterday)
        parts = [(Offset.CLOSEYESTERDAY, closing), (Offset.OPEN, volume - closing)]
    elif net:
        closing = min(volume, holding)
        parts = [(Offset.CLOSE, closing), (Offset.OPEN, volume - closing)]
    else:
        parts = [(offset, volume)]
    return [(part, lots) for part, lots in parts if lots > 0]
