"""Tables: what the board knows, as the rows of the tiles. Pure: values in, texts and classes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from views.board import Board
from views.parts import Grid
from views.visit import Visit
from views.words import Words, side_word

from arbig.client.answers import Account, Event, ServiceState, Strategy, StrategyPosition
from arbig.domain.messages import Direction, EventType, OrderData, PositionData, TickData, TradeData

Cell = str | list[str]
Row = list[Any]
UNASSIGNED = "unassigned"

COLUMNS = {
    "positions": "symbol:m side volume:n today:n yesterday:n frozen:n average:n last:n pnl:n",
    "account_positions": "symbol:m side volume:n today:n yesterday:n frozen:n free:n average:n last:n pnl:n :b",
    "books": "strategy symbol:m position:n average:n pnl:n total_pnl:n :b",
    "working_orders": "time:m symbol:m side price:n volume:n traded:n strategy status :b",
    "trades": "time:m symbol:m side price:n volume:n strategy",
    "strategies": "strategy symbol:m state position:n pnl:n :b",
    "services": "service state uptime:n lag:n :b",
    "processes": "service state process:n port:n uptime:n heard:n answer:n lag:n rate:n note:w :b",
    "streams": "stream group lag:n pending:n lost:n",
    "alerts": "target kind address :b",
    "logs": "time:m level service message:w",
    "events": "time:m event message:w",
    "flattens": "since:m scope state left detail:w :b",
    "differences": "what symbol:m ours:n theirs:n state done:w",
    "schedule": "name notebook when next:m mode on_end last_run :b",
    "runs": "due:m name state took:n orders_of:n error_of:w report",
}
CONTROLLED = frozenset({"gateway", "market", "trading", "strategy", "exchange", "jupyter", "scheduler", "alerts"})
LAMPS = {"running": "ok", "paused": "wait", "starting": "wait", "error": "ill", "failed": "ill"}


def columns_of(table: str, word: Words) -> list[list[str]]:
    """[title, class] of each column: `n` is a number, `m` monospaced."""
    pairs = (column.partition(":")[::2] for column in COLUMNS[table].split())
    return [[word(key) if key else "", kind] for key, kind in pairs]


Deed = Callable[[str, str], Awaitable[object]]


def grid(table: str, source: str, word: Words, visit: Visit, deed: Deed | None = None, **given: Any) -> Grid:
    """An empty table with its titles; its buttons do what they say. `source`: whose age it shows."""
    do = deed or (lambda action, key: deed_of(visit.board, table, action, key))
    return Grid(
        lambda action, key: visit.do(lambda: do(action, key)),
        title=word(table),
        columns=columns_of(table, word),
        empty=word("none"),
        sure=word("sure"),
        back=word("cancel_it"),
        source=source,
        **given,
    )


def deed_of(board: Board, table: str, action: str, key: str) -> Awaitable[object]:
    """What the button of a row does."""
    client = board.client
    deeds: dict[str, Callable[[], Awaitable[object]]] = {
        "working_orders": lambda: client.cancel_order(key),
        "strategies": lambda: client.control_strategy(key, action),
        "services": lambda: client.control_service(key, action),
        "processes": lambda: client.control_service(key, action),
        "flattens": lambda: client.stop_flatten(key),
    }
    return deeds[table]()


def position_rows(
    positions: Iterable[PositionData], ticks: Mapping[str, TickData], decimals: dict[str, int], word: Words
) -> list[Row]:
    """Of the account: today's and yesterday's lots apart, for exchanges close them apart."""
    held = [position for position in positions if position.volume]
    return [
        [key_of(position), *_holding(position, decimals, word), *_worth(position, ticks, decimals)]
        for position in sorted(held, key=lambda position: (position.symbol, position.direction))
    ]


def account_position_rows(
    positions: Iterable[PositionData], ticks: Mapping[str, TickData], decimals: dict[str, int], word: Words
) -> list[Row]:
    """The same with what may be closed, and the buttons for it."""
    buttons = [[word("close_it"), "", "close"], [word("flatten"), "twice", "flatten"]]
    held = [position for position in positions if position.volume]
    return [
        [
            key_of(position),
            *_holding(position, decimals, word),
            str(position.volume - position.frozen),
            *_worth(position, ticks, decimals),
            buttons,
        ]
        for position in sorted(held, key=lambda position: (position.symbol, position.direction))
    ]


def key_of(position: PositionData) -> str:
    return f"{position.symbol}-{position.direction}"


def _holding(position: PositionData, decimals: dict[str, int], word: Words) -> list[Any]:
    return [
        position.symbol,
        _side(position.direction, word(position.direction)),
        str(position.volume),
        str(position.volume - position.yd_volume),
        str(position.yd_volume),
        str(position.frozen),
    ]


def _worth(position: PositionData, ticks: Mapping[str, TickData], decimals: dict[str, int]) -> list[Any]:
    places, tick = decimals.get(position.symbol, 2), ticks.get(position.symbol)
    last = "" if tick is None else number(tick.last_price, places)
    return [number(position.price, places), last, signed(position.pnl)]


def book_rows(books: Iterable[StrategyPosition], decimals: dict[str, int], word: Words) -> list[Row]:
    """What each strategy holds; lots that none owns can be assigned."""
    return [
        [
            f"{book.strategy_name} {book.symbol} {book.volume}",
            [word(book.strategy_name), "warn" if book.strategy_name == UNASSIGNED else ""],
            book.symbol,
            _pos(book.volume),
            number(book.price, decimals.get(book.symbol, 2)),
            signed(book.pnl),
            signed(book.total_pnl) if book.total_pnl is not None else "",
            _book_button(book, word),
        ]
        for book in sorted(books, key=lambda book: (book.strategy_name, book.symbol))
        if book.volume
    ]


def _book_button(book: StrategyPosition, word: Words) -> list[str]:
    if book.strategy_name == UNASSIGNED:
        return [word("assign"), "", "assign"]
    return [word("flatten"), "twice", "flatten"]


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
            [order.strategy_name or "", "q"],
            [f"{word(order.status)} {order.detail or ''}".strip(), "bad" if order.detail else "q"],
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
            span(service.uptime),
            [str(service.lag) if service.lag is not None else "", "bad" if (service.lag or 0) > 100 else ""],
            [word("restart"), "twice", "restart"] if service.name in CONTROLLED else "",
        ]
        for service in services
    ]


def process_rows(
    services: Iterable[ServiceState], health: Mapping[str, Any], silence: Mapping[str, float], word: Words
) -> list[Row]:
    """Every process with what it says of itself: how long ago it was heard, how fast it answers, what it is behind."""
    return [_process(service, health.get(service.name) or {}, silence.get(service.name), word) for service in services]


def _process(service: ServiceState, own: Mapping[str, Any], silence: float | None, word: Words) -> Row:
    running = service.pid is not None
    stop = [[word("restart"), "twice", "restart"], [word("stop"), "twice", "stop"]]
    return [
        service.name,
        service.name,
        [word(service.state.lower()), "ok" if service.healthy else "ill" if running else "off"],
        str(service.pid or ""),
        str(service.port or ""),
        span(service.uptime),
        ["" if silence is None else f"{silence:.1f} s", "bad" if (silence or 0) > 3 else ""],
        [f"{own['answer_ms']:.0f} ms" if "answer_ms" in own else "", "bad" if own.get("answer_ms", 0) > 250 else ""],
        [str(service.lag) if service.lag is not None else "", "bad" if (service.lag or 0) > 100 else ""],
        "" if service.ticks_per_s is None else f"{service.ticks_per_s:.1f}",
        [notes_of(own), "bad" if own.get("fault") else "q"],
        "" if service.name not in CONTROLLED else stop if running else [word("start"), "", "start"],
    ]


NOTED = ("ticks_dropped", "orders_waiting", "outbox", "contradictions", "bars_unstored", "failed", "error", "clients")


def notes_of(own: Mapping[str, Any]) -> str:
    """What is not nothing of the counts that should be, and a fault."""
    counts = [f"{name.replace('_', ' ')} {own[name]}" for name in NOTED if own.get(name)]
    return " · ".join([str(own["fault"]), *counts] if own.get("fault") else counts)


def stream_rows(streams: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [
        [
            f"{one['stream']} {one['group']}",
            one["stream"].removeprefix("stream:"),
            one["group"].removeprefix("group:"),
            *([str(one[name]), "bad" if one[name] > most else ""] for name, most in STREAM_MOST),
        ]
        for one in streams
    ]


STREAM_MOST = (("lag", 100), ("pending", 100), ("lost", 0))
LEVELS = {"warning": "warn", "error": "bad", "critical": "bad"}


def log_rows(records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Newest first; two lines of one moment are two rows."""
    return [
        [
            f"{place} {record.get('ts', '')}",
            str(record.get("ts", ""))[5:19].replace("T", " "),
            [str(record.get("level", "")), LEVELS.get(str(record.get("level")), "q")],
            str(record.get("service", "")),
            [log_words(record), "red" if LEVELS.get(str(record.get("level"))) == "bad" else ""],
        ]
        for place, record in reversed(list(enumerate(records)))
    ]


