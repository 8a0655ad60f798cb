"""Stage: the side of the engine on which a strategy's own code runs. Callbacks in, wishes out; it keeps no truth.

The same stage stands in the strategy's process (`worker.py`) and in the twin (`memory.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from arbig.domain.features import FeatureError, Features, Prediction, refusal
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    Interval,
    Message,
    Offset,
    OrderData,
    TickData,
    TradeData,
    decode,
    request_id_of,
)
from arbig.domain.template import (
    STOP_PREFIX,
    BaseTemplate,
    CtaTemplate,
    EngineType,
    StopOrder,
    StrategyTemplate,
    deliver_bar,
    round_to,
    split_wish,
    window_factory,
)
from arbig.runtime.loader import check_params, load_class
from arbig.strategy.frames import (
    Action,
    Call,
    CancelAll,
    CancelOrder,
    Done,
    Fetch,
    Holding,
    Load,
    PlaceStop,
    Predicted,
    SendMail,
    SendOrder,
    SyncData,
    WriteLog,
)
from arbig.strategy.predicting import CALLBACK_SECONDS, ModelLine, NoAnswer
from arbig.strategy.windows import session_windows

M = TypeVar("M", bound=Message)
Fetcher = Callable[[Fetch], Iterable[bytes]]
Progressed = Callable[[], None]

OWNED_BY_ENGINE = frozenset({"inited", "trading", "pos", "pos_data"})
SHOWN_AFTER = frozenset({"init", "start", "stop", "bar", "bars", "trade", "order", "stop_order"})
decode_stop_order = msgspec.json.Decoder(StopOrder).decode


class Stage:
    """EnginePort for one strategy."""

    def __init__(self, load: Load, fetch: Fetcher, progressed: Progressed) -> None:
        self.load = load
        self.fetch = fetch
        self.progressed = progressed
        self.windows = session_windows(load)
        self.paused = False
        self.now: datetime | None = None
        self.holdings: dict[str, Holding] = {name: Holding() for name in load.vt_symbols}
        self.actions: list[Action] = []
        self.next_number = self.end_number = 0
        self.show = False
        self.models = ModelLine(load.models.port, load.models.token) if load.models.port else None
        self.model_seconds = CALLBACK_SECONDS
        window_factory.set(self.windows)
        kind = load_class(Path(load.file), load.class_name)
        check_params(kind, load.params)
        self.strategy = _made(kind, self, load)

    def loaded(self) -> Done:
        """The first answer: what kind of strategy this is, and its parameters."""
        several = isinstance(self.strategy, StrategyTemplate)
        parameters = {name: shown(value)[0] for name, value in self.strategy.get_parameters().items()}
        return self._done(show=True, parameters=parameters, several=several)

    def handle(self, call: Call) -> Done:
        """One callback. What the strategy raises passes through."""
        window_factory.set(self.windows)
        self.paused = call.paused
        if call.numbers is not None:
            self.next_number, self.end_number = call.numbers
        if call.holdings is not None:
            self._take(call.holdings)
        self.actions = []
        self.model_seconds = CALLBACK_SECONDS
        self.show = call.kind in SHOWN_AFTER
        before = self.next_number
        HANDLERS[call.kind](self, call)
        return self._done(self.show, used=self.next_number - before)

    def _take(self, holdings: dict[str, Holding]) -> None:
        self.holdings.update(holdings)
        if isinstance(self.strategy, CtaTemplate):
            self.strategy.pos = self.holdings[self.strategy.vt_symbol].net
        elif isinstance(self.strategy, StrategyTemplate):
            self.strategy.pos_data.update({name: holding.net for name, holding in holdings.items()})

    def _done(self, show: bool, used: int = 0, parameters: dict[str, Any] | None = None, several: bool = False) -> Done:
        variables: dict[str, Any] | None = None
        unsaved: list[str] = []
        if show:
            variables = {}
            for name, value in self.strategy.get_variables().items():
                variables[name], whole = shown(value)
                if not whole or name in OWNED_BY_ENGINE:
                    unsaved.append(name)
        return Done(tuple(self.actions), variables, tuple(unsaved), parameters, several, used)

    # ---- callbacks

    def on_init(self, call: Call) -> None:
        self.strategy.on_init()
        for name, value in (call.variables or {}).items():
            if name in self.strategy.variables and name not in OWNED_BY_ENGINE:
                restore(self.strategy, name, value)
        self._take(self.holdings)
        self.strategy.inited = True

    def on_start(self, call: Call) -> None:
        self.strategy.on_start()
        self.strategy.trading = True

    def on_stop(self, call: Call) -> None:
        self.strategy.on_stop()
        self.strategy.trading = False

    def on_tick(self, call: Call) -> None:
        tick = decode(TickData, call.payloads[0])
        self.now = tick.datetime
        self.strategy.on_tick(tick)

    def on_bar(self, call: Call) -> None:
        bar = decode(BarData, call.payloads[0])
        self.now = bar.datetime
        if isinstance(self.strategy, CtaTemplate):
            deliver_bar(self.strategy, bar)

    def on_bars(self, call: Call) -> None:
        bars = [decode(BarData, payload) for payload in call.payloads]
        self.now = bars[0].datetime
        if isinstance(self.strategy, StrategyTemplate):
            self.strategy.on_bars({bar.vt_symbol: bar for bar in bars})

    def on_trade(self, call: Call) -> None:
        trade = decode(TradeData, call.payloads[0])
        if isinstance(self.strategy, CtaTemplate):
            self.strategy.on_trade(trade)
        elif isinstance(self.strategy, StrategyTemplate):
            self.strategy.update_trade(trade)
            self._take(self.holdings)

    def on_order(self, call: Call) -> None:
        order = decode(OrderData, call.payloads[0])
        if isinstance(self.strategy, CtaTemplate):
            self.strategy.on_order(order)
        elif isinstance(self.strategy, StrategyTemplate):
            self.strategy.update_order(order)

    def on_stop_order(self, call: Call) -> None:
        if isinstance(self.strategy, CtaTemplate):
            self.strategy.on_stop_order(decode_stop_order(call.payloads[0]))

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
        refusal = self._refusal(vt_symbol, price, volume)
        if refusal:
            self.write_log(f"not sent: {refusal}", strategy)
            return []
        if self.paused:
            return []
        price = round_to(price, self.load.contracts[vt_symbol].price_tick)
        lots = round(volume)
        if stop:
            return [self._place_stop(vt_symbol, direction, offset, price, lots, lock, net)]
        holding = self.holdings[vt_symbol]
        wishes = split_wish(
            direction,
            offset,
            lots,
            lock=lock,
            net=net,
            holding=max(0, -direction.sign * holding.net - holding.closing),
            yesterday=holding.yesterday_short if direction is Direction.LONG else holding.yesterday_long,
        )
        return [self._send(vt_symbol, direction, part, price, number) for part, number in wishes]

    def _refusal(self, vt_symbol: str, price: float, volume: float) -> str | None:
        if vt_symbol not in self.load.contracts:
            return f"{vt_symbol} is none of this strategy's contracts ({', '.join(self.load.vt_symbols)})"
        if not 0 < price < float("inf"):
            return f"{vt_symbol}: price {price} is not a price"
        if not 0 < volume < float("inf") or round(volume) < 1:
            return f"{vt_symbol}: volume {volume} is not a number of lots"
        if self.next_number >= self.end_number - 1:
            return f"{vt_symbol}: more orders in one callback than a strategy may send"
        return None

    def _number(self) -> int:
        self.next_number += 1
        return self.next_number - 1

    def _send(self, vt_symbol: str, direction: Direction, offset: Offset, price: float, volume: int) -> str:
        name = request_id_of(self.load.strategy_name, self.load.run_id, self._number())
        self.actions.append(SendOrder(name, vt_symbol, direction, offset, price, volume))
        if offset is not Offset.OPEN:
            holding = self.holdings[vt_symbol]
            self.holdings[vt_symbol] = msgspec.structs.replace(holding, closing=holding.closing + volume)
        return name

    def _place_stop(
        self, vt_symbol: str, direction: Direction, offset: Offset, price: float, volume: int, lock: bool, net: bool
    ) -> str:
        name = f"{STOP_PREFIX}{self.load.strategy_name}.{self.load.run_id}.{self._number()}"
        stop_order = StopOrder(
            vt_symbol=vt_symbol,
            direction=direction,
            offset=offset,
            price=price,
            volume=volume,
            stop_orderid=name,
            strategy_name=self.load.strategy_name,
            datetime=self.now or datetime.min,
            lock=lock,
            net=net,
        )
        self.actions.append(PlaceStop(stop_order))
        return name

    def cancel_order(self, strategy: BaseTemplate, vt_orderid: str) -> None:
        self.actions.append(CancelOrder(vt_orderid))

    def cancel_all(self, strategy: BaseTemplate) -> None:
        self.actions.append(CancelAll())

    def write_log(self, msg: str, strategy: BaseTemplate) -> None:
        self.actions.append(WriteLog(str(msg)))

    def send_email(self, msg: str, strategy: BaseTemplate) -> None:
        self.actions.append(SendMail(str(msg)))

    def get_engine_type(self) -> EngineType:
        return EngineType.LIVE

    def get_pricetick(self, strategy: BaseTemplate, vt_symbol: str) -> float:
        return self.load.contracts[vt_symbol].price_tick

    def get_size(self, strategy: BaseTemplate, vt_symbol: str) -> int:
        return self.load.contracts[vt_symbol].size

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> Iterable[BarData]:
        return self._history(BarData, Fetch(vt_symbol, days, interval))

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[TickData], None]) -> Iterable[TickData]:
        return self._history(TickData, Fetch(vt_symbol, days, None))

    def _history(self, kind: type[M], wish: Fetch) -> Iterator[M]:
        for payload in self.fetch(wish):
            self.progressed()
            yield decode(kind, payload)

    def put_strategy_event(self, strategy: BaseTemplate) -> None:
        self.show = True

    def sync_strategy_data(self, strategy: BaseTemplate) -> None:
        self.show = True
        self.actions.append(SyncData())

    def predict(self, strategy: BaseTemplate, features: Features, timeout: float) -> Prediction:
        began = time.monotonic()
        prediction = self._predicted(strategy, features, min(timeout, self.model_seconds))
        took = time.monotonic() - began
        self.model_seconds -= took
        self.actions.append(
            Predicted(
                prediction.model,
                prediction.version,
                prediction.value,
                prediction.reason,
                features.vt_symbol,
                features.datetime,
                round(took * 1000, 3),
            )
        )
        return prediction

    def _predicted(self, strategy: BaseTemplate, features: Features, seconds: float) -> Prediction:
        now = self.now.astimezone(SHANGHAI).replace(tzinfo=None) if self.now else None
        reason = refusal(features, now, strategy.max_age)
        if reason is None:
            try:
                if self.models is None:
                    raise NoAnswer("this house has no model server")
                if seconds <= 0:
                    raise NoAnswer(f"this callback has waited {CALLBACK_SECONDS:g} s for models already")
                return self.models.ask(strategy.model, features, seconds)
            except (NoAnswer, FeatureError) as error:
                reason = str(error)
        assert strategy.fallback is not None
        return Prediction(value=strategy.fallback, model=strategy.model, reason=reason)


HANDLERS: dict[str, Callable[[Stage, Call], None]] = {
    "init": Stage.on_init,
    "start": Stage.on_start,
    "stop": Stage.on_stop,
    "tick": Stage.on_tick,
    "bar": Stage.on_bar,
    "bars": Stage.on_bars,
    "trade": Stage.on_trade,
    "order": Stage.on_order,
    "stop_order": Stage.on_stop_order,
}


def _made(kind: type[BaseTemplate], stage: Stage, load: Load) -> BaseTemplate:
    if issubclass(kind, CtaTemplate):
        return kind(stage, load.strategy_name, load.vt_symbols[0], dict(load.params))
    assert issubclass(kind, StrategyTemplate)
    return kind(stage, load.strategy_name, list(load.vt_symbols), dict(load.params))


def shown(value: Any) -> tuple[Any, bool]:
    """The value as plain data, and whether nothing was lost by that."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy number, of which one kind is a float
        return value.item(), True
    if value is None or isinstance(value, (bool, int, float, str)):
        return value, True
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [shown(item) for item in value]
        return [part for part, _ in parts], isinstance(value, list) and all(whole for _, whole in parts)
    if isinstance(value, dict):
        pairs = {str(key): shown(item) for key, item in value.items()}
        whole = all(isinstance(key, str) for key in value) and all(whole for _, whole in pairs.values())
        return {key: part for key, (part, _) in pairs.items()}, whole
    return repr(value), False


def restore(strategy: BaseTemplate, name: str, value: Any) -> None:
    """Put a kept value back; a dictionary keeps its own kind (defaultdict and the like)."""
    current = getattr(strategy, name, None)
    if isinstance(current, dict) and isinstance(value, dict):
        current.clear()
        current.update(value)
    elif value is not None:
        setattr(strategy, name, value)
