"""Orders: what is known of one, merged from evidence. Reports and trades may come late, twice, or in any order.

A stage only rises. The stages form a lattice and TRANSITIONS is its join, so the same evidence in any order ends in the
same state. Two things are not a rank but arithmetic: `traded` is the sum of the unique trades, `announced` the largest
volume a report has claimed; what is announced and has not come yet is `missing`.
"""

from __future__ import annotations

from datetime import date
from datetime import datetime as Time
from enum import StrEnum
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from arbig.domain.messages import (
    CommandData,
    Detail,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    Status,
    TradeData,
)


class Stage(StrEnum):
    """A status with the detail that matters: not knowing, and having refused it ourselves, are stages of their own."""

    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    NOT_SENT = "NOT_SENT"
    NOTTRADED = "NOTTRADED"
    PARTTRADED = "PARTTRADED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    ALLTRADED = "ALLTRADED"


class Event(StrEnum):
    """What a piece of evidence says. PART_FILLED and FILLED come from reports and from trades alike."""

    SUBMITTED = "SUBMITTED"
    LOST = "LOST"
    WITHHELD = "WITHHELD"
    QUEUED = "QUEUED"
    PART_FILLED = "PART_FILLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    FILLED = "FILLED"


_S, _U, _N = Stage.SUBMITTING, Stage.UNKNOWN, Stage.NOT_SENT
_Q, _P, _R, _C, _F = Stage.NOTTRADED, Stage.PARTTRADED, Stage.REJECTED, Stage.CANCELLED, Stage.ALLTRADED

# One row per stage, one column per event. What we said ourselves (LOST, WITHHELD) yields to whatever the counter says.
# A trade after a cancel still counts, and a full fill wins over everything.
_TABLE = {
    #                SUBMITTED LOST WITHHELD QUEUED PART REJECTED CANCELLED FILLED
    Stage.SUBMITTING: (_S, _U, _N, _Q, _P, _R, _C, _F),
    Stage.UNKNOWN: (_U, _U, _N, _Q, _P, _R, _C, _F),
    Stage.NOT_SENT: (_N, _N, _N, _Q, _P, _R, _C, _F),
    Stage.NOTTRADED: (_Q, _Q, _Q, _Q, _P, _R, _C, _F),
    Stage.PARTTRADED: (_P, _P, _P, _P, _P, _C, _C, _F),
    Stage.REJECTED: (_R, _R, _R, _R, _C, _R, _C, _F),
    Stage.CANCELLED: (_C, _C, _C, _C, _C, _C, _C, _F),
    Stage.ALLTRADED: (_F, _F, _F, _F, _F, _F, _F, _F),
}
TRANSITIONS: dict[tuple[Stage, Event], Stage] = {
    (stage, event): after for stage, row in _TABLE.items() for event, after in zip(Event, row, strict=True)
}

# Evidence that contradicts itself: nobody both rejects an order and trades or cancels it. It is merged and shown.
ILLEGAL = frozenset(
    {
        (Stage.PARTTRADED, Event.REJECTED),
        (Stage.CANCELLED, Event.REJECTED),
        (Stage.ALLTRADED, Event.REJECTED),
        (Stage.REJECTED, Event.PART_FILLED),
        (Stage.REJECTED, Event.CANCELLED),
        (Stage.REJECTED, Event.FILLED),
    }
)

FINAL = frozenset({Stage.NOT_SENT, Stage.REJECTED, Stage.CANCELLED, Stage.ALLTRADED})

