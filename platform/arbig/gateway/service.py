"""Gateway. In: `stream:cmd`, the counter. Out: `tick:*`, `stream:order_status`, `stream:trade`, `stream:position`,
`stream:event`, `hb:gateway` with the session clock. Keeps: `data/db/gateway.db`. Translates, never decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI

from arbig.bus.port import Bus, BusError, DataLost, Entry
from arbig.bus.topics import CMD, GATEWAY, HEARTBEAT, group_of
from arbig.domain.counter import (
    Answer,
    CancelRejected,
    ClockMark,
    DayMark,
    Fact,
    InsertRejected,
    LoggedIn,
    OrderReport,
    PositionReport,
    ReplayEnd,
    Subject,
    TickBatch,
    TradeReport,
)
from arbig.domain.instruments import InstrumentBook
from arbig.domain.messages import EventType, Heartbeat, MessageError, decode
from arbig.domain.sessions import Sessions
from arbig.gateway.door import Door, State
from arbig.gateway.doubts import APART, Doubts
from arbig.gateway.paper import open_paper
from arbig.gateway.port import Connector, NotConnected
from arbig.gateway.publisher import EventPublisher
from arbig.gateway.routes import add_routes
from arbig.gateway.sender import Sender
from arbig.gateway.sim import SimConnector, SocketLink
from arbig.gateway.subscriber import CommandSubscriber
from arbig.runtime.broker import CTP, is_paper
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.runtime.files import read_yaml
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import Service
from arbig.runtime.settings import Settings, SettingsError
from arbig.runtime.simulation import SimulationConfig, load_simulation
from arbig.store.journal import CancelTarget, Journal
from arbig.store.sqlite import StoreError

log = structlog.get_logger()
UNKNOWN_AFTER = 0.75
"""Wall seconds without an echo until an order is said to be UNKNOWN: within one."""
LOOK_AT_FLIGHT = 0.25
RECONCILE_AGAIN = 2.0
BY_HAND = "manual"
BROKERS_FRONT_WITHIN = 20.0
"""Wall seconds a start waits for a broker's front; at night and at weekends there is none, and the house comes up."""

EPOCH_AGAIN = 0.5

Told = OrderReport | TradeReport | InsertRejected | CancelRejected


