"""Messages: what the rooms say to one another, as the specification writes it (section 4).

One frozen struct per message. The specification's keys stand first and are always written; optional keys
follow and are left out when empty. Inside the house `datetime` is aware (Asia/Shanghai); on the wire it is the
specification's naive string. Unknown optional keys are ignored.
"""

from __future__ import annotations

from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import asdict, force_setattr

SHANGHAI = ZoneInfo("Asia/Shanghai")
SCHEMA = 1
GATEWAY = "ARBIG"


class Direction(StrEnum):
    opposite: Direction
    sign: int

    LONG = "LONG"
    SHORT = "SHORT"


Direction.LONG.opposite, Direction.LONG.sign = Direction.SHORT, 1
Direction.SHORT.opposite, Direction.SHORT.sign = Direction.LONG, -1


class Offset(StrEnum):
    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSETODAY = "CLOSETODAY"
    CLOSEYESTERDAY = "CLOSEYESTERDAY"


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    FAK = "FAK"
    FOK = "FOK"


class Status(StrEnum):
    is_active: bool

    SUBMITTING = "SUBMITTING"
    NOTTRADED = "NOTTRADED"
    PARTTRADED = "PARTTRADED"
    ALLTRADED = "ALLTRADED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


for _status in Status:
    _status.is_active = _status in (Status.SUBMITTING, Status.NOTTRADED, Status.PARTTRADED)


class Detail(StrEnum):
    """What is finer than a status: SUBMITTING + UNKNOWN; REJECTED + NOT_SENT, EXPIRED, DENIED; CANCELLED + LATE_ACK."""

    UNKNOWN = "UNKNOWN"
    NOT_SENT = "NOT_SENT"
    EXPIRED = "EXPIRED"
    DENIED = "DENIED"
    LATE_ACK = "LATE_ACK"


class Exchange(StrEnum):
    SHFE = "SHFE"
    INE = "INE"


class Interval(StrEnum):
    MINUTE = "1m"
    HOUR = "1h"
    DAILY = "d"


class CommandType(StrEnum):
    SEND_ORDER = "SEND_ORDER"
    CANCEL_ORDER = "CANCEL_ORDER"


class EventType(StrEnum):
    """What `stream:event` carries (specification 5.2)."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTED = "CONNECTED"
    RECONCILED = "RECONCILED"
    TRADING_DAY = "TRADING_DAY"
    SETTLED = "SETTLED"
    TRADING_STATE = "TRADING_STATE"
    EXTERNAL = "EXTERNAL"
    BOOK = "BOOK"
    ALARM = "ALARM"


class AlarmCode(StrEnum):
    """What an ALARM is about, for those who choose what they are told; a trigger's alarm has its rule's word."""

    REJECTS = "REJECTS"
    STRATEGY = "STRATEGY"
    MISMATCH = "MISMATCH"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The common part. `TIMESPEC` says how fine the time on the wire is."""

    TIMESPEC: ClassVar[str] = "milliseconds"
    v: int | None = None

    def __post_init__(self) -> None:
        for name in _TIMES:
            value = getattr(self, name, None)
            if value is not None and value.tzinfo is None:
                force_setattr(self, name, value.replace(tzinfo=SHANGHAI))

    @property
    def gateway_name(self) -> str:
        """The name of the counter's door, for strategies that hand it on as vnpy's do."""
        return GATEWAY


_TIMES = ("datetime", "timestamp", "expires_at")


