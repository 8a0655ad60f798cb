"""Accounts and trading days in every key; inbox, outbox, books, daily snapshots, trading states.

Rows of the specification's schema belong to account `paper`; a trade's day is the calendar day it was made on, the
best that schema knew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _extend_orders()
    _rebuild_trades()
    _add_books()


def downgrade() -> None:
    raise RuntimeError("an older build cannot hold accounts and trading days: restore a copy of the older database")


def _extend_orders() -> None:
    for name, kind in (
        ("account_id", sa.Text),
        ("trading_day", sa.Date),
        ("parent_id", sa.Text),
        ("order_type", sa.Text),
        ("announced", sa.Integer),
        ("detail", sa.Text),
        ("error_id", sa.Integer),
        ("error_msg", sa.Text),
        ("forced", sa.Boolean),
        ("run_id", sa.Text),
        ("code_hash", sa.Text),
        ("cause", sa.Text),
    ):
        op.add_column("orders", sa.Column(name, kind))
    op.execute(
        "UPDATE orders SET account_id = 'paper', trading_day = date(created_at), order_type = 'LIMIT', "
        "announced = traded"
    )
    with op.batch_alter_table("orders") as batch:
        batch.create_unique_constraint("orders_request_id", ["request_id"])
    op.create_index("orders_by_parent", "orders", ["parent_id"])
    op.create_index("orders_by_day", "orders", ["account_id", "trading_day", "status"])


def _rebuild_trades() -> None:
    op.rename_table("trades", "trades_before")
    op.create_table(
        "trades",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("trade_id", sa.Text),
        sa.Column("order_id", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("exchange", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("offset", sa.Text),
        sa.Column("price", sa.Float),
        sa.Column("volume", sa.Integer),
        sa.Column("strategy_name", sa.Text),
        sa.Column("traded_at", sa.DateTime),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("trading_day", sa.Date, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("parent_id", sa.Text),
        sa.Column("forced", sa.Boolean),
        sa.Column("run_id", sa.Text),
        sa.Column("code_hash", sa.Text),
        sa.UniqueConstraint("account_id", "trading_day", "exchange", "trade_id", "direction", name="trades_once"),
    )
    same = 'id, trade_id, order_id, symbol, exchange, direction, "offset", price, volume, strategy_name, traded_at'
    op.execute(
        f"INSERT INTO trades ({same}, account_id, trading_day) "
        f"SELECT {same}, 'paper', date(traded_at) FROM trades_before"
    )
    op.drop_table("trades_before")
    op.create_index("trades_by_time", "trades", ["traded_at"])
    op.create_index("trades_by_order", "trades", ["order_id"])


def _add_books() -> None:
    op.create_table(
        "inbox",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("written_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime),
        sa.Column("published", sa.Boolean, nullable=False),
    )
    unpublished = sa.text("published = 0")
    op.create_index("outbox_unpublished", "outbox", ["id"], sqlite_where=unpublished)
    op.create_table(
        "strategy_positions",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("strategy_name", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("volume", sa.Integer, nullable=False),
        sa.Column("price", sa.Float, nullable=False),
        sa.Column("cash", sa.Float, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "positions",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("trading_day", sa.Date, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("direction", sa.Text, primary_key=True),
        sa.Column("volume", sa.Integer, nullable=False),
        sa.Column("yd_volume", sa.Integer, nullable=False),
        sa.Column("frozen", sa.Integer, nullable=False),
        sa.Column("price", sa.Float, nullable=False),
        sa.Column("pnl", sa.Float, nullable=False),
        sa.Column("margin", sa.Float),
        sa.Column("taken_at", sa.DateTime, nullable=False),
    )
    amounts = (
        "balance",
        "available",
        "margin",
        "frozen",
        "commission",
        "close_profit",
        "position_profit",
        "pre_balance",
    )
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("trading_day", sa.Date, primary_key=True),
        *(sa.Column(name, sa.Float, nullable=False) for name in amounts),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("taken_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "trading_states",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("set_at", sa.DateTime, nullable=False),
    )
