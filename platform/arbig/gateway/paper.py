"""PaperConnector: orders matched here on a broker's real ticks, in a book of their own. In: the front's ticks and
clock. Out: what a counter says. Keeps: `data/paper/{account_id}.db`.

The front behind it is asked for market data and nothing else: an insert or a cancel has no way to it. What an order
does is on disk before anybody hears of it, so a Gateway that dies finds its paper counter as a real one is found: with
the truth, ready to replay it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta

import structlog

from arbig.backtest.counter_course import Event
from arbig.backtest.paper import PaperCounter, opened
from arbig.domain.counter import (
    Answer,
    CancelOrder,
    ClockMark,
    ClockRow,
    Fact,
    InsertOrder,
    LoggedIn,
    OrderReport,
    ReplayEnd,
    Subject,
    TickBatch,
    TradeReport,
)
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import TickData, decode
from arbig.domain.sessions import TradingCalendar
from arbig.gateway.port import MARKET_DATA, TRADING, Connector, ContractRates, Lamp, Listener, NotConnected
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.settings import Settings, SettingsError
from arbig.store.paper import PaperStore
from arbig.store.sqlite import StoreError

log = structlog.get_logger()
LOOK_SECONDS = 0.25
SAVE_SECONDS = 10.0
"""How old the prices may be by which lots are valued after a restart without a tick."""
NO_FRONT = "no market data yet: paper orders are matched on real ticks"


class PaperConnector:
    def __init__(
        self,
        front: Connector,
        store: PaperStore,
        book: InstrumentBook,
        calendar: TradingCalendar,
        clock: Clock,
        account_id: str,
        capital: float,
    ) -> None:
        self._front, self._store, self._clock = front, store, clock
        self._book, self._calendar = book, calendar
        self._account_id, self._capital = account_id, capital
        self._counter: PaperCounter | None = None
        self._listener: Listener | None = None
        self._ahead = timedelta(0)
        self._front_day: date | None = None
        self._since: Callable[[], int] = lambda: 0
        self._said: deque[Fact | Answer] = deque()
        self._has_said = asyncio.Event()
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._saved_at = 0.0
        self._fault: StoreError | None = None

    # ---- the port ----

    @property
    def connected(self) -> bool:
        return self._counter is not None

    @property
    def lamps(self) -> Mapping[str, Lamp]:
        trading = Lamp(True) if self.connected else Lamp(False, NO_FRONT)
        return {TRADING: trading, MARKET_DATA: self._front.lamps[MARKET_DATA]}

    @property
    def refusal(self) -> str | None:
        return None

    def turn_in(self) -> float:
        return 0.0

    def rates(self) -> Sequence[ContractRates]:
        """Margin and fees are those of config/instruments.yaml."""
        return ()

    async def run(self, listener: Listener, since: Callable[[], int]) -> None:
        self._listener, self._since = listener, since
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._front.run(_Tap(self), lambda: 0))
                tasks.create_task(self._say_on())
                tasks.create_task(self._keep_time())
        finally:
            self._store.close()

    def insert(self, wish: InsertOrder) -> None:
        counter = self._standing()
        self._commit(counter, counter.insert(wish, self._now()))

    def cancel(self, wish: CancelOrder) -> None:
        counter = self._standing()
        self._commit(counter, counter.cancel(wish, self._now()))

    def subscribe(self, symbols: Sequence[str]) -> None:
        self._front.subscribe(symbols)

    def start(self) -> None:
        self._standing()

    def cut_line(self, seconds: float) -> None:
        raise NotConnected("only the simulated exchange disconnects on demand")

    async def query(self, subject: Subject) -> Answer:
        counter, number = self._standing(), next(self._numbers)
        day, now = counter.truth.trading_day, self._now()
        match subject:
            case Subject.ORDERS:
                answer = Answer(number=number, orders=counter.order_reports())
            case Subject.TRADES:
                answer = Answer(number=number, trades=self._store.trades(day))
            case Subject.POSITIONS:
                answer = Answer(number=number, positions=counter.positions())
            case Subject.ACCOUNT:
                answer = Answer(number=number, account=counter.account_row())
            case Subject.STATEMENT:
                answer = Answer(number=number, statement=counter.truth.statement)
            case Subject.CLOCK:
                row = ClockRow(session_time=now, trading_day=day, speed=1.0, running=True)
                answer = Answer(number=number, clock=row)
        return await self._in_order(answer)

    async def history(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """A broker's front serves no past bars."""
        return await self._in_order(Answer(number=next(self._numbers)))

    # ---- the front speaks ----

    def on_front(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, TickBatch):
                self._on_ticks(fact)
            elif isinstance(fact, ClockMark):
                self._on_clock(fact)

    def on_alarm(self, message: str) -> None:
        self._listen().on_alarm(message)

    def _on_clock(self, mark: ClockMark) -> None:
        """The front's time, the paper counter's day: it turns with the front's, and settles at its own close."""
        self._ahead = mark.session_time - self._clock.now()
        self._front_day = mark.trading_day
        counter = self._counter or self._log_in(mark.trading_day)
        self._pass_time(counter)
        self._say(ClockMark(session_time=mark.session_time, trading_day=counter.truth.trading_day))

    def _on_ticks(self, batch: TickBatch) -> None:
        self._say(batch)
        counter = self._counter
        if counter is None:
            return
        now = self._now()
        for _, _, payload in batch.ticks:
            if events := counter.on_tick(decode(TickData, bytes(payload)), now):
                self._commit(counter, events)

    def _log_in(self, day: date) -> PaperCounter:
        truth = self._store.load() or opened(self._account_id, self._capital, day)
        counter = PaperCounter(self._book, self._calendar, truth, self._store.orders(truth.trading_day))
        greeting = LoggedIn(
            trading_day=truth.trading_day,
            session_time=self._now(),
            symbols=(),
            max_order_ref=truth.max_order_ref,
            running=True,
        )
        self._store.commit(truth)
        self._counter = counter
        self._listen().on_login(greeting)
        for report in self._store.replay(self._since(), truth.trading_day):
            self._say(report)
        self._pass_time(counter)
        self._say(ReplayEnd(flow=counter.truth.flow))
        return counter

    # ---- inside ----

    async def _keep_time(self) -> None:
        """The day also ends when the front has gone home before it."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if self._counter is not None:
                self._pass_time(self._counter)

    def _pass_time(self, counter: PaperCounter) -> None:
        events = counter.on_time(self._now(), self._front_day or counter.truth.trading_day)
        is_due = counter.truth.account.holdings and self._clock.monotonic() - self._saved_at >= SAVE_SECONDS
        if events or is_due:
            self._commit(counter, events)

    def _commit(self, counter: PaperCounter, events: Sequence[Event]) -> None:
        """What could not be committed has not happened: `run` ends with the error, the next life reads the disk."""
        reports = [event for event in events if isinstance(event, OrderReport | TradeReport)]
        crash_point("paper.before_commit")
        try:
            self._store.commit(counter.truth, reports)
        except StoreError as error:
            self._counter, self._fault = None, error
            self._has_said.set()
            raise NotConnected(str(error)) from error
        crash_point("paper.after_commit")
        self._saved_at = self._clock.monotonic()
        for event in events:
            self._say(event)

    def _say(self, word: Fact | Answer) -> None:
        self._said.append(word)
        self._has_said.set()

    async def _say_on(self) -> None:
        """One after another, never inside the call that caused it."""
        while True:
            await self._has_said.wait()
            self._has_said.clear()
            if self._fault is not None:
                raise self._fault
            while self._said:
                self._hand_on(self._said.popleft())

    def _hand_on(self, word: Fact | Answer) -> None:
        if not isinstance(word, Answer):
            self._listen().on_facts((word,))
            return
        self._listen().on_answer(word)
        waiting = self._asked.pop(word.number)
        if not waiting.done():
            waiting.set_result(word)

    async def _in_order(self, answer: Answer) -> Answer:
        self._asked[answer.number] = asyncio.get_running_loop().create_future()
        waiting = self._asked[answer.number]
        self._say(answer)
        return await waiting

    def _now(self) -> datetime:
        return self._clock.now() + self._ahead

    def _standing(self) -> PaperCounter:
        if self._counter is None:
            raise NotConnected(NO_FRONT)
        return self._counter

    def _listen(self) -> Listener:
        assert self._listener is not None
        return self._listener


class _Tap:
    """What the paper counter hears of the front: ticks, the clock, what a person has to mend."""

    def __init__(self, paper: PaperConnector) -> None:
        self._paper = paper

    def on_facts(self, facts: Sequence[Fact]) -> None:
        self._paper.on_front(facts)

    def on_alarm(self, message: str) -> None:
        self._paper.on_alarm(message)

    def on_login(self, greeting: LoggedIn) -> None:
        """A broker's session is not ours."""

    def on_answer(self, answer: Answer) -> None:
        """Nothing was asked."""

    def on_lost(self, reason: str) -> None:
        """Paper orders rest on; the lamp of market data tells."""


def open_paper(
    settings: Settings, front: Connector, clock: Clock, capital: float, book: InstrumentBook
) -> PaperConnector:
    """Raises SettingsError, one line."""
    account = settings.account_id
    try:
        store = PaperStore(settings.data / "paper" / f"{account}.db")
    except StoreError as error:
        raise SettingsError(str(error)) from None
    return PaperConnector(front, store, book, load_calendar(settings), clock, account, capital)
