"""Trading: every order's state, merged from whatever evidence comes, in whatever order. Memory follows the database:
a state is adopted when its row is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import date

from msgspec.structs import asdict, replace

from arbig.domain.messages import OrderData, TradeData
from arbig.domain.orders import OrderState, merge
from arbig.store.orders import OrderStore, Outgoing
from arbig.trading.activity import Activity
from arbig.trading.books import Book
from arbig.trading.position_manager import PositionManager

log = logging.getLogger(__name__)


class OrderManager:
    """The only writer of orders, trades and books. Raises StoreError, and then nothing has changed."""

    def __init__(self, store: OrderStore, positions: PositionManager, activity: Activity) -> None:
        self.store = store
        self.positions = positions
        self.activity = activity
        self.trading_day: date | None = None
        self.orders_today = 0
        self.trades_today = 0
        self.illegal = 0
        self._states: dict[str, OrderState] = {}
        self._names: dict[str, str] = {}
        self._working: dict[str, OrderState] = {}
        self._parked: dict[str, dict[str, TradeData]] = {}
        self._counted: set[str] = set()

    # ---- what is known --------------------------------------------------------------------------------------------

    def load(self, trading_day: date | None) -> None:
        """From the database, at start and when the trading day turns."""
        states, parked = self.store.load(trading_day)
        self.trading_day = trading_day
        self._states, self._names, self._working, self._parked, self._counted = {}, {}, {}, {}, set()
        self.activity.load(trading_day, (), self.store.trade_sides(trading_day))
        for trade in parked:
            self._park(trade)
        for state in states:
            self._adopt(state)
        self.positions.load(Book(**book) for book in self.store.books())
        self.orders_today, self.trades_today = self.store.counts(trading_day)

    def get(self, name: str) -> OrderState | None:
        """By request_id or order_id."""
        return self._states.get(self._names.get(name, name))

    def legs(self, name: str) -> list[OrderState]:
        """The order of this request_id or order_id, and the one split off from it."""
        found = self.get(name)
        if found is None:
            return []
        return [found, *(state for state in self._states.values() if state.parent_id == found.request_id != "")]

    def states(self) -> Iterable[OrderState]:
        return self._states.values()

    def active(self) -> list[OrderState]:
        return [state for state in self._working.values() if state.is_active]

    @property
    def active_count(self) -> int:
        return self.activity.active

    def working(self, symbol: str) -> list[OrderState]:
        """Orders of a contract whose trades may still come."""
        return [state for state in self._working.values() if state.symbol == symbol]

    def unfinished(self) -> list[OrderState]:
        """The same of every contract."""
        return list(self._working.values())

    def missing(self) -> set[str]:
        """Orders whose report has announced fills that have not come as trades yet."""
        return {key for key, state in self._working.items() if state.missing}

    def is_counted(self, trade: TradeData) -> bool:
        return trade.key in self._counted

    # ---- what becomes known ---------------------------------------------------------------------------------------

    def decided(self, states: Sequence[OrderState]) -> None:
        """Orders just written with their commands."""
        for state in states:
            self._adopt(state)
        self.orders_today += len(states)

    def on_order(self, order: OrderData, outgoing: Sequence[Outgoing] = ()) -> bool:
        """A report from the counter, or our own answer. True when it said something new."""
        known = self._find(order)
        before = known or OrderState.from_order_data(order)
        merged = merge(before, order)
        state = self._with_parked(merged.state)
        if merged.illegal:
            self._object(order, before)
        if known is not None and state == known:
            return False
        self.store.save([state], outgoing)
        self._adopt(state)
        if known is None and state.trading_day == self.trading_day:
            self.orders_today += 1
        return True

    def on_trade(self, trade: TradeData) -> bool:
        """A fill. True when it is new: then it counts once, in its order, its strategy's book and the day."""
        if trade.key in self._counted:
            return False
        known = self._find(trade)
        state = None
        if known is not None:
            merged = merge(known, trade)
            state = merged.state if merged.changed else None
            if merged.illegal:
                self._object(trade, known)
        book = self.positions.booked(trade)
        new = self.store.save_trade(trade, state, asdict(book))
        if not new:
            return False
        self._counted.add(trade.key)
        if state is None:
            self._park(trade)
        else:
            self._adopt(state)
        self.positions.adopt(book)
        if trade.trading_day == self.trading_day:
            self.activity.traded(trade.symbol, trade.trade_id, trade.direction)
            self.trades_today += 1
        return True

    def _find(self, evidence: OrderData | TradeData) -> OrderState | None:
        """By our own name for it first; an order of an earlier day is fetched from the database."""
        for name in (evidence.request_id, evidence.order_id):
            if name and (state := self.get(name)) is not None:
                return state
        state = self.store.find(evidence.request_id, evidence.order_id or None)
        if state is not None:
            self._adopt(state)
        return state

    def _with_parked(self, state: OrderState) -> OrderState:
        """Trades that came before their order."""
        for trade in self._parked.get(state.order_id or "", {}).values():
            state = merge(state, trade).state
        return state

    def _park(self, trade: TradeData) -> None:
        self._counted.add(trade.key)
        self._parked.setdefault(trade.order_id, {})[trade.key] = trade

    def _adopt(self, state: OrderState) -> None:
        key = state.request_id or f"#{state.order_id}"
        self.activity.moved(self._states.get(key), state)
        self._states[key] = state
        if state.order_id:
            self._names[state.order_id] = key
            self._parked.pop(state.order_id, None)
        self._counted |= state.trade_keys
        if state.working:
            self._working[key] = state
        else:
            self._working.pop(key, None)

    def _object(self, evidence: OrderData | TradeData, state: OrderState) -> None:
        self.illegal += 1
        log.error(
            "order %s is %s, and the counter says %s: kept as far as it fits",
            state.request_id or state.order_id,
            state.stage,
            evidence,
        )


def completed(trade: TradeData, account_id: str, trading_day: date | None) -> TradeData:
    """A trade with the account and the day that make its identity, where the sender left them out."""
    if trade.account_id is not None and trade.trading_day is not None:
        return trade
    day = trade.trading_day or trading_day or trade.datetime.date()
    return replace(trade, account_id=trade.account_id or account_id, trading_day=day)