class TickData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One level of quotes, at most two a second per contract (specification 4.2). Volumes in lots, `volume` since
    the start of the trading day; `turnover` in yuan since then."""

    symbol: str
    exchange: Exchange
    datetime: Time
    last_price: float
    volume: int
    open_interest: int
    last_volume: int
    open_price: float
    high_price: float
    low_price: float
    pre_close: float
    limit_up: float
    limit_down: float
    bid_price_1: float
    bid_volume_1: int
    ask_price_1: float
    ask_volume_1: int
    turnover: float | None = None
    pre_settlement: float | None = None
    trading_day: date | None = None
    account_id: str | None = None
    seq: int | None = None

    def __post_init__(self) -> None:
        if self.datetime.tzinfo is None:
            force_setattr(self, "datetime", self.datetime.replace(tzinfo=SHANGHAI))

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"


class BarData(Message, frozen=True, omit_defaults=True, gc=False):
    """A bar, stamped with its first minute (specification 4.3). `volume` in lots, `turnover` in yuan, both of this
    bar alone. `partial` when ticks of it were missed; `seq` counts the bars of a symbol's trading day from 1.
    A backtest makes a hundred thousand of them, by position."""

    TIMESPEC: ClassVar[str] = "seconds"

    symbol: str
    exchange: Exchange
    datetime: Time
    interval: str
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    volume: int
    open_interest: int
    turnover: float | None = None
    trading_day: date | None = None
    account_id: str | None = None
    seq: int | None = None
    partial: bool | None = None

    def __post_init__(self) -> None:
        if self.datetime.tzinfo is None:
            force_setattr(self, "datetime", self.datetime.replace(tzinfo=SHANGHAI))

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"


class OrderRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A strategy's or a person's wish (specification 4.4). With `cmd_type` CANCEL_ORDER it asks to cancel the order
    of `order_request_id`; the other fields then repeat that order."""

    request_id: str
    strategy_name: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    timestamp: Time
    cmd_type: CommandType | None = None
    order_request_id: str | None = None
    order_id: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    expires_at: Time | None = None
    code_hash: str | None = None
    run_id: str | None = None
    cause: str | None = None


class CommandData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Trading's instruction to the Gateway (specification 4.8)."""

    cmd_type: CommandType
    request_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    timestamp: Time
    strategy_name: str | None = None
    order_request_id: str | None = None
    order_id: str | None = None
    parent_id: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    expires_at: Time | None = None
    code_hash: str | None = None
    run_id: str | None = None
    cause: str | None = None


class OrderData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an order (specification 4.7). A state, not a step: a repeat changes nothing."""

    order_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    traded: int
    status: Status
    datetime: Time
    strategy_name: str
    request_id: str | None = None
    parent_id: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    event_id: str | None = None
    detail: Detail | None = None
    error_id: int | None = None
    error_msg: str | None = None
    forced: bool | None = None
    code_hash: str | None = None
    run_id: str | None = None
    cause: str | None = None

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def vt_orderid(self) -> str:
        """The name under which the strategy knows the order: what `buy()` returned."""
        return self.parent_id or self.request_id or self.order_id

    @property
    def orderid(self) -> str:
        return self.order_id

    @property
    def type(self) -> OrderType:
        return self.order_type

    def is_active(self) -> bool:
        return self.status.is_active


class TradeData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One fill (specification 4.5). Unique by (account, trading day, exchange, trade_id, direction)."""

    trade_id: str
    order_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    price: float
    volume: int
    datetime: Time
    strategy_name: str
    request_id: str | None = None
    parent_id: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    event_id: str | None = None
    forced: bool | None = None
    code_hash: str | None = None
    run_id: str | None = None

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def vt_orderid(self) -> str:
        return self.parent_id or self.request_id or self.order_id

    @property
    def orderid(self) -> str:
        return self.order_id

    @property
    def tradeid(self) -> str:
        return self.trade_id

    @property
    def vt_tradeid(self) -> str:
        return f"{self.gateway_name}.{self.trade_id}"

    @property
    def key(self) -> str:
        """The trade's identity across replays and restarts."""
        return f"T:{self.account_id}:{self.trading_day}:{self.exchange}:{self.trade_id}:{self.direction}"


class PositionData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One side of one contract (specification 4.6), a snapshot: the last one wins. `volume` counts today's and
    yesterday's lots, `yd_volume` those of yesterday still held, `frozen` those promised to working closes."""

    symbol: str
    exchange: Exchange
    direction: Direction
    volume: int
    frozen: int
    price: float
    pnl: float
    yd_volume: int
    datetime: Time
    account_id: str | None = None
    trading_day: date | None = None
    event_id: str | None = None
    yd_frozen: int | None = None
    margin: float | None = None

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def number(self) -> int:
        """Snapshots are numbered as they were made; 0 for one that no journal has numbered."""
        last = (self.event_id or "").rpartition(":")[2]
        return int(last) if last.isdigit() else 0


