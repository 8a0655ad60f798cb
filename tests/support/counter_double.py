"""A counter as vnpy_ctp's two classes show it: the same method names, callbacks on a thread of its own, CTP's dicts.

What a Gateway holds of it is thin. Its truth (`CounterTruth`: orders, trades, sessions, confirmations) sits behind a
unix socket, on a thread of the test or in a process of its own (`python counter_double.py SOCKET DATA`), so that it
outlives whoever talks to it. The truth trades on the simulated exchange and tells its reports as CTP would; what a real
counter does now and then is scripted.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from arbig.domain.counter import (
    CancelOrder,
    CancelRejected,
    InsertOrder,
    InsertRejected,
    OrderReport,
    TickBatch,
    TradeReport,
    error_message,
)
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType, Status, TickData, decode
from arbig.exchange.counter import Counter
from arbig.exchange.server import counter_of
from arbig.runtime.settings import load_settings
from arbig.runtime.simulation import load_simulation

NONE = sys.float_info.max
PASSWORD, AUTH_CODE = "wholly-secret-word", "authorisation-0000"
BROKER, USER, APP = "9999", "u000001", "client_arbig_1.0"
READ_FAILED = 0x1001

OFFSETS = {Offset.OPEN: "0", Offset.CLOSE: "1", Offset.CLOSETODAY: "3", Offset.CLOSEYESTERDAY: "4"}
TERMS = {OrderType.LIMIT: ("3", "1"), OrderType.FAK: ("1", "1"), OrderType.FOK: ("1", "3")}
LETTERS = {
    Status.ALLTRADED: "0", Status.PARTTRADED: "1", Status.NOTTRADED: "3", Status.CANCELLED: "5",
    Status.REJECTED: "5", Status.SUBMITTING: "a",
}  # fmt: skip
T = TypeVar("T")
Callback = tuple[str, list[Any]]


def side(direction: Direction) -> str:
    return "0" if direction is Direction.LONG else "1"


def padded(number: str) -> str:
    """As an exchange writes it, before and after it has given one."""
    return number.rjust(12) if number else ""


def raw_order(report: OrderReport, front: int, session: int, **changes: Any) -> dict[str, Any]:
    time_condition, volume_condition = TERMS[report.order_type]
    when = report.datetime
    return {
        "BrokerID": BROKER, "InvestorID": USER, "InstrumentID": report.symbol, "ExchangeID": str(report.exchange),
        "TradingDay": f"{report.trading_day:%Y%m%d}", "OrderRef": str(report.order_ref), "OrderMemo": report.memo,
        "FrontID": front, "SessionID": session, "OrderSysID": padded(report.order_sys_id),
        "Direction": side(report.direction), "CombOffsetFlag": OFFSETS[report.offset], "CombHedgeFlag": "1",
        "LimitPrice": report.price, "VolumeTotalOriginal": report.volume, "VolumeTraded": report.traded,
        "VolumeTotal": report.volume - report.traded, "OrderStatus": LETTERS[report.status],
        "OrderSubmitStatus": "4" if report.status is Status.REJECTED else "3", "StatusMsg": report.error_msg or "",
        "OrderPriceType": "2", "TimeCondition": time_condition, "VolumeCondition": volume_condition,
        "InsertDate": f"{when:%Y%m%d}", "InsertTime": f"{when:%H:%M:%S}", "UpdateTime": "", "CancelTime": "",
        "ForceCloseReason": "0", "StopPrice": NONE, **changes,
    }  # fmt: skip


def raw_trade(report: TradeReport) -> dict[str, Any]:
    return {
        "BrokerID": BROKER, "InvestorID": USER, "InstrumentID": report.symbol, "ExchangeID": str(report.exchange),
        "TradingDay": f"{report.trading_day:%Y%m%d}", "TradeID": report.trade_id.rjust(12),
        "OrderRef": str(report.order_ref), "OrderSysID": report.order_sys_id.rjust(12),
        "Direction": side(report.direction), "OffsetFlag": OFFSETS[report.offset], "Price": report.price,
        "Volume": report.volume, "TradeDate": f"{report.datetime:%Y%m%d}", "TradeTime": f"{report.datetime:%H:%M:%S}",
    }  # fmt: skip


def raw_depth(tick: TickData) -> dict[str, Any]:
    return {
        "TradingDay": f"{tick.trading_day:%Y%m%d}", "ActionDay": f"{tick.datetime:%Y%m%d}", "ExchangeID": "",
        "InstrumentID": tick.symbol, "UpdateTime": f"{tick.datetime:%H:%M:%S}",
        "UpdateMillisec": tick.datetime.microsecond // 1000, "LastPrice": tick.last_price, "Volume": tick.volume,
        "OpenInterest": float(tick.open_interest), "OpenPrice": tick.open_price, "HighestPrice": tick.high_price,
        "LowestPrice": tick.low_price, "PreClosePrice": tick.pre_close,
        "PreSettlementPrice": tick.pre_settlement or NONE,
        "UpperLimitPrice": tick.limit_up, "LowerLimitPrice": tick.limit_down, "BidPrice1": tick.bid_price_1 or NONE,
        "BidVolume1": tick.bid_volume_1, "AskPrice1": tick.ask_price_1 or NONE, "AskVolume1": tick.ask_volume_1,
        "Turnover": tick.turnover or 0.0, "SettlementPrice": NONE, "ClosePrice": NONE, "AveragePrice": NONE,
        "CurrDelta": NONE, "BidPrice2": NONE, "AskPrice2": NONE,
    }  # fmt: skip


class Session:
    """One API object that is connected."""

    def __init__(self, kind: str, connection: socket.socket) -> None:
        self.kind = kind
        self.connection = connection
        self.front = self.number = 0
        self.is_authenticated = self.is_in = False
        self.asked_at = float("-inf")
        self.symbols: set[str] = set()
        self.max_ref = 0

    def say(self, callbacks: Iterable[Callback]) -> None:
        lines = "".join(json.dumps(callback, ensure_ascii=False) + "\n" for callback in callbacks)
        with contextlib.suppress(OSError):
            self.connection.sendall(lines.encode())


class CounterTruth:
    """What the counter knows, and what it says to whom. `refuse[call]` (or `trading.call`) are error ids for the next
    calls, `turn_down` return codes of the library; `empty` are queries that are answered with nothing, `deaf` calls
    that are not answered."""

    def __init__(self, counter: Counter, query_seconds: float = 0.0) -> None:
        self.counter = counter
        self.query_seconds = query_seconds
        self.refuse: defaultdict[str, list[int]] = defaultdict(list)
        self.turn_down: defaultdict[str, list[int]] = defaultdict(list)
        self.empty: set[str] = set()
        self.deaf: set[str] = set()
        self.echoes_memo = True
        self.trade_first = False
        self.is_open = True
        self.needs_confirmation = True
        self.confirmed: set[str] = set()
        self.rates_by_product = False
        self.margin_fields: dict[str, Any] = {}
        self.fee_fields: dict[str, Any] = {}
        self.flow: list[Callback] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.too_fast = 0
        self.sessions: list[Session] = []
        self.owners: dict[int, tuple[int, int]] = {}
        self.strangers: list[dict[str, Any]] = []
        self.day = self.today
        self._numbers = 0

    @property
    def today(self) -> str:
        return f"{self.counter.exchange.trading_day:%Y%m%d}"

    # ---- what a test does ----

    def advance_to(self, moment: str) -> None:
        """Let the exchange's time pass; everybody hears of it."""
        words = self.counter.advance_to(datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI))
        self._tell_words(words)
        if self.today != self.day:
            self.day = self.today
            self.flow.clear()
            self.owners.clear()

    def close_fronts(self, reason: int = READ_FAILED, stay_closed: bool = False) -> None:
        self.is_open = not stay_closed
        for session in tuple(self.sessions):
            self._drop(session, reason)

    def close_market(self, reason: int = READ_FAILED) -> None:
        for session in [session for session in self.sessions if session.kind == "market"]:
            self._drop(session, reason)

    def push(self, name: str, *args: Any, keep: bool = True) -> None:
        """Say it to every trading session, and again in every replay of the day."""
        if keep:
            self.flow.append((name, list(args)))
        for session in self.sessions:
            if session.kind == "trading" and session.is_in:
                session.say([(name, list(args))])

    def push_tick(self, raw: dict[str, Any]) -> None:
        for session in self.sessions:
            if session.kind == "market" and session.is_in:
                session.say([("onRtnDepthMarketData", [raw])])

    def count(self, call: str) -> int:
        return sum(name == call for name, _ in self.calls)

    # ---- what an API calls ----

    def arrive(self, session: Session) -> bool:
        if not self.is_open:
            return False
        self.sessions.append(session)
        session.say([("onFrontConnected", [])])
        return True

    def leave(self, session: Session) -> None:
        if session in self.sessions:
            self.sessions.remove(session)

    def call(self, session: Session, name: str, data: Any, number: int) -> int:
        self.calls.append((name, data if isinstance(data, dict) else {"": data}))
        if self.turn_down[name]:
            return self.turn_down[name].pop(0)
        if name.startswith("reqQry") and self.query_seconds:
            now = time.monotonic()
            if now - session.asked_at < self.query_seconds:
                self.too_fast += 1
                return -3
            session.asked_at = now
        if name in self.deaf:
            return 0
        errors = self.refuse[f"{session.kind}.{name}"] or self.refuse[name]
        error = errors.pop(0) if errors else 0
        if error:
            session.say(self._refused(name, data, error, number))
            return 0
        getattr(self, f"_{name}")(session, data, number)
        return 0

    def _refused(self, name: str, data: Any, error_id: int, number: int) -> list[Callback]:
        error = {"ErrorID": error_id, "ErrorMsg": error_message(error_id)}
        answer: Callback = (f"onRsp{name[3:]}", [data if name.startswith("reqOrder") else {}, error, number, True])
        if name in ("reqOrderInsert", "reqOrderAction"):
            return [answer, (f"onErrRtn{name[3:]}", [data, error])]
        return [answer]

    def _rows(self, session: Session, name: str, rows: Sequence[dict[str, Any]], number: int) -> None:
        """A query's answer; nothing at all is one row without data."""
        if name in self.empty:
            rows = ()
        said = [(f"onRsp{name[3:]}", [row, {}, number, index == len(rows)]) for index, row in enumerate(rows, 1)]
        session.say(said or [(f"onRsp{name[3:]}", [{}, {}, number, True])])

    def _reqAuthenticate(self, session: Session, data: dict[str, Any], number: int) -> None:
        session.is_authenticated = data["AuthCode"] == AUTH_CODE and data["AppID"] == APP
        error = {} if session.is_authenticated else {"ErrorID": 63, "ErrorMsg": "CTP:客户端认证失败"}
        session.say([("onRspAuthenticate", [{"UserID": USER}, error, number, True])])

    def _reqUserLogin(self, session: Session, data: dict[str, Any], number: int) -> None:
        if data["Password"] != PASSWORD or data["UserID"] != USER:
            session.say(self._refused("reqUserLogin", data, 3, number))
            return
        if session.kind == "trading" and not session.is_authenticated:
            session.say(self._refused("reqUserLogin", data, 64, number))
            return
        self._numbers += 1
        session.is_in, session.front, session.number = True, 1, self._numbers
        now = self.counter.exchange.session_time
        session.say([("onRspUserLogin", [{
            "TradingDay": self.today, "LoginTime": f"{now:%H:%M:%S}", "SHFETime": f"{now:%H:%M:%S}", "UserID": USER,
            "FrontID": 1, "SessionID": session.number, "MaxOrderRef": "1",
        }, {}, number, True])])  # fmt: skip
        if session.kind == "trading":
            session.say(self.flow)

    def _reqQrySettlementInfoConfirm(self, session: Session, data: Any, number: int) -> None:
        rows = [{"ConfirmDate": self.today, "ConfirmTime": "20:55:00"}] if self.today in self.confirmed else []
        self._rows(session, "reqQrySettlementInfoConfirm", rows, number)

    def _reqQrySettlementInfo(self, session: Session, data: Any, number: int) -> None:
        self._rows(session, "reqQrySettlementInfo", [{"Content": "结算单"}], number)

    def _reqSettlementInfoConfirm(self, session: Session, data: Any, number: int) -> None:
        self.confirmed.add(self.today)
        self._rows(session, "reqSettlementInfoConfirm", [{"ConfirmDate": self.today}], number)

    def _reqQryInstrument(self, session: Session, data: Any, number: int) -> None:
        exchange = self.counter.exchange
        rows = []
        for symbol in exchange.truth.symbols:
            found = exchange.rules.book.get(symbol, exchange.trading_day)
            rows.append({
                "InstrumentID": symbol, "ExchangeID": str(found.exchange), "ProductClass": "1",
                "VolumeMultiple": int(found.size), "PriceTick": found.price_tick, "MaxMarginSideAlgorithm": "1",
                "PositionDateType": found.position_date_type, "MaxLimitOrderVolume": found.max_order_volume,
            })  # fmt: skip
        self._rows(session, "reqQryInstrument", rows, number)

    def _rate_name(self, symbol: str) -> str:
        """A counter may answer with one row for the whole product."""
        return symbol.rstrip("0123456789") if self.rates_by_product else symbol

    def _charged(self, symbol: str) -> Any:
        return self.counter.exchange.rules.book.get(symbol, self.counter.exchange.trading_day)

    def _reqQryInstrumentMarginRate(self, session: Session, data: dict[str, Any], number: int) -> None:
        rate = self._charged(data["InstrumentID"]).margin_rate
        self._rows(session, "reqQryInstrumentMarginRate", [{
            "InstrumentID": self._rate_name(data["InstrumentID"]), "HedgeFlag": "1", "IsRelative": 0,
            "LongMarginRatioByMoney": rate, "LongMarginRatioByVolume": 0.0, "ShortMarginRatioByMoney": rate,
            "ShortMarginRatioByVolume": 0.0, **self.margin_fields,
        }], number)  # fmt: skip

    def _reqQryInstrumentCommissionRate(self, session: Session, data: dict[str, Any], number: int) -> None:
        fees = self._charged(data["InstrumentID"]).fees
        self._rows(session, "reqQryInstrumentCommissionRate", [{
            "InstrumentID": self._rate_name(data["InstrumentID"]), "OpenRatioByMoney": fees.open_by_rate,
            "OpenRatioByVolume": fees.open_by_lot, "CloseRatioByMoney": fees.close_by_rate,
            "CloseRatioByVolume": fees.close_by_lot, "CloseTodayRatioByMoney": fees.close_today_by_rate,
            "CloseTodayRatioByVolume": fees.close_today_by_lot, **self.fee_fields,
        }], number)  # fmt: skip

    def _reqQryOrder(self, session: Session, data: Any, number: int) -> None:
        rows = [self._raw(report) for report in self.counter.exchange.order_reports()]
        self._rows(session, "reqQryOrder", [*rows, *self.strangers], number)

    def _reqQryTrade(self, session: Session, data: Any, number: int) -> None:
        rows = [raw_trade(trade) for trade in self.counter.store.trades(self.counter.exchange.trading_day)]
        self._rows(session, "reqQryTrade", rows, number)

    def _reqQryInvestorPosition(self, session: Session, data: Any, number: int) -> None:
        """SHFE's way: today's lots and yesterday's apart, `YdPosition` as it was at yesterday's close."""
        exchange, rows = self.counter.exchange, []
        for row in exchange.positions():
            size = exchange.rules.book.get(row.symbol, exchange.trading_day).size
            common = {
                "InstrumentID": row.symbol, "ExchangeID": str(row.exchange), "PositionProfit": 0.0, "UseMargin": 0.0,
                "PosiDirection": "2" if row.direction is Direction.LONG else "3", "YdPosition": row.yd_volume + 1,
            }  # fmt: skip
            frozen_name = "ShortFrozen" if row.direction is Direction.LONG else "LongFrozen"
            today, yd_frozen = row.volume - row.yd_volume, row.yd_frozen or 0
            for date_letter, volume, opened, frozen in (
                ("1", today, today, row.frozen - yd_frozen),
                ("2", row.yd_volume, 0, yd_frozen),
            ):
                if volume:
                    rows.append({
                        **common, "PositionDate": date_letter, "Position": volume, "TodayPosition": opened,
                        "LongFrozen": 0, "ShortFrozen": 0, frozen_name: frozen, "OpenCost": row.price * volume * size,
                        "PositionCost": row.price * volume * size,
                    })  # fmt: skip
        self._rows(session, "reqQryInvestorPosition", rows, number)

    def _reqQryTradingAccount(self, session: Session, data: Any, number: int) -> None:
        row = self.counter.exchange.account_row()
        self._rows(session, "reqQryTradingAccount", [{
            "AccountID": USER, "Balance": row.balance, "Available": row.available, "CurrMargin": row.margin,
            "FrozenMargin": row.frozen, "FrozenCash": 0.0, "FrozenCommission": 0.0, "Commission": row.commission,
            "CloseProfit": row.close_profit, "PositionProfit": row.position_profit, "PreBalance": row.pre_balance,
            "TradingDay": self.today, "CurrencyID": "CNY",
        }], number)  # fmt: skip

    def _reqOrderInsert(self, session: Session, data: dict[str, Any], number: int) -> None:
        if self.needs_confirmation and self.today not in self.confirmed:
            session.say(self._refused("reqOrderInsert", data, 42, number))
            return
        kind = next(k for k, terms in TERMS.items() if terms == (data["TimeCondition"], data["VolumeCondition"]))
        wish = InsertOrder(
            order_ref=int(data["OrderRef"]), memo=data["OrderMemo"], symbol=data["InstrumentID"],
            exchange=Exchange(data["ExchangeID"]), volume=data["VolumeTotalOriginal"], price=data["LimitPrice"],
            direction=Direction.LONG if data["Direction"] == "0" else Direction.SHORT, order_type=kind,
            offset=next(offset for offset, letter in OFFSETS.items() if letter == data["CombOffsetFlag"]),
        )  # fmt: skip
        self.owners.setdefault(wish.order_ref, (session.front, session.number))
        words = self.counter.on_wish(wish).to_all
        for word in words:
            if isinstance(word, InsertRejected):
                session.say(self._refused("reqOrderInsert", data, word.error_id, number))
                return
        first = next(word for word in words if isinstance(word, OrderReport))
        self.push("onRtnOrder", self._raw(first, OrderStatus="a", OrderSubmitStatus="0", OrderSysID="", VolumeTraded=0,
                                          StatusMsg="报单已提交"))  # fmt: skip
        self._tell_words(sorted(words, key=_trades_first) if self.trade_first else words)

    def _reqOrderAction(self, session: Session, data: dict[str, Any], number: int) -> None:
        """By the exchange's number, or by the key of the session that sent it; nothing else names an order."""
        wish = CancelOrder(order_sys_id=data.get("OrderSysID", "").strip())
        if not wish.order_sys_id and self.owners.get(int(data["OrderRef"])) == (data["FrontID"], data["SessionID"]):
            wish = CancelOrder(order_ref=int(data["OrderRef"]))
        words = self.counter.on_wish(wish).to_all if wish.order_ref or wish.order_sys_id else ()
        refused = next((word for word in words if isinstance(word, CancelRejected)), None)
        if refused is not None or not words:
            error = (refused.error_id or 0) if refused else 25
            if error:
                session.say(self._refused("reqOrderAction", data, error, number))
            elif refused is not None:
                said = {"ErrorID": 0, "ErrorMsg": refused.error_msg}
                session.say([("onErrRtnOrderAction", [data, said])])
            return
        first = next(word for word in words if isinstance(word, OrderReport))
        self.push("onRtnOrder", self._raw(first, OrderStatus="3", OrderSubmitStatus="1"))
        self._tell_words(words)

    def _subscribeMarketData(self, session: Session, symbol: str, number: int) -> None:
        session.symbols.add(symbol)
        session.say([("onRspSubMarketData", [{"InstrumentID": symbol}, {}, 0, True])])

    # ---- inside ----

    def _raw(self, report: OrderReport, **changes: Any) -> dict[str, Any]:
        front, session = self.owners.get(report.order_ref, (0, 0))
        memo = {} if self.echoes_memo else {"OrderMemo": ""}
        return raw_order(report, front, session, **memo, **changes)

    def _tell_words(self, words: Iterable[Any]) -> None:
        for word in words:
            if isinstance(word, OrderReport):
                self.push("onRtnOrder", self._raw(word))
            elif isinstance(word, TradeReport):
                self.push("onRtnTrade", raw_trade(word))
            elif isinstance(word, TickBatch):
                for symbol, _, payload in word.ticks:
                    raw = raw_depth(decode(TickData, bytes(payload)))
                    for session in self.sessions:
                        if symbol in session.symbols:
                            session.say([("onRtnDepthMarketData", [raw])])

    def _drop(self, session: Session, reason: int) -> None:
        session.say([("#closing", [reason])])
        self.leave(session)
        with contextlib.suppress(OSError):
            session.connection.shutdown(socket.SHUT_RDWR)


