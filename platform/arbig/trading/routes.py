"""Trading: its queries, and the door for a person's orders."""

from __future__ import annotations

from asyncio import to_thread
from datetime import date
from datetime import datetime as Time
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response

from arbig import __version__
from arbig.bus.port import BusError
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Message, Offset, OrderRequest, OrderType, encode
from arbig.domain.orders import OrderState
from arbig.runtime.broker import CTP
from arbig.runtime.files import SettingsError, read_yaml
from arbig.runtime.witness import deed_of
from arbig.store.database import StoreError
from arbig.store.orders import Page, Received
from arbig.trading.books import Book
from arbig.trading.compliance import report
from arbig.trading.flattens import Flatten
from arbig.trading.preview import preview as previewed
from arbig.trading.state import SETTABLE, State

if TYPE_CHECKING:
    from arbig.trading.service import TradingService

Limit = Annotated[int, Query(ge=1, le=100_000)]
Cursor = Annotated[int | None, Query(ge=1, lt=2**63)]


class OrderForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person's order. `request_id` makes a repeated POST the same order."""

    symbol: str
    direction: Direction
    offset: Offset
    price: float
    volume: int
    exchange: Exchange | None = None
    order_type: OrderType = OrderType.LIMIT
    strategy_name: str = "manual"
    request_id: str = msgspec.field(default_factory=lambda: str(uuid4()))


class StateForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    state: State
    reason: str = ""


class FlattenForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be made flat: without a strategy and a symbol, the whole account."""

    strategy_name: str | None = None
    symbol: str | None = None
    reason: str = "asked for by a person"


def add(app: FastAPI, trading: TradingService) -> None:
    """The routes of ARCHITECTURE.md's contract."""

    @app.get("/positions")
    async def positions() -> Response:
        return _answer(
            as_of=trading.reconciler.as_of,
            epoch=trading.epoch,
            book_changes=trading.checks.last_change,
            positions=[_raw(position) for position in trading.positions.positions()],
            strategies=[_shown(book, trading) for book in _books(trading)],
        )

    @app.get("/orders")
    async def orders(active: bool = True, limit: Limit = 1000, cursor: Cursor = None) -> Response:
        as_of = dict(trading.reconciler.as_of)
        working = Page(trading.orders.active()[-limit:], None)
        page = working if active else await to_thread(trading.store.orders_page, cursor, limit)
        rows = [_raw(state.to_order_data()) for state in page.rows]
        return _answer(as_of=as_of, orders=rows, cursor=_word(page.cursor))

    @app.get("/trades")
    async def trades(since: Time | None = None, limit: Limit = 10_000, cursor: Cursor = None) -> Response:
        as_of = dict(trading.reconciler.as_of)
        moment = since.replace(tzinfo=SHANGHAI) if since is not None and since.tzinfo is None else since
        page = await to_thread(trading.store.trades_page, moment, cursor, limit)
        return _answer(as_of=as_of, trades=[_raw(trade) for trade in page.rows], cursor=_word(page.cursor))

    @app.get("/account")
    async def account() -> Response:
        return _answer(as_of=trading.reconciler.as_of, account=trading.reconciler.account)

    @app.get("/compliance")
    async def compliance(day: str | None = None) -> Response:
        wanted = trading.orders.trading_day if day is None else _date(day)
        if wanted is None:
            raise HTTPException(503, "the trading day is not known yet; ask again in a moment, or name a day")
        found = await to_thread(report, trading.store, wanted, trading.risk)
        return _answer(software="ARBIG", version=__version__, app_id=_app_id(trading), **found)

    @app.post("/orders")
    async def send(request: Request, preview: bool = False) -> Response:
        form = _form(await request.body(), OrderForm)
        deed_of(request.scope).begins(
            "order", f"{form.direction} {form.offset} {form.volume} {form.symbol} at {form.price}"
        )
        _refuse_while_faulty(trading)
        wish = OrderRequest(
            request_id=form.request_id,
            strategy_name=form.strategy_name,
            symbol=form.symbol.partition(".")[0],
            exchange=form.exchange or _exchange_of(form.symbol, trading),
            direction=form.direction,
            offset=form.offset,
            order_type=form.order_type,
            price=form.price,
            volume=form.volume,
            timestamp=trading.clock.now(),
        )
        if preview:
            return _answer(**previewed(wish, trading))
        return await _submitted(wish, trading)

    @app.delete("/orders/{name}")
    async def cancel(name: str, request: Request) -> Response:
        deed_of(request.scope).begins("cancel", name)
        legs = trading.orders.legs(name)
        if not legs:
            raise HTTPException(404, f"{name}: no such order today; GET /orders?active=false lists them")
        working = [leg for leg in legs if leg.is_active]
        if not working:
            raise HTTPException(409, f"{name}: is {legs[0].status} already, there is nothing to cancel")
        answer = await _submitted(trading.cancel_request(legs[0]), trading)
        if answer.status_code != 202:
            return answer
        for leg in working:
            trading.canceller.want(leg.request_id)
        waits = next(filter(None, map(trading.canceller.why, working)), None)
        shown = msgspec.json.decode(bytes(answer.body)) | ({} if waits is None else {"detail": waits})
        return Response(msgspec.json.encode(shown), 202, media_type="application/json")

    @app.get("/cancels")
    async def cancels() -> dict[str, object]:
        """What somebody wants gone and still works."""
        return {
            "cancels": [
                {
                    "order_id": order.order_id,
                    "request_id": order.request_id,
                    "strategy_name": order.strategy_name,
                    "symbol": order.symbol,
                    "state": "CANCELLING" if closed is None else "WAITING",
                    "detail": trading.canceller.why(order),
                }
                for order, closed in trading.canceller.waiting
            ]
        }

    @app.get("/state")
    async def state() -> dict[str, object]:
        return _state(trading)

    @app.post("/state")
    async def set_state(request: Request) -> dict[str, object]:
        form = _form(await request.body(), StateForm)
        if form.state not in SETTABLE:
            raise HTTPException(422, f"state: found {form.state}, expected one of {', '.join(SETTABLE)}")
        try:
            await trading.set_wanted(form.state, form.reason)
        except (BusError, StoreError) as error:
            raise HTTPException(503, str(error)) from None
        return _state(trading)

    @app.get("/flatten")
    async def flattens() -> dict[str, object]:
        return {"flattens": [_flatten(job, trading) for job in trading.flattener.jobs.values()]}

    @app.post("/flatten", status_code=202)
    async def flatten(request: Request) -> dict[str, object]:
        form = _form(await request.body(), FlattenForm)
        symbol = None if form.symbol is None else _symbol_of(form.symbol, trading)
        _refuse_unknown_book(form.strategy_name, trading)
        try:
            job = await trading.flattener.begin(form.strategy_name, symbol, form.reason)
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        return _flatten(trading.flattener.jobs[job.id], trading)

    @app.delete("/flatten/{job_id}")
    async def stop_flatten(job_id: str) -> dict[str, object]:
        job = trading.flattener.jobs.get(job_id)
        if job is None:
            raise HTTPException(404, f"{job_id}: no such flatten; GET /flatten lists them")
        if not job.is_running:
            raise HTTPException(409, f"{job_id}: is {job.state} already")
        try:
            return _flatten(await trading.flattener.stop(job), trading)
        except StoreError as error:
            raise HTTPException(503, str(error)) from None


async def _submitted(request: OrderRequest, trading: TradingService) -> Response:
    try:
        answer = await trading.submit(request)
    except BusError as error:
        raise HTTPException(503, f"the order could not be passed on: {error}") from None
    if answer is not None and answer.answer:
        return Response(_refusal(answer), 422, media_type="application/json")
    state = trading.orders.get(request.request_id) or trading.orders.get(request.order_request_id or "")
    shown = {"request_id": request.request_id, "status": "SUBMITTING" if state is None else state.status}
    return Response(msgspec.json.encode(shown | _words(state)), 202, media_type="application/json")


