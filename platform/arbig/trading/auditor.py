"""Auditor: the counter's answers beside what our own trades add up to. A difference that stays is named once, mended
where the mend is certain, and otherwise leaves only closing.

Answers are taken at one moment, fills go on: `as_of` says which stream entries an answer includes, fills heard after
them are left out of our side, and whatever is on its way is not judged at all.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date
from datetime import datetime as Time
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from arbig.bus.port import entry_key
from arbig.bus.topics import ORDER_STATUS, TRADE
from arbig.domain.counter import Statement
from arbig.domain.instruments import Instrument, InstrumentBook, UnknownSymbol
from arbig.domain.messages import Direction, Offset, PositionData, TradeData
from arbig.domain.orders import OrderState, Stage
from arbig.domain.positions import Holding
from arbig.runtime.clock import Clock
from arbig.store.reconciliation import BookChange, ChangeKind, DifferenceState, ReconciliationStore
from arbig.trading.bookkeeper import Bookkeeper
from arbig.trading.books import UNASSIGNED
from arbig.trading.differences import (
    ALARMING,
    LOTS,
    Difference,
    Doubts,
    Lots,
    Side,
    What,
    of_books,
    of_frozen,
    of_money,
    of_positions,
    tolerance,
)
from arbig.trading.order_manager import OrderManager, made_up_for
from arbig.trading.outbox import Durably
from arbig.trading.position_manager import PositionManager
from arbig.trading.quotes import Quotes
from arbig.trading.settlement import Checked, checked
from arbig.trading.tally import Tally

log = logging.getLogger(__name__)

PRICE_STEPS = 20
"""The counter values lots at a price of its own moment: so many price steps may lie between that and our ticks."""
MOST_WAYS = 1000
REMEMBERED = 20_000
MERGED = "the counter's list counts"
RECOMPUTED = "these lots are kept from our closing orders"
INHERITED = "there before the first look: in the unassigned book"
REDUCED = "cannot be explained: trading is set REDUCING, the lots are in the unassigned book until a person looks"
SHOWN = "shown; the counter's amounts are used"
GONE = "later both sides agree"
IN_FLIGHT = (Stage.SUBMITTING, Stage.UNKNOWN)


class Look(NamedTuple):
    """What the counter has answered. `as_of`: per stream the last entry its positions include. `order_ids`: the orders
    it knows. `merged`: what its lists had and the streams had not brought, though they were read as far."""

    positions: Sequence[PositionData]
    account: Mapping[str, Any]
    as_of: Mapping[str, str]
    order_ids: frozenset[str]
    merged: Sequence[Difference]
    before: Mapping[str, float]


class Open(NamedTuple):
    """A difference that has been named and is still there."""

    difference: Difference
    number: int


class Auditor:
    def __init__(
        self,
        orders: OrderManager,
        positions: PositionManager,
        store: ReconciliationStore,
        bookkeeper: Bookkeeper,
        quotes: Quotes,
        instruments: InstrumentBook,
        clock: Clock,
        durably: Durably,
        reduce: Callable[[str], Awaitable[None]],
        alarm: Callable[[Iterable[str]], None],
    ) -> None:
        self._orders = orders
        self._positions = positions
        self._store = store
        self._bookkeeper = bookkeeper
        self._quotes = quotes
        self._instruments = instruments
        self._clock = clock
        self._durably = durably
        self._reduce = reduce
        self._alarm = alarm
        self._doubts = Doubts()
        self._later: deque[tuple[str, TradeData]] = deque(maxlen=REMEMBERED)
        self._news: dict[str, str] = {}
        self._has_begun = store.has_begun()
        self._begun_on: date | None = None
        self._stranded: list[OrderState] = []
        self._settled: tuple[date | None, Mapping[str, float]] | None = None
        self.last_pass: Time | None = None
        self.open: dict[object, Open] = {}
        for row in store.differences(state=DifferenceState.OPEN):
            difference = _difference_of(row)
            self.open[difference.key] = Open(difference, row["id"])

    # ---- what goes by ---------------------------------------------------------------------------------------------

    def heard_trade(self, trade: TradeData, entry_id: str) -> None:
        self._later.append((entry_id, trade))

    def heard_order(self, symbol: str, entry_id: str) -> None:
        self._news[symbol] = entry_id

    @property
    def in_doubt(self) -> bool:
        """Something was seen once: look again soon."""
        return self._doubts.fresh(self._clock.monotonic())

    def stranded(self, orders: Iterable[OrderState]) -> None:
        """Orders that worked when an earlier day was last heard of: nobody may ever tell what became of them."""
        self._stranded = list(orders)

    @property
    def alarms(self) -> list[str]:
        """What a person must look at."""
        return [one.difference.sentence for one in self.open.values()]

    # ---- a look ---------------------------------------------------------------------------------------------------

    async def look(self, look: Look) -> None:
        day = self._orders.trading_day
        self.last_pass = self._clock.now()
        for difference in look.merged:
            await self._name(replace(difference, done=MERGED), DifferenceState.MENDED)
        if day is None or not self._is_of_today(look, day):
            return
        self._forget(look.as_of)
        found, judged = self._compare(look)
        confirmed = self._doubts.seen(found, self._clock.monotonic())
        await self._close([key for key in self.open if key[0] in judged and key not in {one.key for one in found}])  # type: ignore[index]
        await self._decide(confirmed, look, day)
        if self._begun_on != day and not any(one.what in LOTS for one in found):
            await self._durably(partial(self._store.begin, day, self._clock.now()))
            self._has_begun, self._begun_on = True, day

    def _is_of_today(self, look: Look, day: date) -> bool:
        """Between two days the answers speak of one and our books of the other."""
        days = {str(look.account.get("trading_day"))} | {str(position.trading_day) for position in look.positions}
        return days <= {day.isoformat(), "None"} and str(look.account.get("trading_day")) == day.isoformat()

    def _forget(self, as_of: Mapping[str, str]) -> None:
        included = entry_key(as_of.get(TRADE.name, "0-0"))
        while self._later and entry_key(self._later[0][0]) <= included:
            self._later.popleft()

    def _compare(self, look: Look) -> tuple[list[Difference], frozenset[What]]:
        """What differs, and what could be judged at all."""
        later = [trade for _, trade in self._later]
        theirs = {(one.symbol, one.direction): Lots.of(one) for one in look.positions if one.volume}
        ours = self._orders.tally.lots(self._splits, later)
        found = of_positions(ours, theirs)
        disputed = {one.symbol for one in found}
        net = {symbol: 0 for symbol, _ in ours.keys() | theirs.keys()}
        for (symbol, direction), lots in theirs.items():
            net[symbol] += direction.sign * lots.volume
        booked = self._positions.booked_net()
        for trade in later:
            booked[trade.symbol] -= trade.direction.sign * trade.volume
        found += of_books(booked, net, (net.keys() | booked.keys()) - disputed)
        moving = self._moving(look.as_of)
        judged = {What.TODAY, What.YESTERDAY, What.BOOKS}
        if not moving:
            judged |= {What.FROZEN, What.ORDER}
            found += of_frozen(*self._frozen(look.positions))
            found += self._lost_orders(look.order_ids)
        if not moving and not later:
            money = self._money(look)
            judged |= set(money[0])
            found += of_money(*money)
        return found, frozenset(judged)

    def _moving(self, as_of: Mapping[str, str]) -> bool:
        """An order is on its way, or was told of after the answer."""
        included = entry_key(as_of.get(ORDER_STATUS.name, "0-0"))
        if any(entry_key(entry_id) > included for entry_id in self._news.values()):
            return True
        return any(order.stage in IN_FLIGHT for order in self._orders.active())

    def _frozen(self, positions: Sequence[PositionData]) -> tuple[dict[Side, int], dict[Side, int]]:
        theirs = {(one.symbol, one.direction): one.frozen for one in positions if one.frozen}
        ours: dict[Side, int] = {}
        for symbol in {one.symbol for one in positions}:
            rows = [one for one in positions if one.symbol == symbol]
            kind = "1" if self._splits(symbol) else "2"
            holding = Holding.from_position_data(symbol, kind, rows).frozen_by(self._orders.working(symbol))
            ours |= {(symbol, side): frozen for side in Direction if (frozen := holding.side(side).frozen)}
        return ours, theirs

    def _lost_orders(self, known: frozenset[str]) -> list[Difference]:
        day = self._orders.trading_day
        return [
            Difference(
                what=What.ORDER, symbol=order.symbol, direction=order.direction, order_id=order.order_id,
                ours=str(order.status), theirs="not known",
            )
            for order in self._orders.active()
            if order.order_id and order.trading_day == day and order.order_id not in known
        ]  # fmt: skip

    # ---- money ----------------------------------------------------------------------------------------------------

    def _money(self, look: Look) -> tuple[dict[What, float], dict[What, float], dict[What, float]]:
        """Our amounts, the counter's, and how far they may lie apart. Empty where one side cannot be said: an order
        moved between the questions."""
        theirs = look.account
        if "pre_balance" not in theirs:
            return {}, {}, {}
        tally = self._orders.tally
        began = theirs["pre_balance"] if tally.pre_balance is None else tally.pre_balance
        account = tally.account(self.instrument_of, partial(self._pre_settlement, tally.day), began)
        if account is None:
            return {}, {}, {}
        working = [order for order in self._orders.unfinished() if order.trading_day == tally.day]
        symbols = account.holdings.keys() | {order.symbol for order in working}
        instruments = {symbol: self.instrument_of(symbol) for symbol in symbols}
        prices = self.prices(symbols)
        held = [symbol for symbol, holding in account.holdings.items() if holding.long.lots or holding.short.lots]
        allowed = dict.fromkeys(What, tolerance(len(tally.trades)))
        worth = account.worth(instruments, prices, working)
        early = account.worth(instruments, {**prices, **look.before}, working)
        profit = theirs["position_profit"]
        fixed = began + worth.close_profit - worth.commission
        ours = {
            What.PRE_BALANCE: began,
            What.COMMISSION: worth.commission,
            What.CLOSE_PROFIT: worth.close_profit,
            What.MARGIN: worth.margin,
            What.FROZEN_MONEY: worth.frozen,
            What.BALANCE: fixed + profit,
            What.AVAILABLE: fixed + profit - worth.margin - worth.frozen,
        }
        if all(symbol in prices for symbol in held):
            low, high = sorted((early.position_profit, worth.position_profit))
            ours[What.POSITION_PROFIT] = min(max(profit, low), high)
            allowed[What.POSITION_PROFIT] += sum(
                PRICE_STEPS * instruments[symbol].price_tick * instruments[symbol].size * lots
                for symbol in held
                for lots in [sum(account.holdings[symbol].side(side).volume for side in Direction)]
            )
        names = {What.FROZEN_MONEY: "frozen"}
        return ours, {what: theirs[names.get(what, what)] for what in ours}, allowed

    def prices(self, symbols: Iterable[str]) -> dict[str, float]:
        """The last price of each contract that has a tick."""
        ticks = {symbol: self._quotes.tick(symbol) for symbol in symbols}
        return {symbol: tick.last_price for symbol, tick in ticks.items() if tick is not None}

    def _pre_settlement(self, day: date | None, symbol: str) -> float | None:
        """From the statement of the day before, else from a tick of the day."""
        if self._settled is None or self._settled[0] != day:
            self._settled = (day, self._settled_prices(day))
        tick = self._quotes.tick(symbol)
        ticks = tick.pre_settlement if tick is not None and tick.trading_day == day else None
        return self._settled[1].get(symbol, ticks)

    def _settled_prices(self, day: date | None) -> Mapping[str, float]:
        found = None if day is None else self._store.statement(before=day)
        return {} if found is None else msgspec.json.decode(found[1], type=Checked).prices

    # ---- the day's close ------------------------------------------------------------------------------------------

    async def check(self, statement: Statement, tally: Tally) -> None:
        """The counter's statement beside our own ledger, once a day."""
        day = statement.trading_day
        began = statement.pre_balance if tally.pre_balance is None else tally.pre_balance
        price = partial(self._pre_settlement, day)
        account = tally.account(partial(self._instruments.get, day=day), price, began)
        found = checked(statement, account, partial(self._instruments.get, day=day), len(tally.trades))
        for difference in found.differences():
            await self._name(difference, DifferenceState.CLOSED)
        log.info("statement of %s: %s", day, "agrees" if found.agrees else found.remark or "differs")
        text = msgspec.json.encode(found).decode()
        await self._durably(partial(self._store.keep_statement, day, text, self._clock.now()))
        self._settled = None

    def instrument_of(self, symbol: str) -> Instrument:
        return self._instruments.get(symbol, self._orders.trading_day)

    def _splits(self, symbol: str) -> bool:
        try:
            return self.instrument_of(symbol).splits_today
        except UnknownSymbol:
            return True

    # ---- what is done ---------------------------------------------------------------------------------------------

    async def _decide(self, confirmed: Sequence[Difference], look: Look, day: date) -> None:
        lots = [one for one in confirmed if one.what in LOTS and not self._is_named(one)]
        if lots and not self._has_begun:
            await self._take_over(lots, day, ChangeKind.INHERITED, INHERITED)
        elif lots:
            await self._explain(lots, look, day)
        self._hold_back([one for one in confirmed if one.what is What.FROZEN])
        for one in confirmed:
            if one.what not in LOTS and not self._is_named(one):
                await self._name(replace(one, done=_DONE.get(one.what, SHOWN)), DifferenceState.OPEN)

    def _is_named(self, difference: Difference) -> bool:
        known = self.open.get(difference.key)
        return known is not None and known.difference.gap == difference.gap

    async def _take_over(self, lots: Sequence[Difference], day: date, kind: ChangeKind, words: str) -> None:
        """Into the unassigned book, and into what our own trades add up to from now on."""
        changes = [self._unassigned(side, gap, day, kind, words) for side, gap in _gaps(lots).items()]
        await self._durably(partial(self._bookkeeper.apply, changes))
        for side, gap in _gaps(lots).items():
            self._orders.tally.correct(side, gap)
        for one in lots:
            await self._name(replace(one, done=words), DifferenceState.MENDED)

    def _unassigned(self, side: Side, gap: Lots, day: date, kind: ChangeKind, words: str) -> BookChange:
        exchange = self.instrument_of(side[0]).exchange
        price = self._positions.price_of(*side)
        return self._bookkeeper.change(
            kind, day, UNASSIGNED, side[0], exchange, side[1], gap.volume, price, words, gap.yesterday
        )

    async def _explain(self, lots: Sequence[Difference], look: Look, day: date) -> None:
        """Side by side: an order whose fill nobody has told, or nothing that we know."""
        for side, gap in _gaps(lots).items():
            mine = [one for one in lots if (one.symbol, one.direction) == side]
            fills = self._explanation(side, gap, look, day)
            for fill in fills:
                await self._make_up(fill)
            words = f"made up: {', '.join(f'{one.volume} lots of order {one.order_id}' for one in fills)}"
            state = DifferenceState.MENDED if fills else DifferenceState.OPEN
            for one in mine:
                await self._name(replace(one, done=words if fills else REDUCED), state)

    def _explanation(self, side: Side, gap: Lots, look: Look, day: date) -> list[TradeData]:
        """The fills that must have been, when there is exactly one way to have them; else none."""
        theirs = {(one.symbol, one.direction): Lots.of(one) for one in look.positions if one.volume}
        wanted = theirs.get(side, Lots())
        touching = [order for order in self._orders.states() if order.missing and _side_of(order) == side]
        doubtful = [order for order in self._fates() if _side_of(order) == side and order not in touching]
        if not touching and not doubtful:
            return []
        ways = [[order.missing] for order in touching] + [
            list(range(order.volume - order.traded + 1)) for order in doubtful
        ]
        if _product(len(way) for way in ways) > MOST_WAYS:
            return []
        matching = []
        for volumes in itertools.product(*ways):
            fills = [
                made_up_for(order, volume, order.price, self._clock.now(), order.trading_day or day)
                for order, volume in zip((*touching, *doubtful), volumes, strict=True)
                if volume
            ]
            if self._with(fills).get(side, Lots()) == wanted:
                matching.append(fills)
        return matching[0] if len(matching) == 1 else []

    def _fates(self) -> list[OrderState]:
        """Orders of earlier days that worked when they were last heard of, as they are known now."""
        now = (self._orders.get(order.request_id or order.order_id or "") or order for order in self._stranded)
        return [order for order in now if order.traded < order.volume and not order.missing]

    def _with(self, fills: Sequence[TradeData]) -> dict[Side, Lots]:
        tally = self._orders.tally
        for fill in fills:
            tally.add(fill)
        try:
            return tally.lots(self._splits, [trade for _, trade in self._later])
        finally:
            for fill in fills:
                tally.remove(fill)

    async def _make_up(self, fill: TradeData) -> None:
        assert fill.trading_day is not None
        words = f"{fill.volume} lots of order {fill.order_id} were filled, says the counter; the fill itself is missing"
        change = self._bookkeeper.change(
            ChangeKind.SYNTHETIC, fill.trading_day, fill.strategy_name or UNASSIGNED, fill.symbol, fill.exchange,
            fill.direction, fill.volume, fill.price, words,
        )  # fmt: skip
        told = self._bookkeeper.told([change])
        also = partial(self._bookkeeper.with_trade, [change], told)
        await self._durably(partial(self._orders.make_up, fill, also))
        self._bookkeeper.say(told)

    def _hold_back(self, frozen: Sequence[Difference]) -> None:
        """The counter's promise counts: what it has frozen beyond our working closes cannot be closed."""
        self._positions.held_back = {
            (one.symbol, one.direction): int(more)
            for one in frozen
            if one.direction is not None and isinstance(more := one.gap, float | int) and more > 0
        }

    def accept(self, reason: str) -> list[Difference]:
        """A person takes the open differences of lots and books as they are. Raises StoreError."""
        day = self._orders.trading_day
        mine = [one for one in self.open.values() if one.difference.what in LOTS | {What.BOOKS}]
        if day is None or not mine:
            return []
        words = f"accepted by a person: {reason}"
        lots = [one.difference for one in mine if one.difference.what in LOTS]
        if lots:
            changes = [
                self._unassigned(side, gap, day, ChangeKind.ACCEPTED, words) for side, gap in _gaps(lots).items()
            ]
            self._bookkeeper.apply(changes)
            for side, gap in _gaps(lots).items():
                self._orders.tally.correct(side, gap)
        books = [one.difference for one in mine if one.difference.what is What.BOOKS]
        if books:
            self._bookkeeper.apply([self._rebooked(one, day, words) for one in books])
        self._store.close([one.number for one in mine], words, self._clock.now())
        for one in mine:
            del self.open[one.difference.key]
        return [one.difference for one in mine]

    def _rebooked(self, one: Difference, day: date, words: str) -> BookChange:
        gap = int(one.theirs) - int(one.ours)
        side = Direction.LONG if gap > 0 else Direction.SHORT
        exchange = self.instrument_of(one.symbol).exchange
        price = self._positions.price_of(one.symbol, side) or self._positions.price_of(one.symbol, side.opposite)
        return self._bookkeeper.change(
            ChangeKind.REBOOKED, day, UNASSIGNED, one.symbol, exchange, side, abs(gap), price, words
        )

    # ---- names ----------------------------------------------------------------------------------------------------

    async def _name(self, difference: Difference, state: DifferenceState) -> None:
        """Written down and said, once."""
        known = self.open.pop(difference.key, None)
        if known is not None:
            await self._durably(partial(self._store.close, [known.number], "it has changed", self._clock.now()))
        numbers: list[int] = []
        await self._durably(lambda: numbers.append(self._store.note(self._row(difference, state))))
        if state is DifferenceState.OPEN:
            self.open[difference.key] = Open(difference, numbers[-1])
        log.warning("%s", difference.sentence)
        if difference.done != INHERITED:
            self._alarm([difference.sentence])
        if state is DifferenceState.OPEN and difference.what in ALARMING:
            await self._reduce(difference.sentence)

    def _row(self, difference: Difference, state: DifferenceState) -> dict[str, Any]:
        row = asdict(difference) | {"ours": str(difference.ours), "theirs": str(difference.theirs)}
        now = self._clock.now()
        closed = None if state is DifferenceState.OPEN else now
        return row | {"state": state, "found_at": now, "closed_at": closed, "trading_day": self._orders.trading_day}

    async def _close(self, keys: Sequence[object]) -> None:
        if not keys:
            return
        numbers = [self.open[key].number for key in keys]
        await self._durably(partial(self._store.close, numbers, GONE, self._clock.now()))
        for key in keys:
            log.info("%s: %s", self.open.pop(key).difference.sentence, GONE)


