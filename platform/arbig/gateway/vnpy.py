"""VnpyConnector: any gateway of vnpy's (`vnpy_tts`, `vnpy_rohon`, ...) behind the Gateway's port.

BaseGateway says less than CTP does: it has no end of a replay, no number for an error, no memo on an order, no trading
day and no word for a broken line. docs/ctp.md names what follows from that. What it says is translated once, here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from arbig.domain.counter import (
    AccountRow,
    Answer,
    CancelOrder,
    CancelRejected,
    ClockMark,
    ClockRow,
    DayMark,
    Fact,
    InsertOrder,
    LoggedIn,
    OrderReport,
    PositionReport,
    ReplayEnd,
    Subject,
    TickBatch,
    TradeReport,
    error_message,
)
from arbig.domain.instruments import InstrumentBook, UnknownSymbol
from arbig.domain.messages import (
    SHANGHAI,
    Direction,
    Exchange,
    Offset,
    OrderType,
    PositionData,
    Status,
    TickData,
    encode,
)
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.gateway.ctp.api import Ear
from arbig.gateway.ctp.connector import LONGEST_WAIT, MARK_EVERY, QUIET
from arbig.gateway.ctp.pace import Pace
from arbig.gateway.ctp.session_time import SessionTime
from arbig.gateway.numbering import TickNumbers
from arbig.gateway.port import MARKET_DATA, TRADING, ContractRates, Lamp, Listener, NotConnected
from arbig.gateway.subscriptions import Subscriptions
from arbig.runtime.broker import load_vnpy
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.settings import Settings, SettingsError

log = structlog.get_logger()
GONE, BACK = ("断开", "disconnect"), ("登录成功", "logged in", "login success")
"""BaseGateway tells of a broken line in its log alone."""
POLL_SECONDS = 2.0


class VnpyConnector:
    """`make(event_engine, name)` is the gateway's class; `folder` remembers which order is whose over our restarts."""

    def __init__(
        self,
        make: Callable[[Any, str], Any],
        name: str,
        setting: Mapping[str, Any],
        clock: Clock,
        calendar: TradingCalendar,
        book: InstrumentBook,
        symbols: Iterable[str],
        account_id: str,
        folder: Path,
        is_practice: bool = False,
        quiet: float = QUIET,
    ) -> None:
        self._make, self._name, self._setting = make, name, dict(setting)
        self._clock, self._calendar, self._book = clock, calendar, book
        self._wanted = Subscriptions(symbols, folder / "symbols.txt")
        self._account_id = account_id
        self._owners = _Owners(folder / "orders.tsv")
        self._quiet = quiet
        self._session_time = SessionTime(clock, calendar, follows_ticks=is_practice)
        self._pace = Pace()
        self._numbers = TickNumbers(clock, calendar)
        self._api: Any = None
        self._listener: Listener | None = None
        self._is_in = self._is_replayed = False
        self._heard_at = float("-inf")
        self._why = "the gateway has said nothing yet"
        self._trading_day: date | None = None
        self._last_tick: datetime | None = None
        self._answers = itertools.count(1)
        self._orders: dict[str, OrderReport] = {}
        self._trades: dict[tuple[str, str], TradeReport] = {}
        self._positions: dict[tuple[str, Direction], PositionData] = {}
        self._account: AccountRow | None = None
        self._handlers: dict[str, Callable[[Any], None]] = {
            "eTick.": self._on_tick,
            "eOrder.": self._on_order,
            "eTrade.": self._on_trade,
            "ePosition.": self._on_position,
            "eAccount.": self._on_account,
            "eContract.": self._on_contract,
            "eLog": self._on_log,
        }

    # ---- the port ----

    @property
    def connected(self) -> bool:
        return self._is_in

    @property
    def lamps(self) -> Mapping[str, Lamp]:
        """BaseGateway does not tell market data from trading: ticks are the one sign of the one."""
        ticks = self._is_in and self._last_tick is not None
        return {
            TRADING: Lamp(self._is_replayed, None if self._is_replayed else self._why),
            MARKET_DATA: Lamp(ticks, None if ticks else "no tick has come yet"),
        }

    @property
    def refusal(self) -> str | None:
        """BaseGateway gives no number by which a wrong password could be known."""
        return None

    def rates(self) -> Sequence[ContractRates]:
        return ()

    async def run(self, listener: Listener, since: Callable[[], int]) -> None:
        self._listener = listener
        ear = Ear(lambda source, kind, args: self._hear(kind, args[0]))
        self._api = self._make(_Engine(ear), self._name)
        connecting = asyncio.create_task(asyncio.to_thread(self._api.connect, self._setting))
        try:
            await self._keep_time()
        finally:
            await connecting
            await asyncio.to_thread(self._api.close)

    def insert(self, wish: InsertOrder) -> None:
        if not self._is_replayed:
            raise NotConnected("the gateway is not connected, or its replay has not ended")
        if self._pace.wait(self._clock.monotonic()) > LONGEST_WAIT:
            raise NotConnected(f"more than {self._pace.per_second} orders a second; it was not sent")
        self._pace.take(self._clock.monotonic())
        words = importlib.import_module("vnpy.trader.object"), importlib.import_module("vnpy.trader.constant")
        request = words[0].OrderRequest(
            symbol=wish.symbol, exchange=words[1].Exchange[wish.exchange.name],
            direction=words[1].Direction[wish.direction.name], type=words[1].OrderType[wish.order_type.name],
            volume=wish.volume, price=wish.price, offset=words[1].Offset[wish.offset.name], reference=wish.memo,
        )  # fmt: skip
        try:
            name = self._api.send_order(request)
        except Exception:
            log.exception("the order is in doubt: the gateway failed while it took it", order_ref=wish.order_ref)
            return
        if not name:
            raise NotConnected(f"{self._name} does not take the order")
        self._owners.keep(str(name).partition(".")[2], wish)

    def turn_in(self) -> float:
        return self._pace.wait(self._clock.monotonic())

    def cancel(self, wish: CancelOrder) -> None:
        if not self._is_in:
            raise NotConnected("the gateway is not connected")
        name = self._owners.name_of(wish.order_ref) or wish.order_sys_id
        known = self._orders.get(name)
        if known is None:
            self._say(CancelRejected(
                order_ref=wish.order_ref, order_sys_id=wish.order_sys_id, error_id=25, error_msg=error_message(25),
                datetime=self._session_time.now(), trading_day=self._day(),
            ))  # fmt: skip
            return
        words = importlib.import_module("vnpy.trader.object"), importlib.import_module("vnpy.trader.constant")
        self._api.cancel_order(words[0].CancelRequest(
            orderid=name, symbol=known.symbol, exchange=words[1].Exchange[known.exchange.name]
        ))  # fmt: skip

    def subscribe(self, symbols: Sequence[str]) -> None:
        fresh = self._wanted.add(symbols)
        if self._is_in:
            self._subscribe(fresh)

    def start(self) -> None:
        """A broker's clock runs by itself."""

    def cut_line(self, seconds: float) -> None:
        raise NotConnected("only the simulated exchange disconnects on demand")

    async def query(self, subject: Subject) -> Answer:
        """What has been heard: BaseGateway pushes all it knows and marks no end of an answer."""
        if not self._is_in:
            raise NotConnected("the gateway is not connected")
        if subject in (Subject.POSITIONS, Subject.ACCOUNT):
            await asyncio.to_thread(self._api.query_position)
            await asyncio.to_thread(self._api.query_account)
            await asyncio.sleep(0)
        number = next(self._answers)
        answer = self._said(subject, number)
        self._listen().on_answer(answer)
        return answer

    async def history(self, symbol: str, start: datetime, end: datetime) -> Answer:
        answer = Answer(number=next(self._answers))
        self._listen().on_answer(answer)
        return answer

    def _said(self, subject: Subject, number: int) -> Answer:
        match subject:
            case Subject.ORDERS:
                return Answer(number=number, orders=tuple(self._orders.values()))
            case Subject.TRADES:
                return Answer(number=number, trades=tuple(self._trades.values()))
            case Subject.POSITIONS:
                return Answer(number=number, positions=tuple(self._positions.values()))
            case Subject.ACCOUNT:
                return Answer(number=number, account=self._account)
            case Subject.CLOCK:
                now = self._session_time.now()
                return Answer(
                    number=number, clock=ClockRow(session_time=now, trading_day=self._day(), speed=1.0, running=True)
                )
            case _:
                return Answer(number=number)

    # ---- the gateway speaks ----

    def _hear(self, kind: str, data: Any) -> None:
        """Its classes' names are told plainly (`eTick.`) and once more for each contract; the plain one is heard."""
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(data)

    def _on_log(self, data: Any) -> None:
        words = str(data.msg)
        log.info(f"{self._name}: {words}")
        lowered = words.lower()
        if any(word in lowered for word in GONE) and self._is_in:
            self._is_in = self._is_replayed = False
            self._why = words
            self._numbers.after_a_break()
            self._listen().on_lost(words)
        elif any(word in lowered for word in BACK):
            self._begin_session()
        else:
            self._why = words if not self._is_in else self._why

    def _on_contract(self, data: Any) -> None:
        self._heard_at = self._clock.monotonic()
        self._begin_session()

    def _begin_session(self) -> None:
        self._heard_at = self._clock.monotonic()
        if self._is_in:
            return
        self._is_in = True
        self._why = "waiting until the replay is quiet"
        self._look_at_day()
        self._listen().on_login(LoggedIn(
            trading_day=self._day(), session_time=self._session_time.now(), symbols=self._wanted.symbols,
            max_order_ref=0, running=True,
        ))  # fmt: skip
        self._subscribe(self._wanted.symbols)

    def _on_order(self, data: Any) -> None:
        self._heard_at = self._clock.monotonic()
        report = self._order_of(data)
        if report is None:
            return
        self._orders[str(data.orderid)] = report
        self._say(report)

    def _order_of(self, data: Any) -> OrderReport | None:
        exchange, direction = _exchange(data.exchange), _direction(data.direction)
        if exchange is None or direction is None:
            return None
        ref, memo = self._owners.owner_of(str(data.orderid))
        return OrderReport(
            flow=0,
            order_ref=ref,
            memo=memo,
            order_sys_id=str(data.orderid),
            symbol=data.symbol,
            exchange=exchange,
            direction=direction,
            offset=_offset(data.offset),
            order_type=OrderType[data.type.name] if data.type.name in OrderType.__members__ else OrderType.LIMIT,
            price=float(data.price),
            volume=int(data.volume),
            traded=int(data.traded),
            status=Status[data.status.name],
            datetime=self._moment(data.datetime),
            trading_day=self._day(),
            error_msg="refused; the reason is in the gateway's log" if data.status.name == "REJECTED" else None,
        )

    def _on_trade(self, data: Any) -> None:
        self._heard_at = self._clock.monotonic()
        exchange, direction = _exchange(data.exchange), _direction(data.direction)
        if exchange is None or direction is None:
            return
        report = TradeReport(
            flow=0,
            trade_id=str(data.tradeid),
            order_ref=self._owners.owner_of(str(data.orderid))[0],
            order_sys_id=str(data.orderid),
            symbol=data.symbol,
            exchange=exchange,
            direction=direction,
            offset=_offset(data.offset),
            price=float(data.price),
            volume=int(data.volume),
            datetime=self._moment(data.datetime),
            trading_day=self._day(),
        )
        self._trades[report.order_sys_id, report.trade_id] = report
        self._say(report)

    def _on_position(self, data: Any) -> None:
        exchange, direction = _exchange(data.exchange), _direction(data.direction)
        if exchange is None or direction is None:
            return
        found = PositionData(
            symbol=data.symbol,
            exchange=exchange,
            direction=direction,
            volume=int(data.volume),
            frozen=int(data.frozen),
            price=float(data.price),
            pnl=float(data.pnl),
            yd_volume=int(data.yd_volume),
            datetime=self._session_time.now(),
            account_id=self._account_id,
            trading_day=self._day(),
        )
        before = self._positions.get((found.symbol, direction))
        self._positions[found.symbol, direction] = found
        if before is None or (before.volume, before.yd_volume, before.frozen) != (
            found.volume, found.yd_volume, found.frozen,
        ):  # fmt: skip
            self._say(PositionReport(positions=(found,)))

    def _on_account(self, data: Any) -> None:
        self._begin_session()
        self._account = AccountRow(
            account_id=self._account_id, trading_day=self._day(), balance=float(data.balance),
            available=float(data.available), margin=float(data.frozen), frozen=0.0, commission=0.0, close_profit=0.0,
            position_profit=0.0, pre_balance=float(data.balance),
        )  # fmt: skip

    def _on_tick(self, data: Any) -> None:
        exchange = _exchange(data.exchange)
        if exchange is None or not data.last_price:
            return
        moment = self._moment(data.datetime)
        self._session_time.hear(moment, is_first=self._numbers.is_first(data.symbol))
        self._last_tick = moment
        tick = self._numbers.numbered(TickData(
            symbol=data.symbol, exchange=exchange, datetime=moment, last_price=float(data.last_price),
            volume=int(data.volume), open_interest=int(data.open_interest), last_volume=0,
            open_price=float(data.open_price), high_price=float(data.high_price), low_price=float(data.low_price),
            pre_close=float(data.pre_close), limit_up=float(data.limit_up), limit_down=float(data.limit_down),
            bid_price_1=float(data.bid_price_1), bid_volume_1=int(data.bid_volume_1),
            ask_price_1=float(data.ask_price_1), ask_volume_1=int(data.ask_volume_1),
            turnover=float(data.turnover), trading_day=self._sessions(data.symbol).trading_day_of(moment),
            account_id=self._account_id,
        ))  # fmt: skip
        self._say(TickBatch(ticks=((tick.symbol, tick.seq or 0, msgspec.Raw(encode(tick))),)))

    # ---- time ----

    async def _keep_time(self) -> None:
        polled = self._clock.monotonic()
        while True:
            await self._clock.sleep(MARK_EVERY)
            if not self._is_in:
                continue
            now = self._clock.monotonic()
            if not self._is_replayed and now - self._heard_at >= self._quiet:
                self._is_replayed = True
                self._say(ReplayEnd(flow=0))
            if now - polled >= POLL_SECONDS:
                polled = now
                await asyncio.to_thread(self._api.query_position)
            self._look_at_day()
            self._say(ClockMark(session_time=self._session_time.now(), trading_day=self._day()))

    def _look_at_day(self) -> None:
        """The calendar's: BaseGateway does not tell the counter's."""
        today = self._sessions(self._wanted.symbols[0]).trading_day_of(self._session_time.now())
        before, self._trading_day = self._trading_day, today
        if before is None or before == today:
            return
        now = self._session_time.now()
        self._numbers.begin_day()
        self._orders.clear()
        self._trades.clear()
        self._owners.forget()
        self._say(DayMark(session_time=now, trading_day=before, settled=True))
        self._say(DayMark(session_time=now, trading_day=today, settled=False))

    def _sessions(self, symbol: str) -> Sessions:
        try:
            return Sessions(self._book.get(symbol).night_close, self._calendar)
        except UnknownSymbol:
            return Sessions(None, self._calendar)

    def _day(self) -> date:
        return self._trading_day or self._clock.now().date()

    def _moment(self, written: datetime | None) -> datetime:
        if written is None:
            return self._session_time.now()
        return written.replace(tzinfo=SHANGHAI) if written.tzinfo is None else written.astimezone(SHANGHAI)

    # ---- inside ----

    def _subscribe(self, symbols: Iterable[str]) -> None:
        words = importlib.import_module("vnpy.trader.object"), importlib.import_module("vnpy.trader.constant")
        for symbol in symbols:
            exchange = self._book.get(symbol).exchange
            self._api.subscribe(words[0].SubscribeRequest(symbol=symbol, exchange=words[1].Exchange[exchange.name]))

    def _say(self, fact: Fact) -> None:
        self._listen().on_facts((fact,))

    def _listen(self) -> Listener:
        assert self._listener is not None
        return self._listener