def _refusal(answer: Received) -> bytes:
    code = {} if answer.code is None else {"code": answer.code}
    return msgspec.json.encode({"detail": answer.answer} | code)


def _date(words: str) -> date:
    try:
        return date.fromisoformat(words)
    except ValueError:
        raise HTTPException(422, f"day: found {words!r}, expected a trading day; write e.g. 2025-10-15") from None


def _app_id(trading: TradingService) -> str | None:
    """As registered with the broker; the simulated exchange asks for none, another gateway of vnpy's keeps its own."""
    if trading.settings.gateway != CTP:
        return None
    try:
        found: Any = read_yaml(trading.settings.config / "ctp_config.yaml")
    except FileNotFoundError:
        return None
    except SettingsError as error:
        raise HTTPException(503, str(error)) from None
    return str(found["app_id"]) if "app_id" in found else None


def _words(state: OrderState | None) -> dict[str, str]:
    return {} if state is None or state.error_msg is None else {"error_msg": state.error_msg}


def _refuse_while_faulty(trading: TradingService) -> None:
    if trading.fault is not None:
        raise HTTPException(503, f"orders cannot be written down: {trading.fault}")


def _exchange_of(symbol: str, trading: TradingService) -> Exchange:
    try:
        return trading.instruments.get(symbol, trading.quotes.trading_day).exchange
    except UnknownSymbol as error:
        raise HTTPException(422, str(error)) from None


def _symbol_of(symbol: str, trading: TradingService) -> str:
    try:
        return trading.instruments.get(symbol, trading.quotes.trading_day).symbol
    except UnknownSymbol as error:
        raise HTTPException(422, str(error)) from None


def _refuse_unknown_book(strategy_name: str | None, trading: TradingService) -> None:
    """A name written wrong would be flat at once."""
    known = {book.strategy_name for book in trading.positions.owned()}
    known |= {order.strategy_name for order in trading.orders.states() if order.strategy_name}
    if strategy_name is not None and strategy_name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise HTTPException(404, f"{strategy_name}: has no lots and no orders; strategies that have: {names}")


def _flatten(job: Flatten, trading: TradingService) -> dict[str, object]:
    return {
        "id": job.id,
        "strategy_name": job.strategy_name,
        "symbol": job.symbol,
        "state": job.state,
        "reason": job.reason,
        "detail": job.detail,
        "since": job.since.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "left": trading.flattener.left(job),
    }


def _form(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise HTTPException(422, f"{error}; expected {', '.join(kind.__struct_fields__)}") from None


def _state(trading: TradingService) -> dict[str, object]:
    state = trading.state
    return {
        "state": state.effective,
        "wanted": state.wanted,
        "reason": state.words,
        "since": state.since.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "number": state.number,
        "gateway_knows": trading.keeper.gateway_knows,
        "connected": state.is_connected,
        "reconciled": state.is_reconciled,
    }


def _books(trading: TradingService) -> list[Book]:
    return [*trading.positions.owned(), *trading.positions.unassigned(trading.clock.now())]


def _shown(book: Book, trading: TradingService) -> dict[str, object]:
    """`pnl` is what the held lots have gained, `total_pnl` everything since the book's first trade, before fees."""
    tick = trading.quotes.tick(book.symbol)
    last = book.price if tick is None else tick.last_price
    size = _size(book, trading)
    return {
        "strategy_name": book.strategy_name,
        "symbol": book.symbol,
        "exchange": book.exchange,
        "volume": book.volume,
        "price": book.price,
        "pnl": round(book.floating(last, size), 2),
        "total_pnl": round(book.profit(last, size), 2),
    }


def _size(book: Book, trading: TradingService) -> float:
    try:
        return trading.instruments.get(book.symbol, trading.quotes.trading_day).size
    except UnknownSymbol:
        return 1.0


def _word(cursor: int | None) -> str | None:
    return None if cursor is None else str(cursor)


def _raw(message: Message) -> msgspec.Raw:
    return msgspec.Raw(encode(message))


def _answer(**fields: Any) -> Response:
    return Response(msgspec.json.encode(fields), media_type="application/json")
