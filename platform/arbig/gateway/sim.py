"""SimConnector: the way to the simulated exchange. Over its unix socket, or straight to a counter in this process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from arbig.domain.counter import (
    Answer,
    CancelOrder,
    CutLine,
    Fact,
    FrameError,
    InsertOrder,
    LoggedIn,
    Login,
    LoginRefused,
    Query,
    QueryHistory,
    Start,
    Subject,
    Subscribe,
    Wish,
    fact_frames,
    frame,
)
from arbig.gateway.port import MARKET_DATA, TRADING, ContractRates, Lamp, Listener, NotConnected
from arbig.runtime.clock import Clock

log = structlog.get_logger()
FIRST_ATTEMPTS = 50
FIRST_PAUSE = 0.1
LOOK_AT_SOCKET = 0.1
"""At start the exchange may be a moment behind us; only then is the first second spent on quick attempts."""


SILENCE, HANGS_AFTER = 1.0, 4.0
"""Wall seconds without a word until the exchange is asked for one, and from the question until the line is given up: a
process that stands still closes no connection."""
LOOK_AT_LINE = 0.5


class Link(Protocol):
    """One connection to a counter, as long as it lasts."""

    async def open(self, hear: Callable[[Sequence[Fact]], None]) -> None:
        """Raises OSError when nobody is there."""

    def say(self, wish: Wish) -> None: ...

    async def lost(self) -> str:
        """Returns the reason when the connection is over."""

    def close(self) -> None: ...

    async def renewed(self) -> None:
        """Returns when another exchange listens where this link's did; where one cannot tell, never."""


