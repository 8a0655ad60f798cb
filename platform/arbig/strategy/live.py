"""Live: one strategy under way. Its events stand in one queue and are answered one at a time; what they cause goes out.

The strategy's code only wishes. Numbers, positions, stop orders, the risk block and everything that must survive a
crash are kept here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import structlog

from arbig.bus.port import Entry
from arbig.domain.messages import (
    BarData,
    Direction,
    Interval,
    Offset,
    OrderData,
    OrderRequest,
    Status,
    TickData,
    TradeData,
    decode,
    encode,
    request_id_of,
)
from arbig.domain.template import STOP_PREFIX, StopOrder, StopOrderStatus, round_to, split_wish
from arbig.runtime.crash import crash_point
from arbig.store.strategies import Effects, Lots
from arbig.strategy import protection
from arbig.strategy.bars import Slicer
from arbig.strategy.configuration import RiskConfig, StrategyConfig, StrategyFile, read_file
from arbig.strategy.frames import (
    Action,
    Call,
    CancelAll,
    CancelOrder,
    Contract,
    Done,
    Fetch,
    Holding,
    Load,
    PlaceStop,
    SendMail,
    SendOrder,
    SyncData,
    WriteLog,
)
from arbig.strategy.house import House
from arbig.strategy.loader import find_class
from arbig.strategy.orders import Working, cancel_request, lots_after, order_request, refusal, wish_of
from arbig.strategy.port import Died, Misconfigured, Runner, StrategyFault
from arbig.strategy.protection import Exit
from arbig.strategy.stops import crossing_price, fires_on_bar, fires_on_tick, is_locked

log = structlog.get_logger()

BLOCK = 1000
LOW = 200
WAITING_TICKS = 64
DEATHS = 3
DEATHS_SECONDS = 60.0
SLICE_SECONDS = 0.3
SETTLING_SECONDS = 5.0


class State(StrEnum):
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ERROR = "ERROR"
    FAILED = "FAILED"


@dataclass(eq=False)
class Item:
    """One event in the queue. `done` is set when its effect is durable; `counted` says that the position we started
    from includes this fill already."""

    kind: str
    payloads: tuple[bytes, ...] = ()
    message: Any = None
    entry: Entry | None = None
    cause: str | None = None
    counted: bool = False
    done: asyncio.Future[None] | None = None


@dataclass
class Outcome:
    """What a callback's wishes amount to, before anything is written or sent."""

    requests: list[OrderRequest] = field(default_factory=list)
    stop_orders: list[StopOrder] = field(default_factory=list)
    news: list[Item] = field(default_factory=list)
    keep_variables: bool = False


