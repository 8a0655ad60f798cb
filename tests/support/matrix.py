"""Plays the cells of the crash matrix on a `Rig`: an order is brought to its place, the fault strikes, and then the
books must agree. A cell whose point was not hit, or that found no order in flight, has failed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import postgres
import psycopg
from books import disagreements
from cells import DISKS, LEAPS, Cell
from places import KIND, POSTGRESQL
from rig import Rig
from supervised import SupervisedRig

from arbig.bus.port import BusError
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderRequest, OrderType, decode, encode
from arbig.runtime.crash import BESIDE, POINTS
from arbig.runtime.http import CallError
from arbig.runtime.settings import SettingsError

PUPPET = Path(__file__).with_name("strategies") / "puppet.py"
SPEED = 5
SYMBOL, THIN = "au2512", "ag2512"
"""A contract whose book holds many lots, and one that shows a lot or two at a time."""
OF_POINT = {point.name: point for point in POINTS}
SOURCES = ("stream", "trading", "strategy", "web")
SOURCE_OF = {
    "web.before_forward": "web",
    "web.after_forward": "web",
    "tr.after_append": "trading",
    "st.before_send": "strategy",
    "st.after_send": "strategy",
    "st.after_apply": "strategy",
    "st.on_trade": "strategy",
}
PASSES = {"st.before_send": 2, "st.after_send": 2}
"""The first signal answers a tick; the second answers a fill, and must survive."""
NEED_A_FILL = ("trade", "position")
MAY_BE_LOST = ("web.before_forward",)
"""Nobody but the person knows of it."""
AWAY = (CallError, BusError, SettingsError, OSError, EOFError, sqlite3.Error, psycopg.Error, KeyError)
TICK = 0.02
STOP_SECONDS = 10.0
WITHOUT_SECONDS = 2.0
NOTICED_SECONDS = 0.3
"""The house without its database, before somebody starts it again; before another one dies of the same."""
HIT_SECONDS = 20.0
WELL_SECONDS = 60.0
FULL_SECONDS = 8.0
CROWD = 20
"""Orders at once while a disk is full, until somebody needs room."""
UP_SECONDS = 240.0
"""For `arbig up` with everything it starts, on a busy machine."""


class Failed(AssertionError):
    """Why a cell does not count."""


@dataclass
class Row:
    """A line of the table."""

    number: int
    fault: str
    victim: str
    at: str
    step: str
    source: str = ""
    point_hit: str = ""
    state_before: str = ""
    seconds: float = 0.0
    restarted: list[str] = field(default_factory=list)
    verdict: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == "ok" or self.verdict.startswith("ok, ")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Flight:
    """What was asked for: the requests whose names we know, and whether they must have arrived."""

    source: str
    requests: list[str] = field(default_factory=list)
    must_arrive: bool = True
    state: str = ""
    hit: str = ""
    answer: str = ""


@contextmanager
def puppet_rig(home: Path, port_offset: int, package: Path | None = None, kind: type[Rig] = Rig) -> Iterator[Rig]:
    """A rig in the night session whose strategies do as they are told, on disks that can be full."""
    home.mkdir()
    rig = kind(home, port_offset, package)
    shutil.copy(PUPPET, home / "strategies")
    for symbol in (SYMBOL, THIN):
        (home / f"wishes-{symbol}").touch()
        rig.edit(
            f"strategies/puppet_{symbol}.yaml",
            strategy_name=f"Puppet-{symbol}",
            class_name="PuppetStrategy",
            symbol=symbol,
            exchange="SHFE",
            params={"wishes": str(home / f"wishes-{symbol}")},
        )
    products = {
        "au": {"start_price": 880, "depth": 12, "volatility": 0.004},
        "ag": {"start_price": 11200, "depth": 0.3, "lots_per_tick": 0.2, "volatility": 0.002},
    }
    rig.edit("arbig.yaml", symbols=[SYMBOL, THIN])
    rig.edit("simulation.yaml", speed=200, products=products)
    with rig.running(disks=DISKS if os.getuid() == 0 else ()):
        rig.hurry_past_the_auction(SPEED)
        yield rig


class Player:
    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.seed = seed
        self._patience = UP_SECONDS if isinstance(rig, SupervisedRig) else WELL_SECONDS
        self._asking: list[threading.Thread] = []
        self._standing: str | None = None

    # ---- one cell ----

    def play(self, cell: Cell) -> Row:
        row = Row(cell.number, cell.fault, cell.victim, cell.at, cell.step)
        self._draw = random.Random(f"{self.seed}/{cell.number}")
        self._noticed = ""
        try:
            self.quiet()
            deaths = self._deaths()
            flight = self._bring(cell)
            row.source, row.point_hit, row.state_before = flight.source, flight.hit, flight.state
            flight = self._strike(cell, flight)
            row.source, row.state_before = flight.source, flight.state
            row.seconds, row.restarted, words = self._recovered(flight)
            if cell.needs_postgresql and self._deaths() > deaths:
                raise Failed("a service has died of it, its log says where")
            row.verdict = ", ".join(["ok", *filter(None, (words, self._noticed))])
        except (Failed, *AWAY) as why:
            row.verdict = f"FAILED: {why or type(why).__name__}"
        finally:
            self.rig.disarm()
            self._go_on()
            for proxy in self.rig.proxies.values():
                proxy.heal()
        return row

    def quiet(self) -> None:
        """Everybody well, nothing working."""
        until(lambda: not self.rig.revive() and self._is_well(), self._patience, self._complaint)
        self._cancel_all()
        until(lambda: not self._working(), 20, lambda: f"nothing works: {self._working()}", self._cancel_all)

    def _working(self) -> list[str]:
        answer = self.rig.asked("trading", "/orders")
        return ["?"] if answer is None else [order["request_id"] or order["order_id"] for order in answer["orders"]]

    def _cancel_all(self) -> None:
        for name in self._working():
            with contextlib.suppress(CallError):
                self.rig.ask("trading", "DELETE", f"/orders/{name}")

    # ---- an order to its place ----

    def _bring(self, cell: Cell) -> Flight:
        if cell.at in OF_POINT:
            return self._to_point(cell)
        return PLACES[cell.at](self, cell)

    def _to_point(self, cell: Cell) -> Flight:
        point = OF_POINT[cell.at]
        own = point.process == cell.victim
        if point.step == BESIDE:
            flight = self._working_order(cell, "stream")
            self.rig.arm(point.name)
        else:
            source = SOURCE_OF.get(point.name) or self._draw.choice(SOURCES)
            fills = point.step in NEED_A_FILL or (source == "strategy" and point.step in ("request", "status"))
            if point.name in PASSES:
                self.rig.arm(f"{point.name}:{PASSES[point.name]}")
            else:
                self.rig.arm(point.name, stop=not own)
            flight = self._ask(source, SYMBOL, Direction.LONG, Offset.OPEN, crosses=fills)
        self._until_hit(flight, point.name, None if own else point.process)
        flight.must_arrive = point.name not in MAY_BE_LOST
        return flight

    def _until_hit(self, flight: Flight, point: str, stands: str | None) -> None:
        until(self.rig.was_hit, HIT_SECONDS, lambda: f"the point {point} was hit ({flight.answer})")
        flight.hit = self.rig.was_hit()
        self._standing = stands
        if stands is not None:
            until(lambda: self.rig.is_stopped(stands), 5, f"{stands} stands still")
        self._find_names(flight)
        flight.state = self._state_of(flight)

    def _no_order(self, cell: Cell) -> Flight:
        """It comes while the fault lasts; where nobody is left to take it, right before."""
        if cell.victim != "supervisor":
            return Flight("")
        flight = self._ask("stream", SYMBOL, Direction.LONG, Offset.OPEN)
        flight.state = "on stream:order"
        return flight

    def _submitting(self, cell: Cell) -> Flight:
        """The Gateway has reserved its reference and stands before the send; or, where the Gateway itself must do
        something, Trading stands before the command."""
        point, process = ("tr.after_commit", "trading") if cell.fault == "line cut" else ("gw.after_commit", "gateway")
        self.rig.arm(point, stop=True)
        flight = self._ask(self._draw.choice(SOURCES), SYMBOL, Direction.LONG, Offset.OPEN)
        self._until_hit(flight, point, process)
        return flight

    def _working_order(self, cell: Cell, source: str = "") -> Flight:
        flight = self._ask(source or self._draw.choice(SOURCES), SYMBOL, Direction.LONG, Offset.OPEN)
        self._until_state(flight, "NOTTRADED")
        return flight

    def _partly_filled(self, cell: Cell) -> Flight:
        flight = self._ask(self._draw.choice(SOURCES), THIN, Direction.LONG, Offset.OPEN, 400, crosses=True)
        self._until_state(flight, "PARTTRADED")
        return flight

    def _cancelling(self, cell: Cell) -> Flight:
        """The Gateway has read the cancel and stands before it has written anything; or Trading before the command."""
        flight = self._working_order(cell, "stream")
        point, process = ("tr.after_commit", "trading") if cell.fault == "line cut" else ("gw.after_read", "gateway")
        self.rig.arm(point, stop=True)
        self._in_background(
            flight, lambda: self.rig.ask("trading", "DELETE", f"/orders/{flight.requests[0]}", seconds=15)
        )
        self._until_hit(flight, point, process)
        flight.state += f", its cancel at {point}"
        return flight

    def _closing(self, cell: Cell) -> Flight:
        opened = self._ask("stream", SYMBOL, Direction.LONG, Offset.OPEN, 1, crosses=True)
        self._until_state(opened, "ALLTRADED")
        flight = self._ask(self._draw.choice(("stream", "trading", "web")), SYMBOL, Direction.SHORT, Offset.CLOSE)
        self._until_state(flight, "NOTTRADED")
        flight.state += ", closing"
        return flight

    def _until_state(self, flight: Flight, wanted: str) -> None:
        def reached() -> bool:
            self._find_names(flight)
            flight.state = self._state_of(flight)
            return flight.state == wanted

        until(reached, 15, lambda: f"the order is {wanted}, it is {flight.state!r} ({flight.answer})")

    # ---- asking ----

    def _ask(
        self,
        source: str,
        symbol: str,
        direction: Direction,
        offset: Offset,
        volume: int = 1,
        crosses: bool = False,
        price: float | None = None,
    ) -> Flight:
        price = price or self._price(symbol, direction, crosses)
        flight = Flight(source)
        if source == "strategy":
            verb = {Direction.LONG: "buy", Direction.SHORT: "short"}[direction]
            then = f" then buy {self._price(symbol, Direction.LONG, False)} 1" if crosses and symbol == SYMBOL else ""
            self._mark = self._last_request()
            with (self.rig.home / f"wishes-{symbol}").open("a") as file:
                file.write(f"{verb} {price} {volume}{then}\n")
            flight.answer = symbol
            return flight
        name = f"rig-{time.monotonic_ns():x}"
        flight.requests.append(name)
        if source == "stream":
            self._append(_request(name, symbol, direction, offset, price, volume))
            return flight
        wish = {
            "symbol": symbol,
            "direction": str(direction),
            "offset": str(offset),
            "price": price,
            "volume": volume,
            "request_id": name,
        }
        path = "/api/v1/orders" if source == "web" else "/orders"
        self._in_background(flight, lambda: self.rig.ask(source, "POST", path, wish, seconds=15))
        return flight

    def _in_background(self, flight: Flight, ask: Callable[[], Any]) -> None:
        """A person's question may never be answered: somebody dies over it."""

        def wait() -> None:
            try:
                flight.answer = str(ask())
            except CallError as error:
                flight.answer = str(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self._asking.append(thread)

    def _append(self, request: OrderRequest) -> None:
        self._redis("strategy", ("XADD", "stream:order", "*", "data", encode(request)))

    def _press(self, price: float) -> None:
        """Orders that need room on the disk; and a look at who says that there is none."""
        with contextlib.suppress(*AWAY):
            for _ in range(CROWD):
                self._ask("stream", SYMBOL, Direction.LONG, Offset.OPEN, price=price)
        self._noticed = self._faults()

    def _redis(self, user: str, *commands: tuple[str | bytes, ...]) -> list[Any]:
        return asyncio.run(self.rig.redis_as(user, *commands))

    def _price(self, symbol: str, direction: Direction, crosses: bool) -> float:
        tick = until(lambda: self.rig.ask("market", "GET", f"/ticks/{symbol}")["tick"], 10, f"a tick of {symbol}")
        step = TICK if symbol == SYMBOL else 1.0
        bid, ask = tick["bid_price_1"], tick["ask_price_1"]
        if symbol == THIN:
            wanted = ask + 5 * step if direction is Direction.LONG else bid - 5 * step
        elif crosses:
            wanted = ask + 20 * step if direction is Direction.LONG else bid - 20 * step
        else:
            wanted = bid * 0.985 if direction is Direction.LONG else ask * 1.015
        return round(round(wanted / step) * step, 2)

    # ---- where the order is ----

    def _last_request(self) -> str:
        found = self._redis("admin", ("XREVRANGE", "stream:order", "+", "-", "COUNT", "1"))[0]
        return found[0][0].decode() if found else "0-0"

    def _find_names(self, flight: Flight) -> None:
        """A strategy's signals have names of their own."""
        if flight.source != "strategy" or not self.rig.stands("redis"):
            return
        entries = self._redis("admin", ("XRANGE", "stream:order", f"({self._mark}", "+"))[0]
        requests = [decode(OrderRequest, fields[1]) for _, fields in entries]
        flight.requests = [request.request_id for request in requests if request.strategy_name.startswith("Puppet")]

    def _state_of(self, flight: Flight) -> str:
        """As far as anybody has written it down: Trading, the Gateway, the stream; else a person waits."""
        for name in reversed(flight.requests):
            for database, column in (("db/trading.db", "status"), ("db/gateway.db", "'in the journal'")):
                found = self._look(database, f"SELECT {column} FROM orders WHERE request_id = ?", name)
                if found:
                    return str(found)
        if any(thread.is_alive() for thread in self._asking):
            return "asked by a person"
        return "on stream:order" if flight.requests else ""

    def _look(self, database: str, query: str, *values: str) -> Any:
        db = self.rig.database(database)
        try:
            found = db.execute(query, values).fetchone()
        finally:
            db.close()
        return found[0] if found else None

    # ---- the faults ----

    def _strike(self, cell: Cell, flight: Flight) -> Flight:
        with self._fault(cell):
            if not flight.requests and not flight.source:
                flight = self._ask_meanwhile()
            if cell.needs_postgresql:
                self._go_on()
        self._go_on()
        if not flight.state:
            raise Failed("no order was in flight")
        return flight

    def _ask_meanwhile(self) -> Flight:
        """Whoever is struck, somebody wishes something now: on the stream, or as a person while there is no Redis."""
        wish = (SYMBOL, Direction.LONG, Offset.OPEN, 1, False, self._passive)
        try:
            if not self.rig.is_alive("redis") or self.rig.is_stopped("redis"):
                raise ConnectionError("there is no Redis")
            flight = self._ask("stream", *wish)
        except (BusError, OSError, EOFError):
            flight = self._ask("trading", *wish)
            flight.must_arrive = False
            time.sleep(0.3)
        flight.state = "asked for during the fault"
        return flight

    @contextmanager
    def _fault(self, cell: Cell) -> Iterator[None]:
        if cell.at == "none":
            self._passive = self._price(SYMBOL, Direction.LONG, False)
        rig, victim = self.rig, cell.victim
        match cell.fault:
            case "kill" if victim == "supervisor":
                rig.kill(victim)
                until(lambda: rig.pid(victim) is None, 10, "the supervisor is gone")
                yield
            case "kill" | "restarted" if cell.needs_postgresql:
                server, _, other = victim.partition(", ")
                rig.kill(server) if cell.fault == "kill" else rig.database_server.stop()
                yield
                time.sleep(NOTICED_SECONDS if other else WITHOUT_SECONDS)
                if other:
                    rig.kill(other)
                rig.revive()
                time.sleep(0.2)
            case "kill":
                own = cell.at in OF_POINT and OF_POINT[cell.at].process == victim
                if own:
                    until(lambda: not rig.is_alive(victim), 5, f"{victim} died at {cell.at}")
                rig.kill(victim)
                yield
                rig.revive()
                time.sleep(0.2)
            case "stop 10 s":
                rig.signal(victim, signal.SIGSTOP)
                yield
                time.sleep(STOP_SECONDS)
                rig.signal(victim, signal.SIGCONT)
            case "restart empty":
                rig.kill("redis")
                for path in (rig.data / "redis").iterdir():
                    if path.name != "lock":
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                yield
                rig.revive()
            case "cut":
                rig.proxies[victim].cut()
                yield
            case "slow":
                rig.proxies[victim].slow(0.3)
                yield
                time.sleep(1.5)
                rig.proxies[victim].heal()
            case "half-open":
                rig.proxies[victim].freeze()
                yield
                time.sleep(4.0)
                rig.proxies[victim].heal()
            case "replies lost" if victim == POSTGRESQL:
                proxy = rig.proxies[victim]
                before = proxy.dropped
                proxy.drop_replies(holding=b"COMMIT")
                yield
                until(lambda: proxy.dropped > before, 10, "a commit's reply was lost")
            case "replies lost":
                rig.proxies[victim].drop_replies(3)
                yield
                time.sleep(1.5)
                rig.proxies[victim].heal()
            case "line cut":
                rig.ask("gateway", "POST", "/disconnect", {"seconds": 0.5})
                yield
            case "clock jump":
                rig.clock.write_text(str(LEAPS[victim]))
                yield
                time.sleep(2.0)
                rig.clock.unlink()
            case "repeated" | "reordered":
                self._say_again(victim, backwards=cell.fault == "reordered")
                yield
            case "disk full":
                price = self._price(SYMBOL, Direction.LONG, False)
                with rig.full_disk(victim):
                    yield
                    full_until = time.monotonic() + FULL_SECONDS
                    while not self._noticed and time.monotonic() < full_until:
                        self._press(price)
                    self._noticed = self._noticed or "nobody needed room"

    def _say_again(self, stream: str, backwards: bool) -> None:
        newest = self._redis("admin", ("XREVRANGE", stream, "+", "-", "COUNT", "12"))[0]
        chosen = newest if backwards else newest[::-1]
        if not chosen:
            raise Failed(f"{stream} is empty")
        self._redis("admin", *[("XADD", stream, "*", "data", fields[1]) for _, fields in chosen])

    def _go_on(self) -> None:
        """Whoever stood still at a point goes on."""
        if self._standing is not None:
            self.rig.signal(self._standing, signal.SIGCONT)
            self._standing = None

    # ---- afterwards ----

    def _recovered(self, flight: Flight) -> tuple[float, list[str], str]:
        """Seconds from the fault's end until everybody was well, who had to be started again beside the victim, and a
        word about a halt."""
        began, restarted, words = time.monotonic(), [], ""
        while not self._is_well():
            restarted += self.rig.revive()
            words = self._halted() or words
            if time.monotonic() - began > self._patience:
                raise Failed(f"not ACTIVE after {self._patience:g} s: {self._complaint()}")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        self.wrong: list[str] = []

        def agree() -> bool:
            restarted.extend(self.rig.revive())
            self.wrong = [*disagreements(self.rig), *self._not_arrived(flight)]
            return not self.wrong

        until(agree, 30, lambda: f"the books agree: {self.wrong}")
        until(self._is_well, 30, "still well")
        return round(seconds, 2), restarted, words

    def _deaths(self) -> int:
        """How often a service has ended by an error that it did not expect."""
        logs = (self.rig.data / "logs").glob("*.jsonl")
        return sum(path.read_bytes().count(b'"event": "died"') for path in logs)

    def _not_arrived(self, flight: Flight) -> list[str]:
        if not flight.must_arrive:
            return []
        self._find_names(flight)
        return [
            f"{name} was asked for and is known to nobody"
            for name in flight.requests
            if self._look("db/trading.db", "SELECT 1 FROM inbox WHERE request_id = ?", name) is None
        ]

    def _is_well(self) -> bool:
        if not all(self.rig.stands(service) for service in self.rig.processes):
            return False
        state, clock = self.rig.asked("trading", "/state"), self.rig.asked("gateway", "/clock")
        return state is not None and state["state"] == "ACTIVE" and clock is not None and bool(clock["connected"])

    def _halted(self) -> str:
        """Where the design stops by itself, with a reason, a person goes on."""
        state = self.rig.asked("trading", "/state")
        if state is None or state["wanted"] == "ACTIVE":
            return ""
        with contextlib.suppress(CallError):
            self.rig.ask("trading", "POST", "/state", {"state": "ACTIVE", "reason": "looked at it"})
        return f"{state['wanted']}: {state['reason']}"

    def _faults(self) -> str:
        """Who says that something cannot be written, or has ended over it."""
        dead = [service for service in self.rig.processes if not self.rig.is_alive(service)]
        statuses = {service: self.rig.asked(service, "/status") or {} for service in ("gateway", "trading", "strategy")}
        said = [service for service, own in statuses.items() if own.get("fault") or own.get("alarms")]
        return f"noticed by {', '.join(said + dead)}" if said or dead else ""

    def _complaint(self) -> str:
        away = [service for service in self.rig.processes if not self.rig.stands(service)]
        return f"away: {away}, Trading: {self.rig.asked('trading', '/state')}"


PLACES: dict[str, Callable[[Player, Cell], Flight]] = {
    "none": Player._no_order,
    "submitting": Player._submitting,
    "working": Player._working_order,
    "partly filled": Player._partly_filled,
    "cancel on its way": Player._cancelling,
    "closing": Player._closing,
}


def played(
    cells: Sequence[Cell], folder: Path, seed: int, port_offset: int = 3500, package: Path | None = None
) -> list[Row]:
    """A failed cell may leave a house on which nothing can be shown any more: the next one gets a fresh one."""
    rows: list[Row] = []
    for kind in (Rig, SupervisedRig):
        waiting = [cell for cell in cells if (cell.victim == "supervisor") is (kind is SupervisedRig)]
        waiting = [cell for cell in waiting if _may_be_played(cell)]
        while waiting:
            with puppet_rig(folder / f"house-{len(rows)}", port_offset, package, kind) as rig:
                player = Player(rig, seed)
                while waiting:
                    rows.append(player.play(waiting.pop(0)))
                    print(said(rows[-1]), flush=True)
                    if not rows[-1].passed:
                        break
    return rows


def _may_be_played(cell: Cell) -> bool:
    if cell.fault == "disk full" and os.getuid() != 0:
        print(f"{cell}: left out, only root may mount a small disk")
        return False
    return KIND == POSTGRESQL or not cell.needs_postgresql


def said(row: Row) -> str:
    return (
        f"{row.number:3} {row.fault:13} {row.victim:20} {row.at:18} hit {row.point_hit or '-':18} "
        f"before: {row.state_before:38} {row.seconds:6.2f} s  {row.verdict[:400]}"
    )


def until(
    question: Callable[[], Any],
    seconds: float,
    what: str | Callable[[], str],
    meanwhile: Callable[[], None] | None = None,
) -> Any:
    """The first true answer."""
    deadline, looks = time.monotonic() + seconds, 0
    while True:
        try:
            if found := question():
                return found
            wrong = ""
        except AWAY as error:
            wrong = f" ({type(error).__name__}: {error})"
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}{wrong}")
        looks += 1
        if meanwhile is not None and looks % 50 == 0:
            meanwhile()
        time.sleep(0.02)


