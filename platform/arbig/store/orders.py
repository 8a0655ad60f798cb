"""Store: orders, trades, and what has been answered. Every method that writes is one transaction, on disk at return.

Times are the session clock's, as the exchange stamps orders and trades; `inbox.received_at` alone is the wall's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from datetime import datetime as Time
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import RowMapping, Table, bindparam, delete, func, insert, or_, select, update

from arbig.domain.messages import CommandType, Detail, Direction, Exchange, Offset, OrderType, Status, TradeData
from arbig.domain.orders import OrderState, Stage
from arbig.store import tables
from arbig.store.database import Database, Driver, Prepared
from arbig.store.faults import Contradiction

T = TypeVar("T")
ANSWERS_KEPT = timedelta(days=30)

Also = Callable[[Driver], None]
"""Writes something more into the same transaction."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request that came in, and what was answered (empty: accepted). `messages` is how many commands it became,
    `code` names the rule that denied it."""

    request_id: str
    kind: str
    answer: str
    received_at: Time
    symbol: str | None = None
    trading_day: date | None = None
    messages: int | None = None
    code: str | None = None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message that must reach its stream, because the transaction that holds it has been committed."""

    id: int
    stream: str
    request_id: str
    payload: bytes
    written_at: Time
    expires_at: Time | None = None
    published: bool = False


class Page(NamedTuple, Generic[T]):
    """Some rows, oldest first; `cursor`: where the page before them ends, None when there is none."""

    rows: list[T]
    cursor: int | None


def _cursor(newest_first: Sequence[RowMapping], limit: int) -> int | None:
    return int(newest_first[-1]["id"]) if len(newest_first) == limit else None