PLACED = ("ts", "level", "service", "event", "logger")


def log_words(record: Mapping[str, Any]) -> str:
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in PLACED)
    return f"{record.get('event', '')} {rest}".strip()


def event_rows(events: Iterable[Event], word: Words) -> list[Row]:
    """Newest first. An alarm is red, a connection that is gone too."""
    return [
        [
            event.id or str(place),
            f"{event.datetime:%m-%d %H:%M:%S}",
            [word(event.event), EVENT_LAMPS.get(event.event, "q")],
            [event.message or event.state or "", "red" if event.event in EVENT_LAMPS else ""],
        ]
        for place, event in reversed(list(enumerate(events)))
    ]


EVENT_LAMPS = {EventType.ALARM: "bad", EventType.DISCONNECTED: "bad"}


def flatten_rows(jobs: Iterable[Mapping[str, Any]], word: Words) -> list[Row]:
    """Newest first. WAITING says for what."""
    return [
        [
            job["id"],
            str(job["since"])[5:19].replace("T", " "),
            " ".join(filter(None, (job["strategy_name"], job["symbol"]))) or word("whole_account"),
            [word(job["state"]), FLATTEN_LAMPS.get(job["state"], "ok")],
            " ".join(f"{one['volume']} {one['symbol']} {word(one['direction'])}" for one in job["left"]) or "0",
            " ".join(filter(None, (job["detail"], f"({job['reason']})"))),
            [word("stop"), "twice", "stop"] if job["state"] in FLATTEN_RUNNING else "",
        ]
        for job in reversed(list(jobs))
    ]