class _Engine:
    """What a gateway takes for vnpy's EventEngine: its events are heard on our loop, in order."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def put(self, event: Any) -> None:
        self._ear.say("vnpy", event.type, (event.data,))

    def register(self, kind: str, handler: Any) -> None:
        """A gateway that polls on vnpy's timer: we poll by ourselves."""

    unregister = register


class _Owners:
    """Which of the gateway's order names is which of ours; written down after the send, read at the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner: dict[str, tuple[int, str]] = {}
        self._name: dict[int, str] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text("utf-8").splitlines():
                name, ref, memo = line.split("\t")
                self._note(name, int(ref), memo)

    def keep(self, name: str, wish: InsertOrder) -> None:
        self._note(name, wish.order_ref, wish.memo)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{wish.order_ref}\t{wish.memo}\n")
            file.flush()
            os.fsync(file.fileno())

    def owner_of(self, name: str) -> tuple[int, str]:
        return self._owner.get(name, (0, ""))

    def name_of(self, order_ref: int) -> str | None:
        return self._name.get(order_ref) if order_ref else None

    def forget(self) -> None:
        """A new trading day: a gateway's names may begin anew."""
        self._owner.clear()
        self._name.clear()
        self._path.unlink(missing_ok=True)

    def _note(self, name: str, order_ref: int, memo: str) -> None:
        self._owner[name] = (order_ref, memo)
        self._name[order_ref] = name


