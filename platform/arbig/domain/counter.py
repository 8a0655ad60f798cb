"""Counter: the words between a gateway's connector and a counter, and how they are framed on a byte stream.

Wishes go up (`Login`, `InsertOrder`, ...), facts come down (`OrderReport`, `TradeReport`, ...). The simulated exchange
speaks exactly this; a connector to a real counter translates its callbacks into the same facts. Reports belong to the
private flow: `flow` numbers them without gaps, so that a client can ask for what it has missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from arbig.domain.messages import BarData, Direction, Exchange, Offset, OrderType, PositionData, Status


class Word(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anything said between a connector and a counter."""


# ---- wishes -------------------------------------------------------------------------------------------------------


class Login(Word, frozen=True, kw_only=True):
    """Open the session. The private flow is replayed from the start of the trading day, or from `since` + 1 if that
    is earlier; `ReplayEnd` follows."""

    since: int = 0


class Start(Word, frozen=True, kw_only=True):
    """Everybody who listens is there: let the session clock run."""


class Subscribe(Word, frozen=True, kw_only=True):
    symbols: tuple[str, ...]


class InsertOrder(Word, frozen=True, kw_only=True):
    """`order_ref` is the client's number, `memo` is echoed on every report of the order."""

    order_ref: int
    memo: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int


class CancelOrder(Word, frozen=True, kw_only=True):
    """By the client's number, or by the exchange's (orders of other terminals)."""

    order_ref: int = 0
    order_sys_id: str = ""


class Subject(StrEnum):
    ORDERS = "orders"
    TRADES = "trades"
    POSITIONS = "positions"
    ACCOUNT = "account"
    CLOCK = "clock"
    STATEMENT = "statement"


class Query(Word, frozen=True, kw_only=True):
    number: int
    subject: Subject


class QueryHistory(Word, frozen=True, kw_only=True):
    number: int
    symbol: str
    start: datetime
    end: datetime


class CutLine(Word, frozen=True, kw_only=True):
    """Disconnect on demand: for so many wall seconds nothing is reported and no log-in is taken."""

    seconds: float


# ---- facts --------------------------------------------------------------------------------------------------------


class LoggedIn(Word, frozen=True, kw_only=True):
    trading_day: date
    session_time: datetime
    symbols: tuple[str, ...]
    max_order_ref: int
    running: bool


class LoginRefused(Word, frozen=True, kw_only=True):
    error_id: int
    error_msg: str


class TickBatch(Word, frozen=True, kw_only=True):
    """(symbol, seq, payload): the payload is the TickData as it goes onto the bus."""

    ticks: tuple[tuple[str, int, msgspec.Raw], ...]


class ClockMark(Word, frozen=True, kw_only=True):
    """The session clock, in order with the ticks: everything up to `session_time` has been said."""

    session_time: datetime
    trading_day: date
    segment_end: bool = False


class DayMark(Word, frozen=True, kw_only=True):
    """`settled`: the day's books are closed. Otherwise a new trading day begins."""

    session_time: datetime
    trading_day: date
    settled: bool


class OrderReport(Word, frozen=True, kw_only=True):
    """The state of an order as the counter tells it. An `error_id` is the counter's, an exchange gives only words."""

    flow: int
    order_ref: int
    memo: str
    order_sys_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    traded: int
    status: Status
    datetime: datetime
    trading_day: date
    error_id: int | None = None
    error_msg: str | None = None
    forced: bool | None = None


class TradeReport(Word, frozen=True, kw_only=True):
    flow: int
    trade_id: str
    order_ref: int
    order_sys_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    price: float
    volume: int
    datetime: datetime
    trading_day: date


class InsertRejected(Word, frozen=True, kw_only=True):
    """The counter refuses an order. Dialogue, not private flow: a lost one is not repeated."""

    order_ref: int
    error_id: int
    error_msg: str
    datetime: datetime
    trading_day: date


class CancelRejected(Word, frozen=True, kw_only=True):
    """A cancel the counter (with an id) or the exchange (with words alone) refuses."""

    order_ref: int
    order_sys_id: str
    error_id: int | None
    error_msg: str
    datetime: datetime
    trading_day: date


class PositionReport(Word, frozen=True, kw_only=True):
    """The sides of one contract that have just changed."""

    positions: tuple[PositionData, ...]


class ReplayEnd(Word, frozen=True, kw_only=True):
    """The private flow has been replayed up to `flow`; what follows is new."""

    flow: int


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    account_id: str
    trading_day: date
    balance: float
    available: float
    margin: float
    frozen: float
    commission: float
    close_profit: float
    position_profit: float
    pre_balance: float
    currency: str = "CNY"


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A settled day as the counter closes it. Profit by date: yesterday's lots from their pre-settlement price, today's
    from their opening price, what is held marked at `prices`, the day's settlement prices."""

    account_id: str
    trading_day: date
    pre_balance: float
    balance: float
    commission: float
    close_profit: float
    position_profit: float
    margin: float
    prices: dict[str, float] = {}


