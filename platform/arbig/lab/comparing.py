"""Comparing: a recorded day's orders and fills beside the replay's, with what each fill cost and what it is owed to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from datetime import datetime as Time
from fractions import Fraction
from typing import Any

from sqlalchemy import RowMapping

from arbig.backtest.parity import (
    Amounts,
    Bucket,
    Cause,
    Fill,
    Order,
    Pair,
    Row,
    exact,
    executed,
    match,
    split,
    total,
    worth,
)
from arbig.backtest.plan import Opening
from arbig.backtest.result import Result
from arbig.domain import fees
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import Account
from arbig.domain.messages import SHANGHAI, Detail, Direction, Exchange, Offset, OrderData, Status, TradeData
from arbig.domain.positions import Holding, Lots, NotHeld, Side
from arbig.lab.desk import Desk
from arbig.lab.history import History
from arbig.lab.recorded import Arrivals, ParityError, Record, Setup, Tape, arrivals
from arbig.lab.replay import Leg, Quotes, Replay, leg, mark_of, replay
from arbig.runtime.simulation import load_simulation

OTHERS = "others"
HALF_A_CENT = Fraction(1, 200)


@dataclass(frozen=True)
class Outcome:
    """A compared day. `rows`: (strategy or `others`, row); `amounts` sum to `live` - `replay`, in yuan."""

    day: date
    strategies: tuple[str, ...]
    rows: tuple[tuple[str, Row], ...]
    amounts: Amounts
    live: Fraction
    replay: Fraction
    marks: Mapping[str, float]
    missed: Mapping[str, tuple[int, int]]
    on_ticks: bool
    warnings: tuple[str, ...]
    results: Mapping[str, Result]


@dataclass
class Day:
    """What was recorded of a day, while it is compared."""

    desk: Desk
    day: date
    setups: Mapping[str, Setup]
    orders: Sequence[RowMapping]
    trades: Sequence[TradeData]
    earlier: Sequence[TradeData]
    statement: RowMapping | None
    tape: Tape
    arrivals: Mapping[str, Arrivals]
    legs: dict[str, Leg] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, desk: Desk, record: Record, tape: Tape, day: date, setups: Mapping[str, Setup]) -> Day:
        trades = [_trade(row) for row in record.trades(day)]
        earlier = [_trade(row) for row in record.trades_before(day)]
        heard = arrivals(desk.settings, day)
        return cls(desk, day, setups, record.orders(day), trades, earlier, record.statement(day), tape, heard)

    def instrument(self, symbol: str) -> Instrument:
        return self.desk.book.get(symbol, self.day)

    def ran(self) -> list[Setup]:
        """The strategies with an order or trade that day, and those that are set to run and had data."""
        traded = {row["strategy_name"] for row in self.orders} | {trade.strategy_name for trade in self.trades}
        return [one for one in self.setups.values() if one.name in traded or (one.enabled and self._has_data(one))]

    def _has_data(self, setup: Setup) -> bool:
        return all(self.tape.bars(self.instrument(symbol).symbol, self.day) for symbol in setup.symbols)

    # ---- live

    def of(self, owner: str) -> list[TradeData]:
        return [trade for trade in self.trades if trade.strategy_name == owner]

    def live_orders(self, owner: str) -> list[Order]:
        """A strategy's orders as live recorded them, with their fills and what those cost."""
        trades = self.of(owner)
        cost = costs(trades, self.opening(owner).holdings, self.instrument)
        own = {row["order_id"] or row["request_id"]: row for row in self.orders if row["strategy_name"] == owner}
        fills: dict[str, list[Fill]] = {}
        strays: list[Order] = []
        for trade, fee in zip(trades, cost, strict=True):
            fill = Fill(trade.datetime, trade.price, trade.volume, fee)
            if trade.order_id in own:
                fills.setdefault(trade.order_id, []).append(fill)
            else:
                strays.append(_stray(trade, fill))
        return [self._live_order(name, row, tuple(fills.get(name, ()))) for name, row in own.items()] + strays

    def _live_order(self, name: str, row: RowMapping, fills: tuple[Fill, ...]) -> Order:
        heard = self.arrivals.get(name)
        return Order(
            order_id=name,
            symbol=row["symbol"],
            direction=Direction(row["direction"]),
            offset=Offset(row["offset"]),
            price=row["price"],
            volume=row["volume"],
            sent=row["created_at"],
            status=Status(row["status"]),
            fills=fills,
            cause=self._cause(row["cause"]),
            by_hand=row["strategy_name"] not in self.setups or not row["run_id"] or bool(row["forced"]),
            words=row["error_msg"] or "",
            arrived=heard.arrived if heard else None,
            ended=heard.ended if heard else row["updated_at"] if row["status"] == Status.CANCELLED else None,
        )

    def _cause(self, words: str | None) -> Cause | None:
        """`bar:au2512:17` is the seventeenth bar of the day."""
        kind, _, rest = (words or "").partition(":")
        symbol, _, number = rest.partition(":")
        if kind not in ("bar", "tick", "stop"):
            return None
        one = self.legs.get(symbol)
        if kind != "bar" or one is None or not number.isdigit():
            return Cause(kind)
        return Cause(kind, next((bar.datetime for bar in one.bars if bar.seq == int(number)), None))

    # ---- where it began

    def opening(self, owner: str) -> Opening:
        """The lots the strategy held before the day, at their average price."""
        holdings: dict[str, Holding] = {}
        for symbol in {trade.symbol for trade in self.earlier if trade.strategy_name == owner}:
            own = [trade for trade in self.earlier if trade.strategy_name == owner and trade.symbol == symbol]
            volume, price = net_of(own)
            instrument = self.instrument(symbol)
            if not volume:
                continue
            side = Side(yesterday_lots=(Lots(abs(volume), price, self._settled(symbol) or price),))
            holdings[symbol] = Holding(
                symbol=symbol,
                position_date_type=instrument.position_date_type,
                long=side if volume > 0 else Side(),
                short=side if volume < 0 else Side(),
            )
        return Opening(holdings)

    def _settled(self, symbol: str) -> float | None:
        one = self.legs.get(symbol)
        ticks = one.whole_ticks if one is not None else None
        return float(ticks.pre_settlement[0]) if ticks is not None else None

    def capital(self) -> float:
        if self.statement is not None:
            return float(self.statement["pre_balance"])
        return float(load_simulation(self.desk.settings).capital)

    # ---- what is said

    def check_runs(self, setup: Setup, code_hash: str) -> None:
        rows = [row for row in self.orders if row["strategy_name"] == setup.name and row["run_id"]]
        if any(row["code_hash"] not in (None, code_hash) for row in rows):
            self.warnings.append(
                f"{setup.name}: its code has changed since {self.day}: the replay runs the code of today"
            )
        runs = {row["run_id"] for row in rows}
        if len(runs) > 1:
            self.warnings.append(
                f"{setup.name}: it was started {len(runs)} times on {self.day}; the replay is one run from the first "
                "moment on (since=... leaves out what was before)"
            )


