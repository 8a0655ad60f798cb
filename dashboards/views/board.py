"""Board: the console process's one picture of the stack. One connection to Web feeds it; every browser looks at it.

Each part has a revision that counts its changes, so that a page sends its browser only what is new.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from functools import cache, partial

import msgspec
from views.series import HISTORY_BARS, MINUTE, Series, Windows, candle_of, joined_windows
from views.tape import Tape

from arbig.client.answers import AccountSnapshot, Heartbeat, House, Orders, Positions, Strategies, Strategy
from arbig.client.client import ArbigClient, ClientError
from arbig.client.feed import Feed, News
from arbig.domain.indicators import Line, Wanted, drawn, wanted_by
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import BarData, OrderData, PositionData, TickData, TradeData
from arbig.domain.sessions import Sessions
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import WallClock
from arbig.runtime.instruments import load_instruments
from arbig.runtime.memory import settle_memory
from arbig.runtime.settings import Settings, load_settings

KEPT_TRADES = 2000
OLDER_BARS = 600
TODAY_MINUTES = 600
VIEWS = {
    "status": House,
    "account": AccountSnapshot,
    "positions": Positions,
    "strategies": Strategies,
}


class Board:
    """State only: `absorb` takes the news in, the pages read."""

    def __init__(self, settings: Settings) -> None:
        self._clock = WallClock()
        self.settings = settings
        self.client = ArbigClient(f"http://127.0.0.1:{settings.port('web')}", settings.token)
        self.feed = Feed(self.client.base_url, self.client.token)
        self.revisions: Counter[str] = Counter()
        self.trouble = "starting"
        self.status: House | None = None
        self.account: AccountSnapshot | None = None
        self.positions: Positions | None = None
        self.strategies: Strategies | None = None
        self.heartbeat: Heartbeat | None = None
        self.orders: dict[str, OrderData] = {}
        self.trades: dict[str, TradeData] = {}
        self.ticks: dict[str, TickData] = {}
        self.heard: dict[str, float] = {}
        self.series: dict[tuple[str, str], Series] = {}
        self.decimals: dict[str, int] = {}
        self.sizes: dict[str, float] = {}
        self.price_ticks: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._topics: frozenset[str] = frozenset()
        self.tapes: dict[str, Tape] = {}
        self._lines: dict[tuple[str, str, str], tuple[object, list[Line]]] = {}
        self._wants: dict[tuple[str, str], Wanted | None] = {}
        self._windows: dict[str, Windows] = {}
        self._calendar = load_calendar(settings)
        self._instruments = load_instruments(settings)
        self._last_bars: dict[str, BarData] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        running = [
            strategy.symbol.partition(".")[0] for strategy in (self.strategies or Strategies(strategies=[])).strategies
        ]
        return tuple(dict.fromkeys(s for s in (*self.settings.symbols, *running) if s))

    def windows(self, symbol: str) -> Windows:
        """Of its sessions; of a contract that our book does not know, those without a night."""
        if symbol not in self._windows:
            self._windows[symbol] = Windows(self._sessions(symbol))
        return self._windows[symbol]

    def tape(self, symbol: str) -> Tape:
        return self.tapes.setdefault(symbol, Tape())

    def _sessions(self, symbol: str) -> Sessions:
        with suppress(UnknownSymbol):
            return Sessions(self._instruments.get(symbol).night_close, self._calendar)
        return Sessions(None, self._calendar)

    def working(self) -> list[OrderData]:
        return sorted(self.orders.values(), key=lambda order: (order.symbol, -order.price))

    def marked_positions(self) -> list[PositionData]:
        """The positions at the last price: the counter's own figure is as old as the last change."""
        return [self._marked(position) for position in (self.positions.positions if self.positions else ())]

    def _marked(self, position: PositionData) -> PositionData:
        tick, size = self.ticks.get(position.symbol), self.sizes.get(position.symbol)
        if tick is None or size is None:
            return position
        gain = (tick.last_price - position.price) * position.direction.sign
        return msgspec.structs.replace(position, pnl=gain * position.volume * size)

    def pnl_by_strategy(self) -> dict[str, float]:
        """Closed and open together, since the strategy began."""
        found: dict[str, float] = {}
        for holding in self.positions.strategies if self.positions else ():
            gain = holding.pnl if holding.total_pnl is None else holding.total_pnl
            found[holding.strategy_name] = found.get(holding.strategy_name, 0.0) + gain
        return found

    def age(self) -> float:
        """Seconds since anything was heard of the market: a tick, or the Gateway's heartbeat."""
        silence = self.heartbeat.silence.get("gateway", 999.0) if self.heartbeat else 999.0
        since_beat = self._clock.monotonic() - self.heard.get("heartbeat", -999.0)
        since_tick = self._clock.monotonic() - self.heard.get("tick", -999.0)
        return min(silence + since_beat, since_tick)

    def ages(self) -> dict[str, float]:
        """Seconds since each service was heard of; `tick` is the market. What a tile shows as the age of its data."""
        beat = self._clock.monotonic() - self.heard.get("heartbeat", -999.0)
        silence = self.heartbeat.silence if self.heartbeat else {}
        return {"web": beat, "tick": self.age()} | {name: seconds + beat for name, seconds in silence.items()}

    def spawn(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        async for item in self.feed.news():
            self.heard[item.topic.partition(":")[0]] = self._clock.monotonic()
            try:
                self.absorb(item)
            except (ValueError, KeyError) as error:
                print(f"console: {item.topic}: {error}")

    def absorb(self, item: News) -> None:
        topic, _, symbol = item.topic.partition(":")
        if topic == "connected":
            self.spawn(self.resync())
        elif topic == "lost":
            self.trouble = item.read(str)
            self.revisions["trouble"] += 1
        elif topic == "orders" or topic in VIEWS:
            self._absorb_view(topic, item)
        elif topic == "heartbeat":
            self.heartbeat = item.read(Heartbeat)
            self.revisions[topic] += 1
        elif message := item.message():
            self._absorb_message(topic, symbol, message)

    def _absorb_view(self, topic: str, item: News) -> None:
        if "error" in item.read(dict):
            return
        if topic == "orders":
            self.orders = {order.request_id or order.order_id: order for order in item.read(Orders).orders}
        else:
            setattr(self, topic, item.read(VIEWS[topic]))
        self.revisions[topic] += 1
        if topic == "strategies":
            self.spawn(self.subscribe())

    def _absorb_message(self, topic: str, symbol: str, message: object) -> None:
        if isinstance(message, TickData):
            self.ticks[symbol] = message
            for (name, interval), series in self.series.items():
                start = self.windows(symbol).start_of(message.datetime, interval) if name == symbol else None
                if start is not None:
                    series.grow(message, start)
            self.tape(symbol).add(message)
        elif isinstance(message, BarData):
            self._absorb_bar(symbol, message)
        elif isinstance(message, OrderData):
            self._absorb_order(message)
        elif isinstance(message, TradeData):
            self.trades[message.key] = message
            while len(self.trades) > KEPT_TRADES:
                del self.trades[next(iter(self.trades))]
        self.revisions[topic] += 1

    def _absorb_order(self, order: OrderData) -> None:
        """Only what works is kept; Web's view of the working orders, once a second, has the last word."""
        name = order.request_id or order.order_id
        if order.is_active():
            self.orders[name] = order
        else:
            self.orders.pop(name, None)

    def _absorb_bar(self, symbol: str, bar: BarData) -> None:
        if self._missed_one(symbol, bar):
            for name, interval in self.series:
                if name == symbol:
                    self.spawn(self.load(symbol, interval))
        for (name, interval), series in self.series.items():
            if name == symbol and interval == "1m":
                series.put(candle_of(bar))
            elif name == symbol and self._ends_window(bar, interval):
                self.spawn(self.refresh(symbol, interval))

    def _ends_window(self, bar: BarData, interval: str) -> bool:
        """Another window follows its minute, or none."""
        windows = self.windows(bar.symbol)
        following = windows.start_of(bar.datetime + MINUTE, interval, closing=False)
        return following is None or following != windows.start_of(bar.datetime, interval)

    def _missed_one(self, symbol: str, bar: BarData) -> bool:
        last = self._last_bars.get(symbol)
        self._last_bars[symbol] = bar
        if last is None or last.seq is None or bar.seq is None or last.trading_day != bar.trading_day:
            return False
        return bar.seq > last.seq + 1

    # ---- what strategies read from the candles

    def readers(self, symbol: str) -> list[Strategy]:
        """The strategies of a contract that have run, those under way first."""
        known = self.strategies.strategies if self.strategies else []
        found = [one for one in known if one.run_id and symbol in re.split(r"[ ,.]+", one.symbol)]
        return sorted(found, key=lambda one: one.state.upper() not in ("RUNNING", "PAUSED"))

    def lines(self, symbol: str, interval: str, strategy_name: str) -> list[Line]:
        """What the strategy reads, over the candles of an interval; computed once for everybody."""
        strategy = next((one for one in self.readers(symbol) if one.strategy_name == strategy_name), None)
        series = self.series.get((symbol, interval))
        wanted = self._wanted(strategy) if strategy is not None else None
        if strategy is None or series is None or wanted is None or not series.candles:
            return []
        state = (series.epoch, series.revision, strategy.run_id)
        key = (symbol, interval, strategy_name)
        if key not in self._lines or self._lines[key][0] != state:
            self._lines[key] = state, drawn(wanted, strategy.parameters, series.columns())[0]
        return self._lines[key][1]

    def _wanted(self, strategy: Strategy) -> Wanted | None:
        """As the code of its run says; asked once a run."""
        key = (strategy.strategy_name, strategy.run_id or "")
        if key not in self._wants and strategy.run_id:
            self._wants[key] = None
            self.spawn(self._learn_wants(strategy, key))
        return self._wants.get(key)

    async def _learn_wants(self, strategy: Strategy, key: tuple[str, str]) -> None:
        try:
            run = await self.client.run(strategy.strategy_name, key[1])
        except ClientError:
            del self._wants[key]
            return
        self._wants[key] = wanted_by(run.get("source") or "", strategy.class_name or strategy.strategy_name)

    # ---- what is asked over HTTP

    async def resync(self) -> None:
        """After each connection: the snapshots, then the streams from where the snapshots end."""
        try:
            orders, trades = await self.client.orders(active=True), await self.client.trades()
        except ClientError as error:
            self.trouble = str(error)
            self.revisions["trouble"] += 1
            orders = trades = None
        if orders and trades:
            self.orders = {order.request_id or order.order_id: order for order in orders.orders}
            self.trades = {trade.key: trade for trade in trades.trades[-KEPT_TRADES:]}
            await self.subscribe(orders.as_of | trades.as_of)
            self.trouble = ""
        else:
            await self.subscribe({})
        self.revisions.update(("orders", "trade", "trouble"))
        await self._learn_contracts()
        for symbol, interval in list(self.series):
            await self.load(symbol, interval)

    async def _learn_contracts(self) -> None:
        with suppress(ClientError, KeyError):
            for contract in await self.client.instruments():
                tick = Decimal(str(contract["price_tick"])).normalize()
                self.decimals[contract["symbol"]] = max(0, -int(tick.as_tuple().exponent))
                self.sizes[contract["symbol"]] = contract["size"]
                self.price_ticks[contract["symbol"]] = contract["price_tick"]

    async def subscribe(self, after: dict[str, str] | None = None) -> None:
        markets = {f"{kind}:{symbol}" for kind in ("tick", "bar") for symbol in self.symbols}
        topics = frozenset(markets | {"trade", "order_status", "orders", *VIEWS})
        if topics != self._topics or after:
            self._topics = topics
            await self.feed.subscribe(topics, after)

    def candles(self, symbol: str, interval: str) -> Series:
        """The series, asked for at the first look."""
        series = self.series.get((symbol, interval))
        if series is None:
            series = Series(partial(self.windows(symbol).start_of, interval=interval))
            self.series[symbol, interval] = series
            self.spawn(self.load(symbol, interval))
        return series

    async def load(self, symbol: str, interval: str) -> None:
        """The finished bars; of a longer interval also the minutes since, as its growing candle."""
        with suppress(ClientError):
            answer = await self.client.bars(symbol, interval, limit=HISTORY_BARS)
            candles = [candle_of(bar) for bar in answer.bars]
            if interval != "1m":
                minutes = await self.client.bars(symbol, "1m", limit=TODAY_MINUTES)
                today = joined_windows(map(candle_of, minutes.bars), self.windows(symbol), interval)
                candles += [one for one in today if candles and one.time > candles[-1].time]
            self.series[symbol, interval].load(candles)

    async def load_older(self, symbol: str, interval: str) -> None:
        """What lies before the oldest candle; asked once at a time."""
        series = self.series[symbol, interval]
        first = series.first
        if series.asking or series.complete or first is None:
            return
        series.asking = True
        try:
            answer = await self.client.bars(symbol, interval, limit=OLDER_BARS, until=first.time)
            if series.first == first:
                series.put_before([candle_of(bar) for bar in answer.bars])
        except ClientError:
            return
        finally:
            series.asking = False

    async def refresh(self, symbol: str, interval: str) -> None:
        """The last windows of a longer interval, after a minute of it is finished."""
        with suppress(ClientError):
            for bar in (await self.client.bars(symbol, interval, limit=3)).bars:
                self.series[symbol, interval].put(candle_of(bar))


@cache
def shared_board() -> Board:
    """One for the process, begun by the first page."""
    board = Board(load_settings())
    settle_memory()
    board.spawn(board.run())
    return board
