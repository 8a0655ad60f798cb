"""Trade: a person's order and what it would become, what works, what is held and by whom, the way out."""

from __future__ import annotations

from typing import Any

from views import tables
from views.parts import Ticket, tiles
from views.visit import Changes, Visit

from arbig.client.client import ClientError
from arbig.domain.messages import Direction, Offset, OrderType

AREAS = (
    '"ticket working_orders working_orders" minmax(0, 0.8fr)'
    ' "ticket account_positions books" minmax(0, 1fr)'
    ' "ticket flattens differences" minmax(0, 1fr)'
    " / 300px minmax(0, 1.15fr) minmax(0, 1fr)"
)
FLATTEN_SECONDS, DIFFERENCE_SECONDS = 1.0, 5.0
TICKET_WORDS = (
    "ticket", "symbol", "bid", "ask", "order_type", "price", "volume", "send", "sure",
    "OPEN", "CLOSE", "CLOSETODAY", "CLOSEYESTERDAY", "LIMIT", "FAK", "FOK",
)  # fmt: skip


class Trade:
    name = "trade"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = word = visit.words()
        self._changes = Changes()
        self._ticket = Ticket(
            self._preview,
            self._send,
            words={name: word(name) for name in TICKET_WORDS} | {"LONG": word("BUY"), "SHORT": word("SELL")},
            role=visit.role,
            symbols=list(visit.board.symbols),
            symbol=visit.board.symbols[0],
        )
        self._orders = tables.grid("working_orders", "trading", word, visit)
        self._positions = tables.grid("account_positions", "trading", word, visit, self._on_position)
        self._positions.title = word("positions")
        self._books = tables.grid("books", "trading", word, visit, self._on_book, forms={"assign": self._assign_form()})
        self._books._on_form = self._assign
        self._flattens = tables.grid(
            "flattens", "flattens", word, visit, tools=[[word("flatten_all"), "danger", "all"]],
            forms={"all": self._flatten_form()},
        )  # fmt: skip
        self._flattens._on_form = self._flatten_all
        self._differences = tables.grid(
            "differences", "differences", word, visit, tools=[[word("accept"), "", "accept"]],
            forms={"accept": self._accept_form()},
        )  # fmt: skip
        self._differences._on_form = self._accept
        self.panel = tiles(
            AREAS,
            ticket=self._ticket,
            working_orders=self._orders,
            account_positions=self._positions,
            books=self._books,
            flattens=self._flattens,
            differences=self._differences,
        )

    # ---- four times a second

    def refresh(self) -> None:
        board, word, revisions = self._visit.board, self._word, self._visit.board.revisions
        if self._ticket.symbols != list(board.symbols):
            self._ticket.symbols = list(board.symbols)
        self._refresh_quote()
        if self._changes.changed("orders", revisions["orders"], revisions["order_status"]):
            self._orders.show(tables.order_rows(board.working(), board.decimals, word))
        if self._changes.changed("positions", revisions["positions"], revisions["tick"]):
            held = board.marked_positions()
            self._positions.show(tables.account_position_rows(held, board.ticks, board.decimals, word))
        if self._changes.changed("books", revisions["positions"]):
            books = board.positions.strategies if board.positions else []
            self._books.show(tables.book_rows(books, board.decimals, word))
        self._refresh_watched()

    def _refresh_quote(self) -> None:
        board, symbol = self._visit.board, self._ticket.symbol
        tick = board.ticks.get(symbol)
        if tick is None or not self._changes.changed("quote", symbol, tick):
            return
        decimals = board.decimals.get(symbol, 2)
        self._ticket.quote = {
            "symbol": symbol,
            "bid_price": tick.bid_price_1,
            "bid_volume": tick.bid_volume_1,
            "ask_price": tick.ask_price_1,
            "ask_volume": tick.ask_volume_1,
            "tick": board.price_ticks.get(symbol, 10.0**-decimals),
            "decimals": decimals,
        }

    def _refresh_watched(self) -> None:
        watch, client, word = self._visit.watch, self._visit.board.client, self._word
        jobs = watch.look("flattens", client.flattens, FLATTEN_SECONDS)
        if jobs is not None and self._changes.changed("flattens", watch.revisions["flattens"]):
            self._flattens.show(tables.flatten_rows(jobs, word))
        found = watch.look("differences", client.reconciliation, DIFFERENCE_SECONDS)
        if found is not None and self._changes.changed("differences", watch.revisions["differences"]):
            rows = tables.difference_rows(found, word)
            self._differences.show(rows)
            self._differences.note = f"{len(found['open'])} {word('OPEN_difference').lower()}" if rows else ""

    # ---- the ticket

    def _preview(self, wish: dict[str, Any]) -> None:
        self._visit.board.spawn(self._previewing(wish))

    async def _previewing(self, wish: dict[str, Any]) -> None:
        try:
            self._ticket.preview = tables.preview(await self._visit.board.client.preview_order(wish), self._word)
        except ClientError as error:
            self._ticket.preview = {"refusal": ["", str(error)]}

    def _send(self, wish: dict[str, Any]) -> None:
        client = self._visit.board.client
        self._visit.do(
            lambda: client.send_order(
                str(wish["symbol"]),
                Direction(wish["direction"]),
                Offset(wish["offset"]),
                float(wish["price"]),
                int(wish["volume"]),
                OrderType(wish["order_type"]),
            ),
            self._word("sent"),
        )

    # ---- positions and books

    async def _on_position(self, action: str, key: str) -> object:
        symbol, _, direction = key.partition("-")
        if action == "flatten":
            self._visit.watch.again("flattens")
            return await self._visit.board.client.flatten(symbol=symbol)
        self._write_close(symbol, Direction(direction))
        return None

    def _write_close(self, symbol: str, held: Direction) -> None:
        """The ticket is filled in with the close of a position, at the price that is there for it."""
        board = self._visit.board
        lots = next((p for p in board.marked_positions() if (p.symbol, p.direction) == (symbol, held)), None)
        tick = board.ticks.get(symbol)
        if lots is None or tick is None:
            return
        price = tick.bid_price_1 if held is Direction.LONG else tick.ask_price_1
        self._ticket.wish = {
            "symbol": symbol,
            "direction": str(held.opposite),
            "offset": "CLOSE",
            "price": f"{price:.{board.decimals.get(symbol, 2)}f}",
            "volume": max(1, lots.volume - lots.frozen),
            "asked": board.revisions["tick"],
        }

    async def _on_book(self, action: str, key: str) -> object:
        name, symbol, _ = key.split(" ")
        self._visit.watch.again("flattens")
        return await self._visit.board.client.flatten(strategy_name=name, symbol=symbol)

    def _assign_form(self) -> dict[str, Any]:
        word, board = self._word, self._visit.board
        names = [one.strategy_name for one in (board.strategies.strategies if board.strategies else ())]
        first = names[0] if names else ""
        fields = [["strategy_name", word("strategy"), "select", first, names], ["volume", word("volume"), "number", 1]]
        return {"ask": word("assign_ask"), "do": word("assign"), "fields": fields}

    def _assign(self, action: str, key: str, values: dict[str, str]) -> None:
        _, symbol, volume = key.split(" ")
        direction = Direction.LONG if int(volume) > 0 else Direction.SHORT
        lots = {"symbol": symbol, "direction": str(direction), "reason": "console"}
        lots |= {"strategy_name": values["strategy_name"], "volume": int(values["volume"] or 0)}
        self._visit.do(lambda: self._visit.board.client.move_lots("assign", lots))

    # ---- out

    def _flatten_form(self) -> dict[str, Any]:
        word = self._word
        return {
            "ask": word("flatten_ask"),
            "do": word("flatten_all"),
            "kind": "danger",
            "typed": "FLATTEN",
            "type": word("type_flatten"),
            "fields": [["reason", word("reason"), "text", ""]],
        }

    def _flatten_all(self, action: str, key: str, values: dict[str, str]) -> None:
        self._visit.watch.again("flattens")
        self._visit.do(lambda: self._visit.board.client.flatten(reason=values.get("reason") or None))

    def _accept_form(self) -> dict[str, Any]:
        word = self._word
        return {"ask": word("accept_ask"), "do": word("accept"), "fields": [["reason", word("reason"), "text", ""]]}

    def _accept(self, action: str, key: str, values: dict[str, str]) -> None:
        self._visit.watch.again("differences")
        reason = values.get("reason") or "accepted in the console"
        self._visit.do(lambda: self._visit.board.client.accept_differences(reason))
