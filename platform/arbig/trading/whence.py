"""Trading: where an order came from: the signal behind it, the tick or bar behind that, the code and parameters, and
when it passed each place. Put together from what is stored already; a neighbour who is away leaves a gap, no error.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import FastAPI, HTTPException, Response

from arbig.bus.port import BusError, Entry, entry_key
from arbig.bus.topics import CMD, ORDER
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    Message,
    MessageError,
    OrderRequest,
    TradeData,
    decode,
    encode,
)
from arbig.domain.orders import OrderState
from arbig.runtime.http import CallError

if TYPE_CHECKING:
    from arbig.trading.service import TradingService

M = TypeVar("M", bound=Message)
KEPT = 10_000
BEFORE = timedelta(seconds=30)
AFTER = timedelta(seconds=10)
FIRST_REDIS_TIME = 10**12
PAGE = 1000


class Heard:
    """When Trading had written the first word of an order down, by the wall's clock."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, datetime] = OrderedDict()

    def note(self, order_id: str, when: datetime) -> None:
        if order_id in self._times:
            return
        self._times[order_id] = when
        if len(self._times) > KEPT:
            self._times.popitem(last=False)

    def of(self, order_id: str | None) -> datetime | None:
        return self._times.get(order_id or "")


def add(app: FastAPI, trading: TradingService) -> None:
    @app.get("/orders/{name}/whence")
    async def whence(name: str) -> Response:
        state = trading.orders.get(name) or trading.store.find(name, None) or trading.store.find(None, name)
        if state is None:
            raise HTTPException(404, f"{name}: no such order; GET /orders?active=false lists them")
        return Response(msgspec.json.encode(await traced(state, trading)), media_type="application/json")


async def traced(state: OrderState, trading: TradingService) -> dict[str, Any]:
    """Everything that is known of an order's way."""
    gateway = await _gateway(state, trading)
    asked = trading.store.answer(state.parent_id or state.request_id) if state.request_id else None
    request = command = None
    if asked is not None:
        request = await _entry(trading, ORDER.name, OrderRequest, asked.request_id, asked.received_at)
        command = await _entry(trading, CMD.name, CommandData, state.request_id, asked.received_at)
    events = gateway.get("events", [])
    trades = [decode(TradeData, msgspec.json.encode(e["message"])) for e in events if e["kind"] == "trade"]
    first = next((e["entry_id"] for e in events if e["kind"] == "order" and e["entry_id"]), None)
    hops = {name: datetime.fromisoformat(when) for name, when in gateway.get("hops", {}).items()}
    places = [
        ("tick", hops.get("tick")),
        ("signal", None if request is None else request[1].timestamp),
        ("stream:order", None if request is None else _moment(request[0].id)),
        ("inbox", None if asked is None else asked.received_at),
        ("stream:cmd", None if command is None else _moment(command[0].id)),
        ("gateway", hops.get("read")),
        ("journal", hops.get("journalled")),
        ("sent", hops.get("sent")),
        ("counter", hops.get("spoken")),
        ("stream:order_status", None if first is None else _moment(first)),
        ("trading", trading.heard.of(state.order_id)),
    ]
    return {
        "order": _raw(state.to_order_data()),
        "answer": None if asked is None else asked.answer,
        "trades": [_raw(trade) for trade in trades],
        "events": [
            {"entry_id": e["entry_id"], "kind": e["kind"], "status": e["message"].get("status", "TRADE"),
             "datetime": e["message"]["datetime"], "traded": e["message"].get("traded", e["message"].get("volume"))}
            for e in events
        ],
        "counter": {name: gateway.get(name) for name in ("order_ref", "order_sys_id", "memo", "sending")},
        "cause": await _cause(state, trading),
        "run": await _run(state, trading),
        "hops": [{"place": place, "at": None if at is None else _plain(at)} for place, at in places],
    }  # fmt: skip


async def _gateway(state: OrderState, trading: TradingService) -> dict[str, Any]:
    for name in filter(None, (state.request_id, state.order_id)):
        with suppress(CallError):
            found: dict[str, Any] = await trading.ask(f"/orders/{name}/whence")
            return found
    return {}


async def _run(state: OrderState, trading: TradingService) -> dict[str, Any] | None:
    """How the run began that sent it: class, source, parameters."""
    if not state.run_id:
        return None
    try:
        found: dict[str, Any] = await trading.ask_strategy(
            "GET", f"/strategies/{state.strategy_name}/runs/{state.run_id}"
        )
    except CallError:
        return None
    return found


async def _cause(state: OrderState, trading: TradingService) -> dict[str, Any] | None:
    """`tick:au2512:SEQ`, `bar:au2512:SEQ`, `stop:au2512:SEQ`, or a job of Trading's own; with the message itself while
    Market has it."""
    if not state.cause:
        return None
    kind, _, rest = state.cause.partition(":")
    symbol, _, number = rest.partition(":")
    said: dict[str, Any] = {"cause": state.cause, "kind": kind}
    if not number.isdigit():
        return said
    said |= {"symbol": symbol, "seq": int(number)}
    with suppress(CallError):
        if kind == "bar":
            bars = (await trading.ask_market(f"/bars/{symbol}", {"limit": 10_000}))["bars"]
            day = None if state.trading_day is None else state.trading_day.isoformat()
            fitting = [bar for bar in bars if bar.get("seq") == int(number) and bar.get("trading_day") == day]
            return said | {"message": next(iter(fitting), None)}
        answer = await trading.ask_market(f"/ticks/{symbol}/tape", {"seq": int(number)})
        if state.trading_day is None or answer["trading_day"] == state.trading_day.isoformat():
            return said | {"message": next(iter(answer["ticks"]), None)}
    return said


async def _entry(
    trading: TradingService, stream: str, kind: type[M], request_id: str, about: datetime
) -> tuple[Entry, M] | None:
    """The stream's own entry of a request, as long as the stream keeps it."""
    end = int((about + AFTER).timestamp() * 1000)
    after = f"{int((about - BEFORE).timestamp() * 1000)}-0"
    wanted = f'"request_id":"{request_id}"'.encode()
    with suppress(BusError, MessageError):
        while page := await trading.bus.read(stream, after, PAGE):
            for entry in page:
                if wanted in entry.payload:
                    return entry, decode(kind, entry.payload)
            after = page[-1].id
            if entry_key(after)[0] > end:
                return None
    return None


def _moment(entry_id: str) -> datetime | None:
    """Redis ids begin with the wall's milliseconds; those of the bus in memory only count."""
    milliseconds = entry_key(entry_id)[0]
    return None if milliseconds < FIRST_REDIS_TIME else datetime.fromtimestamp(milliseconds / 1000, SHANGHAI)


def _plain(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(timespec="microseconds")


def _raw(message: Message) -> msgspec.Raw:
    return msgspec.Raw(encode(message))