class OrderStore:
    """The tables `orders`, `trades`, `strategy_positions`, `inbox` and `outbox` of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.account_id = account_id
        with database.reading() as connection:
            self._last_outgoing = connection.execute(select(func.max(tables.outbox.c.id))).scalar() or 0

    def next_outgoing(self) -> int:
        self._last_outgoing += 1
        return self._last_outgoing

    # ---- decisions ------------------------------------------------------------------------------------------------

    def decide(self, received: Received, states: Sequence[OrderState], outgoing: Sequence[Outgoing]) -> bool:
        """Order, commands and answer together. False when the request was answered before: nothing is written."""
        try:
            with self.database.quick() as connection:
                _INSERT_RECEIVED.execute(connection, asdict(received))
                for state in states:
                    _INSERT_ORDER.execute(connection, _row_of(state))
                for message in outgoing:
                    _INSERT_OUTGOING.execute(connection, asdict(message))
        except Contradiction:
            if self.answer(received.request_id) is None:
                raise
            return False
        return True

    def answer(self, request_id: str) -> Received | None:
        query = select(tables.inbox).where(tables.inbox.c.request_id == request_id)
        with self.database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Received(**row)

    def sent_since(self, moment: Time) -> list[tuple[Time, OrderState]]:
        """Orders accepted after this moment by the wall's clock, oldest first."""
        accepted = tables.orders.join(tables.inbox, tables.orders.c.request_id == tables.inbox.c.request_id)
        query = select(tables.inbox.c.received_at, tables.orders).select_from(accepted)
        recent = query.where(tables.inbox.c.received_at > moment, tables.inbox.c.answer == "")
        with self.database.reading() as connection:
            rows = connection.execute(recent.order_by(tables.inbox.c.received_at)).mappings()
            return [(row["received_at"], _state_of(row, [])) for row in rows]

    def cancels_since(self, moment: Time) -> list[tuple[Time, int]]:
        """When cancels were passed on after this moment by the wall's clock, and how many each time, oldest first."""
        box = tables.inbox.c
        cancels = (box.received_at > moment, box.kind == CommandType.CANCEL_ORDER, box.messages > 0)
        query = select(box.received_at, box.messages).where(*cancels).order_by(box.received_at)
        with self.database.reading() as connection:
            return [(row.received_at, row.messages) for row in connection.execute(query)]

    def cancels_asked(self) -> set[str]:
        """Orders whose cancel was passed on, as far back as messages are kept."""
        box, word = tables.outbox.c, CommandType.CANCEL_ORDER.encode()
        with self.database.reading() as connection:
            said = connection.scalars(select(box.payload).where(box.stream == "stream:cmd"))
            payloads = [payload for payload in said if word in payload]
        return {msgspec.json.decode(payload).get("order_request_id", "") for payload in payloads}

    def received(self, trading_day: date) -> list[Received]:
        """What came in on a trading day, oldest first; for thirty days after it."""
        query = select(tables.inbox).where(tables.inbox.c.trading_day == trading_day)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(tables.inbox.c.received_at)).mappings()
            return [Received(**row) for row in rows]

    def trade_sides(self, trading_day: date | None) -> list[tuple[str, str, Direction]]:
        """Contract, number and direction of a day's trades."""
        trades = tables.trades.c
        mine = (trades.account_id == self.account_id, trades.trading_day == trading_day)
        query = select(trades.symbol, trades.trade_id, trades.direction).where(*mine)
        with self.database.reading() as connection:
            rows = connection.execute(query)
            return [(symbol, trade_id, Direction(direction)) for symbol, trade_id, direction in rows]

    def prune(self, before: Time) -> None:
        """Forget messages that were said, and would have expired, before this moment; and, when no stream can deliver
        them again, the answers too: an order's own row still keeps its request from being sent twice."""
        box, answers = tables.outbox.c, tables.inbox.c
        with self.database.transaction() as connection:
            connection.execute(delete(tables.outbox).where(box.published, box.written_at < before))
            connection.execute(delete(tables.inbox).where(answers.received_at < before - ANSWERS_KEPT))

    def unpublished(self) -> list[Outgoing]:
        query = select(tables.outbox).where(~tables.outbox.c.published).order_by(tables.outbox.c.id)
        with self.database.reading() as connection:
            return [Outgoing(**row) for row in connection.execute(query).mappings()]

    def outgoing_of(self, request_ids: Iterable[str], stream: str) -> list[Outgoing]:
        """What was written to a stream for these requests, oldest first."""
        box = tables.outbox.c
        query = select(tables.outbox).where(box.stream == stream, box.request_id.in_(tuple(request_ids)))
        with self.database.reading() as connection:
            return [Outgoing(**row) for row in connection.execute(query.order_by(box.id)).mappings()]

    def mark_published(self, ids: Sequence[int]) -> None:
        with self.database.transaction() as connection:
            connection.execute(update(tables.outbox).where(tables.outbox.c.id.in_(ids)).values(published=True))

    # ---- evidence -------------------------------------------------------------------------------------------------

    def save(self, states: Sequence[OrderState], outgoing: Sequence[Outgoing] = ()) -> None:
        """What is now known of these orders, and what is to be said about it."""
        with self.database.quick() as connection:
            for state in states:
                _upsert(connection, state)
            for message in outgoing:
                _INSERT_OUTGOING.execute(connection, asdict(message))

    def save_book(self, book: Mapping[str, Any]) -> None:
        """A strategy's book changed by no trade: its contract was settled."""
        with self.database.quick() as connection:
            put_book(connection, book)

    def save_trade(
        self, trade: TradeData, state: OrderState | None, book: Mapping[str, Any], also: Also | None = None
    ) -> bool:
        """A fill with what it changes. False when it is known already: nothing is written."""
        try:
            with self.database.quick() as connection:
                _INSERT_TRADE.execute(connection, _row_of_trade(trade))
                if state is not None:
                    _upsert(connection, state)
                put_book(connection, book)
                if also is not None:
                    also(connection)
        except Contradiction:
            if not self._is_known(trade):
                raise
            return False
        return True

    def replace_trade(
        self, gone: TradeData, come: Sequence[TradeData], state: OrderState, book: Mapping[str, Any], also: Also
    ) -> None:
        """The true fill, and what is left of the one made up for it."""
        trades = tables.trades.c
        key = (trades[name] == getattr(gone, name) for name in _TRADE_KEY)
        with self.database.transaction() as connection:
            connection.execute(delete(tables.trades).where(*key))
            driver: Any = connection.connection.dbapi_connection
            for trade in come:
                _INSERT_TRADE.execute(driver, _row_of_trade(trade))
            _upsert(driver, state)
            put_book(driver, book)
            also(driver)

    def _is_known(self, trade: TradeData) -> bool:
        trades = tables.trades.c
        query = (
            select(func.count())
            .select_from(tables.trades)
            .where(*(trades[name] == getattr(trade, name) for name in _TRADE_KEY))
        )
        with self.database.reading() as connection:
            return bool(connection.execute(query).scalar_one())

    # ---- reading --------------------------------------------------------------------------------------------------

    def begin_day(self, trading_day: date) -> None:
        """What was refused before anybody knew the trading day belongs to the one then heard of."""
        with self.database.transaction() as connection:
            for table in (tables.orders, tables.inbox):
                connection.execute(update(table).where(table.c.trading_day.is_(None)).values(trading_day=trading_day))

    def load(self, trading_day: date | None) -> tuple[list[OrderState], list[TradeData]]:
        """The orders of the day and those still working, whole, and the day's trades that belong to none of them."""
        orders, trades = tables.orders.c, tables.trades.c
        wanted = select(tables.orders).where(
            orders.account_id == self.account_id,
            or_(orders.trading_day == trading_day, orders.status.in_(_ACTIVE)),
        )
        with self.database.reading() as connection:
            rows = connection.execute(wanted.order_by(orders.id)).mappings().all()
            order_ids = [row["order_id"] for row in rows if row["order_id"]]
            of_orders = or_(trades.trading_day == trading_day, trades.order_id.in_(order_ids))
            fills = select(tables.trades).where(trades.account_id == self.account_id, of_orders).order_by(trades.id)
            found = [_trade_of(row) for row in connection.execute(fills).mappings()]
        of_order = _grouped(found, lambda trade: trade.order_id)
        of_request = _grouped(found, lambda trade: trade.request_id)
        states = [
            _state_of(row, of_order[row["order_id"]] if row["order_id"] else of_request[row["request_id"]])
            for row in rows
        ]
        counted = frozenset().union(*(state.trade_keys for state in states))
        return states, [trade for trade in found if trade.key not in counted]

    def find(self, request_id: str | None, order_id: str | None) -> OrderState | None:
        """An order of any day."""
        orders, trades = tables.orders.c, tables.trades.c
        which = orders.request_id == request_id if request_id else orders.order_id == order_id
        with self.database.reading() as connection:
            row = connection.execute(select(tables.orders).where(which)).mappings().one_or_none()
            if row is None:
                return None
            mine = (trades.order_id == row["order_id"], trades.account_id == self.account_id)
            fills = select(tables.trades).where(*mine)
            return _state_of(row, [_trade_of(each) for each in connection.execute(fills).mappings()])

    def orders_page(self, cursor: int | None, limit: int) -> Page[OrderState]:
        """The newest orders of any day, or those before a cursor. Their trade keys are not loaded."""
        query = select(tables.orders).where(tables.orders.c.account_id == self.account_id)
        if cursor is not None:
            query = query.where(tables.orders.c.id < cursor)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(tables.orders.c.id.desc()).limit(limit)).mappings().all()
        return Page([_state_of(row, []) for row in reversed(rows)], _cursor(rows, limit))

    def trades_page(self, since: Time | None, cursor: int | None, limit: int) -> Page[TradeData]:
        """The newest trades since a moment, or those before a cursor."""
        trades = tables.trades.c
        query = select(tables.trades).where(trades.account_id == self.account_id)
        if since is not None:
            query = query.where(trades.traded_at >= since)
        if cursor is not None:
            query = query.where(trades.id < cursor)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(trades.id.desc()).limit(limit)).mappings().all()
        return Page([_trade_of(row) for row in reversed(rows)], _cursor(rows, limit))

    def trades(self, since: Time | None = None, limit: int | None = None) -> list[TradeData]:
        """Trades in the order they came; with a limit the newest ones."""
        trades = tables.trades.c
        query = select(tables.trades).where(trades.account_id == self.account_id).order_by(trades.id.desc())
        if since is not None:
            query = query.where(trades.traded_at >= since)
        with self.database.reading() as connection:
            found = [_trade_of(row) for row in connection.execute(query.limit(limit)).mappings()]
        return found[::-1]

    def trades_from(self, trading_day: date | None) -> list[TradeData]:
        """Trades of the days after this one, in the order they came."""
        trades = tables.trades.c
        query = select(tables.trades).where(trades.account_id == self.account_id)
        if trading_day is not None:
            query = query.where(trades.trading_day > trading_day)
        with self.database.reading() as connection:
            return [_trade_of(row) for row in connection.execute(query.order_by(trades.id)).mappings()]

    def made_up(self, since: date) -> list[TradeData]:
        """Fills that stand for ones the counter has not told."""
        trades = tables.trades.c
        recent = trades.traded_at >= Time.combine(since, Time.min.time(), tables.SHANGHAI)
        mine = (trades.account_id == self.account_id, recent, trades.trade_id.startswith("synthetic-"))
        with self.database.reading() as connection:
            return [_trade_of(row) for row in connection.execute(select(tables.trades).where(*mine)).mappings()]

    def is_empty(self) -> bool:
        """Whether no trade has ever been written here."""
        with self.database.reading() as connection:
            return connection.execute(select(tables.trades.c.id).limit(1)).one_or_none() is None

    def counts(self, trading_day: date | None) -> tuple[int, int]:
        """(orders, trades) of a trading day."""
        with self.database.reading() as connection:
            orders, trades = (
                connection.execute(
                    select(func.count())
                    .select_from(table)
                    .where(table.c.account_id == self.account_id, table.c.trading_day == trading_day)
                ).scalar_one()
                for table in (tables.orders, tables.trades)
            )
        return orders, trades

    def books(self) -> list[dict[str, Any]]:
        query = select(tables.strategy_positions).where(tables.strategy_positions.c.account_id == self.account_id)
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _insert(table: Table) -> Prepared:
    """Every column is given but the row's number, unless that is the row's only name."""
    names = [column.name for column in table.columns if column.name != "id" or table is tables.outbox]
    return Prepared(insert(table).values({name: bindparam(name) for name in names}))


