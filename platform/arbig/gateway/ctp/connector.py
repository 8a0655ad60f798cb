"""CtpConnector: a broker's counter behind the Gateway's port. In: CTP's callbacks. Out: the counter's facts.

The library keeps its socket alive by itself; here are authentication, log-in, settlement confirmation and the barrier
until the private flow has been replayed. A wish is sent once or not at all. Market data and trading stand apart: one
may be up while the other is down.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter as Tally
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from arbig.domain.counter import (
    Answer,
    CancelOrder,
    CancelRejected,
    ClockMark,
    ClockRow,
    DayMark,
    Fact,
    InsertOrder,
    LoggedIn,
    PositionReport,
    ReplayEnd,
    Subject,
    TickBatch,
    error_message,
)
from arbig.domain.instruments import InstrumentBook, UnknownSymbol
from arbig.domain.messages import Direction, Exchange, Offset, PositionData, encode
from arbig.domain.sessions import TradingCalendar
from arbig.gateway.ctp.api import MARKET_CALLBACKS, TRADING_CALLBACKS, Apis, Ear, end, speaking
from arbig.gateway.ctp.latch import AGAIN, Latch
from arbig.gateway.ctp.order_keys import OrderKeys
from arbig.gateway.ctp.pace import Pace
from arbig.gateway.ctp.queries import QueryQueue, QueryRefused
from arbig.gateway.ctp.rates import MARGIN, RateBook
from arbig.gateway.ctp.reconnect import PAUSES, Attempts, NoAnswer, Refused, reason_of
from arbig.gateway.ctp.session_time import SessionTime
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.ctp.translate import (
    Contract,
    Key,
    Raw,
    Untranslatable,
    account_from_ctp,
    cancel_rejected,
    contract_from_ctp,
    ctp_from_cancel,
    ctp_from_insert,
    day_of,
    error_id_of,
    insert_rejected,
    key_of,
    number_of,
    order_from_ctp,
    positions_from_ctp,
    text_of,
    tick_from_ctp,
    trade_from_ctp,
    words_of,
)
from arbig.gateway.numbering import TickNumbers
from arbig.gateway.port import MARKET_DATA, TRADING, ContractRates, Lamp, Listener, NotConnected
from arbig.gateway.subscriptions import Subscriptions
from arbig.runtime.clock import Clock

log = structlog.get_logger()
T = TypeVar("T")
QUIET = 2.0
"""Seconds without a word on the private flow until its replay counts as ended."""
STEP_WITHIN = 15.0
"""Seconds an authentication or a log-in may take."""
LONGEST_WAIT = 1.0
"""Seconds an order may wait for its turn under the counter's rate; beyond that it does not go out at all."""
MARK_EVERY = 0.25
ASKED_OF_CTP = frozenset({Subject.ORDERS, Subject.TRADES, Subject.POSITIONS, Subject.ACCOUNT})
"""CTP's settlement statement is a text for people: nothing of it is an answer here."""
REPLAY_PRIVATE_FLOW = 0
"""RESTART: the whole trading day's private flow after each log-in; what is known already changes nothing."""


