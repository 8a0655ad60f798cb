"""StrategyEngine: all strategies of the house: which there are, what they own, who hears what, who pauses when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog

from arbig.bus.port import Entry, Handler, entry_key
from arbig.bus.topics import EVENT, ORDER_STATUS, POSITION, TRADE
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import (
    BarData,
    EventData,
    EventType,
    Interval,
    OrderData,
    PositionData,
    TickData,
    TradeData,
    decode,
    encode,
)
from arbig.runtime.http import CallError
from arbig.store.strategies import Effects, Lots
from arbig.strategy.bars import BarCursor
from arbig.strategy.configuration import read_files
from arbig.strategy.frames import Fetch
from arbig.strategy.house import House
from arbig.strategy.live import LiveStrategy, State
from arbig.strategy.orders import lots_after, lots_moved

log = structlog.get_logger()

Ask = Callable[..., Awaitable[Any]]
BACKFILL_TRIES = 5
BARS_OF = {Interval.MINUTE: "1m", Interval.HOUR: "1h", Interval.DAILY: "d"}


class StrategyEngine:
    def __init__(self, house: House, ask: Ask) -> None:
        self.house = house
        self.ask = ask
        self.strategies: dict[str, LiveStrategy] = {}
        self._by_symbol: dict[str, list[LiveStrategy]] = {}
        self._cursors: dict[str, BarCursor] = {}
        self._held: dict[str, list[tuple[bytes, BarData]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._as_of: dict[str, str] = {}
        self._book_changes = 0
        self.bars_refilled = 0

    # ---- who there is

    def read(self) -> None:
        """The files of `config/strategies/`; a bad one is said and stands for itself."""
        for file in read_files(self.house.settings.config / "strategies"):
            self.add(LiveStrategy(file, self.house))
            if file.error is not None:
                log.error(file.error, strategy_name=file.name)

    def add(self, live: LiveStrategy) -> None:
        live.desk.stop_orders = {one.stop_orderid: one for one in self.house.store.waiting_stop_orders(live.name)}
        self.strategies[live.name] = live
        self.follow(live)

    async def remove(self, live: LiveStrategy) -> None:
        """A stopped strategy leaves the house; lots it still holds stay in its name."""
        await self.house.durably(lambda: self.house.store.remove(live.name))
        del self.strategies[live.name]
        for hearers in self._by_symbol.values():
            if live in hearers:
                hearers.remove(live)

    def follow(self, live: LiveStrategy) -> bool:
        """Send it its contracts' data and no other's; True when nobody had listened to one of them before."""
        before = self.symbols
        for hearers in self._by_symbol.values():
            if live in hearers:
                hearers.remove(live)
        for symbol in live.legs:
            hearers = self._by_symbol.setdefault(symbol, [])
            if live not in hearers:
                hearers.append(live)
            self._cursors.setdefault(symbol, BarCursor())
        return self.symbols != before

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self._by_symbol))

    def wanted(self) -> list[LiveStrategy]:
        """Those that shall trade: what a person stopped stays stopped, what failed waits for another code or file."""
        return [live for live in self.strategies.values() if self._is_wanted(live)]

    def _is_wanted(self, live: LiveStrategy) -> bool:
        if live.config is None:
            return False
        run = self.house.store.run(live.name)
        if run is None:
            return live.config.enabled
        if run.state == State.STOPPED:
            return False
        if run.state == State.ROLLING:
            live.state = State.ROLLING
            return False
        if run.state == State.ERROR and not live.has_other_code(run.code_hash):
            live.out(run)
            return False
        return True

    # ---- the start sequence (specification 2.4)

    async def resync(self) -> None:
        """Positions and orders from Trading, with the place in the streams up to which they are told."""
        last_ids = {topic.name: await self.house.bus.last_id(topic.name) for topic in (TRADE, ORDER_STATUS)}
        answer = await self.ask("trading", "GET", "/positions")
        if answer.get("epoch") not in (None, await self.house.bus.epoch()):
            raise CallError("Trading has still to resynchronise, for Redis has lost its data")
        self._as_of = {**last_ids, **answer["as_of"]}
        self._book_changes = int(answer.get("book_changes", 0))
        book = {
            (one["strategy_name"], one["symbol"]): Lots(int(one["volume"]), float(one["price"]))
            for one in answer["strategies"]
        }
        for entry in await self._trades_after(self._as_of[TRADE.name]):
            trade = decode(TradeData, entry.payload)
            if self.house.store.has_applied(trade.key):
                key = (trade.strategy_name, trade.symbol)
                book[key] = lots_after(book.get(key, Lots()), trade)
        self._compare(book)
        self.house.book = book
        rows = [(name, symbol, lots) for (name, symbol), lots in book.items()]
        await self.house.durably(lambda: self.house.store.set_positions(rows))
        for position in answer["positions"]:
            self.on_position(msgspec.convert(position, PositionData))
        orders = await self.ask("trading", "GET", "/orders", params={"active": "true"})
        for order in (msgspec.convert(one, OrderData) for one in orders["orders"]):
            live = self.strategies.get(order.strategy_name)
            if live is not None and order.is_active():
                live.desk.adopt(order)
        clock = await self.ask("gateway", "GET", "/clock")
        self.house.trading_day = date.fromisoformat(clock["trading_day"]) if clock["trading_day"] else None
        state = await self.ask("trading", "GET", "/state")
        self.set_connected(bool(state["reconciled"]))

    async def _trades_after(self, entry_id: str) -> list[Entry]:
        found: list[Entry] = []
        while page := await self.house.bus.read(TRADE.name, entry_id):
            found += page
            entry_id = page[-1].id
        return found

    def _compare(self, book: dict[tuple[str, str], Lots]) -> None:
        """Trading is right; a difference from what we had is said."""
        ours = self.house.store.positions()
        for key in ours.keys() | book.keys():
            had, has = ours.get(key, Lots()).volume, book.get(key, Lots()).volume
            if key in ours and had != has:
                log.warning(f"{key[1]}: had {had} lots, Trading says {has}", strategy_name=key[0])

    # ---- market data

    async def on_tick(self, payload: bytes) -> None:
        tick = decode(TickData, payload)
        self.house.ticks[tick.symbol] = tick
        for live in self._by_symbol.get(tick.symbol, ()):
            await live.hear_tick(payload, tick)

    def on_bar(self, payload: bytes) -> None:
        bar = decode(BarData, payload)
        if bar.symbol in self._held:
            self._held[bar.symbol].append((payload, bar))
            return
        cursor = self._cursors.setdefault(bar.symbol, BarCursor())
        if cursor.is_old(bar):
            return
        if cursor.follows(bar):
            self._deliver(payload, bar)
            return
        self._held[bar.symbol] = [(payload, bar)]
        task = asyncio.get_running_loop().create_task(self._backfill(bar.symbol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _deliver(self, payload: bytes, bar: BarData) -> None:
        cursor = self._cursors[bar.symbol]
        if cursor.is_old(bar):
            return
        cursor.last = bar
        for live in self._by_symbol.get(bar.symbol, ()):
            live.hear_bar(payload, bar)

    async def _backfill(self, symbol: str) -> None:
        """Fetch what is missing before the held bars, then deliver everything in order."""
        cursor = self._cursors[symbol]
        held = self._held[symbol]
        try:
            await self._refill(symbol, cursor, held[0][1])
        finally:
            del self._held[symbol]
        for payload, bar in held:
            self._deliver(payload, bar)

    async def _refill(self, symbol: str, cursor: BarCursor, bar: BarData) -> None:
        assert cursor.last is not None
        new_day = bar.trading_day != cursor.last.trading_day
        for attempt in range(BACKFILL_TRIES):
            try:
                bars, _ = await self._bars(symbol, Interval.MINUTE, cursor.last.datetime)
            except CallError as error:
                log.warning(f"{cursor.gap(bar)}: {error}")
                await self.house.clock.sleep(0.2 * 2**attempt)
                continue
            for one in bars:
                if not cursor.is_old(one) and one.datetime < bar.datetime:
                    self.bars_refilled += 1
                    self._deliver(encode(one), one)
            break
        if not cursor.follows(bar) and not new_day:
            await self.house.alarm(f"{cursor.gap(bar)} are missing: Market does not have them", symbol=symbol)

    async def _bars(self, symbol: str, interval: Interval, since: datetime) -> tuple[list[BarData], list[Any]]:
        params = {"interval": BARS_OF[interval], "since": since.replace(tzinfo=None).isoformat(timespec="seconds")}
        answer = await self.ask("market", "GET", f"/bars/{symbol}", params=params)
        return [msgspec.convert(one, BarData) for one in answer["bars"]], answer["gaps"]

    async def history(self, wish: Fetch) -> tuple[bytes, ...]:
        """`load_bar`: what Market has of the last days. Gaps are named. The specification keeps no ticks."""
        symbol = wish.vt_symbol.partition(".")[0]
        if wish.interval is None:
            log.warning(f"load_tick: {symbol}: ticks are not kept; nothing to load")
            return ()
        clock = await self.ask("gateway", "GET", "/clock")
        now = datetime.fromisoformat(clock["session_time"])
        bars, gaps = await self._bars(symbol, wish.interval, now - timedelta(days=wish.days))
        for gap in gaps:
            log.warning(f"{symbol}: history has a gap: {gap}")
        cursor = self._cursors.setdefault(symbol, BarCursor())
        if wish.interval is Interval.MINUTE and bars and cursor.last is None:
            cursor.last = bars[-1]
        return tuple(encode(bar) for bar in bars)

    # ---- streams

    async def finish(self) -> None:
        """First what a former life received and did not come to: as if it had just been delivered."""
        for row, name, stream, entry_id, payload in self.house.store.kept():
            entry = Entry(stream, entry_id, payload)
            live = self.strategies.get(name)
            if live is None:
                await self.handlers[entry.stream](entry)
                await self.house.durably(partial(self.house.store.forget, row))
            elif entry.stream == TRADE.name:
                live.hear_again("trade", decode(TradeData, entry.payload), entry, self._is_counted(entry), row)
            else:
                live.hear_again("order", decode(OrderData, entry.payload), entry, False, row)

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            TRADE.name: self.on_trade,
            ORDER_STATUS.name: self.on_order,
            POSITION.name: self.on_position_entry,
            EVENT.name: self.on_event,
        }

    def _is_counted(self, entry: Entry) -> bool:
        """The positions we started from include this fill."""
        return entry_key(entry.id) <= entry_key(self._as_of[TRADE.name])

    async def on_trade(self, entry: Entry) -> None:
        trade = decode(TradeData, entry.payload)
        counted = self._is_counted(entry)
        live = self.strategies.get(trade.strategy_name)
        if live is not None:
            await live.hear("trade", trade, entry, counted)
        elif trade.strategy_name and not self.house.store.has_applied(trade.key):
            key = (trade.strategy_name, trade.symbol)
            before = self.house.book.get(key, Lots())
            after = before if counted else lots_after(before, trade)
            await self.house.commit(
                Effects(trade.strategy_name, trade.key, entry.id, self.house.clock.now(), {trade.symbol: after})
            )
            self.house.book[key] = after

    async def on_order(self, entry: Entry) -> None:
        order = decode(OrderData, entry.payload)
        live = self.strategies.get(order.strategy_name)
        if live is not None:
            await live.hear("order", order, entry)

    async def on_position_entry(self, entry: Entry) -> None:
        self.on_position(decode(PositionData, entry.payload))

    def on_position(self, position: PositionData) -> None:
        """The newest snapshot wins, in whatever order they are delivered."""
        key = (position.symbol, position.direction)
        known = self.house.account.get(key)
        if known is None or not 0 < position.number <= known.number:
            self.house.account[key] = position

    async def on_event(self, entry: Entry) -> None:
        event = decode(EventData, entry.payload)
        if event.event is EventType.DISCONNECTED:
            self.set_connected(False)
        elif event.event is EventType.RECONCILED:
            self.set_connected(True)
        elif event.event is EventType.TRADING_DAY:
            await self.house.durably(self.house.store.trim)
            if event.trading_day is not None:
                await self._turn_to(event.trading_day)
        elif event.event is EventType.BOOK:
            await self._on_book(event, entry)
        elif event.event is EventType.EXTERNAL:
            log.warning(event.message, strategy_name=event.strategy_name, symbol=event.symbol)

    async def _on_book(self, event: EventData, entry: Entry) -> None:
        """Lots that came to a strategy, or left it, without a fill. Once; the positions we started from may have it."""
        name, symbol, event_id = event.strategy_name, event.symbol, event.event_id
        if not (name and symbol and event_id) or self.house.store.has_applied(event_id):
            return
        before = self.house.lots(name, symbol)
        is_new = (event.number or 0) > self._book_changes
        after = lots_moved(before, event.volume or 0, event.price or 0.0) if is_new else before
        self.house.book[name, symbol] = after
        await self.house.commit(Effects(name, event_id, entry.id, self.house.clock.now(), {symbol: after}))
        log.info(f"{symbol}: {before.volume:+d} -> {after.volume:+d} lots: {event.message}", strategy_name=name)

    async def _turn_to(self, day: date) -> None:
        """Lots of a contract that has had its last day are settled, nobody holds them; its strategies are out."""
        self.house.trading_day = day
        settled = {key for key, lots in self.house.book.items() if lots.volume and self._is_expired(key[1], day)}
        if settled:
            self.house.book = {key: Lots() if key in settled else lots for key, lots in self.house.book.items()}
            rows = [(name, symbol, lots) for (name, symbol), lots in self.house.book.items()]
            await self.house.durably(lambda: self.house.store.set_positions(rows))
        for live in self.strategies.values():
            task = asyncio.get_running_loop().create_task(live.command("expire"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_expired(self, symbol: str, day: date) -> bool:
        try:
            return self.house.instruments.get(symbol).last_trading_day < day
        except UnknownSymbol:
            return False

    def set_connected(self, connected: bool) -> None:
        """Specification 5.2: no new signal while disconnected; on again after reconciliation."""
        if connected != self.house.connected:
            log.info("strategies resume: reconciled" if connected else "strategies pause: disconnected")
        self.house.connected = connected
        for live in self.strategies.values():
            live.house_changed()

    def describe(self) -> dict[str, Any]:
        return {"strategies": [live.describe() for live in self.strategies.values()]}

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(live.close() for live in self.strategies.values()))