def _update(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> Prepared:
    where = (table.c[name] == bindparam(f"key_{name}") for name in keys)
    return Prepared(update(table).where(*where).values({name: bindparam(name) for name in names}))


_TRADE_KEY = ("account_id", "trading_day", "exchange", "trade_id", "direction")
_ORDER_COLUMNS = tuple(column.name for column in tables.orders.columns if column.name != "id")
_BOOK_KEY = ("account_id", "strategy_name", "symbol", "exchange")
_BOOK_VALUES = ("volume", "price", "cash", "updated_at")
_INSERT_RECEIVED = _insert(tables.inbox)
_INSERT_ORDER = _insert(tables.orders)
_INSERT_OUTGOING = _insert(tables.outbox)
_INSERT_TRADE = _insert(tables.trades)
_INSERT_BOOK = _insert(tables.strategy_positions)
_UPDATE_BY_REQUEST = _update(tables.orders, ("request_id",), _ORDER_COLUMNS)
_UPDATE_BY_ORDER = _update(tables.orders, ("order_id",), _ORDER_COLUMNS)
_UPDATE_BOOK = _update(tables.strategy_positions, _BOOK_KEY, _BOOK_VALUES)

_ACTIVE = tuple(str(status) for status in Status if status.is_active)
_WITHHELD = frozenset({Detail.NOT_SENT, Detail.EXPIRED, Detail.DENIED})
_FROM_STATE = (
    "symbol",
    "exchange",
    "direction",
    "offset",
    "price",
    "volume",
    "traded",
    "status",
    "strategy_name",
    "account_id",
    "trading_day",
    "parent_id",
    "order_type",
    "announced",
    "detail",
    "error_id",
    "error_msg",
    "forced",
    "run_id",
    "code_hash",
    "cause",
)


def _row_of(state: OrderState) -> dict[str, Any]:
    row = {name: getattr(state, name) for name in _FROM_STATE}
    row |= {"order_id": state.order_id or None, "request_id": state.request_id or None}
    row |= {"created_at": state.created, "updated_at": state.updated}
    return row


def _state_of(row: RowMapping, trades: Sequence[TradeData]) -> OrderState:
    detail = None if row["detail"] is None else Detail(row["detail"])
    same = {name: row[name] for name in _FROM_STATE if name not in ("status", "detail")}
    return OrderState(
        **{
            **same,
            "exchange": Exchange(row["exchange"]),
            "direction": Direction(row["direction"]),
            "offset": Offset(row["offset"]),
            "order_type": OrderType(row["order_type"]),
        },
        request_id=row["request_id"] or "",
        order_id=row["order_id"],
        created=row["created_at"],
        updated=row["updated_at"],
        stage=_stage_of(row["status"], detail),
        detail=detail,
        trade_keys=frozenset(trade.key for trade in trades),
    )


def _stage_of(status: str, detail: Detail | None) -> Stage:
    if status == Status.SUBMITTING and detail is Detail.UNKNOWN:
        return Stage.UNKNOWN
    if status == Status.REJECTED and detail in _WITHHELD:
        return Stage.NOT_SENT
    return Stage(status)


def _grouped(trades: Iterable[TradeData], name: Callable[[TradeData], str | None]) -> dict[str | None, list[TradeData]]:
    found: dict[str | None, list[TradeData]] = defaultdict(list)
    for trade in trades:
        found[name(trade)].append(trade)
    return found


def _upsert(connection: Driver, state: OrderState) -> None:
    row = _row_of(state)
    change = _UPDATE_BY_REQUEST if state.request_id else _UPDATE_BY_ORDER
    keys = {"key_request_id": row["request_id"], "key_order_id": row["order_id"]}
    if not change.execute(connection, row | keys):
        _INSERT_ORDER.execute(connection, row)


_TRADE_COLUMNS = tuple(c.name for c in tables.trades.columns if c.name not in ("id", "traded_at"))


def _row_of_trade(trade: TradeData) -> dict[str, Any]:
    return {"traded_at": trade.datetime} | {name: getattr(trade, name) for name in _TRADE_COLUMNS}


def _trade_of(row: RowMapping) -> TradeData:
    plain = TradeData(datetime=row["traded_at"], **{name: row[name] for name in _TRADE_COLUMNS})
    return replace(
        plain,
        exchange=Exchange(row["exchange"]),
        direction=Direction(row["direction"]),
        offset=Offset(row["offset"]),
    )


def put_book(connection: Driver, book: Mapping[str, Any]) -> None:
    """Part of the caller's transaction."""
    keys = {f"key_{name}": book[name] for name in _BOOK_KEY}
    if not _UPDATE_BOOK.execute(connection, {**book, **keys}):
        _INSERT_BOOK.execute(connection, book)


def put_outgoing(connection: Driver, message: Outgoing) -> None:
    """Part of the caller's transaction."""
    _INSERT_OUTGOING.execute(connection, asdict(message))