class CtpConnector:
    """`apis` are the library's classes or a double's; `flow_folder` is where the library keeps its files.
    `market_only`: its trading half is not even made, there is nothing by which an order could leave (paper)."""

    def __init__(
        self,
        account: CtpSettings,
        apis: Apis,
        clock: Clock,
        calendar: TradingCalendar,
        book: InstrumentBook,
        symbols: Iterable[str],
        account_id: str,
        flow_folder: Path,
        pauses: Sequence[float] = PAUSES,
        quiet: float = QUIET,
        latch: Latch | None = None,
        rates: RateBook | None = None,
        subscriptions: Subscriptions | None = None,
        market_only: bool = False,
    ) -> None:
        self._market_only = market_only
        self._account = account
        self._latch = latch or Latch(account)
        self._rates = rates or RateBook()
        self._apis = apis
        self._clock = clock
        self._calendar = calendar
        self._book = book
        self._wanted = subscriptions or Subscriptions(symbols)
        self._account_id = account_id
        self._flow_folder = flow_folder
        self._quiet = quiet
        self._numbers = itertools.count(1)
        self._queries = QueryQueue(clock, self._numbers)
        self._session_time = SessionTime(clock, calendar, follows_ticks=account.is_practice)
        self._keys = OrderKeys()
        self._orders_pace, self._cancels_pace = Pace(), Pace()
        self._login_attempts, self._market_attempts = Attempts(pauses), Attempts(pauses)
        self._td: Any = None
        self._md: Any = None
        self._ear: Ear | None = None
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._session_tasks: set[asyncio.Task[None]] = set()
        self._steps: dict[int, tuple[str, asyncio.Future[Raw]]] = {}
        self._asked: dict[Subject, _Asked] = {}
        self._answers = itertools.count(1)
        self._is_in = False
        self._is_replayed = False
        self._is_market_in = False
        self._marks_from = float("inf")
        self._front = self._session = 0
        self._trading_day: date | None = None
        self._heard_at = float("-inf")
        self._refused_wishes: dict[tuple[str, str, str], float] = {}
        self._are_positions_due = False
        self._shown: dict[tuple[str, Direction], PositionData] = {}
        self._ticks = TickNumbers(clock, calendar)
        self._untranslatable: set[str] = set()
        self.contracts: dict[str, Contract] = {}
        self.phases: dict[str, str] = {}
        self._refusals: dict[str, str] = {}
        self._why = {TRADING: "the front has not answered yet", MARKET_DATA: "the front has not answered yet"}
        self.counts: Tally[str] = Tally()
        self._trading_handlers: dict[str, Callable[..., None]] = {
            "onFrontConnected": self._on_front,
            "onFrontDisconnected": self._on_front_gone,
            "onRspError": self._on_error,
            "onRspAuthenticate": self._on_step,
            "onRspUserLogin": self._on_login,
            "onRspSettlementInfoConfirm": self._on_row,
            "onRspQrySettlementInfoConfirm": self._on_row,
            "onRspQrySettlementInfo": self._on_row,
            "onRspQryInstrument": self._on_row,
            "onRspQryTradingAccount": self._on_row,
            "onRspQryInvestorPosition": self._on_row,
            "onRspQryInstrumentMarginRate": self._on_row,
            "onRspQryInstrumentCommissionRate": self._on_row,
            "onRspQryOrder": self._on_row,
            "onRspQryTrade": self._on_row,
            "onRspOrderInsert": self._on_insert_refused,
            "onErrRtnOrderInsert": self._on_insert_refused_aloud,
            "onRspOrderAction": self._on_cancel_refused,
            "onErrRtnOrderAction": self._on_cancel_refused_aloud,
            "onRtnOrder": self._on_order,
            "onRtnTrade": self._on_trade,
            "onRtnInstrumentStatus": self._on_phase,
        }
        self._market_handlers: dict[str, Callable[..., None]] = {
            "onFrontConnected": self._on_market_front,
            "onFrontDisconnected": self._on_market_gone,
            "onRspError": self._on_market_error,
            "onRspUserLogin": self._on_market_login,
            "onRspSubMarketData": self._on_subscribed,
            "onRtnDepthMarketData": self._on_depth,
        }

    # ---- the port ----

    @property
    def connected(self) -> bool:
        return self._is_in

    @property
    def lamps(self) -> Mapping[str, Lamp]:
        standing = {TRADING: self._is_replayed, MARKET_DATA: self._is_market_in}
        return {name: Lamp(on, None if on else self._why[name]) for name, on in standing.items()}

    @property
    def refusal(self) -> str | None:
        return self._refusals.get(TRADING)

    def rates(self) -> Sequence[ContractRates]:
        return self._rates.rates(self._wanted.symbols)

    @property
    def status(self) -> dict[str, object]:
        """What was counted; no secret, no user's name."""
        return {
            "queries": self._queries.asked,
            "queries_repeated": self._queries.asked_again,
            "callback_failures": self._ear.failures if self._ear else 0,
            **self.counts,
        }

    async def run(self, listener: Listener, since: Callable[[], int]) -> None:
        """The library connects and reconnects; `since` is not asked, CTP replays its whole day."""
        self._listener = listener
        self._ear = Ear(self._hear)
        self._flow_folder.mkdir(parents=True, exist_ok=True)
        self._remember_refusals()
        try:
            self._open()
            await self._keep_time()
        finally:
            self._stop_tasks(self._session_tasks)
            self._stop_tasks(self._tasks)
            self._queries.lose("the Gateway stops")
            for api in (self._td, self._md):
                if api is not None:
                    end(api, self._apis)

    def turn_in(self) -> float:
        return self._orders_pace.wait(self._clock.monotonic())

    def insert(self, wish: InsertOrder) -> None:
        """Under the counter's rate: an order may wait a moment for its turn, and certainly never goes out later."""
        if not self._is_replayed:
            raise NotConnected("the counter is not connected, or its replay has not ended")
        now = self._clock.monotonic()
        if self._orders_pace.wait(now) > LONGEST_WAIT:
            raise NotConnected(f"more than {self._orders_pace.per_second} orders a second; it was not sent")
        self._at_its_turn(self._orders_pace.take(now), lambda: self._insert(wish))

    def _insert(self, wish: InsertOrder) -> None:
        self._keys.sent(Key(self._front, self._session, str(wish.order_ref)), wish)
        self._call("order", self._td.reqOrderInsert, ctp_from_insert(wish, self._account.broker_id, self._user))

    def cancel(self, wish: CancelOrder) -> None:
        if not self._is_in:
            raise NotConnected("the counter is not connected")
        self._at_its_turn(self._cancels_pace.take(self._clock.monotonic()), lambda: self._cancel(wish))

    def _cancel(self, wish: CancelOrder) -> None:
        known = self._keys.find(wish)
        if known is None:
            self._say(CancelRejected(
                order_ref=wish.order_ref, order_sys_id=wish.order_sys_id, error_id=25, error_msg=error_message(25),
                datetime=self._session_time.now(), trading_day=self._day(),
            ))  # fmt: skip
            return
        by_number = bool(known.number.strip())
        request = ctp_from_cancel(
            known.symbol, known.exchange, self._account.broker_id, self._user,
            key=None if by_number else known.key, order_sys_id=known.number if by_number else "",
        )  # fmt: skip
        self._call("cancel", self._td.reqOrderAction, request | {"OrderRef": known.key.order_ref})

    def subscribe(self, symbols: Sequence[str]) -> None:
        fresh = self._wanted.add(symbols)
        if self._is_market_in:
            self._subscribe(fresh)

    def start(self) -> None:
        """A broker's clock runs by itself."""
        if not self._is_in:
            raise NotConnected("the counter is not connected")

    def cut_line(self, seconds: float) -> None:
        raise NotConnected("only the simulated exchange disconnects on demand")

    async def query(self, subject: Subject) -> Answer:
        if not self._is_in:
            raise NotConnected("the counter is not connected")
        number = next(self._answers)
        if subject in (Subject.CLOCK, Subject.STATEMENT):  # CTP's statement is a text for people
            answer = Answer(number=number, clock=self._clock_row() if subject is Subject.CLOCK else None)
            self._listen().on_answer(answer)
            return answer
        if subject not in ASKED_OF_CTP:
            answer = Answer(number=number)
            self._listen().on_answer(answer)
            return answer
        try:
            answers = await self._question(subject, number)
        except QueryRefused as error:
            raise NotConnected(str(error)) from None
        return answers[number]

    async def history(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """CTP serves no past bars."""
        answer = Answer(number=next(self._answers))
        self._listen().on_answer(answer)
        return answer

    # ---- opening ----

    def _open(self) -> None:
        assert self._ear is not None
        self._md = speaking(self._apis.market, "market", MARKET_CALLBACKS, self._ear)
        self._md.createFtdcMdApi(self._flow_path("md_"), self._account.is_production)
        self._md.registerFront(self._account.md_address)
        if not self._market_only:
            self._open_trading(self._ear)
        self._md.init()

    def _open_trading(self, ear: Ear) -> None:
        self._td = speaking(self._apis.trading, "trading", TRADING_CALLBACKS, ear)
        self._td.createFtdcTraderApi(self._flow_path("td_"), self._account.is_production)
        self._td.subscribePrivateTopic(REPLAY_PRIVATE_FLOW)
        self._td.subscribePublicTopic(REPLAY_PRIVATE_FLOW)
        self._td.registerFront(self._account.td_address)
        self._td.init()

    def _flow_path(self, prefix: str) -> bytes:
        """The two must not share one prefix."""
        return str(self._flow_folder / prefix).encode("gb18030")

    def _hear(self, source: str, name: str, args: tuple[Any, ...]) -> None:
        handlers = self._trading_handlers if source == "trading" else self._market_handlers
        try:
            handlers[name](*args)
        except Untranslatable as error:
            self._leave_out(error)

    # ---- trading: front, authentication, log-in ----

    def _remember_refusals(self) -> None:
        """What an earlier life was refused is not asked again."""
        for lamp, words in ((TRADING, "log-in"), (MARKET_DATA, "market data log-in")):
            refused = self._latch.refusal(lamp)
            if refused is not None:
                self._refusals[lamp] = self._why[lamp] = f"{words} {refused}"
                self._alarm(self._refusals[lamp])

    def _give_up(self, lamp: str, error: Exception) -> None:
        """Written down before anybody is told: the next life must not try it either."""
        self._latch.close(lamp, str(error), self._clock.now())
        self._refusals[lamp] = self._why[lamp] = f"refused, not tried again: {error}; {AGAIN}"
        self._alarm(self._refusals[lamp])

    def _on_front(self) -> None:
        log.info("trading front connected")
        self._stop_tasks(self._session_tasks)
        if self.refusal is None:
            self._why[TRADING] = "logging in"
            self._spawn(self._enter(), self._session_tasks)

    def _on_front_gone(self, reason: int) -> None:
        words = reason_of(reason)
        was_in, self._is_in, self._is_replayed = self._is_in, False, False
        self._marks_from = float("inf")
        self._stop_tasks(self._session_tasks)
        self._queries.lose(words)
        self._asked.clear()
        for _, answer in self._steps.values():
            answer.cancel()
        self._steps.clear()
        self.counts["disconnects"] += 1
        self._why[TRADING] = self.refusal or words
        if was_in:
            self._listen().on_lost(words)
        else:
            log.warning(words)

    async def _enter(self) -> None:
        """Authenticate, log in, prepare: until it is done, or until there must be no further attempt."""
        while True:
            try:
                await self._log_in()
                self._login_attempts.succeeded()
                return
            except (Refused, NoAnswer) as error:
                pause = self._login_attempts.pause_after(error)
                if pause is None:
                    self._give_up(TRADING, error)
                    return
                self._why[TRADING] = f"{error}; again after {pause:g} s"
                log.warning(f"log-in failed: {error}", again_after=pause)
            await self._clock.sleep(pause)

    async def _log_in(self) -> None:
        account = self._account
        if account.needs_authentication:
            await self._step("authentication", self._td.reqAuthenticate, {
                "BrokerID": account.broker_id, "UserID": self._user, "UserProductInfo": account.product_name,
                "AppID": account.app_id, "AuthCode": account.auth_code.reveal(),
            })  # fmt: skip
        await self._step("log-in", self._td.reqUserLogin, self._login_request())
        self._spawn(self._prepare(), self._session_tasks)

    def _login_request(self) -> dict[str, Any]:
        return {
            "BrokerID": self._account.broker_id,
            "UserID": self._user,
            "Password": self._account.password.reveal(),
            "UserProductInfo": self._account.product_name,
        }

    async def _step(self, name: str, call: Callable[[dict[str, Any], int], int], request: dict[str, Any]) -> Raw:
        number = next(self._numbers)
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._steps[number] = (name, answer)
        try:
            code = call(request, number)
            if code:
                raise NoAnswer(f"{name}: the library answers {code}")
            async with asyncio.timeout(STEP_WITHIN):
                return await answer
        except TimeoutError:
            raise NoAnswer(f"{name}: no answer within {STEP_WITHIN:.0f} seconds") from None
        finally:
            self._steps.pop(number, None)

    def _on_step(self, data: Raw, error: Raw, number: int, last: bool) -> None:
        name, answer = self._steps.get(number, ("", None))
        if answer is None or answer.done():
            return
        if error_id_of(error):
            answer.set_exception(Refused(name, error_id_of(error), words_of(error)))
        else:
            answer.set_result(data)

    def _on_login(self, data: Raw, error: Raw, number: int, last: bool) -> None:
        """At once, not when the task wakes: the replay follows on its heels."""
        if not error_id_of(error) and number in self._steps:
            self._begin_session(data)
        self._on_step(data, error, number, last)

    def _begin_session(self, data: Raw) -> None:
        self._front, self._session = int(data["FrontID"]), int(data["SessionID"])
        today = day_of(text_of(data, "TradingDay")) or day_of(self._td.getTradingDay()) or self._day()
        self._session_time.begin(text_of(data, "SHFETime") or text_of(data, "LoginTime"), today)
        self._look_at_day(today)
        self._wanted.drop_expired(self._book, today)
        self._is_in = True
        self._why[TRADING] = "settlement, contracts and replay are under way"
        self._heard_at = self._clock.monotonic()
        self._allow(self._td.getFrontInfo())
        self._listen().on_login(LoggedIn(
            trading_day=today,
            session_time=self._session_time.now(),
            symbols=self._wanted.symbols,
            max_order_ref=number_of(text_of(data, "MaxOrderRef")),
            running=True,
        ))  # fmt: skip

    def _allow(self, front: Raw) -> None:
        """The front's own limits, where it names them."""
        per_second = int(front.get("QryFreq") or 0)
        if 1 <= per_second <= 1000:
            self._queries.allow(per_second)
        packets = int(front.get("FTDPkgFreq") or 0)
        if 2 <= packets <= 1000:
            self._orders_pace.per_second = self._cancels_pace.per_second = max(packets // 2, 1)

    async def _prepare(self) -> None:
        """Settlement, contracts, the quiet after the replay; then the Gateway reconciles."""
        try:
            await self._confirm_settlement()
            await self._fetch_contracts()
        except NotConnected as error:
            log.warning(f"not ready: {error}")
            return
        except QueryRefused as error:
            self._why[TRADING] = f"no order can be sent: {error}"
            self._alarm(self._why[TRADING])
            return
        await self._until_quiet()
        self._is_replayed = True
        self._say(ReplayEnd(flow=0))
        self._spawn(self._keep_rates(), self._session_tasks)
        await self._keep_positions()

    async def _confirm_settlement(self) -> None:
        """Asked first: it is confirmed once in a trading day."""
        mine = {"BrokerID": self._account.broker_id, "InvestorID": self._user}
        confirmed = await self._ask("settlement confirmation", self._td.reqQrySettlementInfoConfirm, mine, _days_of)
        if self._day() in confirmed:
            return
        lines = await self._ask("settlement", self._td.reqQrySettlementInfo, mine, len)
        await self._ask("confirming the settlement", self._td.reqSettlementInfoConfirm, mine, len)
        log.info("settlement confirmed", trading_day=str(self._day()), lines=lines)

    async def _fetch_contracts(self) -> None:
        found = await self._ask("contracts", self._td.reqQryInstrument, {}, _contracts_of)
        if not found:
            self._alarm("the counter names no contract; ours are taken from config/instruments.yaml")
        self.contracts = found
        for symbol in self._wanted.symbols:
            difference = self._difference(symbol)
            if difference:
                self._alarm(difference)

    def _difference(self, symbol: str) -> str | None:
        """What config/instruments.yaml says otherwise than the counter."""
        theirs = self.contracts.get(symbol)
        if theirs is None:
            return f"{symbol}: the counter has no such contract" if self.contracts else None
        try:
            ours = self._book.get(symbol, self._trading_day)
        except UnknownSymbol:
            return None
        for word, mine, other in (
            ("size", ours.size, theirs.size),
            ("price_tick", ours.price_tick, theirs.price_tick),
            ("position_date_type", ours.position_date_type, theirs.position_date_type),
        ):
            if mine != other:
                return f"{symbol}: {word} is {other} at the counter, {mine} in config/instruments.yaml"
        return None

    async def _until_quiet(self) -> None:
        while (rest := self._heard_at + self._quiet - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    # ---- trading: the private flow ----

    def _on_order(self, raw: Raw) -> None:
        self._heard_at = self._clock.monotonic()
        report = order_from_ctp(raw, self._day(), self._calendar, self._keys.memo(key_of(raw)))
        self._keys.heard(raw, report)
        self._say(report)
        if report.offset is not Offset.OPEN:
            self._are_positions_due = True

    def _on_trade(self, raw: Raw) -> None:
        self._heard_at = self._clock.monotonic()
        self._say(trade_from_ctp(raw, self._day(), self._calendar))
        self._are_positions_due = True

    def _on_insert_refused(self, raw: Raw, error: Raw, number: int, last: bool) -> None:
        if error_id_of(error):
            self._refuse("insert", raw, error)

    def _on_insert_refused_aloud(self, raw: Raw, error: Raw) -> None:
        """Told to every terminal of the account: another one's order may have our number."""
        memo = self._keys.memo(Key(self._front, self._session, text_of(raw, "OrderRef")))
        if error_id_of(error) and memo and text_of(raw, "OrderMemo") in ("", memo):
            self._refuse("insert", raw, error)

    def _on_cancel_refused(self, raw: Raw, error: Raw, number: int, last: bool) -> None:
        if error_id_of(error):
            self._refuse("cancel", raw, error)

    def _on_cancel_refused_aloud(self, raw: Raw, error: Raw) -> None:
        if error_id_of(error):
            self._refuse("cancel", raw, error)

    def _refuse(self, kind: str, raw: Raw, error: Raw) -> None:
        """A counter says it twice, once to us and once to everybody; it is told once."""
        now = self._clock.monotonic()
        what = (kind, text_of(raw, "OrderRef"), text_of(raw, "OrderSysID"))
        if now - self._refused_wishes.get(what, float("-inf")) < 1.0:
            return
        self._refused_wishes = {key: when for key, when in self._refused_wishes.items() if now - when < 1.0}
        self._refused_wishes[what] = now
        translate = insert_rejected if kind == "insert" else cancel_rejected
        self._say(translate(raw, error, self._session_time.now(), self._day()))

    def _on_error(self, error: Raw, number: int, last: bool) -> None:
        if self._queries.hear({}, error, number, last):
            return
        if number in self._steps:
            self._on_step({}, error, number, last)
            return
        log.error(f"the counter says: {error_id_of(error)}, {words_of(error)}", request=number)

    def _on_phase(self, raw: Raw) -> None:
        """A product's trading phase, as the exchange calls it."""
        self.phases[text_of(raw, "InstrumentID")] = text_of(raw, "InstrumentStatus")

    # ---- trading: queries ----

    def _on_row(self, data: Raw, error: Raw, number: int, last: bool) -> None:
        self._queries.hear(data, error, number, last)

    async def _ask(
        self,
        name: str,
        call: Callable[[dict[str, Any], int], int],
        request: dict[str, Any],
        finish: Callable[[Sequence[Raw]], T],
        on_turn: Callable[[], None] = lambda: None,
    ) -> T:
        return await self._queries.ask(name, lambda number: call(request, number), finish, on_turn)

    async def _question(self, subject: Subject, number: int | None) -> dict[int, Answer]:
        """Whoever asks the same before it has gone out shares the answer."""
        asked = self._asked.get(subject)
        if asked is None:
            asked = self._asked[subject] = _Asked()
            asked.task = asyncio.ensure_future(self._put(subject, asked))
        if number is None:
            asked.is_for_all = True
        else:
            asked.numbers.append(number)
        assert asked.task is not None
        return await asyncio.shield(asked.task)

    async def _put(self, subject: Subject, asked: _Asked) -> dict[int, Answer]:
        mine = {"BrokerID": self._account.broker_id, "InvestorID": self._user}

        def goes_out() -> None:
            if self._asked.get(subject) is asked:
                del self._asked[subject]

        def finish(rows: Sequence[Raw]) -> dict[int, Answer]:
            return self._answer(subject, rows, asked)

        calls = {
            Subject.ORDERS: self._td.reqQryOrder,
            Subject.TRADES: self._td.reqQryTrade,
            Subject.POSITIONS: self._td.reqQryInvestorPosition,
            Subject.ACCOUNT: self._td.reqQryTradingAccount,
        }
        try:
            return await self._ask(subject, calls[subject], mine, finish, goes_out)
        finally:
            goes_out()

    def _answer(self, subject: Subject, rows: Sequence[Raw], asked: _Asked) -> dict[int, Answer]:
        """Runs when the last row is heard."""
        said = self._said(subject, rows)
        answers = {number: replace(said, number=number) for number in asked.numbers}
        for answer in answers.values():
            self._listen().on_answer(answer)
        if asked.is_for_all:
            self._say(PositionReport(positions=said.positions))
        return answers

    def _said(self, subject: Subject, rows: Sequence[Raw]) -> Answer:
        match subject:
            case Subject.ORDERS:
                return Answer(number=0, orders=tuple(self._usable(rows, self._order_of)))
            case Subject.TRADES:
                return Answer(number=0, trades=tuple(self._usable(rows, self._trade_of)))
            case Subject.POSITIONS:
                return Answer(number=0, positions=self._positions_of(rows))
            case _:
                found = next((row for row in rows if text_of(row, "AccountID")), None)
                account = account_from_ctp(found, self._day(), self._account_id) if found else None
                return Answer(number=0, account=account)

    def _order_of(self, raw: Raw) -> Any:
        report = order_from_ctp(raw, self._day(), self._calendar, self._keys.memo(key_of(raw)))
        self._keys.heard(raw, report)
        return report

    def _trade_of(self, raw: Raw) -> Any:
        return trade_from_ctp(raw, self._day(), self._calendar)

    def _usable(self, rows: Sequence[Raw], translate: Callable[[Raw], Any]) -> list[Any]:
        found = []
        for raw in rows:
            try:
                found.append(translate(raw))
            except Untranslatable as error:
                self._leave_out(error)
        return found

    def _positions_of(self, rows: Sequence[Raw]) -> tuple[PositionData, ...]:
        """All there is, and a zero for every side that was there before."""
        now, day = self._session_time.now(), self._day()
        found = positions_from_ctp(rows, self._size_of, self._exchange_of, now, day, self._account_id)
        held = {(position.symbol, position.direction): position for position in found}
        gone = [
            replace(was, volume=0, frozen=0, yd_volume=0, yd_frozen=0, price=0.0, pnl=0.0, margin=0.0, datetime=now,
                    trading_day=day)
            for key, was in self._shown.items() if key not in held
        ]  # fmt: skip
        self._shown = held
        return (*found, *gone)

    async def _keep_positions(self) -> None:
        """CTP does not tell positions by itself: asked after what may have changed them, as often as it allows."""
        while True:
            await self._clock.sleep(MARK_EVERY)
            if not self._are_positions_due:
                continue
            self._are_positions_due = False
            try:
                await self._question(Subject.POSITIONS, None)
            except NotConnected:
                return
            except QueryRefused as error:
                log.warning(f"positions: {error}")

    async def _keep_rates(self) -> None:
        """Margin and fees of every contract in use, once a trading day, behind all that matters more."""
        while True:
            await self._clock.sleep(self._queries.spacing)
            self._rates.turn_to(self._day())
            question = self._rates.missing(self._wanted.symbols)
            if question is None or self._queries.is_busy:
                continue
            try:
                await self._ask_rate(*question)
            except NotConnected:
                return
            except QueryRefused as error:
                log.warning(f"{question[1]}: {error}; config/instruments.yaml is used today")
                self._rates.hear(*question, ())

    async def _ask_rate(self, kind: str, symbol: str) -> None:
        request = {"BrokerID": self._account.broker_id, "InvestorID": self._user, "InstrumentID": symbol,
                   "ExchangeID": str(self._exchange_of(symbol) or "")}  # fmt: skip
        if kind == MARGIN:
            call, request = self._td.reqQryInstrumentMarginRate, request | {"HedgeFlag": "1"}
        else:
            call = self._td.reqQryInstrumentCommissionRate
        await self._ask(f"{kind} of {symbol}", call, request, lambda rows: self._rates.hear(kind, symbol, rows))

    # ---- market data ----

    def _on_market_front(self) -> None:
        log.info("market data front connected")
        if MARKET_DATA in self._refusals:
            return
        self._why[MARKET_DATA] = "logging in"
        self._md.reqUserLogin(self._login_request(), next(self._numbers))

    def _on_market_login(self, data: Raw, error: Raw, number: int, last: bool) -> None:
        if error_id_of(error):
            self._on_market_refused(Refused("market data log-in", error_id_of(error), words_of(error)))
            return
        self._market_attempts.succeeded()
        today = day_of(text_of(data, "TradingDay"))
        if today is not None:
            self._wanted.drop_expired(self._book, today)
        if self._market_only:
            self._trading_day = today or self._calendar.trading_day_of(self._clock.now())
            self._session_time.begin(text_of(data, "SHFETime") or text_of(data, "LoginTime"), self._trading_day)
        self._is_market_in = True
        self._ticks.after_a_break()
        self._marks_from = self._clock.monotonic() + 1.0
        log.info("market data logged in", contracts=len(self._wanted.symbols))
        self._subscribe(self._wanted.symbols)

    def _on_market_refused(self, error: Refused) -> None:
        pause = self._market_attempts.pause_after(error)
        if pause is None:
            self._give_up(MARKET_DATA, error)
            return
        self._why[MARKET_DATA] = f"{error}; again after {pause:g} s"
        log.warning(f"market data: {error}", again_after=pause)
        self._spawn(self._enter_market_again(pause), self._tasks)

    async def _enter_market_again(self, pause: float) -> None:
        await self._clock.sleep(pause)
        if not self._is_market_in:
            self._md.reqUserLogin(self._login_request(), next(self._numbers))

    def _on_market_gone(self, reason: int) -> None:
        if self._is_market_in:
            self._alarm(f"no market data: {reason_of(reason)}")
        self._is_market_in = False
        self._why[MARKET_DATA] = self._refusals.get(MARKET_DATA) or reason_of(reason)
        self._marks_from = float("inf")

    def _on_market_error(self, error: Raw, number: int, last: bool) -> None:
        log.error(f"market data: {error_id_of(error)}, {words_of(error)}")

    def _on_subscribed(self, data: Raw, error: Raw, number: int, last: bool) -> None:
        if error_id_of(error):
            log.error(f"{text_of(data, 'InstrumentID')}: not subscribed: {words_of(error)}")

    def _subscribe(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            self._md.subscribeMarketData(symbol)

    def _on_depth(self, raw: Raw) -> None:
        symbol = text_of(raw, "InstrumentID")
        exchange = self._exchange_of(symbol)
        if exchange is None:
            raise Untranslatable(f"{symbol}: no such contract in config/instruments.yaml")
        tick = tick_from_ctp(raw, exchange, self._day(), self._calendar, account_id=self._account_id)
        if tick is None:
            self.counts["snapshots_without_a_price"] += 1
            return
        self._session_time.hear(tick.datetime, is_first=self._ticks.is_first(symbol))
        tick = self._ticks.numbered(tick)
        self._say(TickBatch(ticks=((symbol, tick.seq or 0, msgspec.Raw(encode(tick))),)))

    # ---- time ----

    async def _keep_time(self) -> None:
        """Marks go out while trading and market data both stand: without ticks nobody shall think it was quiet."""
        while True:
            await self._clock.sleep(MARK_EVERY)
            if self._is_in:
                self._look_at_day(day_of(self._td.getTradingDay()) or self._day())
            stands = (self._is_in or self._market_only) and self._is_market_in
            if stands and self._clock.monotonic() >= self._marks_from:
                self._say(ClockMark(session_time=self._session_time.now(), trading_day=self._day()))

    def _look_at_day(self, today: date) -> None:
        """The counter's trading day always wins; the one before is settled."""
        before, self._trading_day = self._trading_day, today
        if before is None or before == today:
            return
        now = self._session_time.now()
        self._keys.forget()
        self._ticks.begin_day()
        self._say(DayMark(session_time=now, trading_day=before, settled=True))
        self._say(DayMark(session_time=now, trading_day=today, settled=False))
        self._are_positions_due = True
        if self._is_in:
            self._spawn(self._confirm_again(), self._session_tasks)

    async def _confirm_again(self) -> None:
        try:
            await self._confirm_settlement()
        except NotConnected as error:
            log.warning(f"settlement not confirmed: {error}")
        except QueryRefused as error:
            self._alarm(f"settlement not confirmed: {error}")

    def _day(self) -> date:
        """Before the counter has said it, the wall's."""
        return self._trading_day or self._clock.now().date()

    def _clock_row(self) -> ClockRow:
        return ClockRow(session_time=self._session_time.now(), trading_day=self._day(), speed=1.0, running=True)

    # ---- inside ----

    @property
    def _user(self) -> str:
        return self._account.user_id

    def _exchange_of(self, symbol: str) -> Exchange | None:
        known = self.contracts.get(symbol)
        if known is not None:
            return next((exchange for exchange in Exchange if exchange == known.exchange), None)
        try:
            return self._book.get(symbol, self._trading_day).exchange
        except UnknownSymbol:
            return None

    def _size_of(self, symbol: str) -> float:
        known = self.contracts.get(symbol)
        if known is not None:
            return known.size
        try:
            return self._book.get(symbol, self._trading_day).size
        except UnknownSymbol:
            return 0.0

    def _at_its_turn(self, wait: float, act: Callable[[], None]) -> None:
        if not wait:
            act()
            return

        async def later() -> None:
            await self._clock.sleep(wait)
            try:
                act()
            except NotConnected as error:
                log.error(f"not sent: {error}")

        self._spawn(later(), self._session_tasks)

    def _call(self, name: str, call: Callable[[dict[str, Any], int], int], request: dict[str, Any]) -> None:
        """Raises NotConnected when the library did not take it: it certainly did not go out."""
        try:
            code = call(request, next(self._numbers))
        except Exception as error:
            raise NotConnected(f"the {name} could not be handed to the library: {error}") from error
        if code:
            raise NotConnected(f"the library turns the {name} down: {code}")

    def _leave_out(self, error: Untranslatable) -> None:
        self.counts["untranslatable"] += 1
        if str(error) not in self._untranslatable:
            self._untranslatable.add(str(error))
            log.error(f"left out: {error}")

    def _alarm(self, words: str) -> None:
        log.error(words)
        self._listen().on_alarm(words)

    def _say(self, fact: Fact) -> None:
        self._listen().on_facts((fact,))

    def _listen(self) -> Listener:
        assert self._listener is not None
        return self._listener

    def _spawn(self, coroutine: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.ensure_future(coroutine)
        among.add(task)
        task.add_done_callback(lambda done: self._ended(done, among))

    def _ended(self, task: asyncio.Task[None], among: set[asyncio.Task[None]]) -> None:
        among.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the connection failed", exc_info=task.exception())

    def _stop_tasks(self, tasks: set[asyncio.Task[None]]) -> None:
        for task in tuple(tasks):
            task.cancel()


class _Asked:
    """Those who wait for one answer. `is_for_all`: it is a report as well."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.is_for_all = False
        self.task: asyncio.Task[dict[int, Answer]] | None = None


def _days_of(rows: Sequence[Raw]) -> set[date]:
    return {day for row in rows if (day := day_of(text_of(row, "ConfirmDate")))}


def _contracts_of(rows: Sequence[Raw]) -> dict[str, Contract]:
    found = (contract_from_ctp(row) for row in rows)
    return {contract.symbol: contract for contract in found if contract is not None}
