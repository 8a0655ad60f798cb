"""Store: the tables of `data/db/trading.db`. The specification's columns (7.3) stand first, ours follow.

Trades are unique by (account, trading day, exchange, trade_id, direction): an exchange numbers its trades anew each
day, and both sides of a self-trade share one number. Times are stored naive, in Shanghai.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

SHANGHAI = ZoneInfo("Asia/Shanghai")


class ShanghaiTime(TypeDecorator[datetime]):
    """Aware in the house, naive Shanghai time in the table (the specification's TIMESTAMP)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(SHANGHAI).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=SHANGHAI)


metadata = MetaData()

orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Text, unique=True),
    Column("request_id", Text, unique=True),
    Column("symbol", Text),
    Column("exchange", Text),
    Column("direction", Text),
    Column("offset", Text),
    Column("price", Float),
    Column("volume", Integer),
    Column("traded", Integer),
    Column("status", Text),
    Column("strategy_name", Text),
    Column("created_at", ShanghaiTime),
    Column("updated_at", ShanghaiTime),
    Column("account_id", Text),
    Column("trading_day", Date),
    Column("parent_id", Text),
    Column("order_type", Text),
    Column("announced", Integer),
    Column("detail", Text),
    Column("error_id", Integer),
    Column("error_msg", Text),
    Column("forced", Boolean),
    Column("run_id", Text),
    Column("code_hash", Text),
    Column("cause", Text),
    Index("orders_by_day", "account_id", "trading_day", "status"),
)

_is_child = orders.c.parent_id.is_not(None)
Index("orders_by_parent", orders.c.parent_id, sqlite_where=_is_child, postgresql_where=_is_child)

trades = Table(
    "trades",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trade_id", Text),
    Column("order_id", Text),
    Column("symbol", Text),
    Column("exchange", Text),
    Column("direction", Text),
    Column("offset", Text),
    Column("price", Float),
    Column("volume", Integer),
    Column("strategy_name", Text),
    Column("traded_at", ShanghaiTime),
    Column("account_id", Text, nullable=False),
    Column("trading_day", Date, nullable=False),
    Column("request_id", Text),
    Column("parent_id", Text),
    Column("forced", Boolean),
    Column("run_id", Text),
    Column("code_hash", Text),
    UniqueConstraint("account_id", "trading_day", "exchange", "trade_id", "direction", name="trades_once"),
    Index("trades_by_time", "traded_at"),
    Index("trades_by_order", "order_id"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("received_at", ShanghaiTime, nullable=False),
    Column("symbol", Text),
    Column("trading_day", Date),
    Column("messages", Integer),
    Column("code", Text),
    sqlite_with_rowid=False,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("written_at", ShanghaiTime, nullable=False),
    Column("expires_at", ShanghaiTime),
    Column("published", Boolean, nullable=False),
)

strategy_positions = Table(
    "strategy_positions",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("strategy_name", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("exchange", Text, primary_key=True),
    Column("volume", Integer, nullable=False),
    Column("price", Float, nullable=False),
    Column("cash", Float, nullable=False),
    Column("updated_at", ShanghaiTime, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("trading_day", Date, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("exchange", Text, primary_key=True),
    Column("direction", Text, primary_key=True),
    Column("volume", Integer, nullable=False),
    Column("yd_volume", Integer, nullable=False),
    Column("frozen", Integer, nullable=False),
    Column("price", Float, nullable=False),
    Column("pnl", Float, nullable=False),
    Column("margin", Float),
    Column("taken_at", ShanghaiTime, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("trading_day", Date, primary_key=True),
    Column("balance", Float, nullable=False),
    Column("available", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("frozen", Float, nullable=False),
    Column("commission", Float, nullable=False),
    Column("close_profit", Float, nullable=False),
    Column("position_profit", Float, nullable=False),
    Column("pre_balance", Float, nullable=False),
    Column("currency", Text, nullable=False),
    Column("taken_at", ShanghaiTime, nullable=False),
)

trading_states = Table(
    "trading_states",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", ShanghaiTime, nullable=False),
    Column("cause", Text),
    Column("trading_day", Date),
    Column("number", Integer),
)

flattens = Table(
    "flattens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("strategy_name", Text),
    Column("symbol", Text),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", ShanghaiTime, nullable=False),
    Column("changed_at", ShanghaiTime, nullable=False),
)

rolls = Table(
    "rolls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("strategy_name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("was", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", ShanghaiTime, nullable=False),
    Column("changed_at", ShanghaiTime, nullable=False),
    Column("lots", Integer),
    Column("stopping", Boolean, nullable=False),
)

differences = Table(
    "differences",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("trading_day", Date, nullable=False),
    Column("what", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("direction", Text),
    Column("order_id", Text, nullable=False),
    Column("ours", Text, nullable=False),
    Column("theirs", Text, nullable=False),
    Column("done", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("found_at", ShanghaiTime, nullable=False),
    Column("closed_at", ShanghaiTime),
    Index("differences_by_day", "account_id", "trading_day"),
)

book_changes = Table(
    "book_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("trading_day", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("strategy_name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("volume", Integer, nullable=False),
    Column("yd_volume", Integer, nullable=False),
    Column("price", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", ShanghaiTime, nullable=False),
)

reconciled_days = Table(
    "reconciled_days",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("trading_day", Date, primary_key=True),
    Column("since", ShanghaiTime, nullable=False),
    Column("statement", Text),
)

intents = Table(
    "intents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("strategy_name", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("trading_day", Date, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("target", Integer, nullable=False),
    Column("until", Date, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("run_id", Text),
    Column("since", ShanghaiTime, nullable=False),
    Column("changed_at", ShanghaiTime, nullable=False),
    UniqueConstraint("account_id", "strategy_name", "intent", "trading_day", name="one_intent_a_day"),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("strategy_name", Text, nullable=False),
    Column("lots", Integer, nullable=False),
    Column("expires_at", ShanghaiTime, nullable=False),
    Column("given_at", ShanghaiTime, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("revoked_at", ShanghaiTime),
)

equity = Table(
    "equity",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("at", ShanghaiTime, primary_key=True),
    Column("trading_day", Date, nullable=False),
    Column("balance", Float, nullable=False),
    Column("available", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("commission", Float, nullable=False),
    Column("close_profit", Float, nullable=False),
    Column("position_profit", Float, nullable=False),
)

versions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False))
"""Alembic's own table, read without alembic."""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
HEAD = REVISIONS[-1]
