"""The house in the simulation: real Gateway and Trading on their real databases, the exchange's core, a server that
stands for Redis, and the lines between them, which delay, repeat and lose as the schedule says.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

from fastapi import HTTPException, Response
from pydantic import TypeAdapter
from sim_loop import Died, Life, SeededLoop, current_life

from arbig.bus.delivery import dead_letter, deliver
from arbig.bus.memory import MemoryBus
from arbig.bus.port import BusError, DataLost, Entry, GroupState, Handler
from arbig.bus.topics import BY_NAME, DEAD, required_groups
from arbig.domain.counter import CancelOrder, Fact, InsertOrder, Login, LoginRefused, Wish, Word
from arbig.exchange.core import Rules
from arbig.exchange.counter import Counter
from arbig.exchange.store import ExchangeStore
from arbig.gateway.port import NotConnected
from arbig.gateway.service import GatewayService
from arbig.gateway.sim import SimConnector
from arbig.runtime.http import CallError
from arbig.runtime.settings import Settings
from arbig.trading.service import TradingService

SYMBOL = "au2512"
PULSE = 0.5
GRACE = timedelta(seconds=5)
RECONNECT = (0.5, 1.0, 2.0)
ACK_SECONDS = 0.05
RETRY_SECONDS = 0.1
CALL_SECONDS = 5.0
NEXT = 1e-6
"""Between two words on one line: timers of one moment have no order."""


@dataclass
class Weather:
    """How bad the lines are now: chances of a fault at each use, and the longest delay."""

    delay: float = 0.0
    longest: float = 0.0
    lost_reply: float = 0.0
    refused: float = 0.0


FAIR = Weather(delay=0.1, longest=0.003)


class Redis(MemoryBus):
    """The server: what is in it outlives everybody but itself. Ids begin with the wall's milliseconds, as Redis' do."""

    def __init__(self, loop: SeededLoop) -> None:
        super().__init__(loop.now)
        self._loop = loop
        self.is_up = True
        self.wakeners: dict[Life, Callable[[], None]] = {}
        self._entry_numbers = 0

    def add(self, stream: str, payload: bytes) -> str:
        self._entry_numbers += 1
        entry = Entry(stream, f"{int(self._loop.now().timestamp() * 1000)}-{self._entry_numbers}", payload)
        kept = self._stream(stream)
        kept.entries.append(entry)
        kept.last_id = entry.id
        return entry.id

    def wake(self) -> None:
        for life, wakener in tuple(self.wakeners.items()):
            if life.alive:
                wakener()

    @property
    def emptied(self) -> int:
        """Which Redis this is."""
        return self._epochs

    def lose_everything(self) -> None:
        """It came back without its file."""
        self._streams.clear()
        self._epochs += 1
        self.wake()


class Wire:
    """One process's client of that server, with the manners of `bus/redis.py`: one command at a time, never re-sent;
    pending entries first, and again after any error; acknowledgements lag."""

    def __init__(self, house: House, life: Life) -> None:
        self._house, self._redis, self._life = house, house.redis, life
        self._turn = asyncio.Lock()
        self._emptied = house.redis.emptied

    # ---- what may go wrong on the way ----

    async def _go(self) -> None:
        self._check_alive()
        await self._house.delay()
        if not self._redis.is_up or self._house.happens(self._house.weather.refused):
            raise BusError("Redis is not there")

    async def _return(self) -> None:
        await self._house.delay()
        self._check_alive()
        if not self._redis.is_up or self._house.happens(self._house.weather.lost_reply):
            raise BusError("Redis did not answer in time")

    def _check_alive(self) -> None:
        if not self._life.alive:
            raise Died

    # ---- the port ----

    async def publish(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._go()
        for listener in self._redis._listeners:
            batch = [item for item in items if listener.hears(item[0])]
            if batch:
                listener.batch += batch
                listener.wake.set()
        await self._return()

    async def append(self, items: Sequence[tuple[str, bytes]]) -> list[str]:
        async with self._turn:
            await self._go()
            ids = []
            for stream, payload in items:
                ids.append(self._redis.add(stream, payload))
                self._house.note(f"{self._life} {ids[-1]} {stream} {payload.decode()}")
            self._redis.wake()
            await self._return()
        return ids

    async def listen(self, *patterns: str) -> AsyncIterator[list[tuple[str, bytes]]]:
        async for batch in self._redis.listen(*patterns):
            self._check_alive()
            yield batch

    async def consume(self, group: str, handlers: Mapping[str, Handler], consumer: str = "1") -> None:
        news = asyncio.Event()
        self._redis.wakeners[self._life] = news.set
        while True:
            try:
                await self._consume(group, handlers, consumer, news)
            except BusError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _consume(self, group: str, handlers: Mapping[str, Handler], consumer: str, news: asyncio.Event) -> None:
        redis, done = self._redis, list[Entry]()
        for name in handlers:
            redis._stream(name).groups.setdefault(group, _new_group())
        news.set()
        pending = True
        while True:
            await self._go()
            self._check_groups(group, handlers)
            self._acknowledge(group, done)
            batch = redis._pending(group, handlers, consumer) if pending else redis._unread(group, handlers, consumer)
            await self._return()
            pending = False
            for entry in batch:
                await self._handle(group, entry, handlers[entry.stream])
                done.append(entry)
            if not redis._has_unread(group, handlers):
                news.clear()
                if done:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(ACK_SECONDS):
                            await news.wait()
                else:
                    await news.wait()

    def _check_groups(self, group: str, handlers: Mapping[str, Handler]) -> None:
        if self._redis.emptied != self._emptied:
            self._emptied = self._redis.emptied
            for name in handlers:
                self._redis._stream(name).groups.setdefault(group, _new_group())
            raise DataLost("Redis was emptied")

    async def _handle(self, group: str, entry: Entry, handler: Handler) -> None:
        if self._house.acknowledges_first:
            self._acknowledge(group, [entry])
        reason = await deliver(entry, handler, (0.0, 0.0))
        if reason is not None:
            self._house.errors.append(f"{entry.stream} {entry.id} is dead for {group}: {reason}")
            await self.append([(DEAD.name, dead_letter(entry, group, reason, self._house.loop.now()))])

    def _acknowledge(self, group: str, done: list[Entry]) -> None:
        for entry in done:
            if group in (groups := self._redis._stream(entry.stream).groups):
                groups[group].pending.pop(entry.id, None)
        done.clear()

    async def last_id(self, stream: str) -> str:
        await self._go()
        return await self._redis.last_id(stream)

    async def read(self, stream: str, after: str = "0-0", count: int = 1000) -> list[Entry]:
        await self._go()
        found = await self._redis.read(stream, after, count)
        await self._return()
        return found

    def __getattr__(self, name: str) -> Any:
        """What nobody in the schedules depends on is the server's own."""
        return getattr(self._redis, name)

    async def close(self) -> None:
        """Nothing to close."""