class EventData(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to the house itself: connection, reconcile, trading state, alarms. EXTERNAL: another terminal's
    order touches lots of a strategy. BOOK: a strategy's book gained `volume` net lots at `price` without a trade of the
    exchange; such changes are numbered. `code`: what an ALARM is about (AlarmCode, or
    a trigger's word)."""

    event: EventType
    source: str
    datetime: Time
    message: str = ""
    symbol: str | None = None
    strategy_name: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    event_id: str | None = None
    state: str | None = None
    volume: int | None = None
    price: float | None = None
    number: int | None = None
    code: str | None = None


class DeadLetter(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A stream entry nobody could use, kept whole with the reason (`stream:dead`)."""

    stream: str
    entry_id: str
    group: str
    reason: str
    payload: str
    datetime: Time


class Heartbeat(Message, frozen=True, kw_only=True, omit_defaults=True):
    """`hb:{service}`, once a second. The Gateway's carries the session clock, in order with its ticks."""

    service: str
    datetime: Time
    pid: int
    state: str = "ready"
    session_time: Time | None = None
    trading_day: date | None = None
    connected: bool | None = None

    def __post_init__(self) -> None:
        for name in ("datetime", "session_time"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                force_setattr(self, name, value.replace(tzinfo=SHANGHAI))


class MessageError(ValueError):
    """A payload that is not the message it should be: names the message, what was found and what was expected."""


M = TypeVar("M", bound=Message)
_decoders: dict[type[Message], msgspec.json.Decoder[Any]] = {}
_encode = msgspec.json.Encoder().encode


def encode(message: Message) -> bytes:
    """One JSON object: the specification's keys in its order, then the optional keys that are set."""
    fields = asdict(message)
    own = _order(type(message))
    out = {}
    for name in own:
        value = fields[name]
        if value is None:
            continue
        if type(value) is Time:
            value = value.replace(tzinfo=None).isoformat(timespec=message.TIMESPEC)
        out[name] = value
    return _encode(out)


_orders: dict[type[Message], tuple[str, ...]] = {}


def _order(kind: type[Message]) -> tuple[str, ...]:
    names = _orders.get(kind)
    if names is None:
        names = (*(n for n in kind.__struct_fields__ if n != "v"), "v")
        _orders[kind] = names
    return names


def decode(kind: type[M], payload: bytes | str) -> M:
    """Read one message. Raises MessageError naming the field; another major schema `v` is refused."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        message: M = decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a {kind.__name__}: {error}; found {_shown(payload)}") from error
    if message.v is not None and message.v != SCHEMA:
        raise MessageError(f"{kind.__name__} has schema v={message.v}, this build speaks v={SCHEMA}: update one side")
    return message


def _shown(payload: bytes | str) -> str:
    text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
    return repr(text if len(text) <= 120 else text[:117] + "...")


_REQUESTS = UUID("6f1c3a52-6d0f-5c0e-9b5e-0a5b1c0d2e3f")


def request_id_of(strategy_name: str, run_id: str, signal: int | str) -> str:
    """The deterministic identity of a signal: uuid5 of strategy, run and signal number (architecture 9)."""
    return str(uuid5(_REQUESTS, f"{strategy_name}/{run_id}/{signal}"))


def child_request_id(request_id: str, offset: Offset) -> str:
    """The identity of the second order when one close must be split into today's and yesterday's lots."""
    return str(uuid5(_REQUESTS, f"{request_id}/{offset}"))


def split_vt_symbol(text: str) -> tuple[str, str | None]:
    """`au2512.SHFE` -> (au2512, SHFE); `au2512` -> (au2512, None)."""
    symbol, _, exchange = text.partition(".")
    return symbol, exchange or None