def _trades_first(word: Any) -> int:
    return 0 if isinstance(word, TradeReport) else 1


class CounterServer:
    """The truth behind a unix socket: one line is one call or one callback. One word at a time, on one thread."""

    def __init__(self, make: Callable[[], CounterTruth], path: Path) -> None:
        self._desk = ThreadPoolExecutor(1)
        self.truth = self._desk.submit(make).result()
        self.path = path
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def do(self, act: Callable[[CounterTruth], T]) -> T:
        return self._desk.submit(act, self.truth).result()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("r", encoding="utf-8") as lines:
            kind = lines.readline().strip()
            if kind == "control":
                self._obey(connection, lines)
                return
            session = Session(kind, connection)
            if not self.do(lambda truth: truth.arrive(session)):
                return
            with contextlib.suppress(OSError, RuntimeError):
                for line in lines:
                    self._take(session, *json.loads(line))
            with contextlib.suppress(RuntimeError):
                self.do(lambda truth: truth.leave(session))

    def _take(self, session: Session, name: str, data: Any, number: int) -> None:
        session.say([("#code", [self.do(lambda truth: truth.call(session, name, data, number))])])

    def _obey(self, connection: socket.socket, lines: Any) -> None:
        for line in lines:
            name, args = json.loads(line)
            found = self.do(lambda truth, name=name: getattr(truth, name))
            if callable(found):
                found = self.do(lambda _, found=found, args=args: found(*args))
            connection.sendall((json.dumps(found) + "\n").encode())

    def close(self) -> None:
        self._server.close()
        self.do(lambda truth: truth.close_fronts(stay_closed=True))
        self.do(lambda truth: truth.counter.close())
        self._desk.shutdown()