def _new_group() -> Any:
    from arbig.bus.memory import _Group

    return _Group()


class Line:
    """One connection of a Gateway to the exchange: words travel in order, a cut loses those on their way; a wish may
    also arrive late, as out of a counter's silent queue."""

    def __init__(self, house: House, life: Life) -> None:
        self._house, self._life = house, life
        self._hear: Callable[[Sequence[Fact]], None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._there_at = self._back_at = 0.0
        self._is_cut = False
        self.logged_in = False

    async def open(self, hear: Callable[[Sequence[Fact]], None]) -> None:
        await self._house.delay()
        if not self._house.is_exchange_open:
            raise ConnectionRefusedError("nobody listens")
        self._hear, self._lost = hear, asyncio.get_running_loop().create_future()
        self._house.lines.append(self)

    def say(self, wish: Wish) -> None:
        if not self._life.alive:
            raise Died
        if self._lost is None or self._lost.done():
            raise NotConnected("the exchange is not connected")
        loop = self._house.loop
        self._there_at = max(self._there_at + NEXT, loop.time() + self._house.way())
        loop.call_at(self._there_at, self._arrive, wish, context=loop.world.context)

    def _arrive(self, wish: Wish) -> None:
        house = self._house
        if self._is_cut or not house.is_exchange_open:
            if isinstance(wish, InsertOrder | CancelOrder) and house.happens(0.4) and house.is_exchange_open:
                house.loop.call_later(house.random.uniform(0.0, 2.0), house.take, wish, None)
            return
        house.take(wish, self)

    def tell(self, words: Sequence[Word]) -> None:
        words = [word for word in words if not self._house.loses(word)]
        if self._is_cut or not words:
            return
        loop = self._house.loop
        self._back_at = max(self._back_at + NEXT, loop.time() + self._house.way())
        loop.call_at(self._back_at, self._deliver, words, context=self._life.context)

    def _deliver(self, words: Any) -> None:
        if not self._is_cut and self._hear is not None:
            self._hear(words)

    def cut(self) -> None:
        """The Gateway notices a moment later."""
        self._is_cut = True
        if self in self._house.lines:
            self._house.lines.remove(self)
        loop = self._house.loop
        loop.call_at(loop.time() + self._house.way(), self._notice, context=self._life.context)

    def _notice(self) -> None:
        self._hear = None
        if self._lost is not None and not self._lost.done():
            self._lost.set_result("the line is cut")

    async def lost(self) -> str:
        assert self._lost is not None
        return await self._lost

    async def renewed(self) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        self._is_cut = True
        if self in self._house.lines:
            self._house.lines.remove(self)


class Face:
    """Takes the place of FastAPI: the routes by name, to be called without a byte of HTTP."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Callable[..., Any]] = {}

    def _under(self, method: str, path: str) -> Callable[[Any], Any]:
        def keep(route: Any) -> Any:
            self.routes[method, path] = route
            return route

        return keep

    def get(self, path: str, **_: Any) -> Callable[[Any], Any]:
        return self._under("GET", path)

    def post(self, path: str, **_: Any) -> Callable[[Any], Any]:
        return self._under("POST", path)

    def delete(self, path: str, **_: Any) -> Callable[[Any], Any]:
        return self._under("DELETE", path)

    def exception_handler(self, kind: type[Exception]) -> Callable[[Any], Any]:
        return lambda handler: handler


class SimulatedTrading(TradingService):
    """The service itself; only its questions to the Gateway go by the house's lines."""

    house: House

    async def ask(self, path: str, body: Any = None) -> Any:
        return await self.house.ask("gateway", "GET" if body is None else "POST", path, body)

    async def janitors_bus(self) -> Any:
        return self.bus


class House:
    """Everything of one schedule. `note` is its trace; `errors` is what nobody should ever have said."""

    def __init__(self, loop: SeededLoop, random: Random, settings: Settings, rules: Rules) -> None:
        self.loop, self.random, self.settings, self.rules = loop, random, settings, rules
        self.redis = Redis(loop)
        self.weather = FAIR
        self.acknowledges_first = False
        self.errors: list[str] = []
        self.trace: list[str] = []
        self.lines: list[Line] = []
        self.closings = 0
        self.loses: Callable[[Word], bool] = lambda word: False
        self.inserted: Tally[str] = Tally()
        self.counter: Counter = self._counter()
        self.lives: dict[str, Life] = {}
        self.services: dict[str, Any] = {}
        self.deaths: Tally[str] = Tally()
        self.crash_at: dict[str, int] = {}
        self.standing = False
        self._numbers: Tally[str] = Tally()
        self._faces: dict[str, Face] = {}
        self._calls: dict[Life, set[asyncio.Future[Any]]] = {}
        self._keepers: dict[str, asyncio.Task[Any]] = {}
        loop.on_death = lambda life: self.kill(life.name)
        loop.on_error = lambda context: self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ---- chance ----

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def way(self) -> float:
        """Seconds a word is on its way."""
        weather = self.weather
        return self.random.uniform(0.0, weather.longest) if self.happens(weather.delay) else 0.0

    async def delay(self) -> None:
        seconds = self.way()
        if seconds:
            await asyncio.sleep(seconds)

    def redis_groups(self) -> list[GroupState]:
        redis = self.redis
        return [redis._state(stream, group) for stream in BY_NAME for group in required_groups(stream)]

    def note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():.6f} {text}")

    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    # ---- processes ----

    def keep(self, name: str) -> None:
        """Start it, and start it again whenever it has died, as the supervisor does."""
        self._keepers[name] = self.loop.create_task(self._keep(name), context=self.loop.world.context.copy())

    async def _keep(self, name: str) -> None:
        while True:
            self._numbers[name] += 1
            life = self.loop.give_birth(name, self._numbers[name])
            ended = asyncio.get_running_loop().create_future()
            life.at_end.append(lambda: ended.done() or ended.set_result(None))  # noqa: B023 - this round's own
            self.lives[name] = life
            self.note(f"{life} begins")
            self.loop.run_in(life, self._live(name, life))
            await ended
            await asyncio.sleep(self.random.choice((0.02, 0.2, 1.0)))

    async def _live(self, name: str, life: Life) -> None:
        try:
            error = await self._lead(name, life)
        except Exception as found:
            error = found
        self.note(f"{life} fails: {error}")
        if not isinstance(error, DataLost | Died):
            self.errors.append(f"{life} died of {error!r}")
        self.kill(name)

    async def _lead(self, name: str, life: Life) -> BaseException:
        """What ends it."""
        service = self.services[name] = self._make(name, life)
        life.at_end.append(lambda: _close(service))
        face = Face()
        service.routes(face)
        self._faces[name] = face
        await service.start()
        self.note(f"{life} is ready")
        return await service.failure()  # type: ignore[no-any-return]

    def _make(self, name: str, life: Life) -> Any:
        wire: Any = Wire(self, life)
        clock: Any = self.loop
        if name == "gateway":
            connector = SimConnector(lambda: Line(self, life), clock, RECONNECT, (SYMBOL,))
            return GatewayService(self.settings, wire, clock, connector)
        trading = SimulatedTrading(self.settings, wire, clock)
        trading.house = self
        return trading

    def kill(self, name: str) -> None:
        life = self.lives.get(name)
        if life is None or not life.alive:
            return
        self.note(f"{life} dies")
        self.deaths[name] += 1
        self._faces.pop(name, None)
        self.redis.wakeners.pop(life, None)
        self.loop.bury(life)
        for line in [line for line in self.lines if line._life is life]:
            line.close()
        for answer in self._calls.pop(life, set()):
            if not answer.done():
                answer.set_exception(CallError(f"{name} hung up"))

    def crash_point(self, point: str) -> None:
        """Stands in for `runtime/crash.py` in every room."""
        left = self.crash_at.get(point)
        if left is None:
            return
        self.crash_at[point] = left - 1
        if left <= 1:
            del self.crash_at[point]
            life = current_life()
            self.note(f"{life} at {point}")
            self.kill(life.name)
            raise Died

    # ---- questions between services ----

    async def ask(self, name: str, method: str, path: str, json_body: Any = None) -> Any:
        asker = current_life()
        if not asker.alive:
            raise Died
        await self.delay()
        life, face = self.lives.get(name), self._faces.get(name)
        path, _, query = path.partition("?")
        route = None if face is None else face.routes.get((method, path))
        if life is None or not life.alive or face is None:
            raise CallError(f"{name} does not answer")
        if route is None:
            raise CallError(f"{name} {method} {path}: 404 not found", 404)
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._calls.setdefault(life, set()).add(answer)
        self.loop.run_in(life, _answer(route, _arguments(route, query, json_body), answer))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = await answer
        except TimeoutError:
            raise CallError(f"{name} does not answer in time") from None
        finally:
            self._calls.get(life, set()).discard(answer)
        await self.delay()
        return found

    # ---- the exchange ----

    def _counter(self) -> Counter:
        store = ExchangeStore(self.settings.data / "exchange" / "exchange.db", "simulation")
        return Counter(self.rules, store, (SYMBOL,), 1.0)

    async def run_exchange(self) -> None:
        """Its clock: until cancelled."""
        while True:
            await asyncio.sleep(PULSE)
            if self.is_exchange_open and not self.standing:
                self._tell(self.counter.advance(timedelta(seconds=PULSE), GRACE))

    def take(self, wish: Wish, line: Line | None) -> None:
        """A wish arrives at the counter. Without a line nobody hears what it says to the asker."""
        if not self.is_exchange_open:
            return
        if isinstance(wish, Login):
            assert line is not None
            line.logged_in = True
        elif line is not None and not line.logged_in:
            line.tell([LoginRefused(error_id=3, error_msg="log in first")])
            return
        if isinstance(wish, InsertOrder):
            self.inserted[wish.memo] += 1
        said = self.counter.on_wish(wish)
        if isinstance(wish, InsertOrder | CancelOrder):
            self.note(f"exchange takes {wish}")
        if line is not None:
            line.tell(said.to_asker)
        self._tell(said.to_all)

    def _tell(self, words: Sequence[Word]) -> None:
        for line in tuple(self.lines):
            if line.logged_in:
                line.tell(words)

    @property
    def is_exchange_open(self) -> bool:
        return self.closings == 0

    def _hang_up(self) -> None:
        self.closings += 1
        for line in tuple(self.lines):
            line.cut()

    async def cut_line(self, seconds: float) -> None:
        """The exchange hangs up, and takes no log-in for so long."""
        self._hang_up()
        await asyncio.sleep(seconds)
        self.closings -= 1

    async def crash_exchange(self, seconds: float) -> None:
        self.note("exchange dies")
        self._hang_up()
        self.counter.close()
        await asyncio.sleep(seconds)
        self.counter = self._counter()
        self.counter.running = True
        self.closings -= 1

    def end(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        for name in tuple(self.lives):
            self.kill(name)
        self.counter.close()
        self.loop.clear_graves()


async def _answer(route: Callable[..., Any], arguments: Mapping[str, Any], answer: asyncio.Future[Any]) -> None:
    try:
        said: Response = await route(**arguments)
    except Exception as error:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if not answer.done():
            answer.set_exception(CallError(str(error), status))
    else:
        if not answer.done():
            answer.set_result(json.loads(bytes(said.body)))


def _arguments(route: Callable[..., Any], query: str, body: Any) -> dict[str, Any]:
    """What FastAPI would hand on: the query's words, or the body, as the route declares them."""
    kinds = _kinds(route.__qualname__, route)
    if body is not None:
        return {name: kind.validate_python(body) for name, kind in kinds.items()}
    return {name: kinds[name].validate_python(word) for name, word in parse_qsl(query)}


_known: dict[str, dict[str, TypeAdapter[Any]]] = {}


def _kinds(name: str, route: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    if name not in _known:
        hints = {key: hint for key, hint in get_type_hints(route).items() if key != "return"}
        _known[name] = {key: TypeAdapter(hint) for key, hint in hints.items()}
    return _known[name]


def _close(service: Any) -> None:
    """What the operating system does for a dead process: its files are closed, nothing is finished."""
    for store in (getattr(service, "journal", None), getattr(service, "database", None)):
        if store is not None:
            with suppress(sqlite3.Error):
                store.close()
