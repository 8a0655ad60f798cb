"""Market. In: tick:*, hb:gateway, stream:event. Out: bar:*, data/bars. Keeps: one unfinished bar per symbol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from typing import ClassVar

import msgspec
from fastapi import FastAPI, Response
from pydantic import Field

from arbig.bus.port import Bus, BusError, Entry, entry_key
from arbig.bus.topics import BAR, EVENT, GATEWAY, MARKET, group_of
from arbig.domain.bars import Link
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import BarData, EventData, EventType, TickData, decode, encode
from arbig.market.builder import BarBuilder
from arbig.market.cache import MarketCache
from arbig.market.complaints import Complaints
from arbig.market.datafeed import DatafeedConfig, feed_of
from arbig.market.history import Ask, History, on_wire
from arbig.market.hours import Hours
from arbig.market.journal import TickJournal
from arbig.market.queries import Gap, QueryError, answer, question
from arbig.market.recording import Recorder
from arbig.market.subscriber import Received, TickSubscriber
from arbig.market.tape import cut_of, ticks_of
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.http import CallError, call
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings, SettingsError, folder
from arbig.store.bars import BarFileError, BarStore

log = logging.getLogger(__name__)


class MarketConfig(Config):
    """`config/market.yaml`, which may be left out."""

    history_days: int = Field(10, ge=0, le=250)
    datafeed: DatafeedConfig | None = Field(None, examples=[{"name": "tushare"}])


class MarketService(Service):
    name: ClassVar[str] = MARKET
    needs: ClassVar[str | None] = GATEWAY

    def __init__(self, settings: Settings, bus: Bus, clock: Clock, ask: Ask | None = None) -> None:
        """`ask` puts a question to the Gateway."""
        super().__init__(settings, bus, clock)
        config = load_yaml_model(settings.config / "market.yaml", MarketConfig)
        self._ask = ask or partial(call, settings, GATEWAY)
        self._hours = Hours(load_instruments(settings), load_calendar(settings))
        self._store = BarStore(folder(settings.data / "bars"))
        self._cache = MarketCache(self._store)
        kept = folder(settings.data / "market")
        self._recorder = Recorder(kept / "finished", settings.data / "ticks", clock)
        self._journal = TickJournal(kept, self._recorder.take if settings.record_ticks else None)
        self._builder = BarBuilder(self._hours, self._journal, self._last_stored, clock)
        elsewhere = feed_of(config.datafeed, self._hours, kept / "datafeed") if config.datafeed else None
        self._history = History(self._ask, self._hours, self._store, self._cache, config.history_days, elsewhere)
        self._subscriber = TickSubscriber(bus, clock)
        self._unstored = Complaints(clock, "bars that cannot be stored are held in memory")
        self._unpublished = Complaints(clock, "bars not published; readers fetch them over HTTP")
        self._held: list[BarData] = []
        self._mending = False
        self._bars = 0
        self._filling: dict[str, asyncio.Task[int]] = {}
        self._events_seen = "0-0"
        self._rate = _Rate(clock)

    async def start(self) -> None:
        self._check(self.settings.symbols)
        self._events_seen = await self.bus.last_id(EVENT.name)
        trading_day, connected = await self._exchange_clock()
        await self._deliver(self._builder.restore(trading_day))
        if not self._held:
            self._builder.forget_past_days()
        self._builder.begin(self.settings.symbols)
        if not connected:
            self._builder.on_link(Link.DOWN)
        self.spawn(self._recorder.live(), "recording")
        standing = asyncio.Event()
        self.spawn(self._subscribe(standing), "ticks")
        self.spawn(self.bus.consume(group_of(MARKET), {EVENT.name: self._on_event}), "events")
        await standing.wait()
        for symbol in tuple(self._builder.generators):
            await self._filled(symbol)

    async def stop(self) -> None:
        await self.cancel_tasks()
        self._journal.close()
        self._store.close()

    async def _exchange_clock(self) -> tuple[date, bool]:
        """The exchange's trading day, and whether the Gateway is connected to it."""
        unknown = Complaints(self.clock, "waiting for the exchange's trading day")
        while True:
            try:
                clock = await self._ask("GET", "/clock")
                if clock["trading_day"] is not None:
                    return date.fromisoformat(clock["trading_day"]), bool(clock["connected"])
                unknown.add("the Gateway has not logged in yet")
            except CallError as error:
                unknown.add(str(error))
            await self.clock.sleep(0.2)

    def _check(self, symbols: Sequence[str]) -> None:
        try:
            for symbol in symbols:
                self._hours.of(symbol)
        except UnknownSymbol as error:
            raise SettingsError(f"config/arbig.yaml: symbols: {error}") from None

    async def _subscribe(self, standing: asyncio.Event) -> None:
        async for batch in self._subscriber.batches():
            if batch:
                await self.on_batch(batch)
            elif standing.is_set():
                self._builder.on_silence()
            standing.set()

    async def on_batch(self, batch: Sequence[Received]) -> None:
        """Ticks and heartbeats in the order they were published."""
        bars = self._builder.on_batch(batch)
        crash_point("market.after_journal")
        for _, event in batch:
            if type(event) is TickData:
                self._cache.take(event)
            else:
                self._rate.count(self._builder.ticks)
        if bars or self._held:
            await self._deliver(bars)
        for symbol in self._builder.generators.keys() - self._filling.keys():
            self._filled(symbol)

    async def _deliver(self, bars: Sequence[BarData]) -> None:
        """Into the files first, then to whoever listens."""
        if any(bar.partial for bar in bars):
            bars = await self._mended(bars)
        self._store_bars(bars)
        crash_point("market.after_csv")
        if not bars:
            return
        self._bars += len(bars)
        try:
            await self.bus.publish([(BAR.of(bar.symbol), encode(bar)) for bar in bars])
        except BusError as error:
            self._unpublished.add(str(error))

    async def _mended(self, bars: Sequence[BarData]) -> Sequence[BarData]:
        """What was missed is asked for before the partial bars are stored: a stored bar is never changed."""
        self._mending = True
        try:
            bars = await self._history.mend(bars, self._builder.is_over)
        finally:
            self._mending = False
        self._builder.on_mended(bars)
        return bars

    def _store_bars(self, bars: Sequence[BarData]) -> None:
        """A full disk stops no bar: what cannot be written is held and tried again with the next ones."""
        self._held.extend(bars)
        try:
            self._cache.add(bars)
            self._store.append(self._held)
            self._held.clear()
        except BarFileError as error:
            self._unstored.add(str(error))
            return
        if any(bar.seq == 1 for bar in bars):
            self._builder.forget_past_days()

    def _filled(self, symbol: str) -> asyncio.Task[int]:
        """The fetching of a symbol's earlier days, begun when the symbol is first seen or first asked for."""
        if symbol not in self._filling:
            self._builder.begin((symbol,))
            day = self._builder.trading_day
            assert day is not None
            self._filling[symbol] = self.spawn(self._history.fill(symbol, day), f"history of {symbol}")
        return self._filling[symbol]

    async def _on_event(self, entry: Entry) -> None:
        event = decode(EventData, entry.payload)
        if entry_key(entry.id) <= entry_key(self._events_seen):
            return  # from before this run: the exchange's clock has said how things stand
        if event.event is EventType.DISCONNECTED and event.source == GATEWAY:
            self._builder.on_link(Link.DOWN)
        elif event.event is EventType.CONNECTED and event.source == GATEWAY:
            self._builder.on_silence()
            self._builder.on_link(Link.UP)
        elif event.event is EventType.SETTLED and event.trading_day is not None and not (self._held or self._mending):
            self._builder.on_settled(event.trading_day)

    def _last_stored(self, symbol: str, day: date) -> BarData | None:
        try:
            return self._store.last(symbol, day)
        except BarFileError as error:
            self._unstored.add(str(error))
            return None

    def routes(self, app: FastAPI) -> None:
        @app.get("/ticks/{symbol}")
        async def tick(symbol: str) -> Response:
            return self._answer_tick(symbol)

        @app.get("/ticks/{symbol}/tape")
        async def tape(
            symbol: str, limit: str | None = None, since: str | None = None, seq: str | None = None
        ) -> Response:
            return await self._answer_tape(symbol, limit, since, seq)

        @app.get("/bars/{symbol}")
        async def bars(
            symbol: str,
            interval: str = "1m",
            since: str | None = None,
            limit: str | None = None,
            until: str | None = None,
        ) -> Response:
            return await self._answer_bars(symbol, interval, since, limit, until)

    def _answer_tick(self, symbol: str) -> Response:
        try:
            symbol = self._hours.book.get(symbol).symbol
        except UnknownSymbol as error:
            return _refusal(404, str(error))
        tick = self._cache.ticks.get(symbol)
        return _json({"symbol": symbol, "tick": msgspec.Raw(encode(tick)) if tick is not None else None})

    async def _answer_tape(self, symbol: str, limit: str | None, since: str | None, seq: str | None) -> Response:
        try:
            symbol = self._hours.book.get(symbol).symbol
            cut = cut_of(symbol, limit, since, seq)
        except UnknownSymbol as error:
            return _refusal(404, str(error))
        except QueryError as error:
            return _refusal(400, str(error))
        path, day = self._journal.path, self._journal.trading_day
        found = [] if path is None else await asyncio.to_thread(ticks_of, path, cut)
        return _json({"symbol": symbol, "trading_day": day, "ticks": [msgspec.Raw(line) for line in found]})

    async def _answer_bars(
        self, symbol: str, interval: str, since: str | None, limit: str | None, until: str | None
    ) -> Response:
        try:
            symbol = self._hours.book.get(symbol).symbol
            asked = question(interval, since, limit, until)
            await asyncio.shield(self._filled(symbol))
            bars, missing = await answer(asked, self._cache, symbol, self._hours.of(symbol))
        except UnknownSymbol as error:
            return _refusal(404, str(error))
        except QueryError as error:
            return _refusal(400, str(error))
        except BarFileError as error:
            return _refusal(500, str(error))
        shown = [msgspec.Raw(encode(bar)) for bar in bars]
        return _json({"symbol": symbol, "interval": interval, "bars": shown, "gaps": list(map(_shown, missing))})

    def status(self) -> dict[str, object]:
        builder = self._builder
        return {
            "connected": builder.link is Link.UP,
            "session_time": on_wire(builder.session_time) if builder.session_time else None,
            "trading_day": str(builder.trading_day) if builder.trading_day else None,
            "symbols": sorted(builder.generators),
            "ticks": builder.ticks,
            "ticks_per_s": self._rate.per_second,
            "bars": self._bars,
            "bars_unstored": len(self._held),
            "ticks_dropped": sum(generator.dropped for generator in builder.generators.values()),
            "ticks_refused": builder.refused.count,
            "messages_unusable": self._subscriber.unusable.count,
        }


class _Rate:
    """Ticks per second between two heartbeats of the Gateway."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ticks = 0
        self._at = clock.monotonic()
        self.per_second = 0.0

    def count(self, ticks: int) -> None:
        now = self._clock.monotonic()
        if now - self._at >= 0.5:
            self.per_second = round((ticks - self._ticks) / (now - self._at), 1)
            self._ticks, self._at = ticks, now


def _shown(gap: Gap) -> dict[str, object]:
    return {**asdict(gap), "start": on_wire(gap.start), "end": on_wire(gap.end)}


def _json(values: object) -> Response:
    return Response(msgspec.json.encode(values), media_type="application/json")


def _refusal(status: int, line: str) -> Response:
    return Response(msgspec.json.encode({"detail": line}), status, media_type="application/json")