_DONE = {What.ORDER: REDUCED.partition(",")[0], What.BOOKS: REDUCED.partition(",")[0], What.FROZEN: RECOMPUTED}


def _gaps(lots: Iterable[Difference]) -> dict[Side, Lots]:
    """Lots that the counter has more than we, side by side."""
    found: dict[Side, Lots] = {}
    for one in lots:
        assert one.direction is not None
        side, more = (one.symbol, one.direction), int(one.theirs) - int(one.ours)
        known = found.get(side, Lots())
        age = Lots(today=more) if one.what is What.TODAY else Lots(yesterday=more)
        found[side] = Lots(known.today + age.today, known.yesterday + age.yesterday)
    return found


def _side_of(order: OrderState) -> Side:
    return order.symbol, order.direction if order.offset is Offset.OPEN else order.direction.opposite


def _product(numbers: Iterable[int]) -> int:
    found = 1
    for number in numbers:
        found *= number
    return found


def _difference_of(row: Mapping[str, Any]) -> Difference:
    direction = None if row["direction"] is None else Direction(row["direction"])
    values = {name: _value(row[name]) for name in ("ours", "theirs")}
    return Difference(
        what=What(row["what"]), symbol=row["symbol"], direction=direction, order_id=row["order_id"], done=row["done"],
        **values,
    )  # fmt: skip


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