class _Double:
    """What both classes share: a socket, a thread that reconnects by itself and calls back, calls that return codes."""

    KIND = ""

    def __init__(self) -> None:
        self._path = ""
        self._connection: socket.socket | None = None
        self._codes: queue.Queue[int] = queue.Queue()
        self._is_active = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._today = ""
        self._refs = threading.Lock()

    def registerFront(self, address: str) -> None:
        self._path = address.removeprefix("unix:")

    def init(self) -> None:
        self._is_active = True
        self._thread.start()

    def exit(self) -> int:
        self._is_active = False
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        return 1

    def _live(self) -> None:
        while self._is_active:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._path)
            except OSError:
                time.sleep(0.02)
                continue
            with connection:
                self._connection = connection
                with contextlib.suppress(OSError):
                    connection.sendall(f"{self.KIND}\n".encode())
                    self._listen(connection)
                self._connection = None
            time.sleep(0.02)

    def _listen(self, connection: socket.socket) -> None:
        reason, was_connected = READ_FAILED, False
        with connection.makefile("r", encoding="utf-8") as lines, contextlib.suppress(OSError):
            for line in lines:
                name, args = json.loads(line)
                if name == "#code":
                    self._codes.put(args[0])
                elif name == "#closing":
                    reason = args[0]
                else:
                    was_connected = True
                    if name == "onRspUserLogin":
                        self._today = args[0].get("TradingDay", self._today)
                    self._call_back(name, args)
        self._codes.put(-1)
        if was_connected and self._is_active:
            self._call_back("onFrontDisconnected", [reason])

    def _call_back(self, name: str, args: Sequence[Any]) -> None:
        """As vnpy_ctp's C++: what a callback raises goes to stdout, and nobody hears of it."""
        try:
            getattr(self, name, lambda *_: None)(*args)
        except Exception as error:
            print(error)

    def _send(self, name: str, data: Any, number: int) -> int:
        connection = self._connection
        if connection is None:
            return -1
        with self._refs:
            while not self._codes.empty():
                self._codes.get_nowait()
            try:
                connection.sendall((json.dumps([name, data, number]) + "\n").encode())
                return self._codes.get(timeout=5)
            except (OSError, queue.Empty):
                return -1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("req"):
            return lambda data, number: self._send(name, data, number)
        raise AttributeError(name)


