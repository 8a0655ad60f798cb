"""The journal before a counter that does what counters do: it queues, repeats, reorders, fills and cancels at once, and
turns its day; the Gateway dies in between. Whatever happens, no order goes out twice and the end is the counter's."""

from __future__ import annotations

import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from arbig.domain.counter import OrderReport, Report, TradeReport
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Detail,
    Direction,
    Exchange,
    Offset,
    OrderType,
    Status,
    TradeData,
    decode,
)
from arbig.domain.orders import FINAL, Stage
from arbig.store import journal as module
from arbig.store.journal import Admission, Journal, Row, Sending

NOW = datetime(2025, 10, 14, 21, 5, tzinfo=SHANGHAI)
FIRST_DAY = date(2025, 10, 15)
VOLUME = 3
picks = st.integers(0, 10**6)


class Counter:
    """The truth: an order as the exchange has it, and every word said of it."""

    def __init__(self) -> None:
        self.day = FIRST_DAY
        self.orders: dict[int, OrderReport] = {}
        self.queued: dict[int, OrderReport] = {}
        self.trades: list[TradeReport] = []
        self.words: list[Report] = []

    def take(self, row: Row) -> OrderReport:
        state = row.state
        return OrderReport(
            flow=0, order_ref=row.order_ref or 0, memo=row.memo or "", order_sys_id="", symbol=state.symbol,
            exchange=state.exchange, direction=state.direction, offset=state.offset, order_type=state.order_type,
            price=state.price, volume=state.volume, traded=0, status=Status.NOTTRADED, datetime=NOW,
            trading_day=self.day,
        )  # fmt: skip

    def arrive(self, order: OrderReport) -> None:
        self.say(replace(order, order_sys_id=f"S{len(self.orders) + 1}", trading_day=self.day))

    def say(self, order: OrderReport) -> None:
        self.orders[order.order_ref] = order = replace(order, flow=len(self.words) + 1)
        self.words.append(order)

    def fill(self, order: OrderReport) -> None:
        """Status first or trade first: both ways exist."""
        traded = order.traded + 1
        trade = TradeReport(
            flow=0, trade_id=str(len(self.trades) + 1), order_ref=order.order_ref, order_sys_id=order.order_sys_id,
            symbol=order.symbol, exchange=order.exchange, direction=order.direction, offset=order.offset,
            price=order.price, volume=1, datetime=NOW, trading_day=self.day,
        )  # fmt: skip
        self.trades.append(trade)
        if traded % 2:
            self.words.append(trade)
        status = Status.ALLTRADED if traded == order.volume else Status.PARTTRADED
        self.say(replace(order, traded=traded, status=status))
        if not traded % 2:
            self.words.append(trade)

    def working(self) -> list[OrderReport]:
        return [order for order in self.orders.values() if order.status.is_active]

    def of_today(self) -> tuple[list[OrderReport], list[TradeReport]]:
        return (
            [order for order in self.orders.values() if order.trading_day == self.day],
            [trade for trade in self.trades if trade.trading_day == self.day],
        )