def _request(name: str, symbol: str, direction: Direction, offset: Offset, price: float, volume: int) -> OrderRequest:
    return OrderRequest(
        request_id=name,
        strategy_name="manual",
        symbol=symbol,
        exchange=Exchange.SHFE,
        direction=direction,
        offset=offset,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
        timestamp=datetime.now(SHANGHAI),
    )


def write_table(rows: list[Row], seed: int, folder: Path, name: str) -> Path:
    """Markdown and JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    passed = sum(row.passed for row in rows)
    books = postgres.version() if KIND == POSTGRESQL else "SQLite files"
    switch = f"ARBIG_TEST_DATABASE={KIND} " if KIND == POSTGRESQL else ""
    cells = [row.as_json() for row in rows]
    record = {"seed": seed, "books": books, "cells": len(rows), "passed": passed, "rows": cells}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False))
    lines = [
        "# Crash matrix 崩溃矩阵",
        "",
        f"Seed {seed}, books in {books}: {len(rows)} cells, {passed} passed. Made by `{switch}make chaos`; one cell "
        f"alone: `{switch}ARBIG_CHAOS_CELL=137 make chaos`.",
        "",
        "An order is brought to its place (a crash point of `runtime/crash.py`, or a state), the fault strikes, and "
        "when everybody is well again the exchange's own books are held against ours: orders one to one, no request "
        "inserted twice, no trade lost or doubled, positions by side and day, the account's settled figures, nothing "
        "pending, every group caught up. Seconds count from the end of the fault until every process is ready and "
        "trading ACTIVE. A cell whose point was not hit, or that found no order in flight, has failed.",
        "",
        "每格：把一笔委托带到指定位置（崩溃点或委托状态），施加故障，恢复后以交易所账本逐项核对：委托一一对应、无重复报单、"
        "成交不丢不重、持仓（方向、今昨）与资金一致、无未确认消息。秒数为故障结束到全部就绪且恢复 ACTIVE。",
        "",
        "| cell | fault | victim | at | step | point hit | order before | asked by | seconds to ACTIVE | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        words = (row.number, row.fault, row.victim, row.at, row.step, row.point_hit, row.state_before, row.source)
        lines.append(f"| {' | '.join(map(str, words))} | {row.seconds:.2f} | {row.verdict.replace('|', '/')} |")
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path
