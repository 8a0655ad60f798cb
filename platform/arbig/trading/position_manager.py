"""Trading: what the account holds (the counter's snapshots, the last one wins) and what each strategy holds of it
(its own trades). What no strategy owns is the `unassigned` book.
"""

from __future__ import annotations

from collections import defaultdict
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
        self._heard: dict[Key, str] = {}
        self._numbers: dict[Key, int] = {}
        self.held_back: dict[Key, int] = {}

    # ---- the account ----------------------------------------------------------------------------------------------

    def replace(self, positions: Iterable[PositionData], as_of: str) -> None:
        """Everything the counter holds, as its answer says: what is not in it is not held. A side of which the stream
        has said something later stays as it is."""
        newer = {key: side for key, side in self._sides.items() if self._is_newer(key, as_of)}
        later = {key: trades for key, trades in self._later.items() if key in newer}
        self._sides = {(position.symbol, position.direction): position for position in positions} | newer
        self._later = later
        self._as_of = as_of
        self._heard = {key: self._heard[key] for key in newer}
        self._lots, self._held = {}, {}
        for key in self._sides.keys() | self._later.keys():
            self._weigh(key)

    def on_position(self, position: PositionData, entry_id: str) -> None:
        """A snapshot from the stream; one that the last full answer already includes is older than it, and so is one
        with a lower number than was heard, however late it is delivered."""
        key = (position.symbol, position.direction)
        if entry_key(entry_id) <= entry_key(self._as_of) or 0 < position.number <= self._numbers.get(key, 0):
            return
        self._numbers[key] = position.number
        self._sides[key] = position
        self._later[key] = [trade for trade in self._later.get(key, ()) if trade.datetime > position.datetime]
        self._heard[key] = entry_id
        self._weigh(key)

    def _is_newer(self, key: Key, as_of: str) -> bool:
        return key in self._heard and entry_key(self._heard[key]) > entry_key(as_of)

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
        """What may be closed now: the lots held, less what working closes will take: those we know, and lots that the
        counter has promised to somebody else's (`held_back`)."""
        keys = [(instrument.symbol, direction) for direction in Direction]
        rows = [self._sides[key] for key in keys if key in self._sides]
        holding = Holding.from_position_data(instrument.symbol, instrument.position_date_type, rows)
        for trade in (trade for key in keys for trade in self._later.get(key, ())):
            try:
                holding = holding.after(trade)
            except NotHeld:  # a snapshot had included it already
                continue
        holding = holding.frozen_by(orders)
        for direction in Direction:
            if promised := self.held_back.get((instrument.symbol, direction), 0):
                holding = holding.promised(direction, promised)
        return holding

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
        return self.book_of(owner, trade.symbol, trade.exchange, trade.datetime).after(trade)

    def book_of(self, owner: str, symbol: str, exchange: Exchange, when: Time) -> Book:
        return self.books.get((owner, symbol, exchange)) or Book(
            account_id=self.account_id, strategy_name=owner, symbol=symbol, exchange=exchange, updated_at=when
        )

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

    def booked_net(self) -> dict[str, int]:
        """Net lots of all books together, the unassigned one among them."""
        net: defaultdict[str, int] = defaultdict(int)
        for book in self.books.values():
            net[book.symbol] += book.volume
        return net

    def assignable(self, symbol: str, direction: Direction) -> int:
        """Lots of one side that no strategy's book holds."""
        owned = (max(0, direction.sign * book.volume) for book in self.owned() if book.symbol == symbol)
        side = self._sides.get((symbol, direction))
        return 0 if side is None else max(0, side.volume - sum(owned))

    def price_of(self, symbol: str, direction: Direction) -> float:
        """What the counter says was paid for a side, on average; zero when nothing is held."""
        side = self._sides.get((symbol, direction))
        return 0.0 if side is None else side.price

    def _price(self, symbol: str, volume: int) -> float:
        return self.price_of(symbol, Direction.LONG if volume > 0 else Direction.SHORT)


def _net(books: Iterable[Book], symbol: str) -> int:
    return sum(book.volume for book in books if book.symbol == symbol)


def closing(held: Iterable[PositionData], said: Iterable[PositionData], trading_day: date) -> list[PositionData]:
    """What was held when a day closed: the last snapshot of that day for each side, else what is held anyway."""
    sides = {(position.symbol, position.direction): position for position in held}
    sides |= {(each.symbol, each.direction): each for each in said if each.trading_day == trading_day}
    return [position for position in sides.values() if position.volume]