class GatewayService(Service):
    name: ClassVar[str] = GATEWAY
    needs: ClassVar[str | None] = None
    early_paths: ClassVar[frozenset[str]] = frozenset({"/state"})

    def __init__(self, settings: Settings, bus: Bus, clock: Clock, connector: Connector | None = None) -> None:
        super().__init__(settings, bus, clock)
        self.simulation: SimulationConfig = load_simulation(settings)
        self.book: InstrumentBook = load_instruments(settings)
        self.is_simulated = settings.gateway == "sim"
        self.connector: Connector = connector or _connector(settings, clock, self.simulation, self.book)
        self.journal = _journal(settings)
        self.door = Door(self.journal, clock)
        self.publisher = EventPublisher(bus, self.journal, clock)
        self.sender = Sender(
            self.journal,
            self.connector,
            self.door,
            clock,
            ready=lambda: self.reconciled,
            now=self.now,
            wake=self.publisher.wake,
            sent=self.publisher.hops.sent,
        )
        self.subscriber = CommandSubscriber(self.journal, self.connector, self.publisher, self.sender, self.now, clock)
        self.doubts = Doubts()
        self.reconciled = False
        self.epoch: str | None = None
        self.session_time: datetime | None = None
        self._reconciled_once = asyncio.Event()
        self._reconciling: asyncio.Task[Any] | None = None
        self._included: dict[int, int] = {}
        self._clock_started = False
        self.is_dying = False

    async def start(self) -> None:
        await self._enter_epoch()
        self._own_up()
        self.spawn(self.publisher.publish_events(), "events")
        self.spawn(self.publisher.publish_ticks(), "ticks")
        self.spawn(self.connector.run(self, lambda: self.journal.flow), "connector")
        await self._first_connection()
        self.spawn(self._take_commands(), "commands")
        self.spawn(self._watch_in_flight(), "in flight")
        self.spawn(self.sender.watch(), "sender")
        if self.is_simulated:
            self.spawn(self._start_the_clock(), "start")

    def _own_up(self) -> None:
        """What an earlier life left behind: orders that waited were never sent, of those being sent nobody knows."""
        self.journal.abandon_waiting(self.now())
        self.journal.unknown(self.journal.in_flight(), self.now())

    async def _first_connection(self) -> None:
        """A simulated exchange is waited for. A broker's front may be closed, or refuse us: the house comes up with its
        lamps off, and the trading day is the calendar's until the counter has said its own."""
        if self.is_simulated:
            await self._reconciled_once.wait()
            return
        patience = self.clock.monotonic() + BROKERS_FRONT_WITHIN
        while not (self._reconciled_once.is_set() or self.connector.refusal or self.clock.monotonic() > patience):
            await self.clock.sleep(0.1)
        if self.journal.trading_day is None:
            instrument = self.book.get(self.settings.symbols[0])
            sessions = Sessions(instrument.night_close, load_calendar(self.settings))
            self.journal.trading_day = sessions.trading_day_of(self.clock.now())

    async def stop(self) -> None:
        await self.cancel_tasks()
        self.journal.close()

    def routes(self, app: FastAPI) -> None:
        add_routes(app, self)

    def heartbeat(self, state: str) -> Heartbeat:
        """With the session time up to which ticks are published: never ahead of them."""
        return self.publisher.beat(self.publisher.session_time, self.publisher.trading_day, state)

    def status(self) -> dict[str, object]:
        return {
            "connected": self.reconciled,
            "lamps": {name: lamp._asdict() for name, lamp in self.connector.lamps.items()},
            "session_time": self.session_time.isoformat() if self.session_time else None,
            "trading_day": self.trading_day.isoformat() if self.trading_day else None,
            "ticks": self.publisher.ticks,
            "ticks_dropped": self.publisher.dropped,
            "commands": self.subscriber.commands,
            "orders_waiting": self.sender.waiting,
            "trading_state": self.door.standing.state,
        }

    @property
    def trading_day(self) -> date | None:
        """The counter's; none before it was reached."""
        return self.journal.trading_day

    def now(self) -> datetime:
        """The session time; before it is known, the wall's."""
        return self.session_time or self.clock.now()

    def stand(self, state: State, reason: str, number: int | None) -> None:
        """What Trading, or a person, says of new orders."""
        before = self.door.standing.state
        self.door.set(state, reason, number)
        if state is not before:
            log.warning("the last door", state=state, reason=reason, number=self.door.standing.number)

    # ---- the counter speaks ----

    def on_login(self, greeting: LoggedIn) -> None:
        self.session_time, self.journal.trading_day = greeting.session_time, greeting.trading_day
        self.publisher.begin_day(greeting.trading_day)
        if self.publisher.session_time is None:
            self.publisher.session_time, self.publisher.trading_day = greeting.session_time, greeting.trading_day
        with self._or_die():
            self.journal.reserve_refs(greeting.max_order_ref)
        log.info("logged in", session_time=greeting.session_time.isoformat(), trading_day=str(greeting.trading_day))

    def on_facts(self, facts: Sequence[Fact]) -> None:
        """One that could not be written down is not passed over: the next life hears it again."""
        if self.is_dying:
            return
        with self._or_die():
            self._hear(facts)

    def on_answer(self, answer: Answer) -> None:
        with self._or_die():
            self._included[answer.number] = self.journal.last_event()

    def on_lost(self, reason: str) -> None:
        log.error(f"connection lost: {reason}")
        self.reconciled = self.publisher.connected = False
        if self._reconciling is not None:
            self._reconciling.cancel()
        self.doubts.lost()
        with self._or_die():
            self.sender.lost()
            self.journal.unknown(self.journal.in_flight(), self.now())
            self.journal.happened(EventType.DISCONNECTED, self.now(), self.trading_day, reason)
        self.publisher.wake()

    def on_alarm(self, message: str) -> None:
        with self._or_die():
            self.journal.happened(EventType.ALARM, self.now(), self.trading_day, message)
        self.publisher.wake()

    @contextmanager
    def _or_die(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self.die(error)

    def _hear(self, facts: Sequence[Fact]) -> None:
        told: list[Told] = []
        for fact in facts:
            match fact:
                case TickBatch():
                    self.publisher.add_ticks(fact)
                case ClockMark():
                    self.session_time, self.journal.trading_day = fact.session_time, fact.trading_day
                    self.publisher.add_clock(fact)
                case OrderReport() | TradeReport() | InsertRejected() | CancelRejected():
                    told.append(fact)
                case PositionReport():
                    self._record(told)
                    self.journal.positions(fact.positions)
                    crash_point("gw.after_position")
                    self.publisher.wake()
                case DayMark():
                    self._record(told)
                    self._on_day(fact)
                case ReplayEnd():
                    self._record(told)
                    self._reconciling = self.spawn(self._reconcile(), "reconcile")
        self._record(told)

    def _record(self, told: list[Told]) -> None:
        if not told:
            return
        crash_point("gw.on_callback")
        if any(isinstance(fact, TradeReport) for fact in told):
            crash_point("gw.on_trade")
        late = self.journal.record(told)
        crash_point("gw.after_journal")
        for fact in told:
            if isinstance(fact, OrderReport | InsertRejected):
                self.publisher.hops.spoken(str(fact.order_ref))
        told.clear()
        self.sender.heard()
        for target in late:
            self.subscriber.cancel(target)
        self.publisher.wake()

    def _on_day(self, mark: DayMark) -> None:
        self.session_time = mark.session_time
        self.publisher.add_clock(mark)
        if mark.settled:
            self.journal.day_settled(mark.trading_day, mark.session_time)
        else:
            self.journal.trading_day = mark.trading_day
            self._turn_to(mark.trading_day)
        self.publisher.wake()

    def _turn_to(self, day: date) -> None:
        if self.journal.day_is(day, self.now()):
            self.journal.forget(day)

    async def _reconcile(self) -> None:
        """The replay has ended: ask for everything, resolve what was in doubt, then take orders again."""
        while True:
            try:
                await self._compare()
                return
            except NotConnected as error:
                if not self.connector.connected:  # the next log-in begins anew
                    return
                log.warning(f"not reconciled: {error}", again_after=RECONCILE_AGAIN)
                await self.clock.sleep(RECONCILE_AGAIN)

    async def _compare(self) -> None:
        doubted, asked_at = self.journal.in_flight(), self.clock.monotonic()
        orders = await self.connector.query(Subject.ORDERS)
        answered_at = self.clock.monotonic()
        trades = await self.connector.query(Subject.TRADES)
        self.forget(orders)
        self.forget(trades)
        late = self.journal.reconcile(orders.orders, trades.trades)
        self._weigh(doubted, asked_at, answered_at)
        while self.journal.in_flight():
            await self.clock.sleep(APART)
            late += await self._ask_again()
        self._turn_to(self.trading_day or self.now().date())
        positions = await self.connector.query(Subject.POSITIONS)
        self.forget(positions)
        self.journal.snapshot(positions.positions, self.now(), self.trading_day or self.now().date())
        self.reconciled = self.publisher.connected = True
        for target in (*late, *self.journal.cancels_wanted()):
            self.subscriber.cancel(target)
        self.journal.happened(EventType.CONNECTED, self.now(), self.trading_day)
        self.publisher.wake()
        if self._reconciled_once.is_set() and self._clock_started:
            self.connector.start()
        self._reconciled_once.set()
        log.info("connected and reconciled", orders=len(orders.orders), trades=len(trades.trades))

    async def _ask_again(self) -> list[CancelTarget]:
        """What the counter has of the orders in doubt, and of those given up a moment ago. Returned: orders that we
        thought it had not. Raises NotConnected."""
        doubted, asked_at = self.journal.in_flight(), self.clock.monotonic()
        answer = await self.connector.query(Subject.ORDERS)
        self.forget(answer)
        refs = {*doubted.values(), *self.doubts.provisional(asked_at)}
        late = self.journal.record([report for report in answer.orders if report.order_ref in refs])
        self._weigh(doubted, asked_at, self.clock.monotonic())
        self.sender.heard()
        self.publisher.wake()
        return late

    def _weigh(self, doubted: Mapping[str, int], asked_at: float, answered_at: float) -> None:
        gone = self.doubts.answered(doubted, self.journal.in_flight(), asked_at, answered_at)
        if gone:
            self.journal.give_up(gone, self.now())

    # ---- our own tasks ----

    async def _take_commands(self) -> None:
        """For ever. The counter does not care that Redis lost its data, so the line to it stays."""
        while True:
            try:
                await self.bus.consume(group_of(GATEWAY), {CMD.name: self._on_command})
            except DataLost as error:
                log.error(str(error))
                await self._enter_epoch()

    async def _enter_epoch(self) -> None:
        """In an emptied Redis the day is published again; Trading and Strategy begin from there."""
        epoch = await self._epoch()
        if epoch == self.epoch:
            return
        again = self.journal.enter_epoch(epoch)
        self.epoch = epoch
        if again:
            self.on_alarm(f"Redis has lost its data: {again} orders, trades and positions of the day are said again")
            if self.reconciled:
                self.journal.happened(EventType.CONNECTED, self.now(), self.trading_day)
        self.publisher.wake()

    async def _epoch(self) -> str:
        while True:
            try:
                return await self.bus.epoch()
            except BusError as error:
                log.warning(str(error))
                await self.clock.sleep(EPOCH_AGAIN)

    async def _on_command(self, entry: Entry) -> None:
        try:
            await self.subscriber.on_entry(entry)
        except StoreError as error:
            self.die(error)
            await asyncio.Event().wait()

    async def _start_the_clock(self) -> None:
        """Once everybody who must not miss a tick is ready."""
        missing = set(self.simulation.wait_for)
        channels = [HEARTBEAT.of(name) for name in missing]
        if missing:
            async for batch in self.bus.listen(*channels):
                missing -= {beat.service for beat in _beats(batch) if beat.state == "ready"}
                if not missing:
                    break
        self._clock_started = True
        try:
            self.connector.start()
        except NotConnected:
            log.info("the clock starts after the reconnect")

    async def _watch_in_flight(self) -> None:
        """An order nobody has spoken of is said to be UNKNOWN within a second; then the counter is asked, until it has
        decided. It is also asked about orders that were given up on."""
        while True:
            await self.clock.sleep(LOOK_AT_FLIGHT)
            now = self.clock.monotonic()
            flying = self.sender.unechoed
            overdue = flying is not None and now - flying.sent_at >= UNKNOWN_AFTER
            if flying is not None and overdue:
                self.journal.unknown([flying.order_id], self.now())
                self.publisher.wake()
            if self.reconciled and (overdue or self.doubts.is_look_due(now)):
                try:
                    late = await self._ask_again()
                except NotConnected as error:
                    log.warning(f"an order is in doubt and the counter does not answer: {error}")
                    await self.clock.sleep(APART)
                    continue
                for target in late:
                    self.subscriber.cancel(target)
                if overdue:
                    await self.clock.sleep(APART - LOOK_AT_FLIGHT)

    async def included(self, answer: Answer) -> dict[str, str]:
        """Per stream the last entry an answer of the counter includes."""
        return await self.publisher.drained(self._included.pop(answer.number))

    def forget(self, answer: Answer) -> None:
        """The answer needs no place in the streams."""
        self._included.pop(answer.number, None)

    def die(self, error: BaseException) -> None:
        """End loudly, and send nothing meanwhile; the supervisor starts us again."""
        log.error(f"the journal fails, the Gateway ends: {error}")
        self.is_dying, self.reconciled = True, False
        self._died.put_nowait(error)


def _beats(batch: Sequence[tuple[str, bytes]]) -> list[Heartbeat]:
    found = []
    for _, payload in batch:
        try:
            found.append(decode(Heartbeat, payload))
        except MessageError:
            continue
    return found


def _journal(settings: Settings) -> Journal:
    """Raises SettingsError, one line: a second Gateway, or a damaged file, is nothing that a restart mends."""
    try:
        return Journal(settings.data / "db" / "gateway.db", settings.account_id, lambda: _owners(settings))
    except StoreError as error:
        raise SettingsError(str(error)) from None


def _owners(settings: Settings) -> list[str]:
    """Whose orders may come back from a counter after the journal was lost."""
    names = [BY_HAND]
    for path in sorted((settings.config / "strategies").glob("*.y*ml")):
        try:
            names.append(str(read_yaml(path)["strategy_name"]))
        except (SettingsError, OSError, KeyError, TypeError):
            log.warning(f"{path}: no strategy_name; orders of that strategy would not be recognised")
    return names


def _connector(settings: Settings, clock: Clock, simulation: SimulationConfig, book: InstrumentBook) -> Connector:
    if settings.gateway == "sim":
        path = settings.socket("exchange")
        return SimConnector(lambda: SocketLink(path), clock, simulation.reconnect_seconds, settings.symbols)
    front = _front(settings, clock, book)
    return open_paper(settings, front, clock, simulation.capital, book) if is_paper(settings) else front


def _front(settings: Settings, clock: Clock, book: InstrumentBook) -> Connector:
    if settings.gateway == CTP:
        from arbig.gateway.ctp.opening import open_ctp

        return open_ctp(settings, clock, book)
    from arbig.gateway.vnpy import open_vnpy

    return open_vnpy(settings, clock, book)
