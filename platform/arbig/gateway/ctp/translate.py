"""Translate: CTP's dicts into the counter's words and back, at the door. No CTP field name goes further inside.

Pure. A price of DBL_MAX means "none". Numbers and dates come as CTP writes them: padded texts, natural dates at SHFE
and INE, trading dates elsewhere, milliseconds as a plain number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from arbig.domain.counter import (
    AccountRow,
    CancelRejected,
    InsertOrder,
    InsertRejected,
    OrderReport,
    TradeReport,
    error_message,
)
from arbig.domain.messages import (
    SHANGHAI,
    Direction,
    Exchange,
    Offset,
    OrderType,
    PositionData,
    Status,
    TickData,
)
from arbig.domain.sessions import CalendarError, TradingCalendar

Raw = Mapping[str, Any]
Wish = dict[str, Any]

LARGEST_PRICE = 1e300
"""CTP writes DBL_MAX (1.797e308) where it has no price; adding or rounding must not bring one back."""
EVENING, MORNING = time(17, 0), time(6, 0)
"""A night session begins after the one and ends before the other."""
LONGEST_BREAK = timedelta(days=14)
NATURAL_DATES = frozenset({"SHFE", "INE"})
"""Exchanges that write the natural day; DCE and CZCE write the trading day (or stale dates) at night."""

DIRECTIONS = {"0": Direction.LONG, "1": Direction.SHORT}
SIDES = {"2": Direction.LONG, "3": Direction.SHORT}
OFFSETS = {
    "0": Offset.OPEN,
    "1": Offset.CLOSE,
    "2": Offset.CLOSE,  # forced close
    "3": Offset.CLOSETODAY,
    "4": Offset.CLOSEYESTERDAY,
    "5": Offset.CLOSE,  # forced reduction
    "6": Offset.CLOSE,  # forced close by the exchange
}
FORCED = frozenset({"2", "5", "6"})
STATUSES = {
    "0": Status.ALLTRADED,
    "1": Status.PARTTRADED,
    "2": Status.CANCELLED,  # partly traded, no longer queueing
    "3": Status.NOTTRADED,
    "4": Status.CANCELLED,  # not traded, no longer queueing
    "5": Status.CANCELLED,
    "a": Status.SUBMITTING,  # the counter has it, the exchange has not answered
    "b": Status.SUBMITTING,  # a conditional order, not touched yet
    "c": Status.SUBMITTING,  # a conditional order, touched
}
CANCELLED_BY_WISH = frozenset({"", "已撤单", "未成交", "部分成交"})
INSERT_REJECTED = "4"
LIMIT_PRICE = "2"
TERMS = {OrderType.LIMIT: ("3", "1"), OrderType.FAK: ("1", "1"), OrderType.FOK: ("1", "3")}
"""(TimeCondition, VolumeCondition): good for day with any volume, at once with any volume, at once with all of it."""
TYPES = {terms: kind for kind, terms in TERMS.items()} | {("1", "2"): OrderType.FAK}
CTP_DIRECTIONS = {direction: letter for letter, direction in DIRECTIONS.items()}
CTP_OFFSETS = {Offset.OPEN: "0", Offset.CLOSE: "1", Offset.CLOSETODAY: "3", Offset.CLOSEYESTERDAY: "4"}


class Untranslatable(ValueError):
    """A dict that says something our house has no word for: one line with what was found."""


class Contract(NamedTuple):
    """What the counter says about a contract."""

    symbol: str
    exchange: str
    size: float
    price_tick: float
    position_date_type: str
    max_order_volume: int
    margin_by_larger_side: bool


class Key(NamedTuple):
    """An order as its session knows it."""

    front: int
    session: int
    order_ref: str


# ---- numbers, texts, times ------------------------------------------------------------------------------------------


def price_of(value: float | None) -> float | None:
    """None where CTP has no price."""
    if value is None or not -LARGEST_PRICE < value < LARGEST_PRICE:
        return None
    return float(value)


def price_or_zero(value: float | None) -> float:
    """For fields of ours that must be a number: zero where CTP has none."""
    return price_of(value) or 0.0


def text_of(raw: Raw, name: str) -> str:
    return str(raw.get(name) or "").strip()


def number_of(text: str) -> int:
    """An OrderRef; zero when another terminal wrote letters into it."""
    return int(text) if text.strip().isascii() and text.strip().isdigit() else 0


def exchange_of(raw: Raw) -> Exchange:
    found = text_of(raw, "ExchangeID")
    try:
        return Exchange(found)
    except ValueError:
        raise Untranslatable(
            f"{text_of(raw, 'InstrumentID')}: exchange {found!r}; this house trades {', '.join(Exchange)}"
        ) from None


def day_of(text: str) -> date | None:
    """`20251015`; None for an empty or a broken one."""
    text = text.strip()
    if len(text) != 8 or not text.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def clock_of(text: str, milliseconds: int = 0) -> time | None:
    """`21:00:05` and a number of milliseconds: 5 is 5 ms, not half a second."""
    parts = text.strip().split(":")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return None
    hour, minute, second = map(int, parts)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return time(hour, minute, second, (int(milliseconds) % 1000) * 1000)


def natural_day(trading_day: date, clock: time, calendar: TradingCalendar) -> date:
    """The day on the wall when it is `clock` in that trading day: its night belongs to the day before."""
    if MORNING <= clock < EVENING:
        return trading_day
    evening = _day_before(trading_day, calendar)
    return evening if clock >= EVENING else evening + timedelta(days=1)


def _day_before(trading_day: date, calendar: TradingCalendar) -> date:
    try:
        return calendar.previous_day(trading_day)
    except CalendarError:
        return trading_day - timedelta(days=3 if trading_day.weekday() == 0 else 1)


def moment_of(exchange: str, written: str, clock: time, trading_day: date, calendar: TradingCalendar) -> datetime:
    """Date and time as they were on the wall. SHFE and INE write the natural day, and are believed as long as it may
    belong to the trading day; for everybody else it follows from the trading day."""
    day = day_of(written) if exchange in NATURAL_DATES else None
    if day is None or not timedelta(0) <= trading_day - day <= LONGEST_BREAK:
        day = natural_day(trading_day, clock, calendar)
    return datetime.combine(day, clock, SHANGHAI)


# ---- market data ----------------------------------------------------------------------------------------------------


def tick_from_ctp(
    raw: Raw,
    exchange: Exchange,
    session_day: date,
    calendar: TradingCalendar,
    *,
    last_volume: int = 0,
    seq: int | None = None,
    account_id: str | None = None,
) -> TickData | None:
    """A depth snapshot; None for one without a time or without a price. `session_day` stands in for a TradingDay
    that is missing."""
    clock = clock_of(text_of(raw, "UpdateTime"), int(raw.get("UpdateMillisec") or 0))
    last = price_of(raw.get("LastPrice"))
    if clock is None or last is None:
        return None
    trading_day = day_of(text_of(raw, "TradingDay")) or session_day
    return TickData(
        symbol=text_of(raw, "InstrumentID"),
        exchange=exchange,
        datetime=moment_of(exchange, text_of(raw, "ActionDay"), clock, trading_day, calendar),
        last_price=last,
        volume=int(raw["Volume"]),
        open_interest=int(price_or_zero(raw.get("OpenInterest"))),
        last_volume=last_volume,
        open_price=price_or_zero(raw.get("OpenPrice")),
        high_price=price_or_zero(raw.get("HighestPrice")),
        low_price=price_or_zero(raw.get("LowestPrice")),
        pre_close=price_or_zero(raw.get("PreClosePrice")),
        limit_up=price_or_zero(raw.get("UpperLimitPrice")),
        limit_down=price_or_zero(raw.get("LowerLimitPrice")),
        bid_price_1=price_or_zero(raw.get("BidPrice1")),
        bid_volume_1=int(raw.get("BidVolume1") or 0),
        ask_price_1=price_or_zero(raw.get("AskPrice1")),
        ask_volume_1=int(raw.get("AskVolume1") or 0),
        turnover=price_of(raw.get("Turnover")),
        pre_settlement=price_of(raw.get("PreSettlementPrice")),
        trading_day=trading_day,
        account_id=account_id,
        seq=seq,
    )


def contract_from_ctp(raw: Raw) -> Contract | None:
    """None for an empty reply."""
    if not text_of(raw, "InstrumentID"):
        return None
    return Contract(
        symbol=text_of(raw, "InstrumentID"),
        exchange=text_of(raw, "ExchangeID"),
        size=float(raw.get("VolumeMultiple") or 0),
        price_tick=price_or_zero(raw.get("PriceTick")),
        position_date_type=text_of(raw, "PositionDateType"),
        max_order_volume=int(raw.get("MaxLimitOrderVolume") or 0),
        margin_by_larger_side=text_of(raw, "MaxMarginSideAlgorithm") == "1",
    )


# ---- orders and trades ----------------------------------------------------------------------------------------------


def order_from_ctp(raw: Raw, session_day: date, calendar: TradingCalendar, memo: str = "") -> OrderReport:
    """An OrderField, from the private flow or from a query. `memo` is ours, for a counter that does not echo it."""
    exchange = exchange_of(raw)
    trading_day = day_of(text_of(raw, "TradingDay")) or session_day
    flags = text_of(raw, "CombOffsetFlag")[:1]
    status = status_from_ctp(raw)
    words = text_of(raw, "StatusMsg")
    is_told = status is Status.REJECTED or (status is Status.CANCELLED and words not in CANCELLED_BY_WISH)
    return OrderReport(
        flow=0,
        order_ref=number_of(text_of(raw, "OrderRef")),
        memo=text_of(raw, "OrderMemo") or memo,
        order_sys_id=text_of(raw, "OrderSysID"),
        symbol=text_of(raw, "InstrumentID"),
        exchange=exchange,
        direction=_known(DIRECTIONS, raw, "Direction"),
        offset=_known(OFFSETS, {**raw, "CombOffsetFlag": flags}, "CombOffsetFlag"),
        order_type=TYPES.get((text_of(raw, "TimeCondition"), text_of(raw, "VolumeCondition")), OrderType.LIMIT),
        price=price_or_zero(raw.get("LimitPrice")),
        volume=int(raw["VolumeTotalOriginal"]),
        traded=int(raw.get("VolumeTraded") or 0),
        status=status,
        datetime=_order_moment(raw, exchange, trading_day, calendar),
        trading_day=trading_day,
        error_msg=words if is_told else None,
        forced=True if flags in FORCED or text_of(raw, "ForceCloseReason") not in ("", "0") else None,
    )


def status_from_ctp(raw: Raw) -> Status:
    """A cancel because the exchange refused the insert is a rejection; a queueing order with fills is part traded."""
    status: Status = _known(STATUSES, raw, "OrderStatus")
    traded = int(raw.get("VolumeTraded") or 0)
    if status is Status.CANCELLED and text_of(raw, "OrderSubmitStatus") == INSERT_REJECTED and not traded:
        return Status.REJECTED
    if status is Status.NOTTRADED and traded:
        return Status.PARTTRADED
    return status


def _order_moment(raw: Raw, exchange: str, trading_day: date, calendar: TradingCalendar) -> datetime:
    """The latest time the report names; only the insert has a date of its own."""
    inserted = clock_of(text_of(raw, "InsertTime")) or time(9, 0)
    latest = clock_of(text_of(raw, "CancelTime")) or clock_of(text_of(raw, "UpdateTime"))
    if latest is None or latest == inserted:
        return moment_of(exchange, text_of(raw, "InsertDate"), inserted, trading_day, calendar)
    return datetime.combine(natural_day(trading_day, latest, calendar), latest, SHANGHAI)


def key_of(raw: Raw) -> Key:
    return Key(int(raw.get("FrontID") or 0), int(raw.get("SessionID") or 0), text_of(raw, "OrderRef"))


def trade_from_ctp(raw: Raw, session_day: date, calendar: TradingCalendar) -> TradeReport:
    """A TradeField: it knows its order by ExchangeID and OrderSysID."""
    exchange = exchange_of(raw)
    trading_day = day_of(text_of(raw, "TradingDay")) or session_day
    clock = clock_of(text_of(raw, "TradeTime")) or time(9, 0)
    return TradeReport(
        flow=0,
        trade_id=text_of(raw, "TradeID"),
        order_ref=number_of(text_of(raw, "OrderRef")),
        order_sys_id=text_of(raw, "OrderSysID"),
        symbol=text_of(raw, "InstrumentID"),
        exchange=exchange,
        direction=_known(DIRECTIONS, raw, "Direction"),
        offset=_known(OFFSETS, raw, "OffsetFlag"),
        price=price_or_zero(raw.get("Price")),
        volume=int(raw["Volume"]),
        datetime=moment_of(exchange, text_of(raw, "TradeDate"), clock, trading_day, calendar),
        trading_day=trading_day,
    )


def insert_rejected(raw: Raw, error: Raw, when: datetime, trading_day: date) -> InsertRejected:
    error_id = error_id_of(error)
    return InsertRejected(
        order_ref=number_of(text_of(raw, "OrderRef")),
        error_id=error_id,
        error_msg=words_of(error),
        datetime=when,
        trading_day=trading_day,
    )


def cancel_rejected(raw: Raw, error: Raw, when: datetime, trading_day: date) -> CancelRejected:
    return CancelRejected(
        order_ref=number_of(text_of(raw, "OrderRef")),
        order_sys_id=text_of(raw, "OrderSysID"),
        error_id=error_id_of(error) or None,
        error_msg=words_of(error),
        datetime=when,
        trading_day=trading_day,
    )


def error_id_of(error: Raw | None) -> int:
    """Zero when nothing is wrong; a reply may come with an empty error."""
    return int((error or {}).get("ErrorID") or 0)


def words_of(error: Raw) -> str:
    return text_of(error, "ErrorMsg") or error_message(error_id_of(error))


def _known(table: Mapping[str, Any], raw: Raw, name: str) -> Any:
    letter = text_of(raw, name)
    if letter not in table:
        raise Untranslatable(
            f"{text_of(raw, 'InstrumentID')}: {name} {letter!r}, expected one of {' '.join(sorted(table))}"
        )
    return table[letter]


# ---- positions and money --------------------------------------------------------------------------------------------


def positions_from_ctp(
    rows: Iterable[Raw],
    size_of: Callable[[str], float],
    exchange_of_symbol: Callable[[str], Exchange | None],
    when: datetime,
    trading_day: date,
    account_id: str,
) -> tuple[PositionData, ...]:
    """One value per side of a contract. SHFE and INE send two rows (today's, history); `YdPosition` stands still since
    yesterday's close, so yesterday's lots that are left are what is held less what was opened today."""
    grouped: dict[tuple[str, Direction], list[Raw]] = {}
    for raw in rows:
        side = SIDES.get(text_of(raw, "PosiDirection"))
        if side is not None and text_of(raw, "InstrumentID"):
            grouped.setdefault((text_of(raw, "InstrumentID"), side), []).append(raw)
    found = []
    for (symbol, side), group in grouped.items():
        exchange = _exchange_of_position(group, exchange_of_symbol(symbol))
        if exchange is not None:
            found.append(_position(symbol, exchange, side, group, size_of(symbol), when, trading_day, account_id))
    return tuple(found)


def _exchange_of_position(group: Sequence[Raw], known: Exchange | None) -> Exchange | None:
    written = next((text_of(raw, "ExchangeID") for raw in group if text_of(raw, "ExchangeID")), "")
    return next((exchange for exchange in Exchange if exchange == written), None) if written else known


def _position(
    symbol: str,
    exchange: Exchange,
    side: Direction,
    group: Sequence[Raw],
    size: float,
    when: datetime,
    trading_day: date,
    account_id: str,
) -> PositionData:
    volume = sum(int(raw["Position"]) for raw in group)
    today = sum(int(raw["TodayPosition"]) for raw in group)
    paid = sum(price_or_zero(raw.get("OpenCost")) or price_or_zero(raw.get("PositionCost")) for raw in group)
    yesterdays = [raw for raw in group if text_of(raw, "PositionDate") == "2"]
    return PositionData(
        symbol=symbol,
        exchange=exchange,
        direction=side,
        volume=volume,
        frozen=sum(_frozen(raw, side) for raw in group),
        price=round(paid / (volume * size), 6) if volume and size else 0.0,
        pnl=round(sum(price_or_zero(raw.get("PositionProfit")) for raw in group), 2),
        yd_volume=max(volume - today, 0),
        datetime=when,
        account_id=account_id,
        trading_day=trading_day,
        yd_frozen=sum(_frozen(raw, side) for raw in yesterdays) if yesterdays else 0,
        margin=round(sum(price_or_zero(raw.get("UseMargin")) for raw in group), 2),
    )


def _frozen(raw: Raw, side: Direction) -> int:
    """Lots that working closes hold: a long side is closed by selling."""
    return int(raw.get("ShortFrozen" if side is Direction.LONG else "LongFrozen") or 0)


def account_from_ctp(raw: Raw, trading_day: date, account_id: str) -> AccountRow:
    """Under the house's own name of the account."""

    def money(*names: str) -> float:
        return round(sum(price_or_zero(raw.get(name)) for name in names), 2)

    return AccountRow(
        account_id=account_id,
        trading_day=day_of(text_of(raw, "TradingDay")) or trading_day,
        balance=money("Balance"),
        available=money("Available"),
        margin=money("CurrMargin"),
        frozen=money("FrozenMargin", "FrozenCash", "FrozenCommission"),
        commission=money("Commission"),
        close_profit=money("CloseProfit"),
        position_profit=money("PositionProfit"),
        pre_balance=money("PreBalance"),
        currency=text_of(raw, "CurrencyID") or "CNY",
    )


# ---- our wishes, as CTP reads them ----------------------------------------------------------------------------------


def ctp_from_insert(wish: InsertOrder, broker_id: str, user_id: str) -> Wish:
    """An InputOrderField. Only limit prices: SHFE and INE know no market order."""
    time_condition, volume_condition = TERMS[wish.order_type]
    return {
        "BrokerID": broker_id,
        "InvestorID": user_id,
        "UserID": user_id,
        "InstrumentID": wish.symbol,
        "ExchangeID": str(wish.exchange),
        "OrderRef": str(wish.order_ref),
        "OrderMemo": wish.memo,
        "OrderPriceType": LIMIT_PRICE,
        "Direction": CTP_DIRECTIONS[wish.direction],
        "CombOffsetFlag": CTP_OFFSETS[wish.offset],
        "CombHedgeFlag": "1",
        "LimitPrice": wish.price,
        "VolumeTotalOriginal": wish.volume,
        "TimeCondition": time_condition,
        "VolumeCondition": volume_condition,
        "MinVolume": 1,
        "ContingentCondition": "1",
        "ForceCloseReason": "0",
        "IsAutoSuspend": 0,
        "UserForceClose": 0,
    }


def ctp_from_cancel(
    symbol: str, exchange: str, broker_id: str, user_id: str, *, key: Key | None = None, order_sys_id: str = ""
) -> Wish:
    """An InputOrderActionField: by the exchange's number as the exchange wrote it, padding and all, or by the session's
    key while it has none."""
    wish: Wish = {
        "BrokerID": broker_id,
        "InvestorID": user_id,
        "UserID": user_id,
        "InstrumentID": symbol,
        "ExchangeID": exchange,
        "ActionFlag": "0",
    }
    if order_sys_id:
        wish["OrderSysID"] = order_sys_id
    if key is not None:
        wish |= {"FrontID": key.front, "SessionID": key.session, "OrderRef": key.order_ref}
    return wish