class Machine(RuleBasedStateMachine):
    """`sent` counts the inserts of each request: the figure that must never be two."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "gateway.db"
        self.journal = Journal(self.path, "sim")
        self.journal.trading_day = FIRST_DAY
        self.counter = Counter()
        self.requests: list[CommandData] = []
        self.sent: dict[str, int] = {}
        self.waiting: list[Row] = []
        self.refs: list[int] = []
        self.withheld: set[str] = set()
        self.heard = 0
        self.stages: dict[str, Stage] = {}

    def teardown(self) -> None:
        if not hasattr(self, "journal"):
            return
        try:
            self._settle()
        finally:
            self.journal.close()
            self.folder.cleanup()

    # ---- commands ----

    @rule(waits=st.booleans(), fate=st.sampled_from(["arrives", "is lost", "is queued"]))
    def admit(self, waits: bool, fate: str) -> None:
        command = CommandData(
            cmd_type=CommandType.SEND_ORDER, request_id=f"r{len(self.refs)}", symbol="au2512",
            exchange=Exchange.SHFE, direction=Direction.LONG, offset=Offset.OPEN, order_type=OrderType.LIMIT,
            price=838.0, volume=VOLUME, timestamp=NOW, strategy_name="MaRsiStrategy",
        )  # fmt: skip
        self.requests.append(command)
        admission = self.journal.admit(command, waits)
        assert admission.is_new and admission.row.order_ref is not None
        assert not self.refs or admission.row.order_ref > self.refs[-1], "references only grow, over every death"
        self.refs.append(admission.row.order_ref)
        self._take(admission, waits, fate)

    @precondition(lambda self: self.requests)
    @rule(which=picks, waits=st.booleans())
    def duplicate(self, which: int, waits: bool) -> None:
        command = self.requests[which % len(self.requests)]
        admission = self.journal.admit(command, waits)
        assert not admission.is_new and not admission.is_to_be_sent and admission.stored is not None

    @precondition(lambda self: self.waiting)
    @rule(fate=st.sampled_from(["arrives", "is lost", "is queued"]), expired=st.booleans())
    def its_turn(self, fate: str, expired: bool) -> None:
        row = self.waiting.pop(0)
        if expired:
            self.journal.withhold(row.order_id, Detail.EXPIRED, "too late", NOW)
            self.withheld.add(row.request_id or "")
        elif self.journal.now_sending(row.order_id):
            self._send(row, fate)

    @precondition(lambda self: self.requests)
    @rule(which=picks)
    def cancel(self, which: int) -> None:
        """A race: the counter may have filled it in the meantime."""
        wanted = self.requests[which % len(self.requests)]
        target = self.journal.cancel(
            replace(
                wanted, cmd_type=CommandType.CANCEL_ORDER, request_id=f"c{which}", order_request_id=wanted.request_id
            )
        )
        if self.journal._by("request_id", wanted.request_id).sending is Sending.NOT_SENT:  # type: ignore[union-attr]
            self.withheld.add(wanted.request_id)
        if target is not None:
            self._cancel_at_counter(target.order_ref)

    # ---- the counter speaks ----

    @precondition(lambda self: self.counter.queued)
    @rule(which=picks)
    def late_evidence(self, which: int) -> None:
        ref = sorted(self.counter.queued)[which % len(self.counter.queued)]
        self.counter.arrive(self.counter.queued.pop(ref))

    @precondition(lambda self: self.counter.working())
    @rule(which=picks)
    def trade(self, which: int) -> None:
        working = self.counter.working()
        self.counter.fill(working[which % len(working)])

    @precondition(lambda self: self.heard < len(self.counter.words))
    @rule(count=st.integers(1, 4))
    def echo(self, count: int) -> None:
        words = self.counter.words[self.heard : self.heard + count]
        self.heard += len(words)
        self._hear(words)

    @rule(which=st.lists(picks, min_size=1, max_size=6))
    def repeat_and_reorder(self, which: list[int]) -> None:
        words = [word for word in self.counter.words[: self.heard] if word.trading_day == self.counter.day]
        if words:
            self._hear([words[number % len(words)] for number in which])

    @rule()
    def replay(self) -> None:
        self._hear([word for word in self.counter.words if word.trading_day == self.counter.day])
        self.heard = len(self.counter.words)

    @rule(give_up=st.booleans())
    def reconcile(self, give_up: bool) -> None:
        """After the replay, as the protocol has it."""
        doubted = self.journal.in_flight()
        self.replay()
        late = self.journal.reconcile(*self.counter.of_today())
        for target in late:
            self._cancel_at_counter(target.order_ref)
        if give_up:
            gone = doubted.keys() & self.journal.in_flight().keys()
            self.withheld |= {row.request_id or "" for row in map(self._row, gone)}
            self.journal.give_up(gone, NOW)

    @rule()
    def unknown(self) -> None:
        self.journal.unknown(self.journal.in_flight(), NOW)

    @rule(skipped=st.integers(1, 12))
    def day_turns(self, skipped: int) -> None:
        """What works is cancelled, and no queue outlives the settlement; the old day has been heard to its end."""
        self.counter.queued.clear()
        for order in self.counter.working():
            self.counter.say(replace(order, status=Status.CANCELLED))
        self.replay()
        self.counter.day += timedelta(days=skipped)
        self.journal.trading_day = self.counter.day
        self.journal.day_is(self.counter.day, NOW)
        self.journal.forget(self.counter.day)
        alive = {row.request_id for row in self.journal._select("1")}
        self.requests = [command for command in self.requests if command.request_id in alive]
        self.stages = {name: stage for name, stage in self.stages.items() if name in alive}

    # ---- the Gateway ----

    @rule()
    def crash(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path, "sim")
        self.journal.trading_day = self.counter.day
        self.withheld |= {row.request_id or "" for row in self.journal._select("sending = 'WAITING' AND active = 1")}
        self.journal.abandon_waiting(NOW)
        self.waiting.clear()

    @rule(count=st.integers(1, 50))
    def publish(self, count: int) -> None:
        events = self.journal.unpublished(count)
        self.journal.published(events, [f"{event.id}-0" for event in events])

    # ---- what always holds ----

    @invariant()
    def no_request_is_sent_twice(self) -> None:
        assert all(count == 1 for count in getattr(self, "sent", {}).values())

    @invariant()
    def lots_and_stages_make_sense(self) -> None:
        for command in getattr(self, "requests", ()):
            row = self.journal._by("request_id", command.request_id)
            assert row is not None
            assert 0 <= row.state.traded <= row.state.announced <= VOLUME or row.state.traded <= VOLUME
            before = self.stages.get(command.request_id, Stage.SUBMITTING)
            if before in FINAL and before is not Stage.NOT_SENT:
                assert row.state.stage in (before, Stage.ALLTRADED), "what the counter ended stays ended"
            if row.state.stage is Stage.NOT_SENT:
                assert command.request_id in self.withheld, "nothing is called not sent by itself"
            self.stages[command.request_id] = row.state.stage

    @invariant()
    def each_trade_is_told_once(self) -> None:
        if hasattr(self, "journal"):
            told = self._told_trades()
            assert len(told) == len(set(told))

    def _settle(self) -> None:
        """Everything is heard: ours is the counter's, and hearing it again changes nothing."""
        for ref in sorted(self.counter.queued):
            self.counter.arrive(self.counter.queued.pop(ref))
        self.reconcile(give_up=True)
        self.replay()  # the late ones have been cancelled meanwhile
        events = self.journal.last_event()
        self._hear([word for word in self.counter.words if word.trading_day == self.counter.day][::-1])
        self.reconcile(give_up=True)
        assert self.journal.last_event() == events, "a replay says nothing new"
        known = {row.order_ref: row.state for row in self.journal._select("order_ref IS NOT NULL")}
        for order in self.counter.of_today()[0]:
            state = known[order.order_ref]
            assert (state.status, state.traded) == (order.status, order.traded)
        today = {trade.trade_id for trade in self.counter.of_today()[1]}
        assert today <= set(self._told_trades())
        for command in self.requests:
            row = self.journal._by("request_id", command.request_id)
            assert row is not None and (row.order_ref in self.counter.orders or row.state.stage is Stage.NOT_SENT
                                        or row.sending is Sending.WAITING)  # fmt: skip

    def _told_trades(self) -> list[str]:
        found = self.journal._run("SELECT payload FROM events WHERE kind = 'trade'").fetchall()
        return [decode(TradeData, payload).trade_id for (payload,) in found]

    def _take(self, admission: Admission, waits: bool, fate: str) -> None:
        if waits:
            self.waiting.append(admission.row)
        elif admission.is_to_be_sent:
            self._send(admission.row, fate)
        else:
            self.withheld.add(admission.row.request_id or "")

    def _send(self, row: Row, fate: str) -> None:
        name = row.request_id or ""
        self.sent[name] = self.sent.get(name, 0) + 1
        order = self.counter.take(row)
        if fate == "arrives":
            self.counter.arrive(order)
        elif fate == "is queued":
            self.counter.queued[order.order_ref] = order

    def _cancel_at_counter(self, ref: int) -> None:
        order = self.counter.orders.get(ref)
        if order is not None and order.status.is_active:
            self.counter.say(replace(order, status=Status.CANCELLED))

    def _hear(self, words: list[Report]) -> None:
        for target in self.journal.record(words):
            self._cancel_at_counter(target.order_ref)

    def _row(self, order_id: str) -> Row:
        row = self.journal._by("order_id", order_id)
        assert row is not None
        return row


def test_no_order_twice_and_the_end_is_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lay_out_log", lambda path: None)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
