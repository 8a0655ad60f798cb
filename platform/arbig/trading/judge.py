"""Trading: what becomes of a request. Nothing is written or sent here; the answer says what should be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import datetime as Time
from typing import Any

from msgspec.structs import replace

from arbig.domain.instruments import Instrument, InstrumentBook, UnknownSymbol
from arbig.domain.messages import (
    CommandData,
    CommandType,
    Detail,
    Exchange,
    Offset,
    OrderRequest,
    child_request_id,
)
from arbig.domain.orders import OrderState
from arbig.domain.positions import Leg, NotEnough, plan_offsets
from arbig.domain.risk import Funds, RiskView, Rule, Sent, judge
from arbig.domain.sessions import CalendarError, Phase, Sessions, TradingCalendar
from arbig.runtime.clock import Clock
from arbig.trading.activity import NOTHING
from arbig.trading.order_manager import OrderManager
from arbig.trading.position_manager import NO_LOTS, PositionManager
from arbig.trading.pulse import Pulse
from arbig.trading.quotes import Quotes
from arbig.trading.state import TradingState

PATIENCE = timedelta(seconds=3)
MEMORY_SECONDS = 60.0


@dataclass(frozen=True)
class Refusal:
    """No, with the sentence that says why, and the word for it."""

    sentence: str
    detail: Detail = Detail.DENIED
    code: str = "REFUSED"


class Judge:
    """Looks at the market, the account and the rules, and answers with legs to send or a refusal."""

    def __init__(
        self,
        account_id: str,
        instruments: InstrumentBook,
        calendar: TradingCalendar,
        rules: Sequence[Rule],
        quotes: Quotes,
        orders: OrderManager,
        positions: PositionManager,
        clock: Clock,
        account: Callable[[], Mapping[str, Any]],
        pulse: Pulse,
    ) -> None:
        self.account_id = account_id
        self.instruments = instruments
        self.calendar = calendar
        self.rules = rules
        self.quotes = quotes
        self.orders = orders
        self.positions = positions
        self.clock = clock
        self.account = account
        self.pulse = pulse
        self._sessions: dict[object, Sessions] = {}
        self._contracts: dict[tuple[str, Exchange, date], Instrument | Refusal] = {}
        self._sent: deque[Sent] = deque()
        self._cancelled: deque[float] = deque()

    def plan(self, request: OrderRequest, state: TradingState) -> tuple[Leg, ...] | Refusal:
        """The legs that fulfil the request, or why it is refused."""
        try:
            return self._plan(request, state)
        except (UnknownSymbol, CalendarError) as error:
            return Refusal(str(error), code="CONTRACT")

    def _plan(self, request: OrderRequest, state: TradingState) -> tuple[Leg, ...] | Refusal:
        if request.account_id not in (None, self.account_id):
            found = f"{request.symbol}: account {request.account_id} is not traded here, {self.account_id} is"
            return Refusal(found, code="ACCOUNT")
        if late := self._lateness(request):
            return Refusal(late, Detail.EXPIRED, "EXPIRED")
        if refusal := state.refusal(request):
            return Refusal(refusal, code="TRADING_STATE")
        now, day = self.quotes.now(request.symbol), self.quotes.trading_day
        if now is None or day is None:
            found = f"{request.symbol}: the exchange's clock is not known yet; try again in a moment"
            return Refusal(found, code="CLOCK")
        instrument = self._contract(request.symbol, request.exchange, day)
        if isinstance(instrument, Refusal):
            return instrument
        view = self._view(instrument, now, day)
        if denial := judge(self.rules, request, view):
            return Refusal(denial.sentence, code=denial.code)
        plan = plan_offsets(view.holding, instrument, request.direction, request.volume, request.offset)
        return Refusal(plan.reason, code="CLOSE_AVAILABLE") if isinstance(plan, NotEnough) else plan

    def _lateness(self, request: OrderRequest) -> str | None:
        late = (self.clock.now() - expiry_of(request)).total_seconds()
        return f"{request.symbol}: the order expired {late:.1f} s before Trading could send it" if late > 0 else None

    def _contract(self, symbol: str, exchange: Exchange, day: date) -> Instrument | Refusal:
        """Whether a contract is listed takes long to find out, and holds for the whole day."""
        key = (symbol, exchange, day)
        found = self._contracts.get(key)
        if found is None:
            found = self._contracts[key] = self._look_up(symbol, exchange, day)
        return found

    def _look_up(self, symbol: str, exchange: Exchange, day: date) -> Instrument | Refusal:
        instrument = self.instruments.get(f"{symbol}.{exchange}", day)
        if self.instruments.is_listed(symbol, day):
            return instrument
        main = self.instruments.main_contract(instrument.product, day)
        if instrument.last_trading_day < day:
            found = f"{symbol}: expired on {instrument.last_trading_day}; the main contract is {main}"
            return Refusal(found, code="CONTRACT")
        return Refusal(f"{symbol}: not listed on {day}; the main contract is {main}", code="CONTRACT")

    def _view(self, instrument: Instrument, now: Time, day: date) -> RiskView:
        seconds, activity = self.clock.monotonic(), self.orders.activity
        resting = self.orders.working(instrument.symbol)
        return RiskView(
            instrument=instrument,
            now=seconds,
            phase=self.sessions_of(instrument).phase_at(now),
            trading_day=day,
            tick=self.quotes.tick(instrument.symbol),
            holding=self.positions.holding(instrument, resting),
            working_orders=activity.active,
            sent=self.recent(),
            cancelled=_lasting(self._cancelled, seconds),
            resting=resting,
            counts=activity.counts.get(instrument.symbol, NOTHING),
            held=self.positions.held(instrument.product),
            opening=activity.opening.get(instrument.product, NO_LOTS),
            funds=self._funds(),
            silent=self.silent(),
            bursts=self.pulse.bursts,
        )

    def silent(self) -> float | None:
        """Seconds since the last tick of any contract, None before the first."""
        heard_at = self.quotes.heard_at
        return None if heard_at is None else self.clock.monotonic() - heard_at

    def _funds(self) -> Funds | None:
        """None before the counter has told anything of the account."""
        account = self.account()
        if not account:
            return None
        return Funds(account["balance"], account["margin"], account["frozen"], self.orders.activity.reserved)

    def sessions_of(self, instrument: Instrument) -> Sessions:
        sessions = self._sessions.get(instrument.night_close)
        if sessions is None:
            sessions = self._sessions[instrument.night_close] = Sessions(instrument.night_close, self.calendar)
        return sessions

    def phase_of(self, symbol: str) -> Phase:
        """What the exchange does with a contract's orders now. Raises UnknownSymbol, CalendarError."""
        now = self.quotes.now(symbol)
        if now is None:
            return Phase.CLOSED
        return self.sessions_of(self.instruments.get(symbol, self.quotes.trading_day)).phase_at(now)

    def recent(self) -> Sequence[Sent]:
        """Opening orders of the last minute."""
        seconds = self.clock.monotonic()
        while self._sent and seconds - self._sent[0].at >= MEMORY_SECONDS:
            self._sent.popleft()
        return self._sent

    def sent(self, request: OrderRequest) -> None:
        """Counted by the rate rules from now on: they limit what opens."""
        if request.offset is Offset.OPEN:
            self._sent.append(Sent.of(request, self.clock.monotonic()))

    def cancelled(self, messages: int) -> None:
        """So many cancels have just been passed on."""
        self._cancelled.extend([self.clock.monotonic()] * messages)

    def remember(self, sent: Iterable[tuple[Time, OrderState]], cancelled: Iterable[tuple[Time, int]]) -> None:
        """Orders and cancels that a former life sent a moment ago."""
        now, seconds = self.clock.now(), self.clock.monotonic()
        for when, messages in cancelled:
            self._cancelled.extend([seconds - (now - when).total_seconds()] * messages)
        for when, order in sent:
            if order.offset is Offset.OPEN:
                at = seconds - (now - when).total_seconds()
                self._sent.append(Sent(at, order.symbol, order.direction, order.offset, order.price, order.volume))

    def session_time(self, request: OrderRequest) -> Time:
        return self.quotes.now(request.symbol) or request.timestamp