def compare(
    today: Day,
    wanted: Sequence[Setup],
    alone: bool,
    since: Time | None,
    reference: History | None,
    variables: Mapping[str, Mapping[str, Any]],
) -> Outcome:
    """`alone`: one strategy, with what others did in its contracts; else everybody. Raises ParityError and what a
    history or a plan raises."""
    book = today.desk.book
    symbols = {book.get(symbol, today.day).symbol for one in wanted for symbol in one.symbols}
    if not alone:
        symbols |= {trade.symbol for trade in today.trades}
    for symbol in sorted(symbols):
        today.legs[symbol] = leg(today.desk, today.tape, symbol, today.day, since, reference)
    marks = {symbol: mark_of(today.desk, one, today.day) for symbol, one in today.legs.items()}
    sizes = {symbol: today.instrument(symbol).size for symbol in today.legs}
    quotes = Quotes(today.legs)
    rows: list[tuple[str, Row]] = []
    results: dict[str, Result] = {}
    live = replayed = missed = Fraction(0)
    for setup in wanted:
        opening = Opening(today.opening(setup.name).holdings, variables.get(setup.name, {}))
        legs = [today.legs[book.get(symbol, today.day).symbol] for symbol in setup.symbols]
        ran = replay(today.desk, setup, legs, today.day, opening, today.capital())
        today.check_runs(setup, ran.source.code_hash)
        today.warnings += [
            f"{setup.name}: the replay ended at {one.datetime:%H:%M}: {one.reason}" for one in ran.whole.failures
        ]
        mine = today.live_orders(setup.name)
        heard, whole = (_orders_of(result, opening, today.instrument) for result in (ran.heard, ran.whole))
        there = _executed(today, mine)
        rows += [(setup.name, row) for row in split(match(mine, heard), sizes, marks, quotes, there)]
        live += worth(mine, sizes, marks)
        replayed += worth(whole, sizes, marks)
        missed += worth(heard, sizes, marks) - worth(whole, sizes, marks)
        results[setup.name] = ran.whole
    known = {one.name for one in wanted} | (set(today.setups) if alone else set())
    for owner in sorted({trade.strategy_name for trade in today.trades} - known):
        others = [order for order in today.live_orders(owner) if order.symbol in today.legs and order.fills]
        rows += [(owner or OTHERS, row) for row in split(_alone(others), sizes, marks, quotes)]
        live += worth(others, sizes, marks)
    fee = _fee_of_statement(today, [one.name for one in wanted] if alone else None)
    live -= fee
    amounts = total(row for _, row in rows)
    amounts[Bucket.FEE] -= fee
    amounts[Bucket.MISSED] += missed
    amounts[Bucket.RESIDUAL] += live - replayed - sum(amounts.values(), Fraction(0))
    return Outcome(
        day=today.day,
        strategies=tuple(one.name for one in wanted),
        rows=tuple(sorted(rows, key=lambda one: one[1].pair.moment)),
        amounts=amounts,
        live=live,
        replay=replayed,
        marks=marks,
        missed={
            symbol: (len(one.missed_minutes), one.missed_ticks)
            for symbol, one in today.legs.items()
            if one.missed_minutes or one.missed_ticks
        },
        on_ticks=all(one.whole_ticks is not None for one in today.legs.values()),
        warnings=tuple(today.warnings),
        results=results,
    )


