"""The exchange as a process: what it said is true after a kill -9, and the market goes on when nobody listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbig.domain.counter import (
    Answer,
    CancelOrder,
    ClockMark,
    CutLine,
    InsertOrder,
    LoggedIn,
    Login,
    LoginRefused,
    OrderReport,
    Query,
    ReplayEnd,
    Start,
    Subject,
    TickBatch,
    TradeReport,
    Word,
    fact_frames,
    frame,
)
from arbig.domain.messages import Direction, Exchange, Offset, OrderType, Status
from arbig.runtime.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]


class House:
    """One exchange process on a folder of its own."""

    def __init__(self, folder: Path, **changes: object) -> None:
        config = folder / "config"
        config.mkdir(parents=True)
        for file in (ROOT / "config").glob("*.yaml"):
            (config / file.name).write_text(file.read_text())
        text = (config / "simulation.yaml").read_text()
        for key, value in {"speed": 1000, "history_days": 1, **changes}.items():
            old = next(line for line in text.splitlines() if line.startswith(f"{key}:"))
            text = text.replace(old, f"{key}: {msgspec.json.encode(value).decode()}")
        (config / "simulation.yaml").write_text(text)
        self.settings: Settings = load_settings(root=ROOT, config=config, data=folder / "data")
        self.process: subprocess.Popen[bytes] | None = None
        self._lines: list[Line] = []

    def start(self) -> None:
        environment = {
            **os.environ,
            "ARBIG_ROOT": str(ROOT),
            "ARBIG_CONFIG": str(self.settings.config),
            "ARBIG_DATA": str(self.settings.data),
        }
        words = [sys.executable, "-m", "arbig.exchange"]
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill(self, signum: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        self.process.communicate()
        return int(self.process.returncode)

    def close(self) -> None:
        for line in self._lines:
            line.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def connect(self) -> Line:
        deadline = time.monotonic() + 20
        while True:
            try:
                self._lines.append(Line(str(self.settings.socket("exchange"))))
                return self._lines[-1]
            except OSError:
                assert time.monotonic() < deadline, "the exchange does not come"
                time.sleep(0.02)


class Line:
    """A client that says words and reads facts."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._frames = fact_frames()
        self.heard: list[Any] = []

    def close(self) -> None:
        self._socket.close()

    def say(self, *words: Word) -> None:
        self._socket.sendall(b"".join(frame(word) for word in words))

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Everything heard on the way stays in `heard`."""
        position = len(self.heard)
        while True:
            for fact in self.heard[position:]:
                if wanted(fact):
                    return fact
            position = len(self.heard)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the exchange closed the line")
            self.heard += self._frames.feed(data)

    def login(self, since: int = 0) -> LoggedIn:
        self.say(Login(since=since))
        self.until(lambda fact: isinstance(fact, ReplayEnd))
        return next(fact for fact in self.heard if isinstance(fact, LoggedIn))

    def ask(self, subject: Subject) -> Answer:
        self.say(Query(number=1, subject=subject))
        answer: Answer = self.until(lambda fact: isinstance(fact, Answer))
        self.heard.remove(answer)
        return answer

    def reports(self) -> dict[int, Any]:
        return {fact.flow: fact for fact in self.heard if isinstance(fact, OrderReport | TradeReport)}

    def ticks(self) -> list[bytes]:
        return [bytes(raw) for fact in self.heard if isinstance(fact, TickBatch) for _, _, raw in fact.ticks]

    def price(self, above: float = 0.0) -> float:
        """The newest last price, or one so far from it."""
        return round(float(msgspec.json.decode(self.ticks()[-1])["last_price"]) + above, 2)

    def rest_of_the_line(self) -> None:
        """Read what a dead exchange had still said."""
        try:
            self.until(lambda fact: False)
        except ConnectionError:
            pass


def order(ref: int, price: float, volume: int = 1, offset: Offset = Offset.OPEN) -> InsertOrder:
    direction = Direction.LONG if offset is Offset.OPEN else Direction.SHORT
    return InsertOrder(
        order_ref=ref,
        memo=f"M{ref}",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=direction,
        offset=offset,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
    )


def open_market(line: Line) -> None:
    line.say(Start())
    line.until(lambda fact: isinstance(fact, TickBatch) and fact.ticks[-1][1] > 5)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(**changes: object) -> House:
        made = House(tmp_path / str(len(houses)), **changes)
        houses.append(made)
        made.start()
        return made

    yield make
    for made in houses:
        made.close()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An exchange whose clock nobody has started."""
    made = House(tmp_path_factory.mktemp("waiting"))
    made.start()
    yield made
    made.close()