class SimConnector:
    """Logs in, tells facts from answers, and comes back after a loss: 5, 10, 30, 60 seconds between attempts. A new
    exchange process is not kept waiting: CTP's own sockets, too, reconnect by themselves."""

    def __init__(self, link: Callable[[], Link], clock: Clock, pauses: Sequence[float], symbols: Iterable[str]) -> None:
        self._make_link = link
        self._clock = clock
        self._pauses = tuple(pauses)
        self._symbols = dict.fromkeys(symbols)
        self._link: Link | None = None
        self._last: Link | None = None
        self._listener: Listener | None = None
        self._questions: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._since: Callable[[], int] = lambda: 0
        self._heard_at = 0.0

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def lamps(self) -> Mapping[str, Lamp]:
        """One line carries both."""
        lamp = Lamp(self.connected, None if self.connected else "the simulated exchange is not connected")
        return {TRADING: lamp, MARKET_DATA: lamp}

    @property
    def refusal(self) -> str | None:
        """The simulated exchange knows no passwords."""
        return None

    def rates(self) -> Sequence[ContractRates]:
        """It charges what config/instruments.yaml says."""
        return ()

    async def run(self, listener: Listener, since: Callable[[], int]) -> None:
        self._listener, self._since = listener, since
        attempt, early = 0, FIRST_ATTEMPTS
        while True:
            reason = await self._session()
            if reason is None:
                attempt, early = 0, 0
            if early:
                early -= 1
                pause = FIRST_PAUSE
            else:
                pause = self._pauses[min(attempt, len(self._pauses) - 1)]
                attempt += 1
                log.warning("reconnecting", after=pause, reason=reason or "the session ended")
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        assert self._last is not None
        waits = (asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._last.renewed()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _session(self) -> str | None:
        """One connection from its opening to its end. Returns why it never stood, None when it did."""
        link = self._last = self._make_link()
        try:
            await link.open(lambda facts: self._on_facts(link, facts))
        except OSError as error:
            return f"the exchange is not there: {error}"
        try:
            link.say(Login(since=self._since()))
            reason = await self._lost_or_silent(link)
        finally:
            link.close()
        if self._link is not link:
            return reason
        self._link = None
        self._fail_questions(reason)
        assert self._listener is not None
        self._listener.on_lost(reason)
        return None

    async def _lost_or_silent(self, link: Link) -> str:
        """Why the connection is over: it broke, or nothing comes over it any more, not even an answer."""
        lost = asyncio.ensure_future(link.lost())
        silent = asyncio.ensure_future(self._until_silent(link))
        try:
            await asyncio.wait((lost, silent), return_when=asyncio.FIRST_COMPLETED)
            return lost.result() if lost.done() else silent.result()
        finally:
            lost.cancel()
            silent.cancel()

    async def _until_silent(self, link: Link) -> str:
        self._heard_at = self._clock.monotonic()
        asked_at: float | None = None
        while True:
            await self._clock.sleep(LOOK_AT_LINE)
            now = self._clock.monotonic()
            if asked_at is not None and self._heard_at >= asked_at:
                asked_at = None
            if asked_at is None and now - self._heard_at >= SILENCE:
                asked_at = now
                with suppress(NotConnected):  # then it is lost, which somebody else waits for
                    link.say(Query(number=next(self._numbers), subject=Subject.CLOCK))
            elif asked_at is not None and now - asked_at >= HANGS_AFTER:
                return f"the exchange hangs: asked {now - asked_at:.0f} seconds ago, it does not answer"

    def _on_facts(self, link: Link, facts: Sequence[Fact]) -> None:
        assert self._listener is not None
        self._heard_at = self._clock.monotonic()
        heard: list[Fact] = []
        for fact in facts:
            match fact:
                case LoggedIn():
                    self._link = link
                    link.say(Subscribe(symbols=tuple(self._symbols)))
                    self._listener.on_login(fact)
                case LoginRefused():
                    log.warning(f"log-in refused: {fact.error_msg}", error_id=fact.error_id)
                case Answer():
                    self._flush(heard)
                    question = self._questions.pop(fact.number, None)
                    if question is not None and not question.done():
                        self._listener.on_answer(fact)
                        question.set_result(fact)
                case _:
                    heard.append(fact)
        self._flush(heard)

    def _flush(self, heard: list[Fact]) -> None:
        if heard and self._listener is not None:
            self._listener.on_facts(tuple(heard))
            heard.clear()

    def turn_in(self) -> float:
        return 0.0

    def insert(self, wish: InsertOrder) -> None:
        self._say(wish)

    def cancel(self, wish: CancelOrder) -> None:
        self._say(wish)

    def subscribe(self, symbols: Sequence[str]) -> None:
        self._symbols |= dict.fromkeys(symbols)
        if self._link is not None:
            self._link.say(Subscribe(symbols=tuple(symbols)))

    def start(self) -> None:
        self._say(Start())

    def cut_line(self, seconds: float) -> None:
        self._say(CutLine(seconds=seconds))

    async def query(self, subject: Subject) -> Answer:
        number = next(self._numbers)
        return await self._ask(number, Query(number=number, subject=subject))

    async def history(self, symbol: str, start: datetime, end: datetime) -> Answer:
        number = next(self._numbers)
        return await self._ask(number, QueryHistory(number=number, symbol=symbol, start=start, end=end))

    async def _ask(self, number: int, wish: Wish) -> Answer:
        question: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[number] = question
        try:
            self._say(wish)
            return await question
        finally:
            self._questions.pop(number, None)

    def _say(self, wish: Wish) -> None:
        if self._link is None:
            raise NotConnected("the exchange is not connected")
        self._link.say(wish)

    def _fail_questions(self, reason: str) -> None:
        for question in self._questions.values():
            if not question.done():
                question.set_exception(NotConnected(reason))


class SocketLink(asyncio.Protocol):
    """Frames over the exchange's unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames = fact_frames()
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[str] | None = None
        self._hear: Callable[[Sequence[Fact]], None] | None = None
        self._opened: tuple[int, int] | None = None

    async def open(self, hear: Callable[[Sequence[Fact]], None]) -> None:
        loop = asyncio.get_running_loop()
        self._hear, self._lost, self._opened = hear, loop.create_future(), self._socket()
        await loop.create_unix_connection(lambda: self, str(self._path))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._hear is not None and self._transport is not None
        try:
            self._hear(tuple(self._frames.feed(data)))
        except FrameError as error:
            log.error(f"the exchange speaks another language: {error}")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(str(exc) if exc else "the exchange closed the connection")

    def say(self, wish: Wish) -> None:
        if self._transport is None or self._transport.is_closing():
            raise NotConnected("the exchange is not connected")
        self._transport.write(frame(wish))

    async def lost(self) -> str:
        assert self._lost is not None
        return await self._lost

    def close(self) -> None:
        """What has not left us yet does not leave us later, when its fate has been decided."""
        if self._transport is not None:
            self._transport.abort()

    async def renewed(self) -> None:
        while self._socket() in (None, self._opened):  # noqa: ASYNC110 - a file announces nothing
            await asyncio.sleep(LOOK_AT_SOCKET)

    def _socket(self) -> tuple[int, int] | None:
        """Which socket file stands there: every exchange process makes its own."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns


class DirectLink:
    """Straight to a counter in this process: `answer` gives what it replies to a wish. What it says by itself is handed
    to `hear` by whoever moves its clock."""

    def __init__(self, answer: Callable[[Wish], Sequence[Fact]]) -> None:
        self._answer = answer
        self._lost: asyncio.Future[str] | None = None
        self.hear: Callable[[Sequence[Fact]], None] | None = None

    async def open(self, hear: Callable[[Sequence[Fact]], None]) -> None:
        self.hear, self._lost = hear, asyncio.get_running_loop().create_future()

    def say(self, wish: Wish) -> None:
        facts = tuple(self._answer(wish))
        if facts and self.hear is not None:
            self.hear(facts)

    def cut(self, reason: str) -> None:
        """The line goes dead."""
        self.hear = None
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    async def lost(self) -> str:
        assert self._lost is not None
        return await self._lost

    def close(self) -> None:
        self.hear = None

    async def renewed(self) -> None:
        await asyncio.Event().wait()
