"""Tables: what the board knows, as the rows of the tiles. Pure: values in, texts and classes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from views.board import Board
from views.parts import Grid
from views.visit import Visit
from views.words import Words, side_word

from arbig.client.answers import Account, ServiceState, Strategy
from arbig.domain.messages import Direction, OrderData, PositionData, TradeData

Cell = str | list[str]
Row = list[Any]

COLUMNS = {
    "positions": "symbol:m side volume:n yesterday:n frozen:n average:n pnl:n",
    "working_orders": "time:m symbol:m side price:n volume:n traded:n :",
    "trades": "time:m symbol:m side price:n volume:n strategy",
    "strategies": "strategy symbol:m state position:n pnl:n :",
    "services": "service state port:n uptime:n lag:n :",
}
CONTROLLED = frozenset({"gateway", "market", "trading", "strategy", "exchange", "jupyter"})
LAMPS = {"running": "ok", "paused": "wait", "starting": "wait", "error": "ill", "failed": "ill"}


def columns_of(table: str, word: Words) -> list[list[str]]:
    """[title, class] of each column: `n` is a number, `m` monospaced."""
    pairs = (column.partition(":")[::2] for column in COLUMNS[table].split())
    return [[word(key) if key else "", kind] for key, kind in pairs]


def grid(table: str, source: str, word: Words, visit: Visit) -> Grid:
    """An empty table with its titles; its buttons do what they say. `source`: whose age it shows."""
    return Grid(
        lambda action, key: visit.do(lambda: deed(visit.board, table, action, key)),
        title=word(table),
        columns=columns_of(table, word),
        empty=word("none"),
        sure=word("sure"),
        source=source,
    )


def deed(board: Board, table: str, action: str, key: str) -> Awaitable[object]:
    """What the button of a row does."""
    client = board.client
    deeds: dict[str, Callable[[], Awaitable[object]]] = {
        "working_orders": lambda: client.cancel_order(key),
        "strategies": lambda: client.control_strategy(key, action),
        "services": lambda: client.control_service(key, action),
    }
    return deeds[table]()


def position_rows(positions: Iterable[PositionData], decimals: dict[str, int], word: Words) -> list[Row]:
    held = [position for position in positions if position.volume]
    return [
        [
            f"{position.symbol}-{position.direction}",
            position.symbol,
            _side(position.direction, word(position.direction)),
            str(position.volume),
            str(position.yd_volume),
            str(position.frozen),
            number(position.price, decimals.get(position.symbol, 2)),
            signed(position.pnl),
        ]
        for position in sorted(held, key=lambda position: (position.symbol, position.direction))
    ]


def order_rows(orders: Iterable[OrderData], decimals: dict[str, int], word: Words) -> list[Row]:
    return [
        [
            order.order_id or order.request_id or "",
            f"{order.datetime:%H:%M:%S}",
            order.symbol,
            _side(order.direction, side_word(order.direction, order.offset, word)),
            number(order.price, decimals.get(order.symbol, 2)),
            str(order.volume),
            [str(order.traded), "bad" if order.detail else ""],
            [word("cancel"), "", "cancel"],
        ]
        for order in orders
    ]


def trade_rows(trades: Iterable[TradeData], decimals: dict[str, int], word: Words) -> list[Row]:
    return [
        [
            trade.key,
            f"{trade.datetime:%H:%M:%S}",
            trade.symbol,
            _side(trade.direction, side_word(trade.direction, trade.offset, word)),
            number(trade.price, decimals.get(trade.symbol, 2)),
            str(trade.volume),
            [trade.strategy_name, "q"],
        ]
        for trade in trades
    ]


def strategy_rows(strategies: Iterable[Strategy], pnl: dict[str, float], word: Words) -> list[Row]:
    return [
        [
            strategy.strategy_name,
            strategy.strategy_name,
            strategy.symbol.partition(".")[0],
            [word(strategy.state.lower()), LAMPS.get(strategy.state.lower(), "off")],
            _pos(strategy.pos),
            signed(pnl[strategy.strategy_name]) if strategy.strategy_name in pnl else "",
            _strategy_button(strategy, word),
        ]
        for strategy in strategies
    ]


def service_rows(services: Iterable[ServiceState], word: Words) -> list[Row]:
    return [
        [
            service.name,
            service.name,
            [word(service.state.lower()), "ok" if service.healthy else "ill"],
            str(service.port or ""),
            span(service.uptime),
            [str(service.lag) if service.lag is not None else "", "bad" if (service.lag or 0) > 100 else ""],
            [word("restart"), "twice", "restart"] if service.name in CONTROLLED else "",
        ]
        for service in services
    ]


def head_items(board: Board, word: Words) -> list[list[str]]:
    """The figures of the second line: [label, value, class]."""
    beat, status = board.heartbeat, board.status
    state = (status.trading_state if status else None) or "?"
    clock = f"{beat.session_time:%m-%d %H:%M:%S}" if beat and beat.session_time else "-"
    return [
        [word("session_time"), clock, ""],
        [word("trading_day"), (beat.trading_day if beat else None) or "-", ""],
        [word("trading_state"), word(state), "" if state == "ACTIVE" else "bad"],
        *account_items(board.account.account if board.account else None, word),
    ]


def account_items(account: Account | None, word: Words) -> list[list[str]]:
    if account is None:
        return []
    plain = [[word(key), money(getattr(account, key)), ""] for key in ("balance", "available", "margin")]
    coloured = [[word(key), *signed(getattr(account, key))] for key in ("close_profit", "position_profit")]
    return [*plain, *coloured, [word("commission"), money(account.commission), ""]]


def lamp_of(board: Board, word: Words) -> list[Any]:
    """Class, word and age of the connection lamp: Web first, then the exchange, then the Gateway's silence."""
    age = round(min(board.age(), 9999.0), 1)
    if board.trouble:
        return ["off", word("no_web"), age]
    if board.heartbeat is not None and board.heartbeat.connected is False:
        return ["ill", word("disconnected"), age]
    if age > 3:
        return ["wait", word("silent"), age]
    return ["live", word("live"), age]


def number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def money(value: float) -> str:
    return f"{value:,.0f}"


def signed(value: float) -> list[str]:
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return [f"{value:+,.0f}" if value else "0", kind]


def span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _side(direction: Direction, text: str) -> list[str]:
    return [text, "up" if direction is Direction.LONG else "down"]


def _pos(pos: int | dict[str, int]) -> list[str]:
    if isinstance(pos, dict):
        return [" ".join(f"{symbol} {lots:+d}" for symbol, lots in pos.items() if lots) or "0", ""]
    return [f"{pos:+d}" if pos else "0", "up" if pos > 0 else "down" if pos < 0 else ""]


def _strategy_button(strategy: Strategy, word: Words) -> list[str]:
    stopped = strategy.state.lower() in ("stopped", "error", "failed")
    action = "start" if stopped else "stop"
    return [word(action), "" if stopped else "twice", action]
