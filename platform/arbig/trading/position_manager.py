"""Trading: what the account holds (the counter's snapshots, the last one wins) and what each strategy holds of it
(its own trades). What no strategy owns is the `unassigned` book.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from datetime import datetime as Time

from arbig.bus.port import entry_key
from arbig.domain.instruments import Instrument
from arbig.domain.messages import Direction, Exchange, Offset, PositionData, TradeData
from arbig.domain.orders import OrderState
from arbig.domain.positions import Holding, NotHeld
from arbig.domain.risk import Exposure, product_of
from arbig.trading.books import UNASSIGNED, Book

Key = tuple[str, Direction]
NO_LOTS = Exposure()


class PositionManager:
    """Holdings are never guessed from our own trades alone: a snapshot replaces what was known, and only trades later
    than it are counted on top until the next one comes."""

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.books: dict[tuple[str, str, Exchange], Book] = {}
        self._sides: dict[Key, PositionData] = {}
        self._later: dict[Key, list[TradeData]] = {}
        self._lots: dict[Key, int] = {}
        self._held: dict[str, Exposure] = {}
        self._as_of = "0-0"

    # ---- the account ----------------------------------------------------------------------------------------------

    def replace(self, positions: Iterable[PositionData], as_of: str) -> None:
        """Everything the counter holds, as its answer says: what is not in it is not held."""
        self._sides = {(position.symbol, position.direction): position for position in positions}
        self._later = {}
        self._as_of = as_of
        self._lots, self._held = {}, {}
        for key in self._sides:
            self._weigh(key)

    def on_position(self, position: PositionData, entry_id: str) -> None:
        """A snapshot from the stream; one that the last full answer already includes is older than it."""
        if entry_key(entry_id) <= entry_key(self._as_of):
            return
        key = (position.symbol, position.direction)
        self._sides[key] = position
        self._later[key] = [trade for trade in self._later.get(key, ()) if trade.datetime > position.datetime]
        self._weigh(key)

    def on_trade(self, trade: TradeData) -> None:
        """A fill heard on the stream, once. It counts until a snapshot that includes it."""
        key = (trade.symbol, trade.direction if trade.offset is Offset.OPEN else trade.direction.opposite)
        side = self._sides.get(key)
        if side is None or trade.datetime > side.datetime:
            self._later.setdefault(key, []).append(trade)
            self._weigh(key)

    def held(self, product: str) -> Exposure:
        """Lots of a product, over all its contracts."""
        return self._held.get(product, NO_LOTS)

    def _weigh(self, key: Key) -> None:
        """One side of one contract has changed: so has its product's sum."""
        symbol, direction = key
        side, later = self._sides.get(key), self._later.get(key, ())
        change = sum(trade.volume if trade.offset is Offset.OPEN else -trade.volume for trade in later)
        lots = max(0, change if side is None else side.volume + change)
        more, self._lots[key] = lots - self._lots.get(key, 0), lots
        product = product_of(symbol)
        self._held[product] = self.held(product).plus(direction, more)

    def holding(self, instrument: Instrument, orders: Iterable[OrderState]) -> Holding:
        """What may be closed now: the lots held, less what our working closes will take."""
        keys = [(instrument.symbol, direction) for direction in Direction]
        rows = [self._sides[key] for key in keys if key in self._sides]
        holding = Holding.from_position_data(instrument.symbol, instrument.position_date_type, rows)
        for trade in (trade for key in keys for trade in self._later.get(key, ())):
            try:
                holding = holding.after(trade)
            except NotHeld:  # a snapshot had included it already
                continue
        return holding.frozen_by(orders)

    def positions(self) -> list[PositionData]:
        """What is held, as the counter last said."""
        return [position for position in self._sides.values() if position.volume]

    def lots(self) -> dict[Key, int]:
        """The same by contract and side, with the fills heard since."""
        return {key: volume for key, volume in self._lots.items() if volume}

    def net(self, symbol: str) -> int:
        return sum(side.direction.sign * side.volume for (name, _), side in self._sides.items() if name == symbol)

    # ---- the strategies -------------------------------------------------------------------------------------------

    def load(self, books: Iterable[Book]) -> None:
        self.books = {(book.strategy_name, book.symbol, book.exchange): book for book in books}

    def booked(self, trade: TradeData) -> Book:
        """Its book after a fill; another terminal's fill goes to the unassigned one."""
        owner = trade.strategy_name or UNASSIGNED
        book = self.books.get((owner, trade.symbol, trade.exchange)) or Book(
            account_id=self.account_id,
            strategy_name=owner,
            symbol=trade.symbol,
            exchange=trade.exchange,
            updated_at=trade.datetime,
        )
        return book.after(trade)

    def adopt(self, book: Book) -> None:
        self.books[book.strategy_name, book.symbol, book.exchange] = book

    def owned(self) -> list[Book]:
        """The books of strategies (and of people who trade by hand)."""
        return [book for book in self.books.values() if book.strategy_name != UNASSIGNED]

    def unassigned(self, when: Time) -> list[Book]:
        """Account minus strategies, contract by contract, where there is a difference."""
        owned = self.owned()
        exchanges = {side.symbol: side.exchange for side in self._sides.values()}
        exchanges |= {book.symbol: book.exchange for book in owned}
        rest = {symbol: self.net(symbol) - _net(owned, symbol) for symbol in exchanges}
        return [
            Book(
                account_id=self.account_id,
                strategy_name=UNASSIGNED,
                symbol=symbol,
                exchange=exchanges[symbol],
                volume=volume,
                price=self._price(symbol, volume),
                cash=-volume * self._price(symbol, volume),
                updated_at=when,
            )
            for symbol, volume in rest.items()
            if volume
        ]

    def unexplained(self) -> dict[str, int]:
        """Net lots the account holds beyond all trades we have ever seen. Constant, unless something is wrong."""
        symbols = {symbol for symbol, _ in self._sides} | {book.symbol for book in self.books.values()}
        rest = {symbol: self.net(symbol) - _net(self.books.values(), symbol) for symbol in symbols}
        return {symbol: volume for symbol, volume in rest.items() if volume}

    def _price(self, symbol: str, volume: int) -> float:
        side = self._sides.get((symbol, Direction.LONG if volume > 0 else Direction.SHORT))
        return side.price if side is not None else 0.0


def _net(books: Iterable[Book], symbol: str) -> int:
    return sum(book.volume for book in books if book.symbol == symbol)


def closing(held: Iterable[PositionData], said: Iterable[PositionData], trading_day: date) -> list[PositionData]:
    """What was held when a day closed: the last snapshot of that day for each side, else what is held anyway."""
    sides = {(position.symbol, position.direction): position for position in held}
    sides |= {(each.symbol, each.direction): each for each in said if each.trading_day == trading_day}
    return [position for position in sides.values() if position.volume]
