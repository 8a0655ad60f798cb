"""Bookkeeper: changes of a book that no trade of the exchange makes: lots found, assigned, or mended. Each is a row
that says who, what and why, and each that concerns a strategy is told to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from msgspec.structs import asdict

from arbig.bus.topics import EVENT, TRADING
from arbig.domain.messages import Direction, EventData, EventType, Exchange, encode
from arbig.runtime.clock import Clock
from arbig.store.database import Driver
from arbig.store.orders import OrderStore, Outgoing, put_outgoing
from arbig.store.reconciliation import BookChange, ChangeKind, ReconciliationStore, put_change
from arbig.trading.books import UNASSIGNED, Book
from arbig.trading.outbox import Outbox
from arbig.trading.position_manager import PositionManager


class Bookkeeper:
    def __init__(
        self,
        store: ReconciliationStore,
        orders: OrderStore,
        positions: PositionManager,
        outbox: Outbox,
        clock: Clock,
        account_id: str,
    ) -> None:
        self._store = store
        self._orders = orders
        self._positions = positions
        self._outbox = outbox
        self._clock = clock
        self._account_id = account_id

    def change(
        self,
        kind: ChangeKind,
        day: date,
        owner: str,
        symbol: str,
        exchange: Exchange,
        direction: Direction,
        volume: int,
        price: float,
        reason: str,
        yesterday: int = 0,
    ) -> BookChange:
        """So many lots of a side more in a book (less, below zero)."""
        return BookChange(
            id=self._store.next_change(),
            account_id=self._account_id,
            trading_day=day,
            kind=kind,
            strategy_name=owner,
            symbol=symbol,
            exchange=exchange,
            direction=direction,
            volume=volume,
            yd_volume=yesterday,
            price=price,
            reason=reason,
            changed_at=self._clock.now(),
        )

    def apply(self, changes: Sequence[BookChange]) -> None:
        """Rows, books and words in one transaction. Raises StoreError; then nothing has changed."""
        books: dict[tuple[str, str, Exchange], Book] = {}
        for change in changes:
            key = (change.strategy_name, change.symbol, Exchange(change.exchange))
            book = books.get(key) or self._positions.book_of(*key, change.changed_at)
            books[key] = book.moved(net_of(change), change.price, change.changed_at)
        told = self.told(changes)
        self._store.change(changes, [asdict(book) for book in books.values()], told)
        for book in books.values():
            self._positions.adopt(book)
        self._outbox.load(told)

    def told(self, changes: Iterable[BookChange]) -> list[Outgoing]:
        """What the strategies hear of it."""
        return [self._told(change) for change in changes if change.strategy_name != UNASSIGNED]

    def with_trade(self, changes: Sequence[BookChange], told: Sequence[Outgoing], connection: Driver) -> None:
        """Rows and words into the transaction of a trade, whose book has the lots already."""
        for change in changes:
            put_change(connection, change)
        for message in told:
            put_outgoing(connection, message)

    def say(self, told: Iterable[Outgoing]) -> None:
        """They are on disk: with the next flush."""
        self._outbox.load(told)

    def _told(self, change: BookChange) -> Outgoing:
        event_id = f"B:{self._account_id}:{change.id}"
        said = EventData(
            event=EventType.BOOK,
            source=TRADING,
            datetime=change.changed_at,
            message=change.reason,
            symbol=change.symbol,
            strategy_name=change.strategy_name,
            account_id=self._account_id,
            trading_day=change.trading_day,
            event_id=event_id,
            volume=net_of(change),
            price=change.price,
            number=change.id,
        )
        return Outgoing(
            id=self._orders.next_outgoing(),
            stream=EVENT.name,
            request_id=event_id,
            payload=encode(said),
            written_at=self._clock.now(),
        )


def net_of(change: BookChange) -> int:
    return Direction(change.direction).sign * change.volume
