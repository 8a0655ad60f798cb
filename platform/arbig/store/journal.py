"""Journal: the Gateway's memory of what it was told, what it sent and what it heard. One SQLite file, one writer.

A command's row and its order reference are committed before anything is sent; the reference is never reset. Every
callback is an event with a unique id, kept here before it is published: a replay of the counter changes nothing, a
crash between the commit and the bus loses nothing. Orders the journal does not know belong to somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from arbig.domain.counter import CancelRejected, InsertRejected, OrderReport, Report, TradeReport
from arbig.domain.messages import (
    CommandData,
    Detail,
    EventData,
    EventType,
    OrderData,
    PositionData,
    Status,
    TradeData,
    decode,
    encode,
)
from arbig.domain.orders import OrderState, merge
from arbig.store.sqlite import SqliteFile, explained, lay_out_log

SCHEMA_VERSION = 4
KEPT = timedelta(days=10)
OWNER_LETTERS, REQUEST_LETTERS = 4, 8
NOTHING_HELD = "0/0/0/0/0.000000"

STANDING = """
CREATE TABLE standing (
    one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, reason TEXT NOT NULL, since TEXT NOT NULL,
    number INTEGER NOT NULL
);
"""
NAMELESS = "CREATE INDEX orders_nameless ON orders (memo) WHERE request_id IS NULL;"
HOPS = "CREATE TABLE hops (order_id TEXT PRIMARY KEY, times BLOB NOT NULL) WITHOUT ROWID;"
UPGRADES = {1: STANDING, 2: NAMELESS, 3: HOPS}
SCHEMA = f"""
{STANDING}
{HOPS}
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY,
    order_ref INTEGER UNIQUE,
    request_id TEXT UNIQUE,
    memo TEXT,
    exchange TEXT NOT NULL,
    order_sys_id TEXT,
    trading_day TEXT,
    sending TEXT NOT NULL,
    active INTEGER NOT NULL,
    cancel_wanted INTEGER NOT NULL DEFAULT 0,
    state BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_by_exchange_id ON orders (trading_day, exchange, order_sys_id) WHERE order_sys_id IS NOT NULL;
{NAMELESS}
CREATE INDEX orders_at_work ON orders (active) WHERE active = 1;
CREATE TABLE cancels (request_id TEXT PRIMARY KEY, order_request_id TEXT, order_id TEXT) WITHOUT ROWID;
CREATE INDEX cancels_of_order ON cancels (order_request_id);
CREATE TABLE parked (
    trading_day TEXT, exchange TEXT, order_sys_id TEXT, trade_id TEXT, direction TEXT, report BLOB NOT NULL,
    PRIMARY KEY (trading_day, exchange, order_sys_id, trade_id, direction)
) WITHOUT ROWID;
CREATE TABLE positions (
    symbol TEXT, direction TEXT, shown TEXT, payload BLOB, PRIMARY KEY (symbol, direction)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    trading_day TEXT,
    payload BLOB NOT NULL,
    entry_id TEXT
);
CREATE INDEX events_of_kind ON events (kind, id);
CREATE INDEX events_unpublished ON events (id) WHERE entry_id IS NULL;
"""


class Kind(StrEnum):
    """What an event says; each kind has its own stream."""

    ORDER = "order"
    TRADE = "trade"
    POSITION = "position"
    EVENT = "event"


class Sending(StrEnum):
    """How sure we are that the counter has the order."""

    WAITING = "WAITING"  # the row is there, another order is before it: the wish has certainly not gone out
    SENDING = "SENDING"  # the row is there, the wish may or may not have gone out
    SENT = "SENT"  # the counter has spoken of it
    NOT_SENT = "NOT_SENT"  # it never reached the counter
    FOREIGN = "FOREIGN"  # somebody else's


class Row(NamedTuple):
    """An order of the journal."""

    order_id: str
    order_ref: int | None
    request_id: str | None
    memo: str | None
    exchange: str
    order_sys_id: str | None
    trading_day: str | None
    sending: Sending
    cancel_wanted: bool
    state: OrderState


class Unpublished(NamedTuple):
    id: int
    kind: Kind
    payload: bytes


class Published(NamedTuple):
    """An event, and the stream entry it became; None while it waits."""

    kind: Kind
    payload: bytes
    entry_id: str | None


class Admission(NamedTuple):
    """What to do with a command. `stored`: it was here before, this is what became of it."""

    row: Row
    is_new: bool
    stored: OrderData | None = None

    @property
    def is_to_be_sent(self) -> bool:
        return self.is_new and self.row.sending in (Sending.WAITING, Sending.SENDING)


class Traced(NamedTuple):
    """An order's way through the Gateway."""

    row: Row
    hops: dict[str, datetime]
    events: list[Published]


