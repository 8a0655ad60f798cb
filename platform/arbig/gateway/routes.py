"""Routes: the Gateway's queries, those Trading restarts from. `as_of`: the last stream entries an answer includes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field

from arbig.domain.counter import Fact, Subject
from arbig.domain.instruments import Instrument, UnknownSymbol
from arbig.domain.messages import SHANGHAI, encode
from arbig.gateway.door import Stale, Standing, State
from arbig.gateway.port import NotConnected
from arbig.store.sqlite import StoreError

if TYPE_CHECKING:
    from arbig.gateway.service import GatewayService

_json = msgspec.json.encode
REPORTS_AT_ONCE = 50


class Subscription(BaseModel):
    symbols: list[str] = Field(min_length=1)


class Told(BaseModel):
    """The trading state, from Trading or from a person's hand."""

    state: State
    reason: str = ""
    number: int | None = Field(default=None, ge=0, le=2**62)


class Cut(BaseModel):
    seconds: float = Field(gt=0, le=600)


def add_routes(app: FastAPI, gateway: GatewayService) -> None:
    @app.exception_handler(StoreError)
    async def journal_fails(request: Request, error: StoreError) -> Response:
        return Response(_json({"detail": str(error)}), 503, media_type="application/json")

    @app.get("/orders")
    async def orders(fresh: bool = False) -> Response:
        """With `fresh` the counter is asked first, and what it says that had not been heard is journalled."""
        if fresh:
            await _ask_again(gateway, Subject.ORDERS)
        last = gateway.journal.last_event()
        rows = [encode(order) for order in gateway.journal.orders(_day(gateway))]
        return _answer("orders", rows, await gateway.publisher.drained(last))

    @app.get("/orders/{name}/whence")
    async def whence(name: str) -> Response:
        """The order's way through this process, by the wall's clock, and the stream entries it became."""
        found = gateway.journal.whence(name)
        if found is None:
            raise HTTPException(404, f"{name}: the Gateway's journal does not have it (it keeps ten days)")
        row = found.row
        hops = gateway.publisher.hops.of(row.order_id) | found.hops
        return _json_response({
            "order_id": row.order_id,
            "order_ref": row.order_ref,
            "order_sys_id": row.order_sys_id,
            "memo": row.memo,
            "sending": row.sending,
            "hops": {place: when.isoformat() for place, when in hops.items()},
            "events": [
                {"kind": kind, "entry_id": entry_id, "message": msgspec.Raw(payload)}
                for kind, payload, entry_id in found.events
            ],
        })  # fmt: skip

    @app.get("/trades")
    async def trades(fresh: bool = False, since: date | None = None) -> Response:
        """The trading day's, or those from a day on, as far as the journal goes back."""
        if fresh:
            await _ask_again(gateway, Subject.TRADES)
        last = gateway.journal.last_event()
        rows = gateway.journal.trades(since or _day(gateway))
        return _answer("trades", rows, await gateway.publisher.drained(last))

    @app.get("/positions")
    async def positions() -> Response:
        try:
            answer = await gateway.connector.query(Subject.POSITIONS)
        except NotConnected as error:
            raise _away(error) from None
        return _answer("positions", map(encode, answer.positions), await gateway.included(answer))

    @app.get("/account")
    async def account() -> Response:
        try:
            answer = await gateway.connector.query(Subject.ACCOUNT)
        except NotConnected as error:
            raise _away(error) from None
        as_of = await gateway.included(answer)
        return _json_response({"as_of": as_of, "account": answer.account})

    @app.get("/statement")
    async def statement() -> Response:
        """The counter's statement of the last day it settled; null where it offers none."""
        try:
            answer = await gateway.connector.query(Subject.STATEMENT)
        except NotConnected as error:
            raise _away(error) from None
        gateway.forget(answer)
        return _json_response({"statement": answer.statement})

    @app.get("/contracts")
    async def contracts() -> Response:
        day = _day(gateway)
        symbols = [s for product in gateway.book.products for s in _listed(gateway, product, day)]
        return _json_response({"contracts": [_contract(gateway.book.get(symbol, day)) for symbol in symbols]})

    @app.get("/rates")
    async def rates() -> Response:
        return _json_response({"rates": [one._asdict() for one in gateway.connector.rates()]})

    @app.get("/clock")
    async def clock() -> Response:
        return _json_response({
            "session_time": _plain(gateway.session_time),
            "trading_day": gateway.trading_day,
            "speed": gateway.simulation.speed if gateway.is_simulated else 1.0,
            "connected": gateway.reconciled,
            "epoch": gateway.epoch,
        })  # fmt: skip

    @app.get("/history")
    async def history(symbol: str, start: datetime, end: datetime | None = None) -> Response:
        try:
            answer = await gateway.connector.history(symbol, _aware(start), _aware(end) if end else gateway.now())
        except NotConnected as error:
            raise _away(error) from None
        gateway.forget(answer)
        if answer.error:
            raise HTTPException(404, answer.error)
        return Response(b'{"bars":[' + b",".join(map(encode, answer.bars)) + b"]}", media_type="application/json")

    @app.post("/subscribe")
    async def subscribe(wanted: Subscription) -> Response:
        try:
            symbols = [gateway.book.get(symbol, gateway.trading_day).symbol for symbol in wanted.symbols]
        except UnknownSymbol as error:
            raise HTTPException(404, str(error)) from None
        gateway.connector.subscribe(symbols)
        return _json_response({"symbols": symbols})

    @app.get("/state")
    async def state() -> Response:
        return _json_response(_standing(gateway.door.standing))

    @app.post("/state")
    async def set_state(told: Told) -> Response:
        try:
            gateway.stand(told.state, told.reason, told.number)
        except Stale as error:
            raise HTTPException(409, str(error)) from None
        except StoreError as error:
            raise HTTPException(503, f"{told.state} could not be written down: {error}") from None
        return _json_response(_standing(gateway.door.standing))

    @app.post("/disconnect")
    async def disconnect(cut: Cut) -> Response:
        if not gateway.is_simulated:
            raise HTTPException(409, "only the simulated exchange is disconnected on demand; a broker's line is not")
        try:
            gateway.connector.cut_line(cut.seconds)
        except NotConnected as error:
            raise _away(error) from None
        return _json_response({"seconds": cut.seconds})


