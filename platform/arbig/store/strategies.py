"""Strategies' own records, `data/db/strategy.db`: runs, variables, positions, stop orders, signals on their way out.

What a stream entry causes (position, variables, stop orders, signals) is committed in one transaction together with
the entry's identity, so that a redelivered entry changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from arbig.domain.messages import OrderRequest, decode, encode
from arbig.domain.template import StopOrder, StopOrderStatus
from arbig.store.database import Database, Numbered
from arbig.store.place import Place

SCHEMA = 4
KEPT_APPLIED = 200_000  # some trading days of entries
KEPT_PREDICTIONS = 500_000  # some years of one strategy asking every minute

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("strategy_name", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_number", Integer, nullable=False, default=0),
    Column("code_hash", Text),
    Column("error", Text),
    Column("traceback", Text),
    Column("variables", LargeBinary),
    Column("exits", LargeBinary),
)

run_history = Table(
    "run_history",
    metadata,
    Column("strategy_name", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("class_name", Text, nullable=False),
    Column("code_hash", Text, nullable=False),
    Column("symbols", Text, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Column("params_hash", Text, nullable=False),
    Column("began", Text, nullable=False),
)
"""Every run there ever was: with `sources`, what exactly stood behind an order of it."""

sources = Table("sources", metadata, Column("code_hash", Text, primary_key=True), Column("text", Text, nullable=False))

positions = Table(
    "positions",
    metadata,
    Column("strategy_name", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("volume", Integer, nullable=False),
    Column("price", Float, nullable=False),
)

stop_orders = Table(
    "stop_orders",
    metadata,
    Column("stop_orderid", Text, primary_key=True),
    Column("strategy_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("request_id", Text, unique=True),
    Column("payload", LargeBinary, nullable=False),
)

received = Table(
    "received",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("strategy_name", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
"""Entries of a strategy that was busy: kept here until it has answered them, so that its stream can go on."""

applied = Table(
    "applied",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event_id", Text, unique=True),
    Column("entry_id", Text, nullable=False),
    Column("at", Text, nullable=False),
)


predictions = Table(
    "predictions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("prediction_id", Text, unique=True),
    Column("strategy_name", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("value", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("vt_symbol", Text, nullable=False),
    Column("features_at", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("milliseconds", Float, nullable=False),
)

predicted_orders = Table(
    "predicted_orders",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("prediction_id", Text, nullable=False),
)
"""The newest prediction a strategy had when it sent an order."""


@dataclass(frozen=True)
class PredictionRow:
    """What a model said to a strategy, or (without a version) why the fallback stood. `features_at`: the newest bar
    shown to it, naive Shanghai; `at`: wall clock; `cause`: the tick or bar that was being answered."""

    prediction_id: str
    strategy_name: str
    run_id: str
    model: str
    version: str
    value: float
    reason: str
    vt_symbol: str
    features_at: datetime
    at: datetime
    cause: str
    milliseconds: float


BOOK = Numbered(metadata, SCHEMA)


@dataclass(frozen=True)
class Run:
    """One strategy's run as it was last written down."""

    run_id: str
    state: str
    next_number: int
    code_hash: str | None = None
    error: str | None = None
    traceback: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    exits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """How a run began: whose, of which code, on which contracts, with which parameters, when (wall clock)."""

    strategy_name: str
    run_id: str
    class_name: str
    code_hash: str
    symbols: tuple[str, ...]
    params: dict[str, Any]
    began: datetime

    @property
    def params_hash(self) -> str:
        """SHA-256 of the parameters as JSON with sorted keys."""
        return hashlib.sha256(msgspec.json.encode(self.params, order="sorted")).hexdigest()


@dataclass(frozen=True)
class Lots:
    """A strategy's net position in one contract and its average entry price."""

    volume: int = 0
    price: float = 0.0


class Kept(NamedTuple):
    """A stream entry that waits for its strategy."""

    row: int
    strategy_name: str
    stream: str
    entry_id: str
    payload: bytes


@dataclass(frozen=True)
class Effects:
    """What one event did to a strategy. Everything is written, or nothing."""

    strategy_name: str
    event_id: str | None = None
    entry_id: str = ""
    at: datetime | None = None
    positions: dict[str, Lots] = field(default_factory=dict)
    variables: dict[str, Any] | None = None
    stop_orders: tuple[StopOrder, ...] = ()
    requests: tuple[OrderRequest, ...] = ()
    predictions: tuple[PredictionRow, ...] = ()
    predicted: Mapping[str, str] = field(default_factory=dict)


class StrategyStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            self._applied: set[str] = set(connection.scalars(select(applied.c.event_id)))

    @classmethod
    def open(cls, place: Place) -> StrategyStore:
        """Open or make the book. Raises StoreError."""
        database = Database.open(place, BOOK)
        try:
            store = cls(database)
            store.trim()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        self._database.close()

    # ---- runs

    def run(self, strategy_name: str) -> Run | None:
        with self._database.reading() as connection:
            row = connection.execute(select(runs).where(runs.c.strategy_name == strategy_name)).one_or_none()
        if row is None:
            return None
        variables = msgspec.json.decode(row.variables) if row.variables else {}
        exits = msgspec.json.decode(row.exits) if row.exits else {}
        return Run(row.run_id, row.state, row.next_number, row.code_hash, row.error, row.traceback, variables, exits)

    def begin(self, run: Begun, text: str) -> None:
        """A new run of the source `text`; the variables of the last one stay."""
        values = {"run_id": run.run_id, "state": "STARTING", "next_number": 0, "code_hash": run.code_hash}
        values |= {"error": None, "traceback": None}
        history = {
            "strategy_name": run.strategy_name,
            "run_id": run.run_id,
            "class_name": run.class_name,
            "code_hash": run.code_hash,
            "symbols": " ".join(run.symbols),
            "params": msgspec.json.encode(run.params),
            "params_hash": run.params_hash,
            "began": run.began.isoformat(),
        }
        upsert = self._database.upsert
        with self._database.transaction() as connection:
            connection.execute(
                upsert(runs)
                .values(strategy_name=run.strategy_name, **values)
                .on_conflict_do_update(index_elements=["strategy_name"], set_=values)
            )
            connection.execute(upsert(run_history).values(**history).on_conflict_do_nothing())
            connection.execute(upsert(sources).values(code_hash=run.code_hash, text=text).on_conflict_do_nothing())

    def begun(self, strategy_name: str, run_id: str) -> tuple[Begun, str] | None:
        """How a run began, and the source it ran; None when there was no such run."""
        wanted = (run_history.c.strategy_name == strategy_name) & (run_history.c.run_id == run_id)
        with self._database.reading() as connection:
            row = connection.execute(
                select(run_history, sources.c.text)
                .join_from(run_history, sources, run_history.c.code_hash == sources.c.code_hash)
                .where(wanted)
            ).one_or_none()
        if row is None:
            return None
        began = datetime.fromisoformat(row.began)
        params = msgspec.json.decode(row.params)
        symbols = tuple(row.symbols.split())
        return Begun(strategy_name, run_id, row.class_name, row.code_hash, symbols, params, began), row.text

    def remove(self, strategy_name: str) -> None:
        """Its run, variables and stop orders; what its runs were stays."""
        with self._database.transaction() as connection:
            connection.execute(delete(runs).where(runs.c.strategy_name == strategy_name))
            connection.execute(delete(stop_orders).where(stop_orders.c.strategy_name == strategy_name))

    def set_state(self, strategy_name: str, state: str, error: str | None = None, traceback: str | None = None) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                update(runs)
                .where(runs.c.strategy_name == strategy_name)
                .values(state=state, error=error, traceback=traceback)
            )

    def set_exits(self, strategy_name: str, exits: dict[str, str]) -> None:
        """The closes the risk block has begun: contract -> reason."""
        with self._database.transaction() as connection:
            mine = runs.c.strategy_name == strategy_name
            connection.execute(update(runs).where(mine).values(exits=msgspec.json.encode(exits)))

    def reserve(self, strategy_name: str, count: int) -> int:
        """The first of `count` signal numbers that no other signal of this run will ever have."""
        with self._database.transaction() as connection:
            mine = runs.c.strategy_name == strategy_name
            first = connection.execute(select(runs.c.next_number).where(mine)).scalar_one()
            connection.execute(update(runs).where(mine).values(next_number=first + count))
        return int(first)

    # ---- effects

    def has_applied(self, event_id: str) -> bool:
        return event_id in self._applied

    def commit(self, effects: Effects) -> None:
        """On disk when it returns. Requests are in the outbox until `mark_sent`."""
        with self._database.transaction() as connection:
            self._write(connection, effects)
        if effects.event_id is not None:
            self._applied.add(effects.event_id)

    def _write(self, connection: Connection, effects: Effects) -> None:
        name, upsert = effects.strategy_name, self._database.upsert
        if effects.event_id is not None:
            at = effects.at.isoformat() if effects.at else ""
            connection.execute(insert(applied).values(event_id=effects.event_id, entry_id=effects.entry_id, at=at))
        for symbol, lots in effects.positions.items():
            values: dict[str, Any] = {"volume": lots.volume, "price": lots.price}
            connection.execute(
                upsert(positions)
                .values(strategy_name=name, symbol=symbol, **values)
                .on_conflict_do_update(index_elements=["strategy_name", "symbol"], set_=values)
            )
        if effects.variables is not None:
            kept = msgspec.json.encode(effects.variables)
            connection.execute(update(runs).where(runs.c.strategy_name == name).values(variables=kept))
        for stop_order in effects.stop_orders:
            values = {"status": str(stop_order.status), "payload": msgspec.json.encode(stop_order)}
            connection.execute(
                upsert(stop_orders)
                .values(stop_orderid=stop_order.stop_orderid, strategy_name=name, **values)
                .on_conflict_do_update(index_elements=["stop_orderid"], set_=values)
            )
        if effects.requests:
            rows = [{"request_id": one.request_id, "payload": encode(one)} for one in effects.requests]
            connection.execute(upsert(outbox).on_conflict_do_nothing(), rows)
        if effects.predictions:
            kept_rows = [
                {**asdict(one), "features_at": one.features_at.isoformat(), "at": one.at.isoformat()}
                for one in effects.predictions
            ]
            connection.execute(insert(predictions), kept_rows)
        if effects.predicted:
            pairs = [{"request_id": order, "prediction_id": one} for order, one in effects.predicted.items()]
            connection.execute(upsert(predicted_orders).on_conflict_do_nothing(), pairs)

    def predictions(
        self, strategy_name: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """The newest first: of a strategy, or the one an order goes back to."""
        wanted = select(predictions).order_by(predictions.c.id.desc()).limit(limit)
        if strategy_name is not None:
            wanted = wanted.where(predictions.c.strategy_name == strategy_name)
        if request_id is not None:
            behind = select(predicted_orders.c.prediction_id).where(predicted_orders.c.request_id == request_id)
            wanted = wanted.where(predictions.c.prediction_id.in_(behind))
        with self._database.reading() as connection:
            rows = connection.execute(wanted).mappings().all()
        return [{name: value for name, value in row.items() if name != "id"} for row in rows]

    def mark_sent(self, request_ids: Sequence[str]) -> None:
        with self._database.transaction() as connection:
            connection.execute(delete(outbox).where(outbox.c.request_id.in_(request_ids)))

    def unsent(self) -> list[OrderRequest]:
        with self._database.reading() as connection:
            payloads = connection.scalars(select(outbox.c.payload).order_by(outbox.c.id)).all()
        return [decode(OrderRequest, payload) for payload in payloads]

    def receive(self, strategy_name: str, stream: str, entry_id: str, payload: bytes) -> int:
        """Keep an entry that its strategy has not answered yet; returns the row to `forget`."""
        values = {"stream": stream, "entry_id": entry_id, "payload": payload}
        with self._database.transaction() as connection:
            row = insert(received).values(strategy_name=strategy_name, **values).returning(received.c.id)
            return int(connection.execute(row).scalar_one())

    def forget(self, row: int) -> None:
        with self._database.transaction() as connection:
            connection.execute(delete(received).where(received.c.id == row))

    def kept(self) -> list[Kept]:
        """What a former life received and did not finish, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(received).order_by(received.c.id)).all()
        return [Kept(*row) for row in rows]

    def waiting_stop_orders(self, strategy_name: str) -> list[StopOrder]:
        wanted = (stop_orders.c.strategy_name == strategy_name) & (stop_orders.c.status == StopOrderStatus.WAITING)
        with self._database.reading() as connection:
            payloads = connection.scalars(select(stop_orders.c.payload).where(wanted)).all()
        return [msgspec.json.decode(payload, type=StopOrder) for payload in payloads]

    def positions(self) -> dict[tuple[str, str], Lots]:
        with self._database.reading() as connection:
            rows = connection.execute(select(positions)).all()
        return {(row.strategy_name, row.symbol): Lots(row.volume, row.price) for row in rows}

    def set_positions(self, found: Iterable[tuple[str, str, Lots]]) -> None:
        """What Trading says at the start replaces what we had."""
        rows = [
            {"strategy_name": name, "symbol": symbol, "volume": lots.volume, "price": lots.price}
            for name, symbol, lots in found
        ]
        with self._database.transaction() as connection:
            connection.execute(delete(positions))
            if rows:
                connection.execute(insert(positions), rows)

    def trim(self) -> None:
        """Let go of what no stream can deliver again: settled stop orders, entries of long ago."""
        with self._database.transaction() as connection:
            newest = connection.execute(select(func.max(applied.c.id))).scalar() or 0
            connection.execute(delete(applied).where(applied.c.id <= newest - KEPT_APPLIED))
            connection.execute(delete(stop_orders).where(stop_orders.c.status != StopOrderStatus.WAITING))
            newest = connection.execute(select(func.max(predictions.c.id))).scalar() or 0
            connection.execute(delete(predictions).where(predictions.c.id <= newest - KEPT_PREDICTIONS))
            known = select(predictions.c.prediction_id)
            connection.execute(delete(predicted_orders).where(predicted_orders.c.prediction_id.not_in(known)))
            self._applied = set(connection.scalars(select(applied.c.event_id)))