FLATTEN_RUNNING = ("WAITING", "CANCELLING", "CLOSING")
FLATTEN_LAMPS = {"WAITING": "wait", "CANCELLING": "wait", "CLOSING": "wait", "DONE": "ok", "STOPPED": "off"}
DIFFERENCE_LAMPS = {"OPEN": "ill", "MENDED": "ok", "CLOSED": "off"}


def difference_rows(found: Mapping[str, Any], word: Words) -> list[Row]:
    """The open ones of any day, then what the day has brought, newest first."""
    still = [one for one in found.get("open", ()) if one.get("state") == "OPEN"]
    today = [one for one in reversed(found.get("differences", ())) if one.get("state") != "OPEN"]
    return [
        [
            f"{place} {one['found_at']}",
            str(one["what"]).replace("_", " "),
            " ".join(filter(None, (one["symbol"], word(one["direction"] or ""), one["order_id"]))),
            figure(one["ours"]),
            figure(one["theirs"]),
            [word("OPEN_difference" if one["state"] == "OPEN" else one["state"]), DIFFERENCE_LAMPS[one["state"]]],
            [one["done"], "q"],
        ]
        for place, one in enumerate([*still, *today][:SHOWN_DIFFERENCES])
    ]


SHOWN_DIFFERENCES = 60


def figure(text: str) -> str:
    try:
        return f"{float(text):,.2f}".removesuffix(".00")
    except ValueError:
        return text


def alert_rows(targets: Iterable[Mapping[str, Any]], word: Words) -> list[Row]:
    return [
        [one["name"], one["name"], [str(one.get("kind", "")), "q"], [str(one.get("masked", "")), "q"],
         [word("test"), "", "test"]]
        for one in targets
    ]  # fmt: skip


RUN_LAMPS = {"DONE": "ok", "RUNNING": "wait", "DUE": "wait", "FAILED": "ill", "TIMEOUT": "ill", "KILLED": "ill"}


def schedule_rows(entries: Iterable[Mapping[str, Any]], word: Words) -> list[Row]:
    return [
        [
            one["name"],
            one["name"],
            [one.get("notebook") or "", "q"],
            [one.get("problem") or one.get("when") or "", "bad" if one.get("problem") else ""],
            str(one.get("next") or "—")[5:16].replace("T", " "),
            one.get("mode") or "",
            [word(one.get("on_end") or ""), "q"],
            _state_of((one.get("last") or {}).get("state"), word),
            [word("run_now"), "twice", "run"] if one.get("when") else "",
        ]
        for one in entries
    ]