async def _ask_again(gateway: GatewayService, subject: Subject) -> None:
    """A few reports at a time: orders on their way do not wait for a long list."""
    try:
        answer = await gateway.connector.query(subject)
    except NotConnected as error:
        raise _away(error) from None
    gateway.forget(answer)
    reports: list[Fact] = [*answer.orders, *answer.trades]
    for start in range(0, len(reports), REPORTS_AT_ONCE):
        gateway.on_facts(reports[start : start + REPORTS_AT_ONCE])
        await asyncio.sleep(0)


def _answer(name: str, rows: Iterable[bytes], as_of: Mapping[str, str]) -> Response:
    body = b'{"as_of":' + _json(as_of) + b',"' + name.encode() + b'":[' + b",".join(rows) + b"]}"
    return Response(body, media_type="application/json")


def _standing(standing: Standing) -> dict[str, object]:
    return {**standing._asdict(), "since": _plain(standing.since)}


def _json_response(body: object) -> Response:
    return Response(_json(body), media_type="application/json")


def _away(error: NotConnected) -> HTTPException:
    return HTTPException(503, f"{error}; the Gateway reconnects by itself")


def _day(gateway: GatewayService) -> date:
    if gateway.trading_day is None:
        raise HTTPException(503, "the trading day is not known yet: the counter has not been reached")
    return gateway.trading_day


def _listed(gateway: GatewayService, product: str, day: date) -> tuple[str, ...]:
    try:
        return gateway.book.contracts(product, day)
    except UnknownSymbol:
        return ()


def _contract(instrument: Instrument) -> dict[str, object]:
    return {
        "symbol": instrument.symbol,
        "exchange": instrument.exchange,
        "product": instrument.product,
        "name": instrument.name,
        "english_name": instrument.english_name,
        "size": instrument.size,
        "price_tick": instrument.price_tick,
        "night_close": instrument.night_close.strftime("%H:%M") if instrument.night_close else None,
        "position_date_type": instrument.position_date_type,
        "max_order_volume": instrument.max_order_volume,
        "margin_rate": instrument.margin_rate,
        "fees": instrument.fees,
        "last_trading_day": instrument.last_trading_day,
    }


def _plain(moment: datetime | None) -> str | None:
    """As in the messages: naive Shanghai time with milliseconds."""
    return (
        None if moment is None else moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="milliseconds")
    )


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=SHANGHAI) if moment.tzinfo is None else moment