class TdApi(_Double):
    KIND = "trading"

    def createFtdcTraderApi(self, path: bytes, production_mode: bool) -> None:
        self.flow_path = path

    def subscribePrivateTopic(self, kind: int) -> None:
        assert kind == 0, "the double replays the whole day"

    def subscribePublicTopic(self, kind: int) -> None: ...

    def getTradingDay(self) -> str:
        return self._today

    def getFrontInfo(self) -> dict[str, Any]:
        return {"FrontAddr": self._path, "QryFreq": 200, "FTDPkgFreq": 200}


class MdApi(_Double):
    KIND = "market"

    def createFtdcMdApi(self, path: bytes, production_mode: bool) -> None:
        self.flow_path = path

    def subscribeMarketData(self, symbol: str) -> int:
        return self._send("subscribeMarketData", symbol, 0)


class Control:
    """The wire to a truth in another process."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        self._lines = self._connection.makefile("r", encoding="utf-8")
        self._connection.sendall(b"control\n")

    def ask(self, name: str, *args: Any) -> Any:
        self._connection.sendall((json.dumps([name, args]) + "\n").encode())
        return json.loads(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


def main(path: str, root: str, config: str, data: str, moment: str) -> None:
    settings = load_settings(root=root, config=config, data=data)
    server = CounterServer(lambda: CounterTruth(counter_of(settings, load_simulation(settings))), Path(path))
    server.do(lambda truth: truth.advance_to(moment))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
