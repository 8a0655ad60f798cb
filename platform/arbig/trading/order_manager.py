"""Trading: every order's state, merged from whatever evidence comes, in whatever order. Memory follows the database:
a state is adopted when its row is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from datetime import datetime as Time
from functools import partial

from msgspec.structs import asdict, replace

from arbig.domain.messages import OrderData, TradeData
from arbig.domain.orders import OrderState, merge
from arbig.store.orders import Also, OrderStore, Outgoing
from arbig.store.reconciliation import ChangeKind
from arbig.trading.activity import Activity
from arbig.trading.bookkeeper import Bookkeeper
from arbig.trading.books import UNASSIGNED, Book
from arbig.trading.position_manager import PositionManager
from arbig.trading.tally import Tally

log = logging.getLogger(__name__)


class OrderManager:
    """The only writer of orders, trades and books. Raises StoreError, and then nothing has changed."""

    def __init__(
        self,
        store: OrderStore,
        positions: PositionManager,
        activity: Activity,
        bookkeeper: Bookkeeper | None = None,
        opened: Callable[[date], Tally] | None = None,
    ) -> None:
        self.store = store
        self.positions = positions
        self.activity = activity
        self.tally = Tally()
        self._bookkeeper = bookkeeper
        self._opened = opened
        self._made_up: dict[str, TradeData] = {}
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
        if trading_day is not None:
            self.store.begin_day(trading_day)
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
        self._made_up = {}
        if trading_day is not None:
            self._made_up = {trade.key: trade for trade in self.store.made_up(trading_day - MADE_UP_KEPT)}
        self.tally = Tally() if trading_day is None or self._opened is None else self._opened(trading_day)

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

    def on_trade(self, trade: TradeData, also: Also | None = None) -> bool:
        """A fill. True when it is new: then it counts once, in its order, its strategy's book and the day."""
        if trade.key in self._counted:
            return False
        known = self._find(trade)
        if known is not None and (gone := self._stands_for(trade, known)) is not None:
            self._replace(gone, trade, known)
            return True
        state = None
        if known is not None:
            merged = merge(known, trade)
            state = merged.state if merged.changed else None
            if merged.illegal:
                self._object(trade, known)
        book = self.positions.booked(trade)
        new = self.store.save_trade(trade, state, asdict(book), also)
        if not new:
            return False
        self.tally.add(trade)
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

    # ---- fills that are certain though no trade has come -----------------------------------------------------------

    def make_up(self, trade: TradeData, also: Also) -> bool:
        """A fill that stands for one the counter has not told. False when it is there already."""
        if not self.on_trade(trade, also):
            return False
        self._made_up[trade.key] = trade
        return True

    def _stands_for(self, trade: TradeData, order: OrderState) -> TradeData | None:
        """What was made up for this order, when the true fill comes."""
        if is_made_up(trade):
            return None
        return next((self._made_up[key] for key in sorted(order.trade_keys) if key in self._made_up), None)

    def _replace(self, gone: TradeData, trade: TradeData, order: OrderState) -> None:
        """The true fill counts, what was made up does not; of a smaller fill the rest stays made up."""
        assert self._bookkeeper is not None and trade.trading_day is not None
        left = replace(gone, volume=gone.volume - trade.volume) if gone.volume > trade.volume else None
        rest = () if left is None else (left,)
        before = replace(
            order,
            traded=order.traded - gone.volume + sum(each.volume for each in rest),
            trade_keys=order.trade_keys - {gone.key} | {each.key for each in rest},
        )
        state = merge(before, trade).state
        taken = min(gone.volume, trade.volume)
        owner = gone.strategy_name or UNASSIGNED
        book = self.positions.book_of(owner, gone.symbol, gone.exchange, trade.datetime)
        book = book.undone(gone.direction.sign * taken, gone.price, trade.datetime).after(trade)
        words = f"the true fill {trade.trade_id} of order {trade.order_id} has come"
        change = self._bookkeeper.change(
            ChangeKind.REPLACED, trade.trading_day, owner, gone.symbol, gone.exchange, gone.direction, -taken,
            gone.price, words,
        )  # fmt: skip
        told = self._bookkeeper.told([change])
        self.store.replace_trade(
            gone, (*rest, trade), state, asdict(book), partial(self._bookkeeper.with_trade, [change], told)
        )
        self._bookkeeper.say(told)
        del self._made_up[gone.key]
        self._counted.discard(gone.key)
        self._made_up |= {each.key: each for each in rest}
        self.tally.remove(gone)
        for each in (*rest, trade):
            self._counted.add(each.key)
            self.tally.add(each)
        self._adopt(state)
        self.positions.adopt(book)
        if trade.trading_day == self.trading_day:
            self.activity.traded(trade.symbol, trade.trade_id, trade.direction)

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


MADE_UP = "synthetic-"
MADE_UP_KEPT = timedelta(days=30)
"""No counter tells a fill so late."""


def made_up_for(order: OrderState, volume: int, price: float, when: Time, day: date) -> TradeData:
    """The fill that must have been. Its number follows from the order and its lots: made up twice, it is the same."""
    return TradeData(
        trade_id=f"{MADE_UP}{order.order_id or order.request_id}-{order.traded + volume}",
        order_id=order.order_id or "",
        symbol=order.symbol,
        exchange=order.exchange,
        direction=order.direction,
        offset=order.offset,
        price=price,
        volume=volume,
        datetime=when,
        strategy_name=order.strategy_name,
        request_id=order.request_id or None,
        parent_id=order.parent_id,
        account_id=order.account_id,
        trading_day=day,
        run_id=order.run_id,
        code_hash=order.code_hash,
    )


def is_made_up(trade: TradeData) -> bool:
    return trade.trade_id.startswith(MADE_UP)