class ClockRow(msgspec.Struct, frozen=True, kw_only=True):
    session_time: datetime
    trading_day: date
    speed: float
    running: bool


class Answer(Word, frozen=True, kw_only=True):
    """The answer to the query of that number, in order with the private flow. Only the field asked for is filled."""

    number: int
    orders: tuple[OrderReport, ...] = ()
    trades: tuple[TradeReport, ...] = ()
    positions: tuple[PositionData, ...] = ()
    account: AccountRow | None = None
    statement: Statement | None = None
    clock: ClockRow | None = None
    bars: tuple[BarData, ...] = ()
    error: str | None = None


Wish = Login | Start | Subscribe | InsertOrder | CancelOrder | Query | QueryHistory | CutLine
Fact = (
    LoggedIn
    | LoginRefused
    | TickBatch
    | ClockMark
    | DayMark
    | OrderReport
    | TradeReport
    | InsertRejected
    | CancelRejected
    | PositionReport
    | ReplayEnd
    | Answer
)
Report = OrderReport | TradeReport

# ---- frames -------------------------------------------------------------------------------------------------------

MAX_FRAME = 64 * 1024 * 1024
_encoder = msgspec.json.Encoder()
_wishes: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Wish)
_facts: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Fact)


class FrameError(ValueError):
    """Bytes that are not a frame of this protocol."""


def frame(word: Word) -> bytes:
    """Four bytes of length, then JSON: it keeps the times as they are in Shanghai."""
    body = _encoder.encode(word)
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Bytes in any pieces go in, whole words come out."""

    def __init__(self, decoder: msgspec.json.Decoder[Any]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        self._buffer += data
        start = 0
        size = len(self._buffer)
        try:
            while size - start >= 4:
                end = start + 4 + int.from_bytes(self._buffer[start : start + 4], "big")
                if end - start > MAX_FRAME:
                    raise FrameError(f"a frame of {end - start} bytes; at most {MAX_FRAME} are taken")
                if end > size:
                    break
                body = bytes(self._buffer[start + 4 : end])
                start = end
                yield self._decode(body)
        finally:
            del self._buffer[:start]

    def _decode(self, body: bytes) -> Any:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:
            raise FrameError(f"not a word of this protocol: {error}") from error


def wish_frames() -> Frames:
    return Frames(_wishes)


def fact_frames() -> Frames:
    return Frames(_facts)


# ---- what the counter's error numbers mean -------------------------------------------------------------------------

ERRORS = {
    3: "CTP:不合法的登录 (bad log-in)",
    8: "CTP:前置不活跃 (the front is not active)",
    15: "CTP:报单字段有误 (a field of the order is wrong)",
    16: "CTP:找不到合约 (no such contract)",
    17: "CTP:合约不能交易 (the contract cannot be traded now)",
    22: "CTP:报单错误：不允许重复报单 (this order reference was used before)",
    25: "CTP:撤单找不到相应报单 (no such order to cancel)",
    26: "CTP:报单已全成交或已撤销，不能再撤 (the order is finished already)",
    29: "CTP:平仓仓位不足或只能平仓 (closing orders only)",
    30: "CTP:平仓量超过持仓量 (close volume exceeds the position)",
    31: "CTP:资金不足 (not enough money)",
    50: "CTP:平今仓位不足 (not enough of today's lots to close)",
    51: "CTP:平昨仓位不足 (not enough of yesterday's lots to close)",
    80: "CTP:报单价格类型不支持 (price type not supported)",
    90: "CTP:查询未就绪，请稍后重试 (query not ready, try again)",
    95: "CTP:报单价格不合法 (the price is not on the contract's tick)",
    106: "CTP:超出报单数量限制 (more lots than one order may have)",
    116: "CTP:报单过于频繁 (orders come too fast)",
}


# What the exchange itself says, without a number.
FORBIDDEN_NOW = "已撤单报单被拒绝SHFE:当前状态禁止此项操作 (the exchange takes no orders now)"
ABOVE_LIMIT = "已撤单报单被拒绝SHFE:价格超出涨停板 (the price is above limit-up {limit})"
BELOW_LIMIT = "已撤单报单被拒绝SHFE:价格跌破跌停板 (the price is below limit-down {limit})"
AT_THE_CLOSE = "收盘自动撤单 (the trading day is over)"


def error_message(error_id: int) -> str:
    return ERRORS.get(error_id, f"CTP:错误 (error {error_id})")