def _exchange(theirs: Any) -> Exchange | None:
    return Exchange.__members__.get(theirs.name)


def _direction(theirs: Any) -> Direction | None:
    return None if theirs is None else Direction.__members__.get(theirs.name)


def _offset(theirs: Any) -> Offset:
    return Offset.__members__.get(theirs.name, Offset.OPEN)


def open_vnpy(settings: Settings, clock: Clock, book: InstrumentBook) -> VnpyConnector:
    """`gateway: vnpy_tts`: the one BaseGateway of that package. Raises SettingsError, one line."""
    config = load_vnpy(settings)
    return VnpyConnector(
        gateway_class(settings.gateway, config.gateway_class),
        config.gateway_name or settings.gateway.removeprefix("vnpy_").upper(),
        config.settings,
        clock,
        load_calendar(settings),
        book,
        settings.symbols,
        settings.account_id,
        settings.data / "vnpy" / settings.account_id,
        is_practice=config.practice,
    )


def gateway_class(package: str, name: str | None) -> type[Any]:
    from vnpy.trader.gateway import BaseGateway

    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise SettingsError(f"config/arbig.yaml: gateway: {package}: {error}; pip install {package}") from None
    found = {
        key: one
        for key, one in vars(module).items()
        if inspect.isclass(one) and issubclass(one, BaseGateway) and one is not BaseGateway
    }
    if name is not None and name in found:
        return found[name]
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    raise SettingsError(
        f"config/{package}.yaml: gateway_class: found {name or 'nothing'}, {package} has {', '.join(found) or 'none'}; "
        f"write e.g. gateway_class: {next(iter(found), 'TtsGateway')}"
    )