_WITHHELD = frozenset({Detail.NOT_SENT, Detail.EXPIRED, Detail.DENIED})
_EVENT_OF = {
    Status.SUBMITTING: Event.SUBMITTED,
    Status.NOTTRADED: Event.QUEUED,
    Status.PARTTRADED: Event.PART_FILLED,
    Status.REJECTED: Event.REJECTED,
    Status.CANCELLED: Event.CANCELLED,
    Status.ALLTRADED: Event.FILLED,
}
_STATUS_OF = {Stage.UNKNOWN: Status.SUBMITTING, Stage.NOT_SENT: Status.REJECTED}


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known of one order. `trade_keys` are the trades already counted; a repeat of one changes nothing."""

    request_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    order_type: OrderType
    price: float
    volume: int
    strategy_name: str
    created: Time
    updated: Time
    parent_id: str | None = None
    order_id: str | None = None
    account_id: str | None = None
    trading_day: date | None = None
    stage: Stage = Stage.SUBMITTING
    traded: int = 0
    announced: int = 0
    trade_keys: frozenset[str] = frozenset()
    detail: Detail | None = None
    error_id: int | None = None
    error_msg: str | None = None
    forced: bool | None = None
    code_hash: str | None = None
    run_id: str | None = None
    cause: str | None = None

    @property
    def status(self) -> Status:
        return _STATUS_OF.get(self.stage) or Status(self.stage)

    @property
    def missing(self) -> int:
        """Lots that were announced as filled and whose trades have not come yet."""
        return max(0, self.announced - self.traded)

    @property
    def working(self) -> int:
        """Lots whose trades may still come: what a close keeps frozen and an open keeps of the margin."""
        return max(0, self.volume - self.traded) if self.is_active else self.missing

    @property
    def is_active(self) -> bool:
        return self.stage not in FINAL

    @property
    def is_unknown(self) -> bool:
        return self.stage is Stage.UNKNOWN

    @property
    def vt_orderid(self) -> str:
        return self.parent_id or self.request_id or self.order_id or ""

    @classmethod
    def from_command(cls, command: CommandData) -> Self:
        """The order at the moment its command is written: SUBMITTING, nothing heard yet."""
        return cls(
            request_id=command.request_id,
            parent_id=command.parent_id,
            order_id=command.order_id,
            strategy_name=command.strategy_name or "",
            created=command.timestamp,
            updated=command.timestamp,
            **_same(command),
        )

    @classmethod
    def from_request(cls, request: OrderRequest) -> Self:
        """A wish as an order of its own: what Trading answers for one that it denies."""
        return cls(
            request_id=request.request_id,
            order_id=request.order_id,
            strategy_name=request.strategy_name,
            created=request.timestamp,
            updated=request.timestamp,
            **_same(request),
        )

    @classmethod
    def from_order_data(cls, order: OrderData) -> OrderState:
        """An order first heard of from outside: another terminal's, a forced close, a counter's answer after a loss."""
        fresh = cls(
            request_id=order.request_id or "",
            parent_id=order.parent_id,
            order_id=order.order_id or None,
            strategy_name=order.strategy_name,
            created=order.datetime,
            updated=order.datetime,
            **_same(order),
        )
        return merge(fresh, order).state

    def denied(self, reason: str, when: Time, detail: Detail = Detail.DENIED) -> Self:
        """The order that we refuse ourselves, with the sentence that says why."""
        return replace(self, stage=Stage.NOT_SENT, detail=detail, error_msg=reason, updated=when)

    def to_order_data(self, event_id: str | None = None) -> OrderData:
        return OrderData(
            order_id=self.order_id or "",
            traded=max(self.traded, self.announced),
            status=self.status,
            datetime=self.updated,
            strategy_name=self.strategy_name,
            request_id=self.request_id or None,
            parent_id=self.parent_id,
            event_id=event_id,
            detail=self.detail,
            error_id=self.error_id,
            error_msg=self.error_msg,
            forced=self.forced,
            **_same(self),
        )


class Merged(NamedTuple):
    """The state after a piece of evidence. `illegal`: the evidence contradicts what was known; store it and alarm."""

    state: OrderState
    changed: bool
    illegal: bool


def merge(state: OrderState, evidence: OrderData | TradeData) -> Merged:
    """What is known after this report or trade. Pure, monotone, idempotent, and indifferent to the order of arrival."""
    if state.order_id and evidence.order_id and state.order_id != evidence.order_id:
        return Merged(state, False, True)
    if isinstance(evidence, TradeData):
        after, illegal = _with_trade(state, evidence)
    else:
        after, illegal = _with_report(state, evidence)
    if after == state:
        return Merged(state, False, illegal)
    return Merged(replace(after, updated=max(state.updated, evidence.datetime)), True, illegal)


def _with_trade(state: OrderState, trade: TradeData) -> tuple[OrderState, bool]:
    if trade.key in state.trade_keys:
        return state, False
    after = replace(
        state,
        order_id=state.order_id or trade.order_id or None,
        account_id=state.account_id or trade.account_id,
        trading_day=state.trading_day or trade.trading_day,
        forced=state.forced or trade.forced,
        traded=state.traded + trade.volume,
        trade_keys=state.trade_keys | {trade.key},
    )
    event = Event.FILLED if after.traded >= state.volume else Event.PART_FILLED
    return _moved(after, event), _is_illegal(state, event) or after.traded > state.volume


def _with_report(state: OrderState, order: OrderData) -> tuple[OrderState, bool]:
    claimed = order.volume if order.status is Status.ALLTRADED else order.traded
    after = replace(
        state,
        order_id=state.order_id or order.order_id or None,
        account_id=state.account_id or order.account_id,
        trading_day=state.trading_day or order.trading_day,
        forced=state.forced or order.forced,
        announced=max(state.announced, claimed),
    )
    said = _event_of(order)
    illegal = _is_illegal(state, said) or claimed > state.volume
    after = _told(_moved(after, said), order, _stage_of(said))
    if after.announced >= state.volume:
        return _moved(after, Event.FILLED), illegal
    return (_moved(after, Event.PART_FILLED) if after.announced else after), illegal


def _event_of(order: OrderData) -> Event:
    if order.status is Status.SUBMITTING and order.detail is Detail.UNKNOWN:
        return Event.LOST
    if order.status is Status.REJECTED and order.detail in _WITHHELD:
        return Event.WITHHELD
    return _EVENT_OF[order.status]


def _stage_of(event: Event) -> Stage:
    return TRANSITIONS[Stage.SUBMITTING, event]


def _is_illegal(state: OrderState, event: Event) -> bool:
    return (state.stage, event) in ILLEGAL


def _moved(state: OrderState, event: Event) -> OrderState:
    """To the next stage; a new stage forgets the words that belonged to the old one."""
    stage = TRANSITIONS[state.stage, event]
    if stage is state.stage:
        return state
    return replace(state, stage=stage, detail=None, error_id=None, error_msg=None)


def _told(state: OrderState, order: OrderData, stage: Stage) -> OrderState:
    """A report's words are kept when they speak of the stage the order is in, and nothing was said yet."""
    if state.stage is not stage:
        return state
    return replace(
        state,
        detail=state.detail or order.detail,
        error_id=state.error_id if state.error_id is not None else order.error_id,
        error_msg=state.error_msg or order.error_msg,
    )


def _same(source: CommandData | OrderRequest | OrderData | OrderState) -> dict[str, Any]:
    return {name: getattr(source, name) for name in _SAME}


_SAME = (
    "symbol",
    "exchange",
    "direction",
    "offset",
    "order_type",
    "price",
    "volume",
    "account_id",
    "trading_day",
    "code_hash",
    "run_id",
    "cause",
)


def diagram() -> str:
    """The table as a mermaid state diagram for ARCHITECTURE.md: every move, the repeats and late arrivals left out."""
    moves: dict[tuple[Stage, Stage], list[Event]] = {}
    for (stage, event), after in TRANSITIONS.items():
        if stage is not after and (stage, event) not in ILLEGAL:
            moves.setdefault((stage, after), []).append(event)
    arrows = [f"    {a} --> {b}: {', '.join(e.lower() for e in events)}" for (a, b), events in moves.items()]
    ends = [f"    {stage} --> [*]" for stage in Stage if stage in FINAL]
    return "\n".join(["stateDiagram-v2", "    [*] --> SUBMITTING", *arrows, *ends])