class LiveStrategy:
    def __init__(self, file: StrategyFile, house: House) -> None:
        self.file = file
        self.house = house
        self.name = file.name
        self.state = State.STOPPED
        self.error: str | None = None
        self.traceback: str | None = None
        self.user_paused = False
        self.run_id = ""
        self.code_hash = ""
        self.parameters: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.kept_variables: dict[str, Any] = {}
        self.orders: dict[str, Working] = {}
        self.settling: dict[str, Working] = {}  # finished, but fills it announced have not been counted yet
        self.stop_orders: dict[str, StopOrder] = {}
        self.exits: dict[str, Exit] = {}
        self.dropped_ticks = 0
        self._config: StrategyConfig | None = file.config
        self._several = False
        self._fed_until: dict[str, datetime] = {}
        self._slicer = Slicer(frozenset())
        self._slice_timer: asyncio.Task[None] | None = None
        self._due: set[str] = set()
        self._alarmed: set[str] = set()
        self._runner: Runner | None = None
        self._load: Load | None = None
        self._told: dict[str, Holding] = {}
        self._worker_numbers = (0, 0)
        self._worker_block_is_new = False
        self._own_numbers = (0, 0)
        self._deaths: deque[float] = deque(maxlen=DEATHS + 1)
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._ticks: deque[Item] = deque()
        if file.error is not None:
            self.state, self.error = State.FAILED, file.error

    # ---- what others see

    @property
    def config(self) -> StrategyConfig | None:
        return self._config

    @property
    def legs(self) -> tuple[str, ...]:
        return self._config.legs if self._config else ()

    @property
    def risk(self) -> RiskConfig:
        return self._config.risk if self._config else RiskConfig()

    @property
    def is_live(self) -> bool:
        return self.state in (State.RUNNING, State.PAUSED)

    @property
    def paused(self) -> bool:
        return self.user_paused or not self.house.connected

    @property
    def needs_guard(self) -> bool:
        risk = self.risk
        return bool(self.stop_orders or self.exits or risk.stop_loss_pct or risk.take_profit_pct)

    def has_other_code(self, code_hash: str | None) -> bool:
        """The strategy's file is not the one that failed."""
        try:
            assert self._config is not None
            source = find_class(self.house.settings.root / "strategies", self._config.kind)
        except StrategyFault:
            return True
        return source.code_hash != code_hash

    def vt_symbol(self, symbol: str) -> str:
        return self.house.instruments.get(symbol).vt_symbol

    def describe(self) -> dict[str, Any]:
        """One entry of GET /strategies."""
        lots = {symbol: self.house.lots(self.name, symbol) for symbol in self.legs}
        first = self.legs[0] if self.legs else None
        return {
            "strategy_name": self.name,
            "class_name": self._config.kind if self._config else None,
            "symbol": first,
            "symbols": list(self.legs),
            "exchange": self._config.exchange if self._config else None,
            "file": self.file.shown,
            "enabled": self._config.enabled if self._config else False,
            "state": self.state,
            "pause_reason": self._pause_reason(),
            "pos": lots[first].volume if first else 0,
            "entry_price": lots[first].price if first else 0.0,
            "positions": {symbol: {"volume": one.volume, "price": one.price} for symbol, one in lots.items()},
            "parameters": self.parameters or (dict(self._config.params) if self._config else {}),
            "variables": self.variables,
            "risk": self.risk.model_dump(),
            "exits": {symbol: exit.reason for symbol, exit in self.exits.items()},
            "stop_orders": [msgspec.to_builtins(stop_order) for stop_order in self.stop_orders.values()],
            "working_orders": [
                {
                    "vt_orderid": name,
                    "symbol": one.request.symbol,
                    "direction": one.request.direction,
                    "offset": one.request.offset,
                    "price": one.request.price,
                    "volume": one.request.volume,
                    "traded": one.traded,
                }
                for name, one in self.orders.items()
            ],
            "error": self.error,
            "traceback": self.traceback,
            "run_id": self.run_id or None,
            "code_hash": self.code_hash or None,
            "dropped_ticks": self.dropped_ticks,
        }

    def _pause_reason(self) -> str | None:
        if self.state is not State.PAUSED:
            return None
        return "paused by a person" if self.user_paused else "disconnected from the exchange"

    # ---- events come in

    def hear_tick(self, payload: bytes, tick: TickData) -> None:
        if self._runner is None:
            return
        item = Item("tick", (payload,), cause=f"tick:{tick.symbol}:{tick.seq}")
        self._ticks.append(item)
        if len(self._ticks) > WAITING_TICKS:  # a slow strategy sees the newest ticks, and every bar and fill
            self._ticks.popleft().kind = "dropped"
            self.dropped_ticks += 1
        self._queue.put_nowait(item)

    def hear_bar(self, payload: bytes, bar: BarData) -> None:
        self._due |= {name for name, one in self._stops_of(bar.symbol) if fires_on_bar(one, bar)}
        if self._runner is None or bar.datetime <= self._fed_until.get(bar.symbol, bar.datetime - timedelta(1)):
            return
        cause = f"bar:{bar.symbol}:{bar.seq}"
        if not self._several:
            self._queue.put_nowait(Item("bar", (payload,), cause=cause))
            return
        self._put_slices(self._slicer.add(bar, payload), cause)
        if self._slicer.waiting and (self._slice_timer is None or self._slice_timer.done()):
            self._slice_timer = asyncio.get_running_loop().create_task(self._close_slices(cause))

    async def _close_slices(self, cause: str) -> None:
        """A leg that does not trade this minute must not hold up the others."""
        while self._slicer.waiting:
            minute = self._slicer.minute
            await self.house.clock.sleep(SLICE_SECONDS)
            if self._slicer.minute == minute:
                self._put_slices(self._slicer.flush(), cause)

    def _put_slices(self, whole: Iterable[tuple[bytes, ...]], cause: str) -> None:
        for payloads in whole:
            self._queue.put_nowait(Item("bars", payloads, cause=cause))

    async def hear(self, kind: str, message: TradeData | OrderData, entry: Entry, counted: bool = False) -> None:
        """A stream entry; returns when its effect is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Item(kind, (entry.payload,), message, entry, counted=counted, done=done))
        await done

    async def command(self, kind: str) -> None:
        """start, stop, pause, resume: in their turn."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Item(kind, done=done))
        await done

    def adopt(self, order: OrderData) -> None:
        """A working order from before our restart."""
        name = order.vt_orderid
        working = self.orders.get(name) or self.orders.setdefault(name, Working(wish_of(order)))
        working.hear(order)
        working.filled = working.traded

    # ---- the queue

    async def live(self) -> None:
        """Answers events, one at a time, for ever."""
        while True:
            item = await self._queue.get()
            if item.kind == "tick":
                self._ticks.popleft()
            try:
                await self._handle(item)
            except BaseException as error:
                if item.done is not None and not item.done.done():
                    item.done.set_exception(error)
                    continue
                raise
            if item.done is not None and not item.done.done():
                item.done.set_result(None)

    async def _handle(self, item: Item) -> None:
        if item.kind == "trade":
            await self._on_trade(item)
        elif item.kind == "order":
            await self._on_order(item)
        elif item.kind in COMMANDS:
            await COMMANDS[item.kind](self)
        elif item.kind != "dropped" and self.is_live:
            await self._callback(item)

    async def _callback(self, item: Item) -> None:
        """A callback that no stream entry stands behind: its signals go out at once."""
        done = await self._call(item)
        if done is None:
            return
        outcome = self._judge(done, item)
        await self.house.send(outcome.requests, self.name, kept=False)
        keep = outcome.keep_variables or item.kind != "tick"
        if outcome.stop_orders or keep:
            variables = self.kept_variables if keep else None
            await self.house.commit(Effects(self.name, variables=variables, stop_orders=tuple(outcome.stop_orders)))
        self._tell(outcome.news)

    async def _durable_callback(self, item: Item, event_id: str | None, positions: dict[str, Lots]) -> None:
        """A stream entry's callback: everything it causes is committed with the entry's identity, then sent."""
        done = await self._call(item) if self.is_live else None
        outcome = self._judge(done, item) if done is not None else Outcome()
        await self.house.commit(
            Effects(
                self.name,
                event_id,
                item.entry.id if item.entry else "",
                self.house.clock.now(),
                positions,
                self.kept_variables if done is not None else None,
                tuple(outcome.stop_orders),
                tuple(outcome.requests),
            )
        )
        crash_point("st.after_apply")
        await self.house.send(outcome.requests, self.name, kept=True)
        self._tell(outcome.news)

    async def _on_trade(self, item: Item) -> None:
        trade: TradeData = item.message
        if self.house.store.has_applied(trade.key):
            return
        before = self.house.lots(self.name, trade.symbol)
        after = before if item.counted else lots_after(before, trade)
        self.house.book[self.name, trade.symbol] = after
        self._count_fill(trade)
        await self._durable_callback(item, trade.key, {trade.symbol: after})

    def _count_fill(self, trade: TradeData) -> None:
        name = trade.vt_orderid
        working = self.orders.get(name) or self.settling.get(name)
        if working is None:
            return
        working.filled += trade.volume
        if working.filled >= working.traded:
            self.settling.pop(name, None)

    async def _on_order(self, item: Item) -> None:
        order: OrderData = item.message
        if order.event_id is not None and self.house.store.has_applied(order.event_id):
            return
        name = order.vt_orderid
        working = self.orders.get(name)
        if working is None:
            working = self.orders[name] = Working(wish_of(order))
        whole = working.hear(order)
        if not whole.is_active():
            self.orders.pop(name, None)
            if working.filled < working.traded:
                working.settles_until = self.house.clock.monotonic() + SETTLING_SECONDS
                self.settling[name] = working
            self._settle_exit(whole)
        item.payloads = (encode(whole),)
        await self._durable_callback(item, order.event_id, {})

    def _tell(self, news: list[Item]) -> None:
        for item in news:
            self._queue.put_nowait(item)

    # ---- the strategy's code

    async def _call(self, item: Item) -> Done | None:
        """One callback in the runner. A process that was killed from outside is made anew, once for this event."""
        for _ in range(2):
            if self._runner is None:
                return None
            try:
                done = await self._runner.call(self._as_call(item))
            except Died as fault:
                if not await self._revive(fault):
                    return None
            except StrategyFault as fault:
                await self._fail(fault)
                return None
            else:
                self._take(done)
                return done
        return None

    def _as_call(self, item: Item) -> Call:
        changed: dict[str, Holding] = {}
        for symbol in self.legs:
            vt_symbol = self.vt_symbol(symbol)
            holding = self.house.holding(self.name, symbol, self._closing(symbol))
            if self._told.get(vt_symbol) != holding:
                changed[vt_symbol] = self._told[vt_symbol] = holding
        numbers = self._worker_numbers if self._worker_block_is_new else None
        self._worker_block_is_new = False
        variables = self.kept_variables if item.kind == "init" else None
        return Call(
            CALLBACKS.get(item.kind, item.kind), item.payloads, self.paused, changed or None, numbers, variables
        )

    def _take(self, done: Done) -> None:
        first, end = self._worker_numbers
        self._worker_numbers = (first + done.numbers_used, end)
        if end - first - done.numbers_used < LOW:
            self._reserve_for_worker()
        if done.parameters is not None:
            self.parameters = done.parameters
        if done.variables is not None:
            self.variables = done.variables
            self.kept_variables = {name: one for name, one in done.variables.items() if name not in done.unsaved}
        if done.several:
            self._several = True

    def _reserve_for_worker(self) -> None:
        first = self.house.store.reserve(self.name, BLOCK)
        self._worker_numbers = (first, first + BLOCK)
        self._worker_block_is_new = True

    def _own_request_id(self) -> str:
        first, end = self._own_numbers
        if first == end:
            first = self.house.store.reserve(self.name, BLOCK)
            end = first + BLOCK
        self._own_numbers = (first + 1, end)
        return request_id_of(self.name, self.run_id, first)

    def _judge(self, done: Done, item: Item) -> Outcome:
        outcome = Outcome()
        for action in done.actions:
            JUDGES[type(action)](self, action, item, outcome)
        return outcome

    def _on_send(self, action: SendOrder, item: Item, outcome: Outcome) -> None:
        request = self._request(
            action.vt_orderid,
            action.vt_symbol,
            action.direction,
            action.offset,
            action.price,
            action.volume,
            item.cause,
        )
        reason = self._refusal(request)
        if reason is not None:
            self._log(f"refused: {reason}")
            outcome.news.append(Item("refused", (encode(refusal(request, reason)),)))
            return
        self.orders[request.request_id] = Working(request)
        outcome.requests.append(request)

    def _refusal(self, request: OrderRequest) -> str | None:
        """The parent's word on a signal: None lets it out."""
        if self.paused:
            return f"{self.name} is paused"
        if request.symbol in self.exits:
            return f"the risk block is closing {request.symbol} ({self.exits[request.symbol].reason})"
        limit = self.risk.max_position
        if limit is None or request.offset is not Offset.OPEN:
            return None
        sign = request.direction.sign
        held = sign * self.house.lots(self.name, request.symbol).volume
        opening = sum(
            one.unfilled
            for one in self._under_way(request.symbol)
            if one.request.direction is request.direction and one.request.offset is Offset.OPEN
        )
        if held + opening + request.volume <= limit:
            return None
        return (
            f"{request.direction} {request.volume} {request.symbol} would make {held + opening + request.volume} lots, "
            f"max_position is {limit}"
        )

    def _on_place_stop(self, action: PlaceStop, item: Item, outcome: Outcome) -> None:
        stop_order = action.stop_order
        tick = self.house.ticks.get(stop_order.vt_symbol.partition(".")[0])
        if tick is not None:
            stop_order = msgspec.structs.replace(stop_order, datetime=tick.datetime)
        self.stop_orders[stop_order.stop_orderid] = stop_order
        self._news_of_stop(stop_order, outcome)

    def _news_of_stop(self, stop_order: StopOrder, outcome: Outcome) -> None:
        outcome.stop_orders.append(stop_order)
        outcome.news.append(Item("stop_order", (msgspec.json.encode(stop_order),)))

    def _on_cancel(self, action: CancelOrder, item: Item, outcome: Outcome) -> None:
        self._cancel(action.vt_orderid, outcome)

    def _on_cancel_all(self, action: CancelAll, item: Item, outcome: Outcome) -> None:
        protecting = {exit.order for exit in self.exits.values()}
        for name in [*self.orders, *self.stop_orders]:
            if name not in protecting:
                self._cancel(name, outcome)

    def _cancel(self, name: str, outcome: Outcome) -> None:
        if name.startswith(STOP_PREFIX):
            stop_order = self.stop_orders.pop(name, None)
            if stop_order is not None:
                self._forget_stop(name)
                self._news_of_stop(msgspec.structs.replace(stop_order, status=StopOrderStatus.CANCELLED), outcome)
            return
        working = self.orders.get(name)
        if working is None:
            self._log(f"cancel: {name} is not working any more")
            return
        outcome.requests.append(cancel_request(working, self._own_request_id(), self.house.clock.now()))

    def _on_log(self, action: WriteLog, item: Item, outcome: Outcome) -> None:
        self._log(action.message)

    def _on_mail(self, action: SendMail, item: Item, outcome: Outcome) -> None:
        log.warning(action.message, strategy_name=self.name, mail=True)

    def _on_sync(self, action: SyncData, item: Item, outcome: Outcome) -> None:
        outcome.keep_variables = True

    def _log(self, message: str) -> None:
        log.info(message, strategy_name=self.name)

    def _request(
        self,
        request_id: str,
        vt_symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: int,
        cause: str | None,
        reduce_only: bool | None = None,
    ) -> OrderRequest:
        return order_request(
            request_id=request_id,
            strategy_name=self.name,
            vt_symbol=vt_symbol,
            direction=direction,
            offset=offset,
            price=price,
            volume=volume,
            now=self.house.clock.now(),
            run_id=self.run_id,
            code_hash=self.code_hash,
            account_id=self.house.settings.account_id,
            cause=cause,
            reduce_only=reduce_only,
        )

    def _closing(self, symbol: str) -> int:
        return sum(one.unfilled for one in self._under_way(symbol) if one.request.offset is not Offset.OPEN)

    def _under_way(self, symbol: str) -> list[Working]:
        """Orders that may still change the position: working ones, and finished ones with a fill yet to be counted."""
        now = self.house.clock.monotonic()
        for name in [name for name, one in self.settling.items() if one.settles_until < now]:
            del self.settling[name]
        return [one for one in (*self.orders.values(), *self.settling.values()) if one.request.symbol == symbol]

    # ---- stop orders and the risk block: on every tick, whatever the strategy's own code is doing

    async def guard(self, tick: TickData) -> None:
        if not self.house.connected or self.state not in (State.RUNNING, State.PAUSED, State.ERROR):
            return
        for name, stop_order in self._stops_of(tick.symbol):
            if name in self._due or fires_on_tick(stop_order, tick):
                await self._fire(stop_order, tick)
        await self._protect(tick)

    def _stops_of(self, symbol: str) -> list[tuple[str, StopOrder]]:
        return [(name, one) for name, one in self.stop_orders.items() if one.vt_symbol.partition(".")[0] == symbol]

    def _forget_stop(self, name: str) -> None:
        self._due.discard(name)
        self._alarmed.discard(name)

    async def _fire(self, stop_order: StopOrder, tick: TickData) -> None:
        name = stop_order.stop_orderid
        if self.user_paused and stop_order.offset is Offset.OPEN:
            return
        if is_locked(stop_order.direction, tick):
            if name not in self._alarmed:
                self._alarmed.add(name)
                await self.house.alarm(
                    f"{self.name}: {name} has triggered, but {tick.symbol} stands at its limit {tick.last_price:g}",
                    self.name,
                    tick.symbol,
                )
            return
        outcome = Outcome()
        requests = self._requests_of_stop(stop_order, tick)
        reason = next((text for one in requests if (text := self._refusal(one))), None)
        del self.stop_orders[name]
        self._forget_stop(name)
        if reason is not None:
            self._log(f"{name} has triggered and is refused: {reason}")
            self._news_of_stop(msgspec.structs.replace(stop_order, status=StopOrderStatus.CANCELLED), outcome)
            requests = []
        else:
            ids = tuple(one.request_id for one in requests)
            self.orders.update({one.request_id: Working(one) for one in requests})
            self._news_of_stop(
                msgspec.structs.replace(stop_order, status=StopOrderStatus.TRIGGERED, vt_orderids=ids), outcome
            )
            self._log(f"{name} has triggered at {tick.last_price:g}")
        await self.house.commit(Effects(self.name, stop_orders=tuple(outcome.stop_orders), requests=tuple(requests)))
        await self.house.send(requests, self.name, kept=True)
        self._tell(outcome.news)

    def _requests_of_stop(self, stop_order: StopOrder, tick: TickData) -> list[OrderRequest]:
        symbol = tick.symbol
        holding = self.house.holding(self.name, symbol, self._closing(symbol))
        long = stop_order.direction is Direction.LONG
        wishes = split_wish(
            stop_order.direction,
            stop_order.offset,
            stop_order.volume,
            lock=stop_order.lock,
            net=stop_order.net,
            holding=max(0, -stop_order.direction.sign * holding.net) - holding.closing,
            yesterday=holding.yesterday_short if long else holding.yesterday_long,
        )
        price = crossing_price(stop_order.direction, tick)
        cause = f"stop:{tick.symbol}:{tick.seq}"
        return [
            self._request(
                self._own_request_id(), stop_order.vt_symbol, stop_order.direction, offset, price, volume, cause
            )
            for offset, volume in wishes
        ]

    async def _protect(self, tick: TickData) -> None:
        symbol = tick.symbol
        exit = self.exits.get(symbol)
        if exit is None and self.risk.stop_loss_pct is None and self.risk.take_profit_pct is None:
            return
        lots = self.house.lots(self.name, symbol)
        if exit is None:
            reason = protection.breach(lots, tick.last_price, self.risk)
            if reason is None:
                return
            exit = self.exits[symbol] = Exit(reason)
            self._keep_exits()
            await self.house.alarm(f"{self.name}: closing {symbol}: {reason}", self.name, symbol)
        if not lots.volume:
            if exit.order is None or exit.order not in self.orders:
                del self.exits[symbol]
                self._keep_exits()
                self._log(f"{symbol} is flat: the risk block is done ({exit.reason})")
            return
        await self._step_exit(symbol, exit, lots, tick)

    def _keep_exits(self) -> None:
        """A close that has begun is finished after a restart, wherever the price is then."""
        self.house.store.set_exits(self.name, {symbol: exit.reason for symbol, exit in self.exits.items()})

    async def _step_exit(self, symbol: str, exit: Exit, lots: Lots, tick: TickData) -> None:
        vt_symbol = self.vt_symbol(symbol)
        price_tick = self.house.instruments.get(symbol).price_tick
        if any(one.request.request_id in self.settling for one in self._under_way(symbol)):
            return  # the fill comes before the next close, or we would close too much
        working = {name: one.request for name, one in self.orders.items() if one.request.symbol == symbol}
        now = self.house.clock.monotonic()
        step = protection.next_step(exit, lots, tick, price_tick, working, now)
        self.exits[symbol] = step.exit
        if step.alarm is not None:
            await self.house.alarm(f"{self.name}: {step.alarm}", self.name, symbol)
        outcome = Outcome()
        for name in step.cancel:
            self._cancel(name, outcome)
        if step.price is not None:
            request = self._request(
                self._own_request_id(),
                vt_symbol,
                protection.closing_direction(lots),
                Offset.CLOSE,
                round_to(step.price, price_tick),
                abs(lots.volume),
                f"tick:{symbol}:{tick.seq}",
                reduce_only=True,
            )
            self.orders[request.request_id] = Working(request)
            self.exits[symbol] = replace(step.exit, order=request.request_id)
            outcome.requests.append(request)
        await self.house.send(outcome.requests, self.name, kept=False)

    def _settle_exit(self, order: OrderData) -> None:
        for symbol, exit in self.exits.items():
            if exit.order == order.vt_orderid and order.status is Status.REJECTED:
                self.exits[symbol] = protection.refused(exit, self.house.clock.monotonic())
                self._log(f"the close of {symbol} was rejected: {order.error_msg or order.detail}")

    # ---- commands

    async def _start(self) -> None:
        """A new run: file and code are read anew."""
        if self.is_live or self.state is State.STARTING:
            return
        await self._begin(fresh=True)

    async def _continue(self) -> None:
        """After a restart of the service: the same run goes on."""
        await self._begin(fresh=False)

    async def _begin(self, fresh: bool) -> None:
        self.state, self.error, self.traceback = State.STARTING, None, None
        try:
            self._prepare(fresh)
            await self._launch()
        except StrategyFault as fault:
            await self._fail(fault)

    def _prepare(self, fresh: bool) -> None:
        self.file = read_file(self.file.path)
        config = self.file.config
        if config is None:
            raise Misconfigured(self.file.error or "")
        if config.strategy_name != self.name:
            raise Misconfigured(
                f"{self.file.shown}: strategy_name: was {self.name!r} when the service started; restart it"
            )
        self._config = config
        try:
            source = find_class(self.house.settings.root / "strategies", config.kind)
        except Misconfigured as fault:
            field_name = "class_name" if config.class_name else "strategy_name"
            raise Misconfigured(f"{self.file.shown}: {field_name}: {fault.reason}") from None
        self.code_hash = source.code_hash
        contracts = dict(self._contract(symbol) for symbol in config.legs)
        store = self.house.store
        run = store.run(self.name)
        if run is None or fresh:
            self.run_id = f"{self.house.clock.now():%Y%m%dT%H%M%S.%f}"
            store.begin(self.name, self.run_id, self.code_hash)
        else:
            self.run_id = run.run_id
        self.kept_variables = run.variables if run is not None else {}
        self.exits = {symbol: Exit(reason) for symbol, reason in (run.exits if run is not None else {}).items()}
        self.user_paused = not fresh and run is not None and run.state == State.PAUSED
        self._own_numbers = (0, 0)
        self._load = Load(
            str(source.path),
            config.kind,
            self.name,
            tuple(contracts),
            config.params,
            contracts,
            self.run_id,
        )
        self._slicer = Slicer(frozenset(contracts))

    def _contract(self, symbol: str) -> tuple[str, Contract]:
        try:
            found = self.house.instruments.get(symbol)
        except LookupError as error:
            raise Misconfigured(f"{self.file.shown}: symbol: {error}") from None
        assert self._config is not None
        if self._config.exchange not in (None, found.exchange):
            raise Misconfigured(
                f"{self.file.shown}: exchange: found {self._config.exchange}, but {symbol} trades at {found.exchange}; "
                f"write exchange: {found.exchange}"
            )
        return found.vt_symbol, Contract(found.price_tick, int(found.size))

    async def _launch(self) -> None:
        """A process with the strategy in it, initialised and started."""
        assert self._load is not None
        self._told = {}
        self._several = False
        self._reserve_for_worker()
        self._fed_until = {}
        runner = self.house.runner(self._history)
        self._runner = runner
        kept = self.kept_variables
        try:
            self._take(await runner.load(self._load))
        except Misconfigured as fault:
            raise Misconfigured(f"{self.file.shown}: {fault.reason}") from None
        self.kept_variables = kept
        for kind in ("init", "start"):
            item = Item(kind)
            done = await runner.call(self._as_call(item))
            self._take(done)
            outcome = self._judge(done, item)
            await self.house.send(outcome.requests, self.name, kept=False)
            self._tell(outcome.news)
        self._show_state()
        self._log(f"started: {', '.join(self.legs)}, run {self.run_id}")

    async def _history(self, wish: Fetch) -> tuple[bytes, ...]:
        """What `load_bar` has shown is not shown again by `on_bar`."""
        payloads = await self.house.historian(wish)
        if wish.interval is Interval.MINUTE and payloads:
            self._fed_until[wish.vt_symbol.partition(".")[0]] = decode(BarData, payloads[-1]).datetime
        return payloads

    def _show_state(self) -> None:
        self.state = State.PAUSED if self.paused else State.RUNNING
        self.house.store.set_state(self.name, State.PAUSED if self.user_paused else State.RUNNING)

    def house_changed(self) -> None:
        """Connected or disconnected: every live strategy pauses or resumes."""
        if self.is_live:
            self.state = State.PAUSED if self.paused else State.RUNNING

    async def _stop(self) -> None:
        """on_stop, cancel what works, keep the variables."""
        if self.is_live:
            await self._callback(Item("stop"))
        if self.state is not State.FAILED:
            await self._cancel_everything()
        await self._drop_runner()
        if self.state in (State.RUNNING, State.PAUSED, State.ERROR):
            self.state, self.error, self.traceback = State.STOPPED, None, None
            self.house.store.set_state(self.name, State.STOPPED)
            self._log("stopped")

    async def _pause(self) -> None:
        self.user_paused = True
        if self.is_live:
            self._show_state()

    async def _resume(self) -> None:
        self.user_paused = False
        if self.is_live:
            self._show_state()

    async def _cancel_everything(self) -> None:
        outcome = Outcome()
        self._on_cancel_all(CancelAll(), Item("stop"), outcome)
        await self.house.commit(
            Effects(self.name, stop_orders=tuple(outcome.stop_orders), requests=tuple(outcome.requests))
        )
        await self.house.send(outcome.requests, self.name, kept=True)

    async def _revive(self, fault: Died) -> bool:
        """Its process was killed from outside: a new one goes on with the variables, unless that happens often."""
        await self._drop_runner()
        now = self.house.clock.monotonic()
        self._deaths.append(now)
        if len(self._deaths) > DEATHS and now - self._deaths[0] < DEATHS_SECONDS:
            await self._fail(Died(f"its process died {len(self._deaths)} times within {DEATHS_SECONDS:g} s"))
            return False
        log.warning(f"{fault.reason}: it is started again", strategy_name=self.name)
        try:
            await self._launch()
        except StrategyFault as error:
            await self._fail(error)
            return False
        return True

    async def _fail(self, fault: StrategyFault) -> None:
        """This strategy is out; the others go on."""
        await self._drop_runner()
        self.state = State.FAILED if isinstance(fault, Misconfigured) else State.ERROR
        self.error, self.traceback = fault.reason, fault.traceback or None
        store = self.house.store
        if store.run(self.name) is not None:
            store.set_state(self.name, self.state, self.error, self.traceback)
        if self.state is State.ERROR:
            await self._cancel_everything()
        await self.house.alarm(f"{self.name}: {fault.reason}", self.name)

    async def _drop_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.close()

    async def close(self) -> None:
        """The service ends: the run stays as it is, its variables kept."""
        if self._slice_timer is not None:
            self._slice_timer.cancel()
        await self._drop_runner()


CALLBACKS = {"refused": "order"}
COMMANDS = {
    "start": LiveStrategy._start,
    "continue": LiveStrategy._continue,
    "stop": LiveStrategy._stop,
    "pause": LiveStrategy._pause,
    "resume": LiveStrategy._resume,
}
JUDGES: dict[type[Action], Any] = {
    SendOrder: LiveStrategy._on_send,
    PlaceStop: LiveStrategy._on_place_stop,
    CancelOrder: LiveStrategy._on_cancel,
    CancelAll: LiveStrategy._on_cancel_all,
    WriteLog: LiveStrategy._on_log,
    SendMail: LiveStrategy._on_mail,
    SyncData: LiveStrategy._on_sync,
}