class CancelTarget(NamedTuple):
    order_ref: int
    order_sys_id: str


_COLUMNS = "order_id, order_ref, request_id, memo, exchange, order_sys_id, trading_day, sending, cancel_wanted, state"
_encode_state = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(OrderState).decode
_decode_trade = msgspec.json.Decoder(TradeReport).decode


def memo_of(request_id: str, strategy_name: str | None) -> str:
    """Twelve characters that the counter echoes: twenty bits of the strategy's name, forty of the request's. When all
    else is lost, they still say whose order it is."""
    return _hashed(strategy_name or "", OWNER_LETTERS) + _hashed(request_id, REQUEST_LETTERS)


def _hashed(text: str, letters: int) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:8])[:letters].decode()


class Journal:
    """Opened by one process at a time. Nothing here awaits: each call is one short transaction. `trading_day` is the
    counter's, kept up to date by whoever hears it: an order belongs to it until the counter says otherwise.
    `strategies` are the names that a memo may stand for: until a new journal has first been reconciled, the orders that
    the counter tells of may be ours, of a journal that was lost."""

    def __init__(self, path: Path, account_id: str, strategies: Callable[[], Iterable[str]] = tuple) -> None:
        self.account_id = account_id
        self.trading_day: date | None = None
        self.epochs = 0
        self._file = SqliteFile(path, SCHEMA, SCHEMA_VERSION, "Gateway", UPGRADES)
        self._db = self._file.connection
        with self._file.transaction():
            self._next_ref = max(self._meta("next_order_ref", 1), self._highest_ref() + 1)
            self._is_new = not self._meta("reconciled", 0)
            self._owners = {_hashed(name, OWNER_LETTERS): name for name in (strategies() if self._is_new else ())}
            self._has_nameless = bool(self._select("request_id IS NULL AND memo > '' LIMIT 1"))
        lay_out_log(path)

    # ---- commands ----

    def admit(self, command: CommandData, waits: bool = False) -> Admission:
        """A SEND_ORDER: its row, reference and order_id, on disk when this returns; `waits`: not to be sent yet. Known
        already: its state."""
        known = self._known(command)
        if known is not None:
            return Admission(known, False, self._told(known))
        with self._file.transaction():
            cancelled = self._is_cancelled(command.request_id)
            row = self._insert(command, Sending.WAITING if waits else Sending.SENDING)
            if cancelled:
                self._withhold(row, Detail.NOT_SENT, "it was cancelled before it was sent", command.timestamp)
                row = row._replace(sending=Sending.NOT_SENT)
        return Admission(row, True)

    def refuse(self, command: CommandData, detail: Detail, reason: str, when: datetime) -> Admission:
        """A SEND_ORDER that must not go out: its row and its REJECTED status in one transaction."""
        known = self._known(command)
        if known is not None:
            return Admission(known, False, self._told(known))
        with self._file.transaction():
            row = self._insert(command, Sending.NOT_SENT)
            self._withhold(row, detail, reason, when)
        return Admission(row, True)

    def now_sending(self, order_id: str) -> bool:
        """Its turn has come. False when it waits no more."""
        with self._file.transaction():
            found = self._run(
                "UPDATE orders SET sending = 'SENDING' WHERE order_id = ? AND sending = 'WAITING'", (order_id,)
            )
        return found.rowcount == 1

    def withhold(self, order_id: str, detail: Detail, reason: str, when: datetime) -> None:
        """The wish certainly did not go out, and never will."""
        row = self._by("order_id", order_id)
        if row is not None and row.sending in (Sending.WAITING, Sending.SENDING):
            with self._file.transaction():
                self._withhold(row, detail, reason, when)

    def abandon_waiting(self, when: datetime) -> None:
        """Of an earlier life: whoever was to send them is gone."""
        with self._file.transaction():
            for row in self._select("active = 1 AND sending = 'WAITING'"):
                self._withhold(row, Detail.NOT_SENT, "the Gateway ended before it was sent", when)

    def unknown(self, order_ids: Iterable[str], when: datetime) -> None:
        """Sent, and no word of it: said aloud."""
        with self._file.transaction():
            for order_id in order_ids:
                row = self._by("order_id", order_id)
                if row is not None and row.sending is Sending.SENDING:
                    told = replace(
                        row.state.to_order_data(), status=Status.SUBMITTING, detail=Detail.UNKNOWN, datetime=when
                    )
                    self._merge_order(row, told)

    def cancel(self, command: CommandData) -> CancelTarget | None:
        """A CANCEL_ORDER: remembered; returned is what to cancel now, None when there is nothing (yet, or any more)."""
        with self._file.transaction():
            seen = self._run(
                "INSERT OR IGNORE INTO cancels VALUES (?, ?, ?)",
                (command.request_id, command.order_request_id, command.order_id),
            )
            row = self._cancelled_row(command)
            if row is None or not row.state.is_active:
                return None
            if row.sending is Sending.WAITING:
                self._withhold(row, Detail.NOT_SENT, "it was cancelled before it was sent", command.timestamp)
                return None
            self._run("UPDATE orders SET cancel_wanted = 1 WHERE order_id = ?", (row.order_id,))
        return _target(row) if seen.rowcount else None

    def cancels_wanted(self) -> list[CancelTarget]:
        """Cancels whose orders still work: asked again after a reconnect, a cancel may be repeated."""
        rows = self._select("active = 1 AND cancel_wanted = 1 AND sending IN ('SENT', 'FOREIGN')")
        return [_target(row) for row in rows]

    # ---- callbacks ----

    def record(self, reports: Sequence[Report | InsertRejected | CancelRejected]) -> list[CancelTarget]:
        """What the counter said, each event once, in one transaction. Returned: orders thought never sent that the
        counter has after all; they are adopted and to be cancelled."""
        late: list[CancelTarget] = []
        with self._file.transaction():
            for report in reports:
                target = self._record(report)
                if target is not None:
                    late.append(target)
            flow = max((report.flow for report in reports if isinstance(report, OrderReport | TradeReport)), default=0)
            if flow > self._meta("flow", 0):
                self._set_meta("flow", flow)
        return late

    def reconcile(self, orders: Sequence[OrderReport], trades: Sequence[TradeReport]) -> list[CancelTarget]:
        """The counter's own lists, asked for after its replay ended: what it has is adopted. Trades whose order nobody
        knows are somebody else's."""
        late = self.record([*orders, *trades])
        with self._file.transaction():
            for (report,) in self._run("SELECT report FROM parked ORDER BY trade_id").fetchall():
                self._publish_trade(_decode_trade(report), None)
            self._run("DELETE FROM parked")
            if self._is_new:
                self._set_meta("reconciled", 1)
                self._is_new = False
        return late

    def give_up(self, order_ids: Iterable[str], when: datetime) -> None:
        """Orders that were being sent and that the counter, asked and asked again, does not have. What it says of them
        afterwards still counts."""
        with self._file.transaction():
            for order_id in order_ids:
                row = self._by("order_id", order_id)
                if row is not None and row.sending is Sending.SENDING:
                    self._withhold(row, Detail.NOT_SENT, "asked twice, the counter does not have it", when)

    def positions(self, positions: Iterable[PositionData]) -> None:
        """Sides of contracts as they are now: those that differ from what was last said are said."""
        with self._file.transaction():
            for position in positions:
                self._show(position)

    def snapshot(self, positions: Sequence[PositionData], when: datetime, trading_day: date) -> None:
        """All there is: what was held and is not in it any more is said to be gone."""
        held = {(position.symbol, position.direction) for position in positions}
        with self._file.transaction():
            for position in positions:
                self._show(position)
            for (payload,) in self._run("SELECT payload FROM positions").fetchall():
                last = decode(PositionData, payload)
                if (last.symbol, last.direction) not in held:
                    self._show(
                        replace(last, volume=0, frozen=0, yd_volume=0, yd_frozen=0, price=0.0, pnl=0.0, margin=0.0,
                                datetime=when, trading_day=trading_day)
                    )  # fmt: skip

    def happened(
        self, event: EventType, when: datetime, trading_day: date | None, message: str = "", state: str | None = None
    ) -> None:
        """Something about the connection or the day, for `stream:event`."""
        with self._file.transaction():
            self._happened(event, when, trading_day, message, state)

    def day_settled(self, day: date, when: datetime) -> None:
        """The books of a trading day are closed: said once."""
        with self._file.transaction():
            self._day_settled(day, when)

    def day_is(self, day: date, when: datetime) -> bool:
        """The counter's trading day. One that turned while nobody listened is said now: the one before is settled, and
        a new one has begun. True when it is a new one."""
        known = self._meta("day", 0)
        if day.toordinal() <= known:
            return False
        with self._file.transaction():
            self._set_meta("day", day.toordinal())
            if known:
                self._day_settled(date.fromordinal(known), when)
                self._happened(EventType.TRADING_DAY, when, day)
        return True

    def enter_epoch(self, epoch: str) -> int:
        """Redis as it is now. When it is another one than last time, what was said is lost: the day's orders, trades
        and positions are unpublished again, the newest last. Returns how many."""
        number = int(epoch, 16)
        known = self._meta("epoch", 0)
        if known == number:
            return 0
        with self._file.transaction():
            self._set_meta("epoch", number)
            if known == 0:
                return 0
            self.epochs += 1
            said = "entry_id IS NOT NULL AND kind <> 'event' AND trading_day = (SELECT max(trading_day) FROM events)"
            return self._run(f"UPDATE events SET entry_id = NULL WHERE {said}").rowcount

    # ---- the last door ----

    def standing(self) -> tuple[str, str, str, int] | None:
        """The trading state as it was last told, its reason, since when, and its number; None before the first."""
        found = self._run("SELECT state, reason, since, number FROM standing").fetchone()
        return None if found is None else (str(found[0]), str(found[1]), str(found[2]), int(found[3]))

    def set_standing(self, state: str, reason: str, since: str, number: int) -> None:
        with self._file.transaction():
            self._run("INSERT OR REPLACE INTO standing VALUES (1, ?, ?, ?, ?)", (state, reason, since, number))

    # ---- what the Gateway asks ----

    @property
    def flow(self) -> int:
        """The last number of the private flow that is on disk."""
        return self._meta("flow", 0)

    def reserve_refs(self, highest: int) -> None:
        """The counter has seen references up to this one: ours go on above it."""
        if highest >= self._next_ref:
            with self._file.transaction():
                self._next_ref = highest + 1
                self._set_meta("next_order_ref", self._next_ref)

    def last_event(self) -> int:
        return int(self._run("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])

    def unpublished(self, limit: int) -> list[Unpublished]:
        found = self._run("SELECT id, kind, payload FROM events WHERE entry_id IS NULL ORDER BY id LIMIT ?", (limit,))
        return [Unpublished(number, Kind(kind), payload) for number, kind, payload in found]

    def first_unpublished(self) -> float:
        """Id of the oldest event that is not on its stream yet; infinite when all are."""
        (found,) = self._run("SELECT min(id) FROM events WHERE entry_id IS NULL").fetchone()
        return float("inf") if found is None else found

    def published(
        self,
        events: Sequence[Unpublished],
        entry_ids: Sequence[str],
        hops: Sequence[tuple[str, dict[str, datetime]]] = (),
    ) -> None:
        """On their streams. `hops`: when orders passed our own places, to be kept with them."""
        with self._file.transaction():
            for order_id, times in hops:
                self._run("INSERT OR REPLACE INTO hops VALUES (?, ?)", (order_id, msgspec.json.encode(times)))
            self._db.executemany(
                "UPDATE events SET entry_id = ? WHERE id = ?",
                [(entry_id, event.id) for event, entry_id in zip(events, entry_ids, strict=True)],
            )

    def as_of(self, last_event: int) -> dict[Kind, str]:
        """Per kind the stream entry of the newest event up to `last_event`."""
        return {kind: self._entry_id(kind, last_event) for kind in (Kind.ORDER, Kind.TRADE, Kind.POSITION)}

    def orders(self, trading_day: date) -> list[OrderData]:
        """The orders of the trading day and every one that may still trade, with what is known of them."""
        rows = self._select("trading_day = ? OR active = 1", (trading_day.isoformat(),))
        return [self._told(row) for row in sorted(rows, key=lambda row: (row.order_ref or 0, row.order_id))]

    def trades(self, trading_day: date) -> list[bytes]:
        """The trades of this day and later ones, as they were published."""
        found = self._run(
            "SELECT payload FROM events WHERE kind = ? AND trading_day >= ? ORDER BY id",
            (Kind.TRADE, trading_day.isoformat()),
        )
        return [payload for (payload,) in found]

    def whence(self, name: str) -> Traced | None:
        """By request_id or order_id: its row, when it passed our places, and what was published of it."""
        row = self._by("request_id", name) or self._by("order_id", name)
        if row is None:
            return None
        found = self._run("SELECT times FROM hops WHERE order_id = ?", (row.order_id,)).fetchone()
        hops = {} if found is None else msgspec.json.decode(found[0], type=dict[str, datetime])
        prefix = f"O:{self.account_id}:{row.order_id}:"
        events = self._run(
            "SELECT id, kind, payload, entry_id FROM events WHERE event_id >= ? AND event_id < ? UNION ALL "
            "SELECT id, kind, payload, entry_id FROM events WHERE kind = 'trade' AND trading_day = ? "
            "AND instr(payload, ?) ORDER BY 1",
            (prefix, prefix[:-1] + ";", row.trading_day, f'"order_id":"{row.order_id}"'.encode()),
        ).fetchall()
        return Traced(row, hops, [Published(Kind(kind), payload, entry_id) for _, kind, payload, entry_id in events])

    def in_flight(self) -> dict[str, int]:
        """Orders that were being sent and that nobody has spoken of, with their references."""
        return {row.order_id: row.order_ref or 0 for row in self._select("sending = 'SENDING' AND active = 1")}

    def is_in_flight(self, order_id: str) -> bool:
        found = self._run("SELECT 1 FROM orders WHERE order_id = ? AND sending = 'SENDING'", (order_id,))
        return found.fetchone() is not None

    def forget(self, trading_day: date) -> None:
        """What is long finished and published is no longer needed to tell a replay or a late word: events and orders of
        more than ten days ago, but never those of the last trading day that had orders. Each stream's newest event
        stays, and so does the next order reference."""
        today = trading_day.isoformat()
        with self._file.transaction():
            (previous,) = self._run("SELECT max(trading_day) FROM orders WHERE trading_day < ?", (today,)).fetchone()
            kept = min((trading_day - KEPT).isoformat(), previous or today)
            self._run(
                "DELETE FROM events WHERE entry_id IS NOT NULL AND trading_day < ? "
                "AND id NOT IN (SELECT max(id) FROM events GROUP BY kind)",
                (kept,),
            )
            self._set_meta("next_order_ref", self._next_ref)
            self._run(
                "DELETE FROM orders WHERE active = 0 AND (trading_day < ? OR trading_day IS NULL AND order_ref < "
                "(SELECT min(order_ref) FROM orders WHERE trading_day >= ?))",
                (kept, kept),
            )
            self._run("DELETE FROM hops WHERE order_id NOT IN (SELECT order_id FROM orders)")
            self._run(
                "DELETE FROM cancels WHERE coalesce(order_request_id, '') NOT IN "
                "(SELECT request_id FROM orders WHERE request_id IS NOT NULL) "
                "AND coalesce(order_id, '') NOT IN (SELECT order_id FROM orders)"
            )

    def close(self) -> None:
        self._file.close()

    # ---- inside ----

    def _insert(self, command: CommandData, sending: Sending) -> Row:
        ref, self._next_ref = self._next_ref, self._next_ref + 1
        today = self.trading_day or command.trading_day
        state = replace(
            OrderState.from_command(command), order_id=str(ref), account_id=self.account_id, trading_day=today
        )
        day = today.isoformat() if today else None
        memo = memo_of(command.request_id, command.strategy_name)
        row = Row(str(ref), ref, command.request_id, memo, command.exchange, None, day, sending, False, state)
        self._run(
            "INSERT INTO orders (order_id, order_ref, request_id, memo, exchange, trading_day, sending, active, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
            (row.order_id, ref, row.request_id, memo, row.exchange, day, sending, _encode_state(state)),
        )
        return row

    def _withhold(self, row: Row, detail: Detail, reason: str, when: datetime) -> None:
        self._run("UPDATE orders SET sending = 'NOT_SENT' WHERE order_id = ?", (row.order_id,))
        self._merge_order(row, row.state.denied(reason, when, detail).to_order_data())

    def _record(self, report: Report | InsertRejected | CancelRejected) -> CancelTarget | None:
        if isinstance(report, OrderReport):
            return self._record_order(report)
        if isinstance(report, TradeReport):
            self._record_trade(report)
        elif isinstance(report, InsertRejected):
            self._record_insert_rejected(report)
        else:
            self._record_cancel_rejected(report)
        return None

    def _record_order(self, report: OrderReport) -> CancelTarget | None:
        row = self._row_of(report)
        is_late = row.sending is Sending.NOT_SENT
        if row.sending not in (Sending.SENT, Sending.FOREIGN) or (report.order_sys_id and not row.order_sys_id):
            row = self._adopted(row, report)
        self._merge_order(
            row, _order_data(row.order_id, row.state, report, self.account_id, Detail.LATE_ACK if is_late else None)
        )
        self._unpark(row, report)
        if not (is_late and report.status.is_active):
            return None
        self._run("UPDATE orders SET cancel_wanted = 1 WHERE order_id = ?", (row.order_id,))
        return _target(row)

    def _record_trade(self, report: TradeReport) -> None:
        row = self._by_exchange_id(report)
        if row is not None:
            self._publish_trade(report, row)
            return
        self._run(
            "INSERT OR IGNORE INTO parked VALUES (?, ?, ?, ?, ?, ?)",
            (report.trading_day.isoformat(), report.exchange, report.order_sys_id, report.trade_id, report.direction,
             msgspec.json.encode(report)),
        )  # fmt: skip

    def _record_insert_rejected(self, report: InsertRejected) -> None:
        row = self._by("order_ref", report.order_ref)
        if row is None or row.sending is Sending.SENT:
            return
        self._run("UPDATE orders SET sending = 'SENT' WHERE order_id = ?", (row.order_id,))
        told = replace(
            row.state.to_order_data(),
            status=Status.REJECTED,
            detail=None,
            error_id=report.error_id,
            error_msg=report.error_msg,
            datetime=report.datetime,
            trading_day=report.trading_day,
        )
        self._merge_order(row, told)

    def _record_cancel_rejected(self, report: CancelRejected) -> None:
        """The order stays what it is; the refusal is said with it."""
        row = self._by("order_ref", report.order_ref) if report.order_ref else None
        if row is None:
            return
        self._run("UPDATE orders SET cancel_wanted = 0 WHERE order_id = ?", (row.order_id,))
        event_id = f"O:{self.account_id}:{row.order_id}:cancel_refused:{self._next_number('refusal_number')}"
        told = replace(
            row.state.to_order_data(event_id),
            error_id=report.error_id,
            error_msg=report.error_msg,
            datetime=report.datetime,
        )
        self._emit(event_id, Kind.ORDER, report.trading_day, encode(told))

    def _day_settled(self, day: date, when: datetime) -> None:
        if day.toordinal() > self._meta("settled", 0):
            self._set_meta("settled", day.toordinal())
            self._happened(EventType.SETTLED, when, day)

    def _happened(
        self, event: EventType, when: datetime, trading_day: date | None, message: str = "", state: str | None = None
    ) -> None:
        event_id = f"E:gateway:{self.account_id}:{self._next_number('event_number')}"
        told = EventData(
            event=event,
            source="gateway",
            datetime=when,
            message=message,
            state=state,
            account_id=self.account_id,
            trading_day=trading_day,
            event_id=event_id,
        )
        self._emit(event_id, Kind.EVENT, trading_day, encode(told))

    def _show(self, position: PositionData) -> None:
        shown = (
            f"{position.volume}/{position.frozen}/{position.yd_volume}/{position.yd_frozen or 0}/{position.price:.6f}"
        )
        key = (position.symbol, position.direction)
        found = self._run("SELECT shown FROM positions WHERE symbol = ? AND direction = ?", key).fetchone()
        if (found[0] if found else NOTHING_HELD) == shown:
            return
        number = self._next_number("position_number")
        event_id = f"P:{self.account_id}:{position.trading_day}:{position.symbol}:{position.direction}:{number}"
        payload = encode(replace(position, event_id=event_id, account_id=self.account_id))
        self._run("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", (*key, shown, payload))
        self._emit(event_id, Kind.POSITION, position.trading_day, payload)

    def _merge_order(self, row: Row, told: OrderData) -> None:
        """Fold it into the order's state and publish it, once."""
        finer = f":{told.detail}" if told.detail else ""
        event_id = f"O:{self.account_id}:{row.order_id}:{told.status}:{told.traded}{finer}"
        told = replace(told, event_id=event_id)
        current = self._by("order_id", row.order_id) or row
        self._save(row.order_id, merge(current.state, told).state)
        self._emit(event_id, Kind.ORDER, told.trading_day, encode(told))

    def _publish_trade(self, report: TradeReport, row: Row | None) -> None:
        trade = _trade_data(row, report, self.account_id)
        if row is not None:
            current = self._by("order_id", row.order_id) or row
            self._save(row.order_id, merge(current.state, trade).state)
        self._emit(trade.event_id or trade.key, Kind.TRADE, trade.trading_day, encode(trade))

    def _save(self, order_id: str, state: OrderState) -> None:
        self._run(
            "UPDATE orders SET state = ?, active = ?, trading_day = coalesce(trading_day, ?) WHERE order_id = ?",
            (
                _encode_state(state),
                int(state.is_active or state.missing > 0),
                state.trading_day.isoformat() if state.trading_day else None,
                order_id,
            ),
        )

    def _adopted(self, row: Row, report: OrderReport) -> Row:
        sending = row.sending if row.sending is Sending.FOREIGN else Sending.SENT
        day = report.trading_day.isoformat()
        sys_id = report.order_sys_id or row.order_sys_id
        self._run(
            "UPDATE orders SET sending = ?, order_sys_id = ?, trading_day = ? WHERE order_id = ?",
            (sending, sys_id, day, row.order_id),
        )
        state = replace(row.state, trading_day=report.trading_day)
        self._save(row.order_id, state)
        return row._replace(sending=sending, order_sys_id=sys_id, trading_day=day, state=state)

    def _row_of(self, report: OrderReport) -> Row:
        """Ours, when reference and memo agree; otherwise somebody else's, known by the exchange's number."""
        own = self._by("order_ref", report.order_ref) if report.order_ref else None
        if own is not None and own.memo == report.memo:
            return own
        if report.order_ref >= self._next_ref and report.memo:
            self._next_ref = report.order_ref + 1
            self._set_meta("next_order_ref", self._next_ref)
        known = self._by_exchange_id(report)
        if known is None and own is None and self._is_new and report.order_ref:
            known = self._insert_recovered(report)
        return known or self._insert_foreign(report)

    def _insert_recovered(self, report: OrderReport) -> Row | None:
        """One of ours, of a journal that was lost: the memo names the strategy, the reference is the order's old name.
        None when the memo is of nobody we know."""
        owner = self._owners.get(report.memo[:OWNER_LETTERS])
        if owner is None or len(report.memo) != OWNER_LETTERS + REQUEST_LETTERS:
            return None
        order_id, day = str(report.order_ref), report.trading_day.isoformat()
        told = replace(_order_data(order_id, None, report, self.account_id), strategy_name=owner)
        state = OrderState.from_order_data(told)
        row = Row(order_id, report.order_ref, None, report.memo, report.exchange, report.order_sys_id or None, day,
                  Sending.SENT, False, state)  # fmt: skip
        self._run(
            "INSERT INTO orders (order_id, order_ref, memo, exchange, order_sys_id, trading_day, sending, active, "
            "state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row[:2], *row[3:8], int(state.is_active), _encode_state(state)),
        )
        self._has_nameless = True
        return row

    def _known(self, command: CommandData) -> Row | None:
        """The row of this request; or the order that the counter told us of after our journal was lost, and that says
        by its memo that this request has been sent already."""
        known = self._by("request_id", command.request_id)
        if known is not None or not self._has_nameless:
            return known
        memo = memo_of(command.request_id, command.strategy_name)
        found = self._select("memo = ? AND request_id IS NULL", (memo,))
        if not found:
            return None
        return self._named(found[0], command)

    def _named(self, row: Row, command: CommandData) -> Row:
        state = replace(
            row.state,
            request_id=command.request_id,
            parent_id=command.parent_id,
            strategy_name=command.strategy_name or "",
            code_hash=command.code_hash,
            run_id=command.run_id,
            cause=command.cause,
        )
        with self._file.transaction():
            self._run(
                "UPDATE orders SET request_id = ?, state = ? WHERE order_id = ?",
                (command.request_id, _encode_state(state), row.order_id),
            )
        return row._replace(request_id=command.request_id, state=state)

    def _insert_foreign(self, report: OrderReport) -> Row:
        day = report.trading_day.isoformat()
        order_id = f"{report.trading_day:%Y%m%d}.{report.exchange}.{report.order_sys_id or report.order_ref}"
        known = self._by("order_id", order_id)
        if known is not None:
            return known
        sys_id, sending = report.order_sys_id or None, Sending.FOREIGN
        state = OrderState.from_order_data(_order_data(order_id, None, report, self.account_id))
        memo = report.memo or None
        self._run(
            "INSERT INTO orders (order_id, memo, exchange, order_sys_id, trading_day, sending, active, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (order_id, memo, report.exchange, sys_id, day, sending, int(state.is_active), _encode_state(state)),
        )
        self._has_nameless = self._has_nameless or memo is not None
        return Row(order_id, None, None, memo, report.exchange, sys_id, day, sending, False, state)

    def _unpark(self, row: Row, report: OrderReport) -> None:
        if not report.order_sys_id:
            return
        key = (report.trading_day.isoformat(), report.exchange, report.order_sys_id)
        where = "trading_day = ? AND exchange = ? AND order_sys_id = ?"
        found = self._run(f"SELECT report FROM parked WHERE {where} ORDER BY trade_id", key).fetchall()
        for (parked,) in found:
            self._publish_trade(_decode_trade(parked), row)
        if found:
            self._run(f"DELETE FROM parked WHERE {where}", key)

    def _cancelled_row(self, command: CommandData) -> Row | None:
        if command.order_request_id:
            row = self._by("request_id", command.order_request_id)
            if row is not None:
                return row
        return self._by("order_id", command.order_id) if command.order_id else None

    def _is_cancelled(self, request_id: str) -> bool:
        found = self._run("SELECT 1 FROM cancels WHERE order_request_id = ? LIMIT 1", (request_id,))
        return found.fetchone() is not None

    def _told(self, row: Row) -> OrderData:
        """The order's state; its event_id names that state, so that a repeat is seen to be one."""
        told = row.state.to_order_data()
        finer = f":{told.detail}" if told.detail else ""
        event_id = f"O:{self.account_id}:{row.order_id}:{told.status}:{told.traded}{finer}"
        return replace(told, event_id=event_id)

    def _run(self, words: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(words, values)
        except sqlite3.Error as error:
            raise explained(self._file.path, error) from error

    def _by(self, column: str, value: object) -> Row | None:
        found = self._select(f"{column} = ?", (value,))
        return found[0] if found else None

    def _by_exchange_id(self, report: Report) -> Row | None:
        if not report.order_sys_id:
            return None
        key = (report.trading_day.isoformat(), report.exchange, report.order_sys_id)
        found = self._select("trading_day = ? AND exchange = ? AND order_sys_id = ?", key)
        return found[0] if found else None

    def _select(self, where: str, values: Sequence[object] = ()) -> list[Row]:
        found = self._run(f"SELECT {_COLUMNS} FROM orders WHERE {where}", tuple(values))
        return [_row(values) for values in found]

    def _emit(self, event_id: str, kind: Kind, day: date | None, payload: bytes) -> None:
        self._run(
            "INSERT OR IGNORE INTO events (event_id, kind, trading_day, payload) VALUES (?, ?, ?, ?)",
            (event_id, kind, day.isoformat() if day else None, payload),
        )

    def _entry_id(self, kind: Kind, last_event: int) -> str:
        found = self._run(
            "SELECT entry_id FROM events WHERE kind = ? AND id <= ? AND entry_id IS NOT NULL ORDER BY id DESC LIMIT 1",
            (kind, last_event),
        ).fetchone()
        return str(found[0]) if found else "0-0"

    def _next_number(self, key: str) -> int:
        number = self._meta(key, 0) + 1
        self._set_meta(key, number)
        return number

    def _highest_ref(self) -> int:
        """Of the orders that have a row; when rows are forgotten, the next reference is noted."""
        return int(self._run("SELECT coalesce(max(order_ref), 0) FROM orders").fetchone()[0])

    def _meta(self, key: str, default: int) -> int:
        found = self._run("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else default

    def _set_meta(self, key: str, value: int) -> None:
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _row(values: Sequence[Any]) -> Row:
    sending, cancel_wanted, state = values[-3:]
    return Row._make((*values[:-3], Sending(sending), bool(cancel_wanted), _decode_state(state)))


def _target(row: Row) -> CancelTarget:
    return CancelTarget(row.order_ref or 0, row.order_sys_id or "")


def _order_data(
    order_id: str, known: OrderState | None, report: OrderReport, account_id: str, detail: Detail | None = None
) -> OrderData:
    """The counter's report under the names our house knows the order by."""
    return OrderData(
        order_id=order_id,
        symbol=report.symbol,
        exchange=report.exchange,
        direction=report.direction,
        offset=report.offset,
        order_type=report.order_type,
        price=report.price,
        volume=report.volume,
        traded=report.traded,
        status=report.status,
        datetime=report.datetime,
        strategy_name=known.strategy_name if known else "",
        request_id=(known.request_id or None) if known else None,
        parent_id=known.parent_id if known else None,
        account_id=account_id,
        trading_day=report.trading_day,
        detail=detail,
        error_id=report.error_id,
        error_msg=report.error_msg,
        forced=report.forced,
        code_hash=known.code_hash if known else None,
        run_id=known.run_id if known else None,
        cause=known.cause if known else None,
    )


def _trade_data(row: Row | None, report: TradeReport, account_id: str) -> TradeData:
    state = row.state if row is not None else None
    foreign = f"{report.trading_day:%Y%m%d}.{report.exchange}.{report.order_sys_id}"
    trade = TradeData(
        trade_id=report.trade_id,
        order_id=row.order_id if row is not None else foreign,
        symbol=report.symbol,
        exchange=report.exchange,
        direction=report.direction,
        offset=report.offset,
        price=report.price,
        volume=report.volume,
        datetime=report.datetime,
        strategy_name=state.strategy_name if state else "",
        request_id=row.request_id if row is not None else None,
        parent_id=state.parent_id if state else None,
        account_id=account_id,
        trading_day=report.trading_day,
        code_hash=state.code_hash if state else None,
        run_id=state.run_id if state else None,
    )
    return replace(trade, event_id=trade.key)