def run_rows(runs: Iterable[Mapping[str, Any]], web: int, word: Words) -> list[Row]:
    """A run that has ended has a report; one that runs can be stopped."""
    return [
        [
            one["run_id"],
            str(one["due"])[5:16].replace("T", " "),
            one["name"],
            _state_of(one["state"], word),
            span(one.get("seconds")),
            str(len(one["orders"]) if isinstance(one.get("orders"), list) else one.get("orders") or 0),
            [first_line(one.get("error")), "bad"],
            _run_link(one, web, word),
        ]
        for one in runs
    ]


def _run_link(run: Mapping[str, Any], web: int, word: Words) -> Cell:
    if run["state"] in ("RUNNING", "DUE"):
        return [word("stop"), "twice", "stop"]
    if not run.get("folder"):
        return ""
    return [word("report"), "", "", f"http://{{host}}:{web}/api/v1/runs/{run['run_id']}/report"]


def _state_of(state: str | None, word: Words) -> list[str]:
    return [word(state or "").capitalize() if state else "—", RUN_LAMPS.get(state or "", "off")]


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


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


def account_facts(board: Board, word: Words) -> list[list[str]]:
    """The account's tile: profit of the day first, after fees."""
    account, status = board.account.account if board.account else None, board.status
    if account is None:
        return []
    gain = account.close_profit + account.position_profit - account.commission
    use = account.margin / account.balance if account.balance else 0.0
    return [
        [word("today_pnl"), signed(gain)[0], f"big {signed(gain)[1]}"],
        [word("balance"), money(account.balance), ""],
        [word("available"), money(account.available), ""],
        [word("margin"), money(account.margin), ""],
        [word("margin_use"), f"{use:.1%}", "bad" if use > 0.8 else ""],
        [word("close_profit"), *signed(account.close_profit)],
        [word("position_profit"), *signed(account.position_profit)],
        [word("commission"), money(account.commission), ""],
        [word("orders_trades"), f"{status.orders_today or 0} / {status.trades_today or 0}" if status else "-", ""],
    ]


def connection_facts(board: Board, word: Words) -> list[list[str]]:
    """A lamp for each link between the trader and the exchange."""
    beat, status = board.heartbeat, board.status
    silence = beat.silence.get("gateway", 999.0) if beat else 999.0
    connected = bool(beat and beat.connected)
    tick_age = board.age()
    state = (status.trading_state if status else None) or "?"
    lamps = status.lamps if status else {}
    fronts = [
        [word(FRONTS.get(name, name)), word("connected") if lamp["on"] else lamp.get("reason") or word("off"),
         "ok" if lamp["on"] else "ill"]
        for name, lamp in lamps.items()
    ]  # fmt: skip
    return [
        [word("web"), word("off") if board.trouble else word("connected"), "off" if board.trouble else "ok"],
        [word("gateway"), f"{silence:.1f} s", "ok" if silence < 3 else "ill"],
        [word("exchange"), word("connected" if connected else "disconnected"), "ok" if connected else "ill"],
        *fronts,
        [word("market_data"), f"{min(tick_age, 999):.1f} s", "ok" if tick_age < 5 else "wait"],
        [word("trading_state"), word(state), "ok" if state == "ACTIVE" else "ill"],
    ]


FRONTS = {"trading": "trading_front", "market_data": "quote_front"}


def preview(found: Mapping[str, Any], word: Words) -> dict[str, Any]:
    """What Trading says would become of an order, for the ticket."""
    if found["refusal"]:
        return {"refusal": [found["refusal"]["code"], found["refusal"]["detail"]]}
    legs = " + ".join(f"{word(leg['offset'])} {leg['volume']}" for leg in found["legs"])
    lines = [[word("becomes"), legs, ""], [word("fee"), f"{found['commission']:,.2f}", ""]]
    if found["margin"]:
        lines.append([word("margin_needed"), money(found["margin"]), ""])
    if found["available"] is not None:
        left = found["available"] - found["margin"] - found["commission"]
        lines.append([word("available_after"), money(left), "bad" if left < 0 else ""])
    return {"lines": lines}


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
