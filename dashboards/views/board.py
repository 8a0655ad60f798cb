"""Board: the console process's one picture of the stack. One connection to Web feeds it; every browser looks at it.

Each part has a revision that counts its changes, so that a page sends its browser only what is new.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

import msgspec

from arbig.client.answers import AccountSnapshot, Heartbeat, House, Orders, Positions, Strategies
from arbig.client.client import ArbigClient, ClientError
from arbig.client.feed import Feed, News
from arbig.domain.messages import BarData, OrderData, PositionData, TickData, TradeData
from arbig.runtime.clock import WallClock
from arbig.runtime.settings import Settings, load_settings

HISTORY_BARS = 1500
KEPT_TRADES = 2000
KEPT_CANDLES = 2 * HISTORY_BARS
VIEWS = {
    "status": House,
    "account": AccountSnapshot,
    "positions": Positions,
    "strategies": Strategies,
}
MINUTES = {"5m": timedelta(minutes=5), "15m": timedelta(minutes=15)}


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar as drawn. The last one of a series may still be growing."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    def after(self, tick: TickData, volume: float) -> Candle:
        price = tick.last_price
        return replace(
            self, high=max(self.high, price), low=min(self.low, price), close=price, volume=self.volume + volume
        )


def candle_of(bar: BarData) -> Candle:
    return Candle(bar.datetime, bar.open_price, bar.high_price, bar.low_price, bar.close_price, bar.volume)


@dataclass
class Series:
    """The candles of one contract and interval, oldest first. `epoch` changes when they were loaded anew."""

    candles: list[Candle] = field(default_factory=list)
    epoch: int = 0
    revision: int = 0
    last_volume: int | None = None

    def load(self, candles: Iterable[Candle]) -> None:
        self.candles = list(candles)
        self.epoch += 1
        self.revision += 1

    def put(self, candle: Candle) -> None:
        """A finished bar: it replaces the growing one of its time, or one already drawn, or comes last."""
        times = [known.time for known in self.candles[-3:]]
        place = len(self.candles) - len(times) + bisect_left(times, candle.time)
        if place < len(self.candles) and self.candles[place].time == candle.time:
            self.candles[place] = candle
        elif place == len(self.candles):
            self._append(candle)
        self.revision += 1

    def grow(self, tick: TickData, start: datetime) -> None:
        """A tick moves the candle that starts at `start`, or begins it."""
        traded = max(0, tick.volume - self.last_volume) if self.last_volume is not None else 0
        self.last_volume = tick.volume
        if self.candles and self.candles[-1].time >= start:
            self.candles[-1] = self.candles[-1].after(tick, traded)
        else:
            price = tick.last_price
            self._append(Candle(start, price, price, price, price, traded))
        self.revision += 1

    def stretch(self, tick: TickData, length: timedelta) -> None:
        """A tick inside the last window of a longer interval; the next window comes from Market."""
        if self.candles and timedelta() <= tick.datetime - self.candles[-1].time < length:
            self.candles[-1] = self.candles[-1].after(tick, 0)
            self.revision += 1

    def _append(self, candle: Candle) -> None:
        self.candles.append(candle)
        if len(self.candles) > KEPT_CANDLES:
            self.load(self.candles[-HISTORY_BARS:])

    def place_of(self, time: datetime) -> int | None:
        """The index of the candle in which something happened."""
        place = bisect_right(self.candles, time, key=lambda candle: candle.time) - 1
        return place if place >= 0 else None


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._topics: frozenset[str] = frozenset()
        self._last_bars: dict[str, BarData] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        running = [
            strategy.symbol.partition(".")[0] for strategy in (self.strategies or Strategies(strategies=[])).strategies
        ]
        return tuple(dict.fromkeys(s for s in (*self.settings.symbols, *running) if s))

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
                if name == symbol and interval == "1m":
                    series.grow(message, message.datetime.replace(second=0, microsecond=0))
                elif name == symbol:
                    series.stretch(message, MINUTES[interval])
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
            elif name == symbol:
                self.spawn(self.refresh(symbol, interval))

    def _missed_one(self, symbol: str, bar: BarData) -> bool:
        last = self._last_bars.get(symbol)
        self._last_bars[symbol] = bar
        if last is None or last.seq is None or bar.seq is None or last.trading_day != bar.trading_day:
            return False
        return bar.seq > last.seq + 1

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
            series = self.series[symbol, interval] = Series()
            self.spawn(self.load(symbol, interval))
        return series

    async def load(self, symbol: str, interval: str) -> None:
        with suppress(ClientError):
            answer = await self.client.bars(symbol, interval, limit=HISTORY_BARS)
            self.series[symbol, interval].load(candle_of(bar) for bar in answer.bars)

    async def refresh(self, symbol: str, interval: str) -> None:
        """The last windows of a longer interval, after a minute of it is finished."""
        with suppress(ClientError):
            for bar in (await self.client.bars(symbol, interval, limit=3)).bars:
                self.series[symbol, interval].put(candle_of(bar))


@cache
def shared_board() -> Board:
    """One for the process, begun by the first page."""
    board = Board(load_settings())
    board.spawn(board.run())
    return board