def _lasting(moments: deque[float], seconds: float) -> Sequence[float]:
    while moments and seconds - moments[0] >= MEMORY_SECONDS:
        moments.popleft()
    return moments


def expiry_of(request: OrderRequest) -> Time:
    """By the wall's clock: an order older than this is not worth sending."""
    return request.expires_at or request.timestamp + PATIENCE


def commands_for(
    request: OrderRequest, legs: Sequence[Leg], account_id: str, trading_day: date | None
) -> list[CommandData]:
    """One command a leg. The first bears the request's own id, a second one an id derived from it."""
    return [
        CommandData(
            cmd_type=CommandType.SEND_ORDER,
            request_id=request.request_id if first else child_request_id(request.request_id, leg.offset),
            parent_id=None if first else request.request_id,
            symbol=request.symbol,
            exchange=request.exchange,
            direction=request.direction,
            offset=leg.offset,
            order_type=request.order_type,
            price=request.price,
            volume=leg.volume,
            timestamp=request.timestamp,
            strategy_name=request.strategy_name,
            account_id=account_id,
            trading_day=trading_day,
            expires_at=expiry_of(request),
            code_hash=request.code_hash,
            run_id=request.run_id,
            cause=request.cause,
        )
        for first, leg in ((number == 0, leg) for number, leg in enumerate(legs))
    ]


def cancels_for(request: OrderRequest, orders: Sequence[OrderState]) -> list[CommandData]:
    """One command an order that still works."""
    return [
        CommandData(
            cmd_type=CommandType.CANCEL_ORDER,
            request_id=request.request_id if number == 0 else child_request_id(request.request_id, order.offset),
            order_request_id=order.request_id or None,
            order_id=order.order_id,
            parent_id=order.parent_id,
            symbol=order.symbol,
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            order_type=order.order_type,
            price=order.price,
            volume=order.volume,
            timestamp=request.timestamp,
            strategy_name=order.strategy_name,
            account_id=order.account_id,
            trading_day=order.trading_day,
            run_id=request.run_id,
        )
        for number, order in enumerate(orders)
    ]


def denied(request: OrderRequest, refusal: Refusal, account_id: str, day: date | None, when: Time) -> OrderState:
    """The order that never was, for the table and for the strategy."""
    known = replace(request, account_id=account_id, trading_day=day, timestamp=when)
    return OrderState.from_request(known).denied(refusal.sentence, when, refusal.detail)