def _executed(today: Day, orders: Sequence[Order]) -> dict[str, tuple[Fill, ...]]:
    """What the exchange's rules say of live's orders when they came; of contracts with ticks."""
    found: dict[str, tuple[Fill, ...]] = {}
    for symbol, one in today.legs.items():
        if one.whole_ticks is not None:
            found |= executed([order for order in orders if order.symbol == symbol], one.whole_ticks)
    return found


def _alone(orders: Sequence[Order]) -> list[Pair]:
    return [Pair(order, None) for order in orders]


def _fee_of_statement(today: Day, only: Sequence[str] | None) -> Fraction:
    """What the counter took beyond what the contracts' fee schedules say; of some strategies their share of it."""
    if today.statement is None:
        return Fraction(0)
    owners = {trade.strategy_name for trade in today.trades}
    paid = {
        owner: sum(map(exact, costs(today.of(owner), today.opening(owner).holdings, today.instrument)), Fraction(0))
        for owner in owners
    }
    expected, found = sum(paid.values(), Fraction(0)), exact(today.statement["commission"])
    beyond = found - expected
    if abs(beyond) < HALF_A_CENT:
        return Fraction(0)
    today.warnings.append(
        f"the counter's statement of {today.day} has a commission of {float(found):,.2f}, the fee schedules of "
        f"config/instruments.yaml make it {float(expected):,.2f}"
    )
    if only is None or not expected:
        return beyond
    return beyond * sum((paid.get(name, Fraction(0)) for name in only), Fraction(0)) / expected


def costs(
    trades: Iterable[TradeData], holdings: Mapping[str, Holding], instrument: Callable[[str], Instrument]
) -> list[float]:
    """The commission of each fill, in their order, as the ledger counts it: a close pays by the age of its lots."""
    trades = list(trades)
    day = trades[0].trading_day if trades else None
    account = Account(account_id="", trading_day=day or date.min, pre_balance=0.0, holdings=dict(holdings))
    found: list[float] = []
    for trade in trades:
        contract = instrument(trade.symbol)
        try:
            after = account.after(trade, contract)
        except NotHeld:  # the lots are in another's book: the offset says their age
            found.append(fees.commission(contract.fees, contract.size, trade.offset, trade.price, trade.volume))
            continue
        found.append(round(after.commission - account.commission, 8))
        account = after
    return found


def net_of(trades: Iterable[TradeData]) -> tuple[int, float]:
    """Lots and average price after these fills."""
    volume, price = 0, 0.0
    for trade in trades:
        change = trade.direction.sign * trade.volume
        if volume * change >= 0:
            price = (price * abs(volume) + trade.price * trade.volume) / (abs(volume) + trade.volume)
        elif abs(change) > abs(volume):
            price = trade.price
        volume += change
    return volume, price


def _orders_of(result: Result, opening: Opening, instrument: Callable[[str], Instrument]) -> list[Order]:
    fills: dict[str, list[Fill]] = {}
    for trade, fee in zip(result.trades, costs(result.trades, opening.holdings, instrument), strict=True):
        fills.setdefault(trade.order_id, []).append(Fill(trade.datetime, trade.price, trade.volume, fee))
    return [
        _replayed(order, tuple(fills.get(order.order_id, ())))
        for order in result.orders
        if order.detail is not Detail.DENIED  # it never left the house, and no table of live's has it
    ]


def _replayed(order: OrderData, fills: tuple[Fill, ...]) -> Order:
    kind, _, rest = (order.cause or "").partition(":")
    moment = rest.partition(":")[2]
    return Order(
        order_id=order.order_id,
        symbol=order.symbol,
        direction=order.direction,
        offset=order.offset,
        price=order.price,
        volume=order.volume,
        sent=order.datetime,
        status=order.status,
        fills=fills,
        cause=Cause(kind, Time.fromisoformat(moment).replace(tzinfo=SHANGHAI)) if moment else None,
        words=order.error_msg or "",
    )


def _stray(trade: TradeData, fill: Fill) -> Order:
    """A fill whose order nobody has: another terminal's."""
    return Order(
        order_id=trade.order_id or trade.trade_id,
        symbol=trade.symbol,
        direction=trade.direction,
        offset=trade.offset,
        price=trade.price,
        volume=trade.volume,
        sent=trade.datetime,
        status=Status.ALLTRADED,
        fills=(fill,),
        by_hand=True,
    )


TRADE_FIELDS = ("trade_id", "symbol", "price", "volume", "trading_day", "parent_id", "forced", "run_id")


def _trade(row: RowMapping) -> TradeData:
    return TradeData(
        **{name: row[name] for name in TRADE_FIELDS},
        order_id=row["order_id"] or "",
        exchange=Exchange(row["exchange"]),
        direction=Direction(row["direction"]),
        offset=Offset(row["offset"]),
        datetime=row["traded_at"],
        strategy_name=row["strategy_name"] or "",
    )


__all__ = ["Day", "Outcome", "ParityError", "Replay", "compare"]
