"""Live: one strategy under way. Its events stand in one queue and are answered one at a time; what they cause goes out.

The strategy's code only wishes. Numbers, positions, stop orders, the risk block and everything that must survive a
crash are kept here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import structlog

from arbig.bus.delivery import dead_letter
from arbig.bus.port import Entry
from arbig.bus.topics import DEAD, STRATEGY, group_of
from arbig.domain.faults import StartAnew
from arbig.domain.instruments import Instrument
from arbig.domain.messages import (
    AlarmCode,
    BarData,
    Interval,
    OrderData,
    TickData,
    TradeData,
    decode,
    encode,
)
from arbig.domain.protection import Exit
from arbig.runtime.crash import crash_point
from arbig.runtime.loader import Misconfigured, Source, StrategyFault, find_class
from arbig.store.strategies import Begun, Effects, Lots, Run
from arbig.strategy.bars import Slicer
from arbig.strategy.configuration import StrategyConfig, StrategyFile, read_file
from arbig.strategy.desk import BLOCK, LOW, Desk, Item, Outcome
from arbig.strategy.frames import (
    Calendar,
    Call,
    Contract,
    Done,
    Fetch,
    Holding,
    Load,
    Models,
)
from arbig.strategy.guard import Guard
from arbig.strategy.house import House
from arbig.strategy.orders import lots_after
from arbig.strategy.port import Died, Runner

log = structlog.get_logger()

WAITING_TICKS = 64
PATIENCE_SECONDS = 0.05
DEATHS = 3
DEATHS_SECONDS = 60.0
SLICE_SECONDS = 0.3


class State(StrEnum):
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    ERROR = "ERROR"
    FAILED = "FAILED"
    ROLLING = "ROLLING"  # at rest while Trading moves its lots to the next contract


GUARDED = frozenset({State.RUNNING, State.PAUSED, State.ERROR})


class LiveStrategy:
    def __init__(self, file: StrategyFile, house: House) -> None:
        self.file = file
        self.house = house
        self.name = file.name
        self.state = State.STOPPED
        self.error: str | None = None
        self.traceback: str | None = None
        self.desk = Desk(file.name, house)
        self.guard = Guard(self.desk, self._tell)
        self.parameters: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.kept_variables: dict[str, Any] = {}
        self.dropped_ticks = 0
        self._config: StrategyConfig | None = file.config
        self._several = False
        self._fed_until: dict[str, datetime] = {}
        self._slicer = Slicer(frozenset())
        self._slice_timer: asyncio.Task[None] | None = None
        self._runner: Runner | None = None
        self._load: Load | None = None
        self._told: dict[str, Holding] = {}
        self._worker_numbers = (0, 0)
        self._worker_block_is_new = False
        self._deaths: deque[float] = deque(maxlen=DEATHS + 1)
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._ticks: deque[Item] = deque()
        self._kept = 0
        if file.config is not None:
            self.desk.risk = file.config.risk
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
    def is_live(self) -> bool:
        return self.state in (State.RUNNING, State.PAUSED)

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
            "risk": self.desk.risk.model_dump(),
            "exits": {symbol: exit.reason for symbol, exit in self.desk.exits.items()},
            "stop_orders": [msgspec.to_builtins(stop_order) for stop_order in self.desk.stop_orders.values()],
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
                for name, one in self.desk.orders.items()
            ],
            "error": self.error,
            "traceback": self.traceback,
            "run_id": self.desk.run_id or None,
            "code_hash": self.desk.code_hash or None,
            "dropped_ticks": self.dropped_ticks,
        }

    def _pause_reason(self) -> str | None:
        if self.state is State.ROLLING:
            return "its lots move to the next contract"
        if self.state is not State.PAUSED:
            return None
        return "paused by a person" if self.desk.user_paused else "disconnected from the exchange"

    # ---- events come in

    async def hear_tick(self, payload: bytes, tick: TickData) -> None:
        """Queued for the strategy's code; stop orders and the risk block do not wait for it."""
        self._queue_tick(payload, tick)
        if self.guard.is_needed and self.house.connected and self.state in GUARDED:
            await self.guard.hear_tick(tick)

    def _queue_tick(self, payload: bytes, tick: TickData) -> None:
        if self._runner is None or self.house.fault is not None:
            return
        item = Item("tick", (payload,), cause=f"tick:{tick.symbol}:{tick.seq}")
        self._ticks.append(item)
        if len(self._ticks) > WAITING_TICKS:  # a slow strategy sees the newest ticks, and every bar and fill
            self._ticks.popleft().kind = "dropped"
            self.dropped_ticks += 1
        self._queue.put_nowait(item)

    def hear_bar(self, payload: bytes, bar: BarData) -> None:
        self.guard.hear_bar(bar)
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
        """A stream entry; returns when its effect is durable. A strategy that takes its time must not hold up the
        others: then its entry is kept on disk, and the stream goes on."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        item = Item(kind, (entry.payload,), message, entry, counted=counted, done=done)
        self._queue.put_nowait(item)
        if not self._kept:
            await self._patience(done)
        if not done.done():
            await self.house.durably(lambda: self._keep(item, entry))
        if done.done():
            await self._let_go(item)
            done.result()

    async def _patience(self, done: asyncio.Future[None]) -> None:
        enough = asyncio.ensure_future(self.house.clock.sleep(PATIENCE_SECONDS))
        try:
            await asyncio.wait((done, enough), return_when=asyncio.FIRST_COMPLETED)
        finally:
            enough.cancel()

    def _keep(self, item: Item, entry: Entry) -> None:
        item.kept = self.house.store.receive(self.name, entry.stream, entry.id, entry.payload)
        self._kept += 1

    def hear_again(self, kind: str, message: TradeData | OrderData, entry: Entry, counted: bool, row: int) -> None:
        """What a former life kept and did not finish."""
        self._queue.put_nowait(Item(kind, (entry.payload,), message, entry, counted=counted, kept=row))
        self._kept += 1

    async def _let_go(self, item: Item) -> None:
        if item.kept is not None:
            row, item.kept = item.kept, None
            self._kept -= 1
            await self.house.durably(lambda: self.house.store.forget(row))

    async def command(self, kind: str) -> None:
        """start, stop, pause, resume: in their turn."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Item(kind, done=done))
        await done

    # ---- the queue

    async def live(self) -> None:
        """Answers events, one at a time, for ever."""
        while True:
            item = await self._queue.get()
            if item.kind == "tick":
                self._ticks.popleft()
            try:
                await self._handle(item)
            except StartAnew:
                raise
            except Exception as error:
                await self._report(item, error)
            else:
                if item.done is not None and not item.done.done():
                    item.done.set_result(None)
            await self._let_go(item)

    async def _report(self, item: Item, error: Exception) -> None:
        """To whoever waits for the item. An entry that nobody waits for any more is a dead letter."""
        if item.entry is not None and item.kept is not None:
            reason = f"{type(error).__name__}: {error}"
            log.exception(f"{item.entry.stream} {item.entry.id} is dead", strategy_name=self.name)
            letter = dead_letter(item.entry, group_of(STRATEGY), reason, self.house.clock.now())
            await self.house.bus.append([(DEAD.name, letter)])
        elif item.done is not None and not item.done.done():
            item.done.set_exception(error)
        else:
            raise error

    async def _handle(self, item: Item) -> None:
        if self.desk.is_low:
            await self.house.durably(self.desk.reserve)
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
        outcome = self.desk.judge(done, item.cause)
        await self.house.send(outcome.requests, self.name, kept=False)
        keep = outcome.keep_variables or item.kind != "tick"
        if outcome.stop_orders or outcome.predictions or outcome.predicted or keep:
            await self.house.commit(
                Effects(
                    self.name,
                    variables=self.kept_variables if keep else None,
                    stop_orders=tuple(outcome.stop_orders),
                    predictions=tuple(outcome.predictions),
                    predicted=outcome.predicted,
                )
            )
        self._tell(outcome.news)

    async def _durable_callback(self, item: Item, event_id: str | None, positions: dict[str, Lots]) -> None:
        """A stream entry's callback: everything it causes is committed with the entry's identity, then sent."""
        done = await self._call(item) if self.is_live else None
        outcome = self.desk.judge(done, item.cause) if done is not None else Outcome()
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
                tuple(outcome.predictions),
                outcome.predicted,
            )
        )
        crash_point("st.after_apply")
        await self.house.send(outcome.requests, self.name, kept=True)
        self._tell(outcome.news)

    async def _on_trade(self, item: Item) -> None:
        trade: TradeData = item.message
        if self.house.store.has_applied(trade.key):
            return
        crash_point("st.on_trade")
        before = self.house.lots(self.name, trade.symbol)
        after = before if item.counted else lots_after(before, trade)
        self.house.book[self.name, trade.symbol] = after
        self.desk.count(trade)
        await self._durable_callback(item, trade.key, {trade.symbol: after})

    async def _on_order(self, item: Item) -> None:
        order: OrderData = item.message
        if order.event_id is not None and self.house.store.has_applied(order.event_id):
            return
        whole = self.desk.hear(order)
        self.guard.hear_order(whole)
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
                await self._take(done)
                return done
        return None

    def _as_call(self, item: Item) -> Call:
        changed: dict[str, Holding] = {}
        for symbol in self.legs:
            vt_symbol = self.vt_symbol(symbol)
            holding = self.desk.holding(symbol)
            if self._told.get(vt_symbol) != holding:
                changed[vt_symbol] = self._told[vt_symbol] = holding
        numbers = self._worker_numbers if self._worker_block_is_new else None
        self._worker_block_is_new = False
        variables = self.kept_variables if item.kind == "init" else None
        return Call(
            CALLBACKS.get(item.kind, item.kind), item.payloads, self.desk.paused, changed or None, numbers, variables
        )

    async def _take(self, done: Done) -> None:
        first, end = self._worker_numbers
        self._worker_numbers = (first + done.numbers_used, end)
        if end - first - done.numbers_used < LOW:
            await self.house.durably(self._reserve_for_worker)
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

    # ---- commands

    async def _start(self) -> None:
        """A new run: file and code are read anew."""
        if self.is_live or self.state is State.STARTING:
            return
        await self._begin(fresh=True)

    async def _continue(self) -> None:
        """After a restart of the service: the same run goes on."""
        await self._begin(fresh=False)

    async def _begin(self, fresh: bool, paused: bool = False) -> None:
        self.state, self.error, self.traceback = State.STARTING, None, None
        try:
            await self.house.durably(lambda: self._prepare(fresh))
            self.desk.user_paused |= paused
            await self._launch()
        except StrategyFault as fault:
            await self._fail(fault)

    async def rehearse(self, config: StrategyConfig) -> Source:
        """Whether a strategy of this configuration would start: contracts, code, parameters. Nothing is written, and
        its own code runs no further than to be made. Raises StrategyFault."""
        self._config = config
        source = self._source()
        runner = self.house.runner(self._history)
        try:
            await runner.load(self._load_of(source, "rehearsal"))
        finally:
            await runner.close()
        return source

    def _reread(self) -> StrategyConfig:
        self.file = read_file(self.file.path)
        config = self.file.config
        if config is None:
            raise Misconfigured(self.file.error or "")
        if config.strategy_name != self.name:
            raise Misconfigured(
                f"{self.file.shown}: strategy_name: was {self.name!r} when the service started; restart it"
            )
        self._config = config
        self.desk.risk = config.risk
        return config

    def _prepare(self, fresh: bool) -> None:
        config = self._reread()
        source = self._source()
        store = self.house.store
        run = store.run(self.name)
        begins = run is None or fresh
        now = self.house.clock.now()
        run_id = f"{now:%Y%m%dT%H%M%S.%f}" if begins else run.run_id  # type: ignore[union-attr]
        self._load = self._load_of(source, run_id)
        if begins:
            store.begin(
                Begun(self.name, run_id, config.kind, source.code_hash, config.legs, config.params, now), source.text
            )
        self.desk.begin(run_id, source.code_hash)
        self.kept_variables = run.variables if run is not None else {}
        self.desk.exits = exits_of(run)
        self.desk.user_paused = not fresh and run is not None and run.state == State.PAUSED
        self._slicer = Slicer(frozenset(self._load.contracts))

    def _source(self) -> Source:
        config = self._config
        assert config is not None
        try:
            return find_class(self.house.settings.root / "strategies", config.kind)
        except Misconfigured as fault:
            field_name = "class_name" if config.class_name else "strategy_name"
            raise Misconfigured(f"{self.file.shown}: {field_name}: {fault.reason}") from None

    def _load_of(self, source: Source, run_id: str) -> Load:
        config = self._config
        assert config is not None
        contracts = dict(self._contract(symbol) for symbol in config.legs)
        calendar = self.house.calendar
        return Load(
            str(source.path),
            config.kind,
            self.name,
            tuple(contracts),
            config.params,
            contracts,
            run_id,
            Calendar(tuple(calendar.days), tuple(calendar.no_night)),
            Models(self.house.settings.port("ml"), self.house.settings.ml_token),
        )

    def _contract(self, symbol: str) -> tuple[str, Contract]:
        try:
            found = self.house.instruments.get(symbol)
        except LookupError as error:
            raise Misconfigured(f"{self.file.shown}: symbol: {error}") from None
        self._check_expiry(found)
        assert self._config is not None
        if self._config.exchange not in (None, found.exchange):
            raise Misconfigured(
                f"{self.file.shown}: exchange: found {self._config.exchange}, but {symbol} trades at {found.exchange}; "
                f"write exchange: {found.exchange}"
            )
        return found.vt_symbol, Contract(found.price_tick, int(found.size), found.night_close)

    def _check_expiry(self, contract: Instrument) -> None:
        day = self.house.trading_day
        if day is not None and contract.last_trading_day < day:
            main = self.house.instruments.main_contract(contract.product, day)
            raise Misconfigured(
                f"{self.file.shown}: symbol: {contract.symbol} expired on {contract.last_trading_day}; "
                f"the main contract is {main}; write symbol: {main}"
            )

    async def _expire(self) -> None:
        """A new trading day: a contract of its own may have had its last one."""
        try:
            for symbol in self.legs if self.is_live else ():
                self._check_expiry(self.house.instruments.get(symbol))
        except Misconfigured as fault:
            await self._fail(fault)

    async def _launch(self) -> None:
        """A process with the strategy in it, initialised and started."""
        assert self._load is not None
        self._told = {}
        self._several = False
        await self.house.durably(self._reserve_for_worker)
        self._fed_until = {}
        runner = self.house.runner(self._history)
        self._runner = runner
        kept = self.kept_variables
        try:
            await self._take(await runner.load(self._load))
        except Misconfigured as fault:
            raise Misconfigured(f"{self.file.shown}: {fault.reason}") from None
        self.kept_variables = kept
        for kind in ("init", "start"):
            item = Item(kind)
            done = await runner.call(self._as_call(item))
            await self._take(done)
            outcome = self.desk.judge(done, item.cause)
            await self.house.send(outcome.requests, self.name, kept=False)
            if outcome.predictions:
                await self.house.commit(
                    Effects(self.name, predictions=tuple(outcome.predictions), predicted=outcome.predicted)
                )
            self._tell(outcome.news)
        await self._show_state()
        self.desk.log(f"started: {', '.join(self.legs)}, run {self.desk.run_id}")

    async def _history(self, wish: Fetch) -> tuple[bytes, ...]:
        """What `load_bar` has shown is not shown again by `on_bar`."""
        payloads = await self.house.historian(wish)
        if wish.interval is Interval.MINUTE and payloads:
            self._fed_until[wish.vt_symbol.partition(".")[0]] = decode(BarData, payloads[-1]).datetime
        return payloads

    async def _show_state(self) -> None:
        self._pause_or_run()
        kept = State.PAUSED if self.desk.user_paused else State.RUNNING
        await self.house.durably(lambda: self.house.store.set_state(self.name, kept))

    def house_changed(self) -> None:
        """Connected or disconnected: every live strategy pauses or resumes."""
        if self.is_live:
            self._pause_or_run()

    def _pause_or_run(self) -> None:
        self.state = State.PAUSED if self.desk.paused else State.RUNNING

    def out(self, run: Run) -> None:
        """It failed in a former life, and its code is the same: it stays out, what guards its position goes on."""
        self.state, self.error, self.traceback = State.ERROR, run.error, run.traceback
        self.desk.begin(run.run_id, run.code_hash or "")
        self.desk.exits = exits_of(run)

    async def _stop(self) -> None:
        """on_stop, cancel what works, keep the variables."""
        if self.is_live:
            await self._callback(Item("stop"))
        self.desk.exits.clear()
        if self.state is not State.FAILED:
            await self._cancel_everything()
        await self._drop_runner()
        store = self.house.store
        await self.house.durably(lambda: store.set_exits(self.name, {}))
        if self.state in (State.RUNNING, State.PAUSED, State.ERROR):
            self.state, self.error, self.traceback = State.STOPPED, None, None
            await self.house.durably(lambda: store.set_state(self.name, State.STOPPED))
            self.desk.log("stopped")

    async def _hold(self) -> None:
        """At rest until it is bound to a contract again: nothing works, no code runs, variables are kept."""
        if self.state is State.ROLLING:
            return
        await self._stop()
        await self._rest(State.ROLLING)

    async def _release(self) -> None:
        """Bound, and to stay at rest."""
        await self.house.durably(self._reread)
        await self._rest(State.STOPPED)

    async def _rest(self, state: State) -> None:
        self.state, self.error, self.traceback = state, None, None
        await self.house.durably(lambda: self.house.store.set_state(self.name, state))

    async def _begin_paused(self) -> None:
        """A new run that sends nothing yet."""
        await self._begin(fresh=True, paused=True)

    async def _pause(self) -> None:
        self.desk.user_paused = True
        if self.is_live:
            await self._show_state()

    async def _resume(self) -> None:
        self.desk.user_paused = False
        if self.is_live:
            await self._show_state()

    async def _cancel_everything(self) -> None:
        """The cancels go first: they need not wait for a disk that may be full."""
        outcome = Outcome()
        self.desk.cancel_all(outcome)
        await self.house.send(outcome.requests, self.name, kept=False)
        await self.house.commit(Effects(self.name, stop_orders=tuple(outcome.stop_orders)))

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
        """This strategy is out; the others go on. Its orders are cancelled before it is written down as out: a crash
        between the two makes it fail again."""
        await self._drop_runner()
        self.state = State.FAILED if isinstance(fault, Misconfigured) else State.ERROR
        self.error, self.traceback = fault.reason, fault.traceback or None
        if self.state is State.ERROR:
            await self._cancel_everything()
        store = self.house.store
        await self.house.durably(lambda: store.set_state(self.name, self.state, self.error, self.traceback))
        await self.house.alarm(f"{self.name}: {fault.reason}", self.name, code=AlarmCode.STRATEGY)

    async def _drop_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.close()

    async def close(self) -> None:
        """The service ends: the run stays as it is, its variables kept."""
        if self._slice_timer is not None:
            self._slice_timer.cancel()
        await self._drop_runner()


def exits_of(run: Run | None) -> dict[str, Exit]:
    return {symbol: Exit(reason) for symbol, reason in (run.exits if run is not None else {}).items()}


CALLBACKS = {"refused": "order"}
COMMANDS = {
    "start": LiveStrategy._start,
    "continue": LiveStrategy._continue,
    "stop": LiveStrategy._stop,
    "pause": LiveStrategy._pause,
    "resume": LiveStrategy._resume,
    "expire": LiveStrategy._expire,
    "hold": LiveStrategy._hold,
    "release": LiveStrategy._release,
    "begin paused": LiveStrategy._begin_paused,
}