def test_rubbish_ends_that_client_and_nobody_else(waiting: House) -> None:
    good, bad = waiting.connect(), waiting.connect()
    good.login()
    bad._socket.sendall(b"\x00\x00\x00\x03{]}")
    bad.rest_of_the_line()
    assert good.ask(Subject.CLOCK).clock is not None


def test_nobody_orders_without_a_log_in(waiting: House) -> None:
    line = waiting.connect()
    line.say(order(1, 838.0))
    assert line.until(lambda fact: isinstance(fact, LoginRefused)).error_id == 3


def test_the_clock_waits_for_start(waiting: House) -> None:
    line = waiting.connect()
    greeting = line.login()
    clock = line.ask(Subject.CLOCK).clock
    assert clock is not None and (clock.running, clock.session_time) == (False, greeting.session_time)
    open_market(line)
    assert line.ask(Subject.CLOCK).clock.running  # type: ignore[union-attr]


def test_two_processes_with_one_seed_say_the_same_bytes(house: Callable[..., House]) -> None:
    said = []
    for made in [house(seed=5), house(seed=5, speed=700)]:
        line = made.connect()
        line.login()
        line.say(Start())
        line.until(lambda fact: isinstance(fact, TickBatch) and fact.ticks[-1][1] >= 500)
        made.kill()
        said.append(line.ticks()[:500])
    assert said[0] == said[1]


def test_killed_with_orders_in_flight_it_goes_on_where_it_was(house: Callable[..., House]) -> None:
    """Nothing that was reported is taken back, positions equal the trades, the price path has no hole."""
    made = house(speed=300)
    ref = 0
    known: dict[int, Any] = {}
    ticks: dict[int, bytes] = {}
    for _ in range(2):
        line = made.connect()
        greeting = line.login()
        assert greeting.max_order_ref <= ref
        open_market(line)
        replayed = line.reports()
        assert {flow: replayed[flow] for flow in known} == known
        for _ in range(10):
            ref += 1
            line.say(order(ref, line.price() if ref % 2 else 800.0))
        line.until(lambda fact: isinstance(fact, ClockMark))
        made.kill()
        line.rest_of_the_line()
        known = line.reports()
        for fact in line.heard:
            if isinstance(fact, TickBatch):
                for _, seq, raw in fact.ticks:
                    assert ticks.setdefault(seq, bytes(raw)) == bytes(raw)
        made.start()
    line = made.connect()
    line.login()
    reports = line.reports()
    assert {flow: reports[flow] for flow in known} == known
    assert sorted(reports) == list(range(1, len(reports) + 1))
    traded = sum(report.volume for report in reports.values() if isinstance(report, TradeReport))
    assert sum(row.volume for row in line.ask(Subject.POSITIONS).positions) == traded > 0
    assert sorted(ticks) == list(range(min(ticks), max(ticks) + 1))
    refs = [report.order_ref for report in line.ask(Subject.ORDERS).orders]
    assert len(refs) == len(set(refs)), "no order twice"


def test_orders_fill_while_the_line_is_cut_and_the_replay_tells_of_it(house: Callable[..., House]) -> None:
    made = house(speed=200, capital=1_000_000_000)
    line = made.connect()
    line.login()
    open_market(line)
    line.say(order(1, line.price(-20.0)), order(2, line.price(3.0), volume=300), CutLine(seconds=1.0))
    line.rest_of_the_line()
    last = max(line.reports())
    early = made.connect()
    early.say(Login(since=last))
    assert early.until(lambda fact: isinstance(fact, LoginRefused)).error_id == 8
    time.sleep(1.0)
    late = made.connect()
    greeting = late.login(since=last)
    end = next(fact for fact in late.heard if isinstance(fact, ReplayEnd))
    session = next(fact for fact in reversed(line.heard) if isinstance(fact, ClockMark)).session_time
    assert (greeting.session_time - session).total_seconds() > 60, "the market went on"
    filled = sum(fact.volume for fact in late.heard if isinstance(fact, TradeReport))
    assert filled > sum(fact.volume for fact in line.heard if isinstance(fact, TradeReport))
    assert end.flow == max(late.reports()) and set(late.reports()) == set(range(1, end.flow + 1))
    late.say(CancelOrder(order_ref=1))
    report = late.until(lambda fact: isinstance(fact, OrderReport) and fact.status is Status.CANCELLED)
    assert report.order_ref == 1
