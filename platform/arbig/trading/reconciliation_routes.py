"""Trading: where the counter and we disagreed, and whose the lots are: routes for people."""

from __future__ import annotations

from asyncio import to_thread
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI, HTTPException, Request, Response
from msgspec.structs import asdict

from arbig.bus.port import BusError
from arbig.domain.instruments import Instrument, UnknownSymbol
from arbig.domain.messages import Direction
from arbig.runtime.files import SettingsError, read_yaml
from arbig.store.database import StoreError
from arbig.store.reconciliation import BookChange, ChangeKind, DifferenceState
from arbig.trading.books import UNASSIGNED
from arbig.trading.settlement import Checked

if TYPE_CHECKING:
    from arbig.trading.service import TradingService

BY_HAND = "manual"


class Assignment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Lots of one side, between the unassigned book and a strategy's."""

    symbol: str
    direction: Direction
    volume: int
    strategy_name: str
    reason: str = ""


class Acceptance(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    reason: str


def add(app: FastAPI, trading: TradingService) -> None:
    @app.get("/reconciliation")
    async def reconciliation(day: date | None = None) -> Response:
        """Of the trading day, or of an earlier one."""
        wanted = day or trading.orders.trading_day
        rows = await to_thread(trading.checks.differences, wanted)
        still = await to_thread(trading.checks.differences, None, DifferenceState.OPEN)
        changes = [] if wanted is None else await to_thread(trading.checks.changes, wanted)
        statement = await to_thread(trading.checks.statement, day)
        last = trading.auditor.last_pass
        return _answer(
            trading_day=wanted,
            last_pass=None if last is None else _plain(last),
            differences=[_shown(row) for row in rows],
            mended=sum(row["state"] == DifferenceState.MENDED for row in rows),
            open=[_shown(row) for row in still],
            book_changes=[_change(change) for change in changes],
            statement=None if statement is None else msgspec.json.decode(statement[1], type=Checked).shown(),
        )

    @app.post("/reconciliation/accept")
    async def accept(request: Request) -> Response:
        """What cannot be explained is taken as it is: the counter's lots are ours, in the unassigned book."""
        form = _form(await request.body(), Acceptance)
        try:
            accepted = trading.auditor.accept(form.reason)
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        return _answer(accepted=[one.sentence for one in accepted])

    @app.post("/positions/assign")
    async def assign(request: Request) -> Response:
        """Unassigned lots become a strategy's."""
        form = _form(await request.body(), Assignment)
        instrument = _instrument(form, trading)
        _refuse_unknown(form.strategy_name, trading)
        free = trading.positions.assignable(instrument.symbol, form.direction)
        if form.volume > free:
            where = f"{instrument.symbol} {form.direction}"
            raise HTTPException(422, f"{where}: {form.volume} lots asked for, {free} are unassigned")
        return await _moved(form, instrument, UNASSIGNED, form.strategy_name, ChangeKind.ASSIGNED, trading)

    @app.post("/positions/unassign")
    async def unassign(request: Request) -> Response:
        """A strategy's lots become nobody's again."""
        form = _form(await request.body(), Assignment)
        instrument = _instrument(form, trading)
        books = trading.positions.books
        book = books.get((form.strategy_name, instrument.symbol, instrument.exchange))
        held = 0 if book is None else max(0, form.direction.sign * book.volume)
        if form.volume > held:
            where = f"{form.strategy_name}: {instrument.symbol} {form.direction}"
            raise HTTPException(422, f"{where}: {form.volume} lots asked for, its book holds {held}")
        return await _moved(form, instrument, form.strategy_name, UNASSIGNED, ChangeKind.RETURNED, trading)


async def _moved(
    form: Assignment, instrument: Instrument, giver: str, taker: str, kind: ChangeKind, trading: TradingService
) -> Response:
    day = trading.orders.trading_day
    if day is None:
        raise HTTPException(503, "the trading day is not known yet; ask again in a moment")
    price = trading.positions.price_of(instrument.symbol, form.direction)
    words = f"{form.volume} lots from {giver} to {taker}" + (f": {form.reason}" if form.reason else "")
    changes = [
        trading.bookkeeper.change(
            kind, day, owner, instrument.symbol, instrument.exchange, form.direction, volume, price, words
        )
        for owner, volume in ((giver, -form.volume), (taker, form.volume))
    ]
    try:
        trading.bookkeeper.apply(changes)
    except StoreError as error:
        raise HTTPException(503, str(error)) from None
    with suppress(BusError):  # it waits in the outbox
        await trading.outbox.flush()
    return _answer(changes=[_change(change) for change in changes])


def _instrument(form: Assignment, trading: TradingService) -> Instrument:
    if form.volume <= 0:
        raise HTTPException(422, f"volume: found {form.volume}, expected at least one lot")
    try:
        return trading.instruments.get(form.symbol, trading.quotes.trading_day)
    except UnknownSymbol as error:
        raise HTTPException(422, str(error)) from None


def _refuse_unknown(name: str, trading: TradingService) -> None:
    """A name written wrong would take lots to a book that nobody trades."""
    known = {book.strategy_name for book in trading.positions.owned()} | _configured(trading) | {BY_HAND}
    if name not in known:
        raise HTTPException(422, f"strategy_name: found {name!r}, expected one of {', '.join(sorted(known))}")


def _configured(trading: TradingService) -> set[str]:
    names = set()
    for file in (trading.settings.config / "strategies").glob("*.yaml"):
        with suppress(SettingsError, FileNotFoundError):
            found: Any = read_yaml(file)
            names |= {str(found["strategy_name"])} if isinstance(found, dict) and "strategy_name" in found else set()
    return names


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: None if row[name] is None else _plain(row[name]) for name in ("found_at", "closed_at")}
    return {name: value for name, value in row.items() if name not in ("id", "account_id")} | times


def _change(change: BookChange) -> dict[str, Any]:
    return {**asdict(change), "changed_at": _plain(change.changed_at)}


def _plain(moment: Any) -> str:
    return str(moment.replace(tzinfo=None).isoformat(timespec="milliseconds"))


def _form(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise HTTPException(422, f"{error}; expected {', '.join(kind.__struct_fields__)}") from None


def _answer(**fields: Any) -> Response:
    return Response(msgspec.json.encode(fields), media_type="application/json")
